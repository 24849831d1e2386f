// The configuration read beside the loop, by readings that wait until the test lets them go on.
#include "tools/ballastd/config_reader.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <semaphore>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/loops.hpp"

using namespace ballast;
using tools::ConfigReader;
using tools::ConfigResult;

namespace {

// What the n-th reading finds: one error, by which it can be told from the others.
ConfigResult found(int n) {
  ConfigResult result;
  result.errors.push_back(tools::diagnose_file("file", std::to_string(n), "none"));
  return result;
}

struct World {
  explicit World(checker::Backend backend) {
    auto made = checker::make_loop({backend, 0, nullptr});
    REQUIRE(made);
    loop = std::move(*made);
    reader.emplace(
        *loop, "file",
        [this](const std::string& path) {
          const int n = ++readings;
          path_read = path;
          reading_thread = std::this_thread::get_id();
          begun.release();
          may_end.acquire();
          return found(n);
        },
        [this](const ConfigResult& result) { results.push_back(result.errors.at(0).line); });
  }
  void turn_until(const std::function<bool()>& done) const { tests::turn_until(*loop, done); }

  std::unique_ptr<checker::Loop> loop;
  std::counting_semaphore<> begun{0};
  std::counting_semaphore<> may_end{0};
  // Written by the reading thread before `begun`, and by one at a time.
  int readings = 0;
  std::string path_read;
  std::thread::id reading_thread;
  std::vector<std::string> results;
  std::optional<ConfigReader> reader;  // last: it joins the thread that uses the rest
};

}  // namespace

TEST_CASE("the loop turns while the file is read on another thread") {
  tests::on_each_backend([](checker::Backend backend) {
    World world(backend);
    CHECK_FALSE(world.reader->busy());
    world.reader->request();
    world.begun.acquire();
    CHECK(world.path_read == "file");
    CHECK(world.reading_thread != std::this_thread::get_id());
    int turns = 0;
    world.loop->every(std::chrono::milliseconds(1), [&] { ++turns; });
    world.turn_until([&] { return turns == 3; });
    CHECK(world.reader->busy());
    CHECK(world.results.empty());
    world.may_end.release();
    world.turn_until([&] { return !world.results.empty(); });
    CHECK_FALSE(world.reader->busy());
    CHECK(world.results == std::vector<std::string>{found(1).errors[0].line});
  });
}

TEST_CASE("any number of requests during a reading make one more") {
  tests::on_each_backend([](checker::Backend backend) {
    World world(backend);
    world.reader->request();
    world.begun.acquire();
    for (int i = 0; i < 3; ++i)
      world.reader->request();
    world.may_end.release(9);
    world.turn_until([&] { return world.results.size() == 2 && !world.reader->busy(); });
    CHECK(world.readings == 2);
    CHECK(world.results[0] == found(1).errors[0].line);
    CHECK(world.results[1] == found(2).errors[0].line);
    // And a later one is a new one.
    world.reader->request();
    world.turn_until([&] { return world.results.size() == 3; });
    CHECK(world.readings == 3);
  });
}

TEST_CASE("a reader that goes away during a reading drops what it finds") {
  tests::on_each_backend([](checker::Backend backend) {
    World world(backend);
    world.reader->request();
    world.begun.acquire();
    world.reader->request();
    world.may_end.release();
    world.reader.reset();
    world.loop->run_once(std::chrono::milliseconds(0));
    CHECK(world.readings == 1);
    CHECK(world.results.empty());
  });
}

TEST_CASE("what a reading throws is an error like any other") {
  auto loop = checker::make_loop({});
  REQUIRE(loop);
  std::string error;
  ConfigReader reader(
      **loop, "some.toml",
      [](const std::string&) -> ConfigResult { throw std::runtime_error("no memory"); },
      [&](const ConfigResult& result) {
        CHECK_FALSE(result.settings);
        error = result.errors.at(0).line;
      });
  reader.request();
  tests::turn_until(**loop, [&] { return !error.empty(); });
  CHECK(error == "some.toml: cannot be read again (no memory): make room and send SIGHUP again");
}
