// Prints the tables of docs/placement.md: how even the placements are, how much a change moves, and
// what building them costs. Deterministic but for the times. `build/bench/engine/placement_report`.
#include <time.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "engine/ketama.hpp"
#include "engine/maglev.hpp"
#include "engine/placement.hpp"
#include "engine/rendezvous.hpp"
#include "engine/round_robin.hpp"
#include "tests/support/plain_maglev.hpp"

namespace {

using namespace ballast::engine;

std::vector<Member> fleet(std::size_t count, std::uint32_t top_weight = 1) {
  std::vector<Member> members;
  for (std::uint32_t i = 0; i < count; ++i) {
    members.push_back(
        {static_cast<std::uint16_t>(i),
         "10.0." + std::to_string(i / 250) + "." + std::to_string(i % 250 + 1) + ":80",
         1 + i * 7919 % top_weight});
  }
  return members;
}

std::vector<Member> without(std::vector<Member> members, std::size_t leaver) {
  members.erase(members.begin() + static_cast<std::ptrdiff_t>(leaver));
  return members;
}

enum class Way { maglev, rendezvous, ketama };
constexpr Way kWays[] = {Way::maglev, Way::rendezvous, Way::ketama};

const char* name_of(Way way) {
  return way == Way::maglev ? "maglev" : way == Way::rendezvous ? "rendezvous" : "ketama";
}

// Whom each entry of the table, or each of 2^20 evenly spaced hashes, goes to.
std::vector<std::uint16_t> owners(Way way, const std::vector<Member>& members) {
  std::vector<std::uint16_t> out(kDefaultMaglevSize);
  if (way == Way::maglev) {
    static_cast<void>(maglev_fill(members, out));
    return out;
  }
  if (way == Way::rendezvous) {
    RendezvousTable table;
    table.build(members);
    return {table.lookup().begin(), table.lookup().end()};
  }
  const KetamaRing ring = build_ketama(members).value_or(KetamaRing{});
  out.resize(std::size_t{1} << 20);
  for (std::size_t i = 0; i < out.size(); ++i) {
    const auto hash = static_cast<std::uint32_t>((i << 12) + 2048);
    out[i] = ring.slots[find_ketama(ring.points, ring.index, hash)];
  }
  return out;
}

// With how many others the keys of `failed` are shared out while it is unusable: 1 over the chance
// that two of its keys go to the same one. With Maglev a key goes on by its own hash, so the shares
// are those of the others' entries.
double takers(Way way, const std::vector<std::uint16_t>& before,
              const std::vector<std::uint16_t>& without_it, std::uint16_t failed,
              std::size_t count) {
  std::vector<double> gained(count);
  double sum = 0;
  for (std::size_t i = 0; i < before.size(); ++i) {
    if ((before[i] == failed) == (way == Way::maglev)) continue;
    gained[way == Way::maglev ? before[i] : without_it[i]] += 1;
    sum += 1;
  }
  double alike = 0;
  for (const double g : gained)
    alike += g * (way == Way::ketama ? g - 1 : g) / sum / (way == Way::ketama ? sum - 1 : sum);
  return 1 / alike;
}

void report_quality() {
  std::printf(
      "| members | weights | | share / due, lowest | highest | deviation | one joins: moved / its "
      "share, mean | one leaves: moved / its share, mean | worst | one fails: shared by |\n"
      "|---|---|---|---|---|---|---|---|---|---|\n");
  for (const std::uint32_t top : {1U, 10U}) {
    for (const std::size_t count : {10U, 100U, 1000U}) {
      for (const Way way : kWays) {
        const auto members = fleet(count, top);
        const auto before = owners(way, members);
        std::vector<double> entries(count, 0);
        for (std::uint16_t slot : before)
          entries[slot] += 1;
        double sum = 0;
        for (const Member& m : members)
          sum += m.weight;
        double low = 1e9;
        double high = 0;
        double square = 0;
        for (const Member& m : members) {
          const double share =
              entries[m.slot] / (static_cast<double>(before.size()) * m.weight / sum);
          low = std::min(low, share);
          high = std::max(high, share);
          square += (share - 1) * (share - 1) / static_cast<double>(count);
        }
        double left = 0;
        double worst = 0;
        double joined = 0;
        double shared = 0;
        const std::size_t tries = std::min<std::size_t>(count, 50);
        for (std::size_t t = 0; t < tries; ++t) {
          const std::size_t leaver = t * count / tries;
          const auto after = owners(way, without(members, leaver));
          double moved = 0;
          for (std::size_t i = 0; i < after.size(); ++i)
            moved += before[i] != after[i] ? 1 : 0;
          left += moved / entries[leaver] / static_cast<double>(tries);
          worst = std::max(worst, moved / entries[leaver]);
          // The other way round it is a join, measured against what is due to the newcomer.
          joined += moved / (static_cast<double>(before.size()) * members[leaver].weight / sum) /
                    static_cast<double>(tries);
          shared +=
              takers(way, before, after, members[leaver].slot, count) / static_cast<double>(tries);
        }
        std::printf("| %zu | %s | %s | %.3f | %.3f | %.1f %% | %.2f | %.2f | %.2f | %.*f |\n",
                    count, top == 1 ? "1" : "1..10", name_of(way), low, high,
                    100 * std::sqrt(square), joined, left, worst, count == 10 ? 1 : 0, shared);
      }
    }
  }
}

// Of this thread, so that a busy machine does not show.
double cpu_ms() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) / 1e6;
}

