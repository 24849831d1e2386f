// Each strategy fills the arrays that a pick expects, and the size estimate is never too small.
#include "engine/placement.hpp"

#include <doctest/doctest.h>

#include <string>
#include <utility>
#include <vector>

#include "engine/ketama.hpp"
#include "engine/maglev.hpp"
#include "engine/rendezvous.hpp"
#include "engine/round_robin.hpp"

using namespace ballast::engine;
using ballast::shm::LookupKind;

namespace {

std::vector<Member> fleet(std::size_t count, std::uint32_t top_weight) {
  std::vector<Member> members;
  for (std::uint32_t i = 0; i < count; ++i) {
    members.push_back({static_cast<std::uint16_t>(count - i), "10.0.0." + std::to_string(i) + ":80",
                       i % top_weight + 1});
  }
  return members;
}

}  // namespace

TEST_CASE("each strategy fills its own arrays") {
  const auto members = fleet(5, 3);
  const Placement table = build_placement(Strategy::maglev, members).value();
  CHECK(table.kind == LookupKind::table);
  CHECK(table.lookup.size() == kDefaultMaglevSize);
  CHECK(table.members == std::vector<std::uint16_t>{1, 2, 3, 4, 5});

  const Placement ring = build_placement(Strategy::ketama, members).value();
  CHECK(ring.kind == LookupKind::ring);
  CHECK(ring.lookup.size() == 160 * 9);
  CHECK(ring.points.size() == ring.lookup.size());
  CHECK(ring.index.size() == 2048);

  const Placement winners = build_placement(Strategy::rendezvous, members).value();
  CHECK(winners.kind == LookupKind::table);
  CHECK(winners.lookup.size() == kRendezvousSize);
  CHECK(winners.seconds.size() == kRendezvousSize);
  CHECK(build_placement(Strategy::rendezvous, fleet(1, 1)).value().seconds.empty());

  const Placement schedule = build_placement(Strategy::round_robin, members).value();
  CHECK(schedule.kind == LookupKind::schedule);
  CHECK(schedule.lookup == round_robin_schedule(members));
}

TEST_CASE("nothing to place") {
  for (Strategy s :
       {Strategy::maglev, Strategy::ketama, Strategy::rendezvous, Strategy::round_robin}) {
    CHECK(build_placement(s, {}).value().kind == LookupKind::none);
    CHECK(build_placement(s, {{3, "10.0.0.1:80", 0}}).value().kind == LookupKind::none);
  }
  CHECK_FALSE(build_placement(Strategy::ketama, {{3, "10.0.0.1:80", 200000}}).has_value());
}

TEST_CASE("the estimate holds every placement") {
  for (Strategy s :
       {Strategy::maglev, Strategy::ketama, Strategy::rendezvous, Strategy::round_robin}) {
    for (std::size_t count : {1U, 2U, 5U, 13U, 100U, 1000U}) {
      for (std::uint32_t top : {1U, 3U, 100U}) {
        const auto members = fleet(count, top);
        std::uint64_t weights = 0;
        for (const Member& m : members)
          weights += m.weight;
        if (s == Strategy::ketama && weights * 160 > kMaxKetamaPoints) continue;
        const Placement placement = build_placement(s, members).value();
        CHECK(buffer_bytes({&placement, 1}) <= estimate_buffer_bytes(s, count, weights));
      }
    }
  }
}
