// What a watch tells, and whom, against the kernel's own inotify.
#include "engine/checker/discovery/path_watch.hpp"

#include <doctest/doctest.h>
#include <sys/inotify.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/loops.hpp"
#include "tests/support/temp_dir.hpp"

namespace ballast::checker {
namespace {

namespace fs = std::filesystem;

struct World {
  World() {
    auto made = make_loop({});
    REQUIRE(made);
    loop = std::move(*made);
    watch = std::make_unique<PathWatch>(*loop);
  }
  PathWatch::OnEvent into(std::vector<std::string>& names) {
    return [&names](std::uint32_t /*mask*/, std::string_view name) { names.emplace_back(name); };
  }
  void until(const std::function<bool()>& done) const { tests::turn_until(*loop, done); }

  tests::TempDir directory;
  std::unique_ptr<Loop> loop;
  std::unique_ptr<PathWatch> watch;
};

void write(const std::string& path) {
  std::ofstream(path) << "x";
}

TEST_CASE("two who watch the same are both told, one that left is not") {
  World w;
  std::vector<std::string> one;
  std::vector<std::string> two;
  const auto first = w.watch->add(w.directory.path(), w.into(one));
  const auto second = w.watch->add(w.directory.path(), w.into(two));
  REQUIRE(first != 0);
  REQUIRE(second != 0);
  write(w.directory.path() + "/a");
  w.until([&] { return !one.empty() && !two.empty(); });
  CHECK(one.front() == "a");
  CHECK(two.front() == "a");
  w.watch->remove(first);
  one.clear();
  two.clear();
  write(w.directory.path() + "/b");
  w.until([&] { return !two.empty() && two.back() == "b"; });
  CHECK(one.empty());
}

TEST_CASE("one who is told may remove himself and others") {
  World w;
  std::size_t told = 0;
  PathWatch::Id first = 0;
  PathWatch::Id second = 0;
  const auto last_one_out = [&](std::uint32_t /*mask*/, std::string_view /*name*/) {
    ++told;
    w.watch->remove(first);
    w.watch->remove(second);
  };
  first = w.watch->add(w.directory.path(), last_one_out);
  second = w.watch->add(w.directory.path(), last_one_out);
  write(w.directory.path() + "/a");
  w.until([&] { return told > 0; });
  w.loop->run_once({});
  CHECK(told == 1);
}

TEST_CASE("follows a path to what it names by now") {
  World w;
  const std::string path = w.directory.path() + "/d";
  fs::create_directory(path);
  std::vector<std::string> names;
  auto id = w.watch->add(path, w.into(names));
  CHECK(w.watch->follow(id, path) == id);
  fs::rename(path, w.directory.path() + "/old");
  fs::create_directory(path);
  CHECK(w.watch->follow(id, path) == id);
  write(w.directory.path() + "/old/a");
  write(path + "/b");
  w.until([&] { return !names.empty() && names.back() == "b"; });
  CHECK(std::find(names.begin(), names.end(), "a") == names.end());
  fs::remove_all(path);
  w.loop->run_once({});
  CHECK(w.watch->follow(id, path) == 0);
  CHECK(w.watch->add(path, w.into(names)) == 0);
  fs::create_directory(path);
  CHECK(w.watch->add(path, w.into(names)) != 0);
}

}  // namespace
}  // namespace ballast::checker
