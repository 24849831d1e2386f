// The thread that writes operators' changes: what it writes when more come meanwhile, what becomes
// of them on a disk that is full, slow or away, and that the loop never waits for it.
#include "engine/checker/control/changes_keeper.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/loops.hpp"
#include "tests/support/skip.hpp"
#include "tests/support/temp_dir.hpp"

namespace ballast::checker {
namespace {

RuntimeChanges drained(std::uint32_t weight = 7) {
  RuntimeChanges changes;
  changes.instances["web"]["10.0.0.1:80"].admin = shm::Admin::drain;
  changes.instances["web"]["10.0.0.1:80"].weight = weight;
  return changes;
}

// A keeper, and all that it has told.
struct Kept {
  explicit Kept(std::string path) {
    keeper = std::make_unique<ChangesKeeper>(
        *loop, [this](std::uint64_t upto, const shm::Status& status) {
          told.push_back(upto);
          errors.push_back(status ? "" : status.error().to_text());
        });
    keeper->set_path(std::move(path));
  }
  void until_told(std::size_t times) {
    tests::turn_until(*loop, [&] { return told.size() >= times; });
  }

  std::unique_ptr<Loop> loop = std::move(*make_loop({Backend::epoll, 0, nullptr}));
  std::vector<std::uint64_t> told;
  std::vector<std::string> errors;
  std::unique_ptr<ChangesKeeper> keeper;
};

// A disk that takes its time: until somebody reads the pipe, a writing to `path` cannot begin.
class SlowDisk {
 public:
  explicit SlowDisk(const std::string& path) : pipe_(path + ".new." + std::to_string(::getpid())) {
    REQUIRE(::mkfifo(pipe_.c_str(), 0600) == 0);
  }
  // Waits for a writing, and lets it go on; what it wrote.
  [[nodiscard]] std::string take() const {
    std::ifstream pipe(pipe_);
    return {std::istreambuf_iterator<char>(pipe), {}};
  }

