// What a change of membership moves in a rendezvous table: keys of others (none), and how many keys
// against the newcomer's share. Counted, not timed: the figures are the same on every machine. Each
// entry of a table stands for the keys that fall into it. Maglev and ketama stand beside it for
// information.
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "bench/engine/cases.hpp"
#include "engine/ketama.hpp"
#include "engine/maglev.hpp"
#include "engine/rendezvous.hpp"

namespace ballast::bench {

namespace {

using engine::Member;
using Slots = std::vector<std::uint16_t>;

constexpr int kJoins = 100;

std::vector<Member> fleet(std::size_t count) {
  std::vector<Member> members;
  for (std::size_t i = 0; i < count; ++i) {
    members.push_back(
        {static_cast<std::uint16_t>(i),
         "10.0." + std::to_string(i / 250) + "." + std::to_string(i % 250 + 1) + ":80", 1});
  }
  return members;
}

std::vector<Member> with_newcomer(std::vector<Member> members, int number) {
  members.push_back(
      {static_cast<std::uint16_t>(members.size()), "10.9.0." + std::to_string(number) + ":80", 1});
  return members;
}

Slots rendezvous(const std::vector<Member>& members) {
  static engine::RendezvousTable table;  // as the checker does: from what it was
  table.update(members);
  return {table.lookup().begin(), table.lookup().end()};
}

Slots maglev(const std::vector<Member>& members) {
  Slots out(engine::kDefaultMaglevSize);
  static_cast<void>(engine::maglev_fill(members, out));
  return out;
}

Slots ketama(const std::vector<Member>& members) {
  const auto ring = engine::build_ketama(members).value_or(engine::KetamaRing{});
  Slots out(std::size_t{1} << 20);
  for (std::size_t i = 0; i < out.size(); ++i) {
    const auto hash = static_cast<std::uint32_t>((i << 12) + 2048);
    out[i] = ring.slots[engine::find_ketama(ring.points, ring.index, hash)];
  }
  return out;
}

template <class Counts>
std::size_t count_moves(const Slots& before, const Slots& after, Counts&& counts) {
  std::size_t moved = 0;
  for (std::size_t i = 0; i < before.size(); ++i) {
    moved += before[i] != after[i] && counts(before[i], after[i]) ? 1 : 0;
  }
  return moved;
}

void add(Rows& rows, std::string id, const std::vector<double>& values, const char* unit) {
  rows.add({std::move(id), spread_of(values), unit, Better::lower, {}});
}

std::string per(const char* id, const char* what, std::size_t count) {
  return std::string(id) + "/" + what + "n" + std::to_string(count);
}

// Entries that went from one to another though neither joined, left, failed or changed its weight.
void add_other_keys_moved(Rows& rows) {
  const char* id = "disruption.other_keys_moved";
  for (const std::size_t count : {10U, 100U, 1000U}) {
    const auto members = fleet(count);
    engine::RendezvousTable table;
    table.build(members);
    const Slots before(table.lookup().begin(), table.lookup().end());
    const Slots seconds(table.seconds().begin(), table.seconds().end());
    std::vector<double> join, leave, failed, weight;
    for (int number = 0; number < kJoins; ++number) {
      const auto newcomer = static_cast<std::uint16_t>(count);
      join.push_back(static_cast<double>(
          count_moves(before, rendezvous(with_newcomer(members, number)),
                      [&](std::uint16_t, std::uint16_t to) { return to != newcomer; })));
    }
    for (std::size_t slot = 0; slot < count; slot += count / 10) {
      auto rest = members;
      rest.erase(rest.begin() + static_cast<std::ptrdiff_t>(slot));
      const Slots after = rendezvous(rest);
      leave.push_back(static_cast<double>(count_moves(
          before, after, [&](std::uint16_t from, std::uint16_t) { return from != slot; })));
      // Its failure has sent its entries to their seconds; now it is removed, too.
      Slots since_failure = before;
      for (std::size_t i = 0; i < before.size(); ++i) {
        if (before[i] == slot) since_failure[i] = seconds[i];
      }
      failed.push_back(static_cast<double>(
          count_moves(since_failure, after, [](std::uint16_t, std::uint16_t) { return true; })));
      auto heavier = members;
      heavier[slot].weight = 2;
      weight.push_back(static_cast<double>(
          count_moves(before, rendezvous(heavier),
                      [&](std::uint16_t, std::uint16_t to) { return to != slot; })));
    }
    add(rows, per(id, "join/", count), join, "entries");
    add(rows, per(id, "leave/", count), leave, "entries");
    add(rows, per(id, "removed_after_failure/", count), failed, "entries");
    add(rows, per(id, "weight/", count), weight, "entries");
  }
  rows.add_worst(id, Better::lower, Goal{"0 entries", 0});
}

// What a join moves over the share that is due to the newcomer: the mean of kJoins newcomers.
double added_over_ideal(Slots (*place)(const std::vector<Member>&), std::size_t count) {
  const auto members = fleet(count);
  const Slots before = place(members);
  double moved = 0;
  for (int number = 0; number < kJoins; ++number) {
    moved += static_cast<double>(count_moves(before, place(with_newcomer(members, number)),
                                             [](std::uint16_t, std::uint16_t) { return true; }));
  }
  return moved / kJoins / (static_cast<double>(before.size()) / static_cast<double>(count + 1));
}

void add_added_over_ideal(Rows& rows) {
  const char* id = "disruption.added_over_ideal";
  for (const std::size_t count : {10U, 100U, 1000U})
    add(rows, per(id, "", count), {added_over_ideal(rendezvous, count)}, "x");
  rows.add_worst(id, Better::lower, Goal{"<= 1.02x", 1.02});
  for (const std::size_t count : {10U, 100U, 1000U}) {
    add(rows, per("disruption.maglev_added_over_ideal", "", count),
        {added_over_ideal(maglev, count)}, "x");
    add(rows, per("disruption.ketama_added_over_ideal", "", count),
        {added_over_ideal(ketama, count)}, "x");
  }
}

}  // namespace

void add_disruption_cases(Suite& suite) {
  suite.add("disruption.other_keys_moved", add_other_keys_moved);
  suite.add("disruption.added_over_ideal", add_added_over_ideal);
}

}  // namespace ballast::bench
