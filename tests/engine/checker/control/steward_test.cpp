// When what the roster says is applied, and what becomes of what cannot be.
#include "engine/checker/control/steward.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/support/loops.hpp"

namespace ballast::checker {
namespace {

InstanceSettings instance(std::string_view address) {
  InstanceSettings settings;
  settings.endpoint = *shm::parse_endpoint(address);
  settings.text = address;
  return settings;
}

Settings configured(std::string_view address) {
  Settings settings;
  ServiceSettings service;
  service.name = "web";
  service.sources.resize(2);
  service.instances.push_back(instance(address));
  settings.services.push_back(std::move(service));
  return settings;
}

RuntimeChanges drained(const std::string& address) {
  RuntimeChanges changes;
  changes.instances["web"][address].admin = shm::Admin::drain;
  return changes;
}

// A checker that notes what it is to do, and may refuse it.
struct Stage {
  Stage() : loop(std::move(*make_loop({Backend::epoll, 0, nullptr}))) {}

  shm::Status apply(const Settings& settings) {
    const auto bad = [](const InstanceSettings& i) { return i.text == "6.6.6.6:6"; };
    const auto& instances = settings.services.at(0).instances;
    if (std::any_of(instances.begin(), instances.end(), bad)) ++bad_tries;
    if (refuses || std::any_of(instances.begin(), instances.end(), bad))
      return shm::Error{shm::ErrorKind::full, 0, "publish", {}, "too many"};
    std::string text;
    for (const InstanceSettings& i : settings.services.at(0).instances)
      text += " " + i.text + (i.admin == shm::Admin::drain ? "d" : "");
    applied.push_back(text);
    return shm::Done{};
  }

  std::unique_ptr<Loop> loop;
  bool refuses = false;
  int bad_tries = 0;
  std::vector<std::size_t> counting;  // sources whose sets were applied
  std::vector<std::string> applied;
  std::vector<std::string> errors;
  Steward steward{
      *loop, [this](const Settings& settings) { return apply(settings); },
      [this](const std::string& service, std::size_t source, const shm::Status& status) {
        CHECK(service == "web");
        if (status) {
          counting.push_back(source);
        } else {
          errors.push_back(std::to_string(source) + " " + status.error().detail);
        }
      }};
};

TEST_CASE("reloads and changes are applied at once, in order") {
  Stage stage;
  CHECK(stage.steward.configure(configured("1.1.1.1:1")));
  CHECK(stage.steward.change(drained("1.1.1.1:1")));
  CHECK(stage.steward.configure(configured("2.2.2.2:2")));
  CHECK(stage.applied == std::vector<std::string>{" 1.1.1.1:1", " 1.1.1.1:1d", " 2.2.2.2:2"});
}

TEST_CASE("what sources find is applied together, and not twice") {
  Stage stage;
  stage.steward.begin_with(configured("1.1.1.1:1"));
  stage.steward.discover("web", 0, {instance("2.2.2.2:2")});
  stage.steward.discover("web", 1, {instance("3.3.3.3:3")});
  CHECK(stage.applied.empty());
  tests::turn_until(*stage.loop, [&] { return !stage.applied.empty(); });
  CHECK(stage.applied == std::vector<std::string>{" 1.1.1.1:1 2.2.2.2:2 3.3.3.3:3"});

  // A change does not take along what waits, which may be refused.
  stage.steward.discover("web", 1, {});
  CHECK(stage.steward.change(drained("2.2.2.2:2")));
  REQUIRE(stage.applied.size() == 2);
  CHECK(stage.applied[1] == " 1.1.1.1:1 2.2.2.2:2d 3.3.3.3:3");
  bool later = false;
  const auto timer = stage.loop->timers().create([&] { later = true; });
  stage.loop->timers().arm(timer, std::chrono::steady_clock::now() + 3 * kGatherPeriod);
  tests::turn_until(*stage.loop, [&] { return later; });
  REQUIRE(stage.applied.size() == 3);
  CHECK(stage.applied[2] == " 1.1.1.1:1 2.2.2.2:2d");
}

TEST_CASE("what is refused leaves reloads and changes as they were, and is told of found sets") {
  Stage stage;
  CHECK(stage.steward.configure(configured("1.1.1.1:1")));
  stage.refuses = true;
  const shm::Status refused = stage.steward.configure(configured("2.2.2.2:2"));
  REQUIRE_FALSE(refused);
  CHECK(refused.error().detail == "too many");
  CHECK_FALSE(stage.steward.change(drained("1.1.1.1:1")));
  CHECK(stage.steward.roster().changes() == RuntimeChanges{});
  CHECK(stage.steward.roster().configured().services[0].instances[0].text == "1.1.1.1:1");

  stage.steward.discover("web", 0, {instance("3.3.3.3:3")});
  tests::turn_until(*stage.loop, [&] { return !stage.errors.empty(); });
  CHECK(stage.errors == std::vector<std::string>{"0 too many"});

  stage.refuses = false;
  CHECK(stage.steward.change(drained("1.1.1.1:1")));
  CHECK(stage.applied.back() == " 1.1.1.1:1d");
}

TEST_CASE("a set that goes on being refused stands in nobody's way") {
  Stage stage;
  CHECK(stage.steward.configure(configured("1.1.1.1:1")));
  stage.steward.discover("web", 0, {instance("2.2.2.2:2")});
  tests::turn_until(*stage.loop, [&] { return !stage.counting.empty(); });
  // Together with a good one.
  stage.steward.discover("web", 0, {instance("6.6.6.6:6")});
  stage.steward.discover("web", 1, {instance("3.3.3.3:3")});
  SUBCASE("and a change while they wait") {
    CHECK(stage.steward.change(drained("1.1.1.1:1")));
    CHECK(stage.applied.back() == " 1.1.1.1:1d 2.2.2.2:2");
    CHECK(stage.steward.change({}));
  }
  SUBCASE("and a reload while they wait") {
    CHECK(stage.steward.configure(configured("1.1.1.1:1")));
    CHECK(stage.applied.back() == " 1.1.1.1:1 2.2.2.2:2");
  }
  SUBCASE("before anything else") {}
  SUBCASE("and nobody waits for the loop") {
    stage.steward.settle();
    CHECK(stage.errors.size() == 1);
  }
  tests::turn_until(*stage.loop,
                    [&] { return !stage.errors.empty() && stage.counting.size() == 2; });
  CHECK(stage.errors == std::vector<std::string>{"0 too many"});
  CHECK(stage.counting == std::vector<std::size_t>{0, 1});
  CHECK(stage.bad_tries == 2);  // together, and alone
  CHECK(stage.applied.back() == " 1.1.1.1:1 2.2.2.2:2 3.3.3.3:3");
  CHECK(stage.steward.change(drained("1.1.1.1:1")));
  CHECK(stage.steward.configure(configured("1.1.1.1:1")));
  CHECK(stage.applied.back() == " 1.1.1.1:1d 2.2.2.2:2 3.3.3.3:3");
  CHECK(stage.bad_tries == 2);
}

}  // namespace
}  // namespace ballast::checker
