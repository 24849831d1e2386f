// The rendezvous table: what is built and what is updated in place both equal the definition, entry
// for entry; shares, joins, leaves and weights move what they must and nothing else.
#include "engine/rendezvous.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/fleet.hpp"
#include "tests/support/property.hpp"
#include "tests/support/sanitized.hpp"

using namespace ballast::engine;
using ballast::tests::fleet;

namespace {

using Slots = std::vector<std::uint16_t>;
__extension__ using Wide = unsigned __int128;

struct Tables {
  Slots lookup;
  Slots seconds;
  friend bool operator==(const Tables&, const Tables&) = default;
};

Tables tables_of(const RendezvousTable& table) {
  return {{table.lookup().begin(), table.lookup().end()},
          {table.seconds().begin(), table.seconds().end()}};
}

Tables built(const std::vector<Member>& members) {
  RendezvousTable table;
  table.build(members);
  return tables_of(table);
}

// The definition, word for word: every member's length / weight in every entry, lowest first.
Tables plain(std::vector<Member> members) {
  Tables out{Slots(kRendezvousSize, kNoSlot), Slots(kRendezvousSize, kNoSlot)};
  std::erase_if(members, [](const Member& m) { return m.weight == 0; });
  std::sort(members.begin(), members.end(),
            [](const Member& a, const Member& b) { return a.text < b.text; });
  struct Scored {
    std::uint64_t length = 0;
    const Member* member = nullptr;
    [[nodiscard]] bool beats(const Scored& other) const {
      return other.member == nullptr ||
             Wide{length} * other.member->weight < Wide{other.length} * member->weight;
    }
  };
  for (std::uint32_t entry = 0; entry < kRendezvousSize; ++entry) {
    Scored first, second;
    for (const Member& member : members) {
      const Scored next{length_of(rank_lengths(), draw_of(score_key(member.text), entry)), &member};
      if (next.beats(first)) {
        second = std::exchange(first, next);
      } else if (next.beats(second)) {
        second = next;
      }
    }
    if (first.member != nullptr) out.lookup[entry] = first.member->slot;
    if (second.member != nullptr) out.seconds[entry] = second.member->slot;
  }
  return out;
}

std::vector<Member> weighted(std::size_t count, std::uint32_t top) {
  auto members = fleet(count);
  for (std::size_t i = 0; i < count; ++i)
    members[i].weight = static_cast<std::uint32_t>(1 + i * 7919 % top);
  return members;
}

std::vector<double> entries_of(const Slots& slots, std::size_t count) {
  std::vector<double> out(count);
  for (const std::uint16_t slot : slots)
    out[slot] += 1;
  return out;
}

// The slots of all that differ, as pairs (before, after).
std::vector<std::pair<std::uint16_t, std::uint16_t>> moves(const Slots& before,
                                                           const Slots& after) {
  std::vector<std::pair<std::uint16_t, std::uint16_t>> out;
  for (std::size_t i = 0; i < before.size(); ++i) {
    if (before[i] != after[i]) out.emplace_back(before[i], after[i]);
  }
  return out;
}

std::vector<Member> without(std::vector<Member> members, std::size_t leaver) {
  members.erase(members.begin() + static_cast<std::ptrdiff_t>(leaver));
  return members;
}

}  // namespace

TEST_CASE("what is built equals the definition") {
  for (const std::size_t count : {0U, 1U, 2U, 3U, 5U, 12U, 40U}) {
    // The definition scores every member for every entry: the most of a sanitizer's time.
    if (ballast::tests::kSanitized && count > 12) continue;
    for (const std::uint32_t top : {1U, 3U, 1000U}) {
      CAPTURE(count);
      CAPTURE(top);
      const auto members = weighted(count, top);
      CHECK(built(members) == plain(members));
    }
  }
  // Weights as far apart as they go, and one that is left out.
  auto members = fleet(6);
  members[0].weight = 0xffffffff;
  members[1].weight = 0;
  members[2].weight = 0x80000000;
  CHECK(built(members) == plain(members));
}

