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

// Whom each of 2^20 evenly spaced hashes, or each entry of the table, goes to.
std::vector<std::uint16_t> owners(bool ketama, const std::vector<Member>& members) {
  std::vector<std::uint16_t> out(kDefaultMaglevSize);
  if (!ketama) {
    static_cast<void>(maglev_fill(members, out));
    return out;
  }
  const KetamaRing ring = build_ketama(members).value_or(KetamaRing{});
  out.resize(std::size_t{1} << 20);
  for (std::size_t i = 0; i < out.size(); ++i) {
    const auto hash = static_cast<std::uint32_t>((i << 12) + 2048);
    out[i] = ring.slots[find_ketama(ring.points, ring.index, hash)];
  }
  return out;
}

void report_quality(bool ketama) {
  std::printf(
      "| members | weights | share / due, lowest | highest | one leaves: moved / its share, "
      "mean | worst |\n|---|---|---|---|---|---|\n");
  for (const std::uint32_t top : {1U, 10U}) {
    for (const std::size_t count : {10U, 100U, 1000U}) {
      const auto members = fleet(count, top);
      const auto before = owners(ketama, members);
      std::vector<double> entries(count, 0);
      for (std::uint16_t slot : before)
        entries[slot] += 1;
      double sum = 0;
      for (const Member& m : members)
        sum += m.weight;
      double low = 1e9;
      double high = 0;
      for (const Member& m : members) {
        const double due = static_cast<double>(before.size()) * m.weight / sum;
        low = std::min(low, entries[m.slot] / due);
        high = std::max(high, entries[m.slot] / due);
      }
      double mean = 0;
      double worst = 0;
      const std::size_t tries = std::min<std::size_t>(count, 50);
      for (std::size_t t = 0; t < tries; ++t) {
        const std::size_t leaver = t * count / tries;
        const auto after = owners(ketama, without(members, leaver));
        double moved = 0;
        for (std::size_t i = 0; i < after.size(); ++i)
          moved += before[i] != after[i] ? 1 : 0;
        moved /= entries[leaver];
        mean += moved / static_cast<double>(tries);
        worst = std::max(worst, moved);
      }
      std::printf("| %zu | %s | %.3f | %.3f | %.2f | %.2f |\n", count, top == 1 ? "1" : "1..10",
                  low, high, mean, worst);
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
      "| members | weights | Maglev, plain | Maglev | ketama | round robin |\n"
      "|---|---|---|---|---|---|\n");
  for (const std::uint32_t top : {1U, 10U}) {
    for (const std::size_t count : {10U, 100U, 1000U}) {
      const auto members = fleet(count, top);
      std::vector<std::uint16_t> table(kDefaultMaglevSize);
      const double plain = median_ms([&] { ballast::tests::plain_maglev(members, table); });
      const double maglev = median_ms([&] { static_cast<void>(maglev_fill(members, table)); });
      const double ketama = median_ms([&] { static_cast<void>(build_ketama(members)); });
      const double order = median_ms([&] { static_cast<void>(round_robin_schedule(members)); });
      std::printf("| %zu | %s | %.2f ms | %.2f ms | %.2f ms | %.3f ms |\n", count,
                  top == 1 ? "1" : "1..10", plain, maglev, ketama, order);
    }
  }
}

}  // namespace

int main() {
  std::printf("Maglev, %u entries\n\n", kDefaultMaglevSize);
  report_quality(false);
  std::printf("\nketama\n\n");
  report_quality(true);
  std::printf("\nbuilding, processor time, median of 51\n\n");
  report_times();
}