 private:
  std::string pipe_;
};

RuntimeChanges in_text(const std::string& text) {
  auto read = changes_from_text("pipe", text);
  REQUIRE_MESSAGE(read, read.error().to_text());
  return *read;
}
RuntimeChanges in_file(const std::string& path) {
  auto read = read_changes_file(path);
  REQUIRE_MESSAGE(read, read.error().to_text());
  return *read;
}

// Until the thread that writes has been started: this process has one more.
void until_writing(Kept& kept, const std::function<void()>& ask) {
  const auto threads = [] {
    return std::distance(std::filesystem::directory_iterator("/proc/self/task"), {});
  };
  const auto before = threads();
  ask();
  tests::turn_until(*kept.loop, [&] { return threads() > before; });
}

TEST_CASE("the keeper writes the newest, and tells when it is done") {
  const tests::TempDir dir;
  const auto loop = std::move(*make_loop({Backend::epoll, 0, nullptr}));
  std::uint64_t told = 0;
  std::string error;
  ChangesKeeper keeper(*loop, [&](std::uint64_t upto, const shm::Status& status) {
    CHECK(upto > told);
    told = upto;
    if (!status) error = status.error().to_text();
  });
  keeper.set_path(dir.path() + "/changes.json");
  CHECK(keeper.keep({}) == 1);
  CHECK(keeper.keep(drained()) == 2);
  CHECK(told == 0);
  tests::turn_until(*loop, [&] { return told == 2; });
  CHECK(error.empty());
  auto read = read_changes_file(keeper.path());
  REQUIRE(read);
  CHECK(*read == drained());

  // At the end nothing is left unwritten.
  keeper.keep({});
  keeper.finish();
  CHECK(told == 3);
  read = read_changes_file(keeper.path());
  REQUIRE(read);
  CHECK(*read == RuntimeChanges{});

  keeper.set_path(dir.path() + "/none/changes.json");
  keeper.keep(drained());
  tests::turn_until(*loop, [&] { return told == 4; });
  CHECK(error.find("/none/changes.json") != std::string::npos);
  keeper.finish();
  CHECK(told == 4);
}

TEST_CASE("what comes while it writes is written together, and the loop goes on") {
  const tests::TempDir dir;
  const std::string path = dir.path() + "/changes.json";
  const SlowDisk disk(path);
  Kept kept(path);
  until_writing(kept, [&] { kept.keeper->keep(drained(1)); });
  CHECK(kept.keeper->keep(drained(2)) == 2);
  CHECK(kept.keeper->keep(drained(3)) == 3);
  // The loop turns, whoever the disk keeps waiting.
  int turns = 0;
  const auto timer = kept.loop->timers().create([&] { ++turns; });
  kept.loop->timers().arm(timer, std::chrono::steady_clock::now());
  tests::turn_until(*kept.loop, [&] { return turns == 1; });
  kept.loop->timers().destroy(timer);
  CHECK(kept.told.empty());
  CHECK_FALSE(kept.keeper->is_idle());
  CHECK(in_text(disk.take()) == drained(1));
  kept.until_told(2);
  CHECK(kept.told == std::vector<std::uint64_t>{1, 3});
  CHECK(kept.keeper->is_idle());
  CHECK(in_file(path) == drained(3));
}

TEST_CASE("another path counts from the next writing on") {
  const tests::TempDir dir;
  const std::string slow = dir.path() + "/slow.json";
  const std::string path = dir.path() + "/changes.json";
  const SlowDisk disk(slow);
  Kept kept(slow);
  until_writing(kept, [&] { kept.keeper->keep(drained(1)); });
  kept.keeper->set_path(path);
  kept.keeper->keep(drained(2));
  CHECK(in_text(disk.take()) == drained(1));
  kept.until_told(2);
  CHECK(in_file(path) == drained(2));
  CHECK(kept.errors == std::vector<std::string>{"", ""});
}

TEST_CASE("whoever leaves waits for the disk, and is told; whoever is destroyed waits and is not") {
  const tests::TempDir dir;
  const std::string path = dir.path() + "/changes.json";
  const SlowDisk disk(path);
  Kept kept(path);
  until_writing(kept, [&] { kept.keeper->keep(drained(1)); });
  kept.keeper->keep(drained(2));
  std::string first;
  std::thread reader([&] { first = disk.take(); });
  SUBCASE("leaves") {
    kept.keeper->finish();
    CHECK(kept.told == std::vector<std::uint64_t>{1, 2});
    CHECK(in_file(path) == drained(2));
  }
  SUBCASE("destroyed") {
    kept.keeper.reset();
    CHECK(kept.told.empty());
  }
  reader.join();
  CHECK(in_text(first) == drained(1));
}

// In a file system of 64 KiB that only this thread and what it starts can see.
void keep_without_room() {
  const tests::TempDir small;
  if (::unshare(CLONE_NEWNS) != 0 ||
      ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
      ::mount("none", small.path().c_str(), "tmpfs", 0, "size=64k") != 0) {
    return tests::skip("this process may not mount a file system of its own");
  }
  {
    const std::string path = small.path() + "/changes.json";
    Kept kept(path);
    kept.keeper->keep(drained(1));
    kept.until_told(1);
    CHECK(kept.errors.back().empty());

    const std::string ballast = small.path() + "/full";
    std::ofstream(ballast) << std::string(1 << 20, 'x')
                           << std::flush;  // as much as there is room for
    RuntimeChanges more = drained(2);
    for (int i = 0; i < 200; ++i)
      more.instances["web"]["10.0.1." + std::to_string(i) + ":80"].admin = shm::Admin::drain;
    kept.keeper->keep(more);
    kept.until_told(2);
    CHECK_MESSAGE(kept.errors.back().find("No space left on device") != std::string::npos,
                  kept.errors.back());
    CHECK_MESSAGE(kept.errors.back().find("make room") != std::string::npos, kept.errors.back());
    CHECK(in_file(path) == drained(1));
    CHECK(kept.keeper->is_idle());

    std::filesystem::remove(ballast);
    kept.keeper->keep(more);
    kept.until_told(3);
    CHECK(kept.errors.back().empty());
    CHECK(in_file(path) == more);
    CHECK(std::distance(std::filesystem::directory_iterator(small.path()), {}) == 1);
  }
  ::umount(small.path().c_str());
}

TEST_CASE("a full disk is told, leaves the file as it was, and is no longer full later") {
  std::thread(keep_without_room).join();
}

}  // namespace
}  // namespace ballast::checker