TEST_CASE("any sequence of updates gives the table of a full build") {
  CHECK(ballast::tests::holds("updates", [] {
    const auto most = *rc::gen::element<std::size_t>(4, 12, 40, 300);
    const auto top = *rc::gen::element(1U, 1U, 3U, 1000U);
    std::vector<Member> pool = fleet(most);
    std::vector<Member> members(pool.begin(), pool.begin() + static_cast<long>(most / 2));
    RendezvousTable table;
    for (int step = 0; step < 5; ++step) {
      // One or a few members change: weight 0 is leaving, another slot is another tenant.
      const auto changes = *rc::gen::element<std::size_t>(1, 1, 2, most);
      for (std::size_t c = 0; c < changes; ++c) {
        Member changed = pool[*rc::gen::inRange<std::size_t>(0, most)];
        std::erase_if(members, [&](const Member& m) { return m.text == changed.text; });
        changed.weight = *rc::gen::inRange(0U, top + 1);
        if (*rc::gen::inRange(0, 4) == 0) {
          changed.slot = static_cast<std::uint16_t>(1000 + *rc::gen::inRange(0, 3));
        }
        std::erase_if(members, [&](const Member& m) { return m.slot == changed.slot; });
        members.insert(members.begin(), changed);
      }
      table.update(members);
      RC_ASSERT(tables_of(table) == built(members));
    }
  }));
}

TEST_CASE("order, slots and history do not matter") {
  auto members = weighted(100, 10);
  const Tables before = built(members);
  std::reverse(members.begin(), members.end());
  CHECK(built(members) == before);
  for (Member& member : members)
    member.slot = static_cast<std::uint16_t>(3 * member.slot + 7);
  const Tables after = built(members);
  bool same = true;
  for (std::size_t i = 0; i < after.lookup.size(); ++i) {
    same &= after.lookup[i] == 3 * before.lookup[i] + 7;
    same &= after.seconds[i] == 3 * before.seconds[i] + 7;
  }
  CHECK(same);
  // Only shares count.
  for (Member& member : members)
    member.weight *= 64;
  CHECK(built(members) == after);
}

TEST_CASE("the table is what it always was") {
  // Fixed for ever, like the hash of a key.
  const auto print_of = [](const Slots& slots) {
    std::string bytes;
    for (const std::uint16_t slot : slots) {
      bytes += static_cast<char>(slot & 0xff);
      bytes += static_cast<char>(slot >> 8);
    }
    return key_hash(bytes);
  };
  CHECK(print_of(built(fleet(100)).lookup) == 0xa944414f766584b5U);
  CHECK(print_of(built(fleet(100)).seconds) == 0x2339fd5f96e8945fU);
  CHECK(print_of(built(weighted(100, 10)).lookup) == 0xbbe12227d0f49f13U);
  CHECK(print_of(built(weighted(100, 10)).seconds) == 0xc1a42da999e46a99U);
}

TEST_CASE("shares follow weights, with half the variance of chance") {
  // Were each entry drawn by itself, chi-square over its degrees of freedom would be 1. Since a
  // member has each rank once, its wins vary half as much; its second places 0.75 times.
  for (const std::size_t count : {10U, 100U, 1000U}) {
    for (const std::uint32_t top : {1U, 10U}) {
      CAPTURE(count);
      CAPTURE(top);
      const auto members = weighted(count, top);
      const Tables table = built(members);
      const auto entries = entries_of(table.lookup, count);
      double sum = 0;
      for (const Member& member : members)
        sum += member.weight;
      double chi = 0;
      for (const Member& member : members) {
        const double due = kRendezvousSize * member.weight / sum;
        chi += (entries[member.slot] - due) * (entries[member.slot] - due) / due;
      }
      const double freedom = static_cast<double>(count) - 1;
      CHECK(chi / freedom < 0.6 + 3 * std::sqrt(2 / freedom));
      CHECK(chi / freedom > 0.4 - 3 * std::sqrt(2 / freedom));
    }
  }
}

TEST_CASE("the entries of one go to all others by their shares when it fails") {
  const auto members = weighted(10, 4);
  const Tables table = built(members);
  for (const Member& failed : members) {
    std::vector<double> gained(members.size());
    double all = 0;
    for (std::size_t i = 0; i < table.lookup.size(); ++i) {
      if (table.lookup[i] != failed.slot) continue;
      gained[table.seconds[i]] += 1;
      all += 1;
    }
    double rest = 0;
    for (const Member& member : members)
      rest += member.slot == failed.slot ? 0 : member.weight;
    double chi = 0;
    for (const Member& member : members) {
      if (member.slot == failed.slot) continue;
      const double due = all * member.weight / rest;
      chi += (gained[member.slot] - due) * (gained[member.slot] - due) / due;
    }
    CHECK(chi < 30);  // 8 degrees of freedom: 1 in 5000 is above
  }
}