template <class Build>
double median_ms(Build&& build) {
  std::vector<double> times;
  for (int i = 0; i < 51; ++i) {
    const double from = cpu_ms();
    build();
    times.push_back(cpu_ms() - from);
  }
  std::nth_element(times.begin(), times.begin() + 25, times.end());
  return times[25];
}

void report_times() {
  std::printf(
      "| members | weights | Maglev, plain | Maglev | rendezvous | one joins | one leaves | ketama "
      "| round robin |\n|---|---|---|---|---|---|---|---|---|\n");
  for (const std::uint32_t top : {1U, 10U}) {
    for (const std::size_t count : {10U, 100U, 1000U}) {
      const auto members = fleet(count, top);
      const auto fewer = without(members, count / 2);
      std::vector<std::uint16_t> table(kDefaultMaglevSize);
      RendezvousTable winners;
      const double plain = median_ms([&] { ballast::tests::plain_maglev(members, table); });
      const double maglev = median_ms([&] { static_cast<void>(maglev_fill(members, table)); });
      const double rendezvous = median_ms([&] { winners.build(members); });
      std::vector<double> joins;
      std::vector<double> leaves;
      for (int i = 0; i < 51; ++i) {
        const double from = cpu_ms();
        winners.update(fewer);
        const double between = cpu_ms();
        winners.update(members);
        joins.push_back(cpu_ms() - between);
        leaves.push_back(between - from);
      }
      std::nth_element(joins.begin(), joins.begin() + 25, joins.end());
      std::nth_element(leaves.begin(), leaves.begin() + 25, leaves.end());
      const double ketama = median_ms([&] { static_cast<void>(build_ketama(members)); });
      const double order = median_ms([&] { static_cast<void>(round_robin_schedule(members)); });
      std::printf(
          "| %zu | %s | %.2f ms | %.2f ms | %.2f ms | %.3f ms | %.3f ms | %.2f ms | %.3f ms |\n",
          count, top == 1 ? "1" : "1..10", plain, maglev, rendezvous, joins[25], leaves[25], ketama,
          order);
    }
  }
}

void report_memory() {
  std::printf("| members | weights | maglev | rendezvous | ketama |\n|---|---|---|---|---|\n");
  for (const std::uint32_t top : {1U, 10U}) {
    for (const std::size_t count : {10U, 100U, 1000U}) {
      const auto kib = [&](Strategy strategy) {
        const Placement placement =
            build_placement(strategy, fleet(count, top)).value_or(Placement{});
        return static_cast<double>(buffer_bytes({&placement, 1})) / 1024;
      };
      std::printf("| %zu | %s | %.0f KiB | %.0f KiB | %.0f KiB |\n", count,
                  top == 1 ? "1" : "1..10", kib(Strategy::maglev), kib(Strategy::rendezvous),
                  kib(Strategy::ketama));
    }
  }
}

}  // namespace

int main() {
  std::printf("consistent hashing, three ways\n\n");
  report_quality();
  std::printf("\nbuilding, processor time, median of 51\n\n");
  report_times();
  std::printf("\none buffer of a published generation\n\n");
  report_memory();
}
