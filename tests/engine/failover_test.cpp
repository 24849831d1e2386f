// Through the library: when an instance becomes unusable its own keys move and no other, and they
// go to all others evenly; when it is removed afterwards a rendezvous table moves none of them
// again.
#include <ballast.h>
#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <vector>

#include "tests/support/attached.hpp"
#include "tests/support/published.hpp"

using namespace ballast;
using engine::Strategy;
using tests::Attached;
using tests::Published;

namespace {

constexpr int kInstances = 10;
constexpr std::size_t kKeys = 200'000;

std::vector<std::uint32_t> places(const Attached& worker) {
  std::vector<std::uint32_t> out;
  for (std::size_t i = 0; i < kKeys; ++i) {
    ballast_pick_t pick = BALLAST_PICK_INIT;
    REQUIRE(worker.pick("user:" + std::to_string(i), pick) == BALLAST_OK);
    ballast_report(worker.handle, &pick, BALLAST_SUCCESS, -1);
    out.push_back(pick.slot);
  }
  return out;
}

// `variance` is that of one's share of the keys, beside what counting keys adds.
void check_failures(Strategy strategy, double variance) {
  Published published(tests::settings_of({tests::service_of("web", strategy, kInstances)}));
  const Attached worker(published.directory());
  const auto before = places(worker);
  for (const std::size_t failing : {0U, 4U, 9U}) {
    const std::uint32_t slot = published.find(0, failing).slot;
    published.set_usable(0, failing, false);
    const auto during = places(worker);
    std::size_t others = 0;
    std::vector<double> gained(kInstances);
    double displaced = 0;
    for (std::size_t i = 0; i < kKeys; ++i) {
      if (before[i] != slot) {
        others += during[i] != before[i] ? 1 : 0;
        continue;
      }
      gained[during[i]] += 1;
      displaced += 1;
    }
    CHECK(others == 0);
    CHECK(gained[slot] == 0);
    const double even = displaced / (kInstances - 1);
    const double chance = std::sqrt(even + variance * even * even);
    for (std::uint32_t other = 0; other < kInstances; ++other) {
      if (other != slot) CHECK(std::abs(gained[other] - even) <= 0.1 * even + 3.5 * chance);
    }
    published.set_usable(0, failing, true);
    CHECK(places(worker) == before);
  }
}

}  // namespace

TEST_CASE("Maglev: an unusable instance moves its own keys only, evenly") {
  check_failures(Strategy::maglev, 0);
}

TEST_CASE("ketama: an unusable instance moves its own keys only, as evenly as its points lie") {
  // Its 160 arcs, of lengths that vary as much as their mean, fall to nine others by chance.
  check_failures(Strategy::ketama, 2 * (kInstances - 1) / 160.0);
}

TEST_CASE("rendezvous: an unusable instance moves its own keys only, evenly") {
  // Its 6554 entries fall to nine others by chance.
  check_failures(Strategy::rendezvous, (kInstances - 1) / 6554.0);
}

TEST_CASE("rendezvous: removing an unusable instance moves no key again") {
  auto settings = tests::settings_of({tests::service_of("web", Strategy::rendezvous, kInstances)});
  Published published(settings);
  const Attached worker(published.directory());
  const auto at_first = places(worker);
  published.set_usable(0, 3, false);
  const auto before = places(worker);
  const auto complete = settings;
  settings.services[0].instances.erase(settings.services[0].instances.begin() + 3);
  published.apply(settings);
  CHECK(places(worker) == before);
  // It comes back (to its slot, which still cools) and so do its keys: the table is updated in
  // place at both reloads.
  published.apply(complete);
  CHECK(places(worker) == at_first);
}
