// A watched file through everything that may become of it. Real files, the kernel's inotify, and
// the loop turned until something is reported.
#include "engine/checker/discovery/file_source.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "engine/checker/discovery/file_targets.hpp"
#include "tests/support/loops.hpp"
#include "tests/support/temp_dir.hpp"

namespace ballast::checker {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

std::string targets(const std::vector<std::string>& addresses) {
  std::string text = R"([{"targets": [)";
  for (const auto& address : addresses)
    text += (text.back() == '[' ? "\"" : ", \"") + address + "\"";
  return text + "]}]\n";
}

void write(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::trunc);
  file << text;
  REQUIRE(file.flush());
}

void replace(const std::string& path, const std::string& text) {
  write(path + ".new", text);
  fs::rename(path + ".new", path);
}

struct World {
  explicit World(const std::string& name = "targets.json") {
    auto made = make_loop({});
    REQUIRE(made);
    loop = std::move(*made);
    watch = std::make_unique<PathWatch>(*loop);
    path = directory.path() + "/" + name;
  }
  void start() {
    source = std::make_unique<FileSource>(*loop, *watch, path);
    source->start([this](Discovered found) { reports.push_back(std::move(found)); });
    CHECK(reports.empty());
    until([&] { return !reports.empty(); });
  }
  void until(const std::function<bool()>& done) const { tests::turn_until(*loop, done); }
  void until_named(const std::vector<std::string>& addresses) const {
    until([&] { return named() == addresses; });
  }
  // As reported last; an error as one line.
  [[nodiscard]] std::vector<std::string> named() const {
    if (reports.empty()) return {"nothing"};
    if (!reports.back().error.empty()) return {reports.back().error};
    std::vector<std::string> out;
    for (const auto& instance : reports.back().instances)
      out.push_back(instance.text);
    return out;
  }
  // Turns the loop for so long, for what must not happen.
  void idle(milliseconds time) const {
    const auto end = std::chrono::steady_clock::now() + time;
    while (std::chrono::steady_clock::now() < end)
      loop->run_once(milliseconds(10));
  }

  tests::TempDir directory;
  std::string path;
  std::unique_ptr<Loop> loop;
  std::unique_ptr<PathWatch> watch;
  std::vector<Discovered> reports;
  std::unique_ptr<FileSource> source;
};

const std::string kOne = "10.0.0.1:80";
const std::string kTwo = "10.0.0.2:80";

TEST_CASE("a file is read at start and whenever it is replaced") {
  World w;
  write(w.path, targets({kOne}));
  w.start();
  CHECK(w.named() == std::vector{kOne});
  replace(w.path, targets({kOne, kTwo}));
  w.until_named({kOne, kTwo});
  replace(w.path, targets({kTwo}));
  w.until_named({kTwo});
  CHECK(w.reports.size() == 3);
}

TEST_CASE("what is the same as before is not reported, unless it was asked for") {
  World w;
  write(w.path, targets({kOne}));
  w.start();
  replace(w.path, targets({kOne}));
  write(w.path, targets({kOne}));
  w.idle(3 * FileSource::kQuiet);
  CHECK(w.reports.size() == 1);
  w.source->refresh();
  w.until([&] { return w.reports.size() == 2; });
  CHECK(w.named() == std::vector{kOne});
}

TEST_CASE("written in place, it is read once the writing pauses") {
  World w;
  write(w.path, targets({kOne}));
  w.start();
  const std::string text = targets({kOne, kTwo});
  const int fd = open(w.path.c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC);
  REQUIRE(fd >= 0);
  for (const char c : text) {
    REQUIRE(::write(fd, &c, 1) == 1);
    w.loop->run_once(milliseconds(1));
  }
  close(fd);
  w.until_named({kOne, kTwo});
  // Half of it may have been read where the machine paused for longer than the source waits, but
  // nothing of half a file was ever taken.
  for (const auto& report : w.reports)
    CHECK((!report.error.empty() || !report.instances.empty()));
  // But it was not read at every byte.
  CHECK(w.reports.size() < text.size() / 2);
}

TEST_CASE("a half that stays is an error that goes with the other half") {
  World w;
  write(w.path, targets({kOne}));
  w.start();
  const std::string text = targets({kTwo});
  write(w.path, text.substr(0, 20));
  w.until([&] { return w.reports.size() == 2; });
  CHECK(w.reports.back().error.find(w.path + ":1: not JSON") == 0);
  write(w.path, text);
  w.until_named({kTwo});
}

