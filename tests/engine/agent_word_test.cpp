// The word in which what an agent said is kept, and what follows from it.
#include "engine/agent_word.hpp"

#include <doctest/doctest.h>

#include <optional>
#include <vector>

namespace ballast::engine {
namespace {

using shm::Admin;

TEST_CASE("whatever an agent may have said survives the word") {
  CHECK(pack(AgentReport{}) == 0);
  CHECK(unpack_agent(0) == AgentReport{});
  const std::vector<std::optional<bool>> ups{{}, true, false};
  const std::vector<std::optional<Admin>> admins{
      {}, Admin::ready, Admin::drain, Admin::maintenance};
  const std::vector<std::optional<std::uint32_t>> percents{{}, 0, 1, 50, 100};
  const std::vector<std::optional<std::uint32_t>> limits{{}, 0, 1, 30, kMaxAgentInFlight};
  for (const auto& up : ups) {
    for (const auto& admin : admins) {
      for (const auto& percent : percents) {
        for (const auto& limit : limits) {
          const AgentReport report{up, admin, percent, limit};
          CHECK(unpack_agent(pack(report)) == report);
        }
      }
    }
  }
}

TEST_CASE("what the checks said is kept beside it") {
  using shm::Health;
  using shm::Reason;
  const AgentReport down{.up = false, .weight_percent = 100, .max_in_flight = kMaxAgentInFlight};
  shm::State hidden;
  hidden.health = Health::down;
  hidden.reason = Reason::agent_down;
  for (const Checked checks :
       {Checked{Health::up, Reason::passed}, Checked{Health::unknown, Reason::not_checked},
        Checked{Health::down, Reason::agent_down}}) {
    const std::uint64_t word = pack(down) | pack(checks);
    CHECK(unpack_agent(word) == down);
    CHECK(unpack_agent(word & kCheckedBits) == AgentReport{});
    CHECK(checked(hidden, word) == checks);
    CHECK(checked(hidden, word & kCheckedBits) == checks);
  }
  CHECK(checked(hidden, pack(down)) == Checked{Health::down, Reason::agent_down});
  shm::State shown = hidden;
  shown.reason = Reason::timeout;
  CHECK(checked(shown, pack(Checked{Health::up, Reason::passed})) ==
        Checked{Health::down, Reason::timeout});
}

TEST_CASE("a word that nobody stored reads as nothing out of bounds") {
  std::uint64_t word = 0x9e3779b97f4a7c15;
  for (int i = 0; i < 10'000; ++i) {
    word = word * 6364136223846793005U + 1442695040888963407U;
    const AgentReport report = unpack_agent(word);
    CHECK(report.weight_percent.value_or(0) <= kMaxAgentPercent);
    CHECK(report.max_in_flight.value_or(0) <= kMaxAgentInFlight);
    CHECK(static_cast<unsigned>(report.admin.value_or(Admin::ready)) <= 2);
    CHECK(unpack_agent(pack(report)) == report);
  }
}

TEST_CASE("what was said holds until something else is said of it") {
  const AgentReport first{true, Admin::drain, 50, 30};
  CHECK(merged(first, {}) == first);
  CHECK(merged({}, first) == first);
  CHECK(merged(first, {.admin = Admin::ready}) == AgentReport{true, Admin::ready, 50, 30});
  CHECK(merged(first, {.up = false, .weight_percent = 0}) ==
        AgentReport{false, Admin::drain, 0, 30});
}

TEST_CASE("the stricter of configuration and agent decides") {
  CHECK(strictest(Admin::ready, {}) == Admin::ready);
  CHECK(strictest(Admin::drain, {}) == Admin::drain);
  CHECK(strictest(Admin::drain, {.admin = Admin::ready}) == Admin::drain);
  CHECK(strictest(Admin::ready, {.admin = Admin::drain}) == Admin::drain);
  CHECK(strictest(Admin::drain, {.admin = Admin::maintenance}) == Admin::maintenance);
  CHECK(strictest(Admin::maintenance, {.admin = Admin::ready}) == Admin::maintenance);
  CHECK(strictest(Admin::ready, {.weight_percent = 0}) == Admin::drain);
  CHECK(strictest(Admin::ready, {.weight_percent = 1}) == Admin::ready);
  CHECK(strictest(Admin::ready, {.up = false}) == Admin::ready);  // that is health
}

}  // namespace
}  // namespace ballast::engine
