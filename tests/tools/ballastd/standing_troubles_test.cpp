// What lasts is told when it begins and when it is over, not each time that it is looked at.
#include "tools/ballastd/standing_troubles.hpp"

#include <doctest/doctest.h>
#include <sys/resource.h>

#include <string>
#include <vector>

#include "engine/checker/probing/command_probe.hpp"

namespace checker = ballast::checker;
using ballast::tools::StandingTroubles;

namespace {

struct Told {
  std::vector<std::string> names;
  std::vector<checker::Level> levels;
  StandingTroubles troubles{[this](const checker::Event& event) {
    names.emplace_back(event.name);
    levels.push_back(event.level);
  }};
};

}  // namespace

TEST_CASE("commands that no signal ends: some, all, some again, none") {
  Told told;
  for (const std::size_t stuck :
       {std::size_t{0}, std::size_t{1}, std::size_t{2}, checker::kMaxCommands,
        checker::kMaxCommands, checker::kMaxCommands - 1, std::size_t{3}, std::size_t{0},
        std::size_t{0}}) {
    told.troubles.look_at_commands(stuck);
  }
  using Level = checker::Level;
  CHECK(told.names == std::vector<std::string>{"commands_stuck", "commands_stuck", "commands_stuck",
                                               "commands_ended"});
  CHECK(told.levels ==
        std::vector<Level>{Level::warning, Level::error, Level::warning, Level::info});
}

TEST_CASE("more instances than there may be descriptors, until they fit again") {
  rlimit before{};
  REQUIRE(getrlimit(RLIMIT_NOFILE, &before) == 0);
  rlimit few = before;
  few.rlim_cur = 200;
  checker::Settings settings;
  settings.services.emplace_back();
  settings.services[0].name = "web";
  settings.services[0].instances.resize(1'000);
  checker::Settings small = settings;
  small.services[0].instances.resize(1);
  Told told;
  REQUIRE(setrlimit(RLIMIT_NOFILE, &few) == 0);
  for (const checker::Settings* one : {&small, &settings, &settings, &small, &settings})
    told.troubles.look_at_size(*one);
  REQUIRE(setrlimit(RLIMIT_NOFILE, &before) == 0);
  CHECK(told.names == std::vector<std::string>{"limit_exceeded", "limit_exceeded"});
}