TEST_CASE("a file that is written to without a pause is read all the same") {
  World w;
  write(w.path, targets({kOne}));
  w.start();
  const int fd = open(w.path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
  REQUIRE(fd >= 0);
  const std::string other = targets({kTwo});
  REQUIRE(ftruncate(fd, 0) == 0);
  REQUIRE(::write(fd, other.data(), other.size()) == static_cast<ssize_t>(other.size()));
  w.until([&] {
    REQUIRE(::write(fd, " ", 1) == 1);
    return w.reports.size() > 1;
  });
  close(fd);
  w.until_named({kTwo});
}

TEST_CASE("deleted, made again, a directory, unreadable: an error each, and well again") {
  World w;
  write(w.path, targets({kOne}));
  w.start();
  fs::remove(w.path);
  w.until_named({w.path + ": No such file or directory"});
  write(w.path, targets({kOne}));
  w.until_named({kOne});
  fs::remove(w.path);
  fs::create_directory(w.path);
  w.until_named({w.path + ": a directory, not a file"});
  fs::remove(w.path);
  replace(w.path, targets({kTwo}));
  w.until_named({kTwo});
  fs::remove(w.path);
  REQUIRE(mkfifo(w.path.c_str(), 0600) == 0);
  w.until_named({w.path + ": not a regular file"});
  fs::remove(w.path);
  fs::create_symlink(w.path, w.path);
  w.until_named({w.path + ": Too many levels of symbolic links"});
  replace(w.path, targets({kOne, kTwo}));
  w.until_named({kOne, kTwo});
  // Root reads whatever it likes.
  if (geteuid() == 0) return;
  fs::permissions(w.path, fs::perms::none);
  w.until_named({w.path + ": Permission denied"});
  fs::permissions(w.path, fs::perms::owner_read | fs::perms::owner_write);
  w.until_named({kOne, kTwo});
}

TEST_CASE("a file that comes later is found") {
  World w("later/targets.json");
  w.start();
  CHECK(w.named() == std::vector{w.path + ": No such file or directory"});
  fs::create_directory(w.directory.path() + "/later");
  w.source->refresh();  // else at the next poll
  w.until([&] { return w.reports.size() > 1; });
  write(w.path, targets({kOne}));
  w.until_named({kOne});
}

TEST_CASE("links are followed, also those that move on the way") {
  World w("data/targets.json");
  // As Kubernetes mounts a ConfigMap, but for the names.
  const std::string base = w.directory.path();
  fs::create_directory(base + "/v1");
  fs::create_directory(base + "/v2");
  write(base + "/v1/targets.json", targets({kOne}));
  write(base + "/v2/targets.json", targets({kTwo}));
  fs::create_symlink("v1", base + "/current");
  fs::create_symlink("current/targets.json", base + "/targets.json");
  w.path = base + "/targets.json";
  w.start();
  CHECK(w.named() == std::vector{kOne});
  fs::create_symlink("v2", base + "/current.new");
  fs::rename(base + "/current.new", base + "/current");
  w.until_named({kTwo});
  write(base + "/v2/targets.json", targets({kOne, kTwo}));  // in a directory nobody watches
  w.until_named({kOne, kTwo});
}

TEST_CASE("too large is an error, and the next one is read") {
  World w;
  write(w.path, targets({kOne}));
  w.start();
  write(w.path + ".new", "");
  fs::resize_file(w.path + ".new", kMaxTargetFileBytes + 1);
  fs::rename(w.path + ".new", w.path);
  w.until_named({w.path + ": more than 16 MiB"});
  replace(w.path, targets({kTwo}));
  w.until_named({kTwo});
}

TEST_CASE("a source may go at any time") {
  World w;
  write(w.path, targets({kOne}));
  w.start();
  replace(w.path, targets({kTwo}));
  w.source.reset();
  w.idle(milliseconds(30));
  CHECK(w.reports.size() == 1);
  w.source = std::make_unique<FileSource>(*w.loop, *w.watch, w.path);
  w.source.reset();  // never started
}

TEST_CASE("however often it is asked to look, there is time in between") {
  World w;
  write(w.path, targets({kOne}));
  w.start();
  constexpr int kLooks = 5;
  const auto from = std::chrono::steady_clock::now();
  for (int i = 0; i < kLooks; ++i) {
    const std::size_t before = w.reports.size();
    w.source->refresh();
    w.until([&] { return w.reports.size() > before; });
  }
  CHECK(std::chrono::steady_clock::now() - from >= (kLooks - 1) * FileSource::kMinGap);
}

}  // namespace
}  // namespace ballast::checker