TEST_CASE("a join moves entries only to the one that joins, its share of them") {
  for (const std::size_t count : {10U, 100U, 1000U}) {
    const auto members = fleet(count);
    RendezvousTable table;
    table.build(members);
    const Tables before = tables_of(table);
    double moved = 0;
    bool only_to_it = true;
    for (int join = 0; join < 100; ++join) {
      const auto slot = static_cast<std::uint16_t>(count);
      auto more = members;
      more.push_back({slot, "10.9.0." + std::to_string(join) + ":80", 1});
      table.update(more);
      REQUIRE_FALSE(table.rebuilt());
      CHECK(table.scores() <= kRendezvousSize);
      for (const auto& [from, to] : moves(before.lookup, tables_of(table).lookup)) {
        only_to_it &= to == slot;
        moved += 1;
      }
      table.update(members);
    }
    CHECK(only_to_it);
    CHECK(tables_of(table) == before);
    const double ideal = kRendezvousSize / static_cast<double>(count + 1);
    MESSAGE(count << " members: the mean join moves " << moved / 100 / ideal
                  << " times the newcomer's share");
    CHECK(moved / 100 / ideal == doctest::Approx(1).epsilon(0.02));
  }
}

TEST_CASE("a leave moves its own entries, and those as its failure had moved them") {
  for (const std::uint32_t top : {1U, 10U}) {
    const auto members = weighted(100, top);
    RendezvousTable table;
    table.build(members);
    const Tables before = tables_of(table);
    for (std::size_t leaver = 0; leaver < members.size(); leaver += 9) {
      const std::uint16_t slot = members[leaver].slot;
      Slots failed = before.lookup;
      std::uint64_t touched = 0;
      for (std::size_t i = 0; i < failed.size(); ++i) {
        if (failed[i] == slot) failed[i] = before.seconds[i];
        touched += before.lookup[i] == slot || before.seconds[i] == slot ? 1 : 0;
      }
      table.update(without(members, leaver));
      REQUIRE_FALSE(table.rebuilt());
      CHECK(tables_of(table).lookup == failed);
      CHECK(table.scores() == touched * (members.size() - 1));
      table.update(members);
      CHECK(tables_of(table) == before);
    }
  }
}

TEST_CASE("a changed weight moves the least that the new share asks for") {
  const auto members = weighted(50, 10);
  RendezvousTable table;
  table.build(members);
  const Tables before = tables_of(table);
  double sum = 0;
  for (const Member& member : members)
    sum += member.weight;
  for (const std::size_t changed : {0U, 7U, 23U, 49U}) {
    const std::uint16_t slot = members[changed].slot;
    const std::uint32_t old = members[changed].weight;
    for (const std::uint32_t weight : {old + 1, 3 * old, old > 1 ? old / 2 : 2}) {
      auto other = members;
      other[changed].weight = weight;
      table.update(other);
      REQUIRE_FALSE(table.rebuilt());
      const Tables after = tables_of(table);
      CHECK(after == built(other));
      const auto moved = moves(before.lookup, after.lookup);
      const bool one_way = std::all_of(moved.begin(), moved.end(), [&](const auto& move) {
        return weight > old ? move.second == slot : move.first == slot;
      });
      CHECK(one_way);
      const double share = weight / (sum - old + weight) - old / sum;
      const double asked = std::abs(share) * kRendezvousSize;
      CHECK(std::abs(static_cast<double>(moved.size()) - asked) < 4 * std::sqrt(asked));
      table.update(members);
      CHECK(tables_of(table) == before);
    }
  }
}

TEST_CASE("a thousand members are updated by few scores") {
  auto members = fleet(1000);
  RendezvousTable table;
  table.build(members);
  CHECK(table.scores() < 1'000'000);  // of 65.5 million
  auto more = members;
  more.push_back({1000, "10.9.9.9:80", 1});
  table.update(more);
  CHECK_FALSE(table.rebuilt());
  CHECK(table.scores() < 2000);
  table.update(more);
  CHECK(table.scores() == 0);
}
