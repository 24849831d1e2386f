// The pick on tables in plain memory: which keys move and which stay, that a usable instance is
// always found, and that no table, however damaged, leads outside of it.
#include "engine/pick.hpp"

#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "engine/ketama.hpp"
#include "shm/state_word.hpp"
#include "tests/support/plain_service.hpp"
#include "tests/support/property.hpp"

using namespace ballast;
using namespace ballast::engine;

namespace {

Strategy strategy_for(shm::LookupKind kind) {
  switch (kind) {
    case shm::LookupKind::ring:
      return Strategy::ketama;
    case shm::LookupKind::schedule:
      return Strategy::round_robin;
    default:
      return Strategy::maglev;
  }
}

// `count` instances of equal weight, and who picks among them.
struct Memory : tests::PlainService {
  Memory(shm::LookupKind kind, std::size_t count)
      : PlainService({.strategy = strategy_for(kind)}, std::vector<std::uint32_t>(count, 1)),
        picker(*this) {}

  void set_usable(std::size_t slot, bool usable) { set(slot, usable); }
  Choice pick(std::uint64_t hash, std::span<const Excluded> excluded = {}) {
    return picker.pick({.hash = hash, .excluded = excluded, .is_retry = !excluded.empty()});
  }

  tests::PlainPicker picker;
};

std::uint64_t hash_for(shm::LookupKind kind, const std::string& key) {
  return kind == shm::LookupKind::ring ? ketama_hash(key) : key_hash(key);
}

shm::LookupKind any_hashing_kind() {
  return *rc::gen::element(shm::LookupKind::table, shm::LookupKind::ring);
}

}  // namespace

TEST_CASE("only keys of an unusable instance move") {
  CHECK(tests::holds("only keys of an unusable instance move", [] {
    const auto kind = any_hashing_kind();
    const auto count = *rc::gen::inRange<std::size_t>(1, 30);
    Memory memory(kind, count);
    const auto down =
        *rc::gen::container<std::set<std::size_t>>(rc::gen::inRange<std::size_t>(0, count));
    std::vector<std::uint32_t> before;
    for (int k = 0; k < 200; ++k) {
      const Choice choice = memory.pick(hash_for(kind, "key" + std::to_string(k)));
      RC_ASSERT(choice.result == PickResult::ok);
      RC_ASSERT(choice.because == Because::first_choice);
      before.push_back(choice.slot);
    }
    for (const std::size_t slot : down)
      memory.set_usable(slot, false);
    for (int k = 0; k < 200; ++k) {
      const Choice choice = memory.pick(hash_for(kind, "key" + std::to_string(k)));
      const std::uint32_t was = before[static_cast<std::size_t>(k)];
      if (down.size() == count) {
        RC_ASSERT(choice.result == PickResult::no_instance);
      } else if (down.contains(was)) {
        RC_ASSERT(choice.result == PickResult::ok);
        RC_ASSERT(!down.contains(choice.slot));
        RC_ASSERT(choice.because == Because::unusable);
        RC_ASSERT(choice.attempts > 1);
      } else {
        RC_ASSERT(choice.slot == was);
        RC_ASSERT(choice.attempts == 1);
      }
    }
  }));
}

TEST_CASE("a usable instance that is not excluded is found, whatever else is wrong") {
  CHECK(tests::holds("a usable instance is found", [] {
    const auto kind =
        *rc::gen::element(shm::LookupKind::table, shm::LookupKind::ring, shm::LookupKind::schedule);
    const auto count = *rc::gen::inRange<std::size_t>(1, 300);
    Memory memory(kind, count);
    for (std::size_t i = 0; i < count; ++i)
      memory.set_usable(i, false);
    const auto up = *rc::gen::container<std::set<std::size_t>>(
        *rc::gen::inRange<std::size_t>(0, std::min<std::size_t>(count, 4)),
        rc::gen::inRange<std::size_t>(0, count));
    std::vector<Excluded> excluded;
    std::set<std::uint32_t> good;
    for (const std::size_t slot : up) {
      memory.set_usable(slot, true);
      const auto number = static_cast<std::uint32_t>(slot);
      if (*rc::gen::arbitrary<bool>()) {
        excluded.push_back({number, 7});
      } else {
        good.insert(number);
        // Another tenant of a slot is not meant.
        if (*rc::gen::arbitrary<bool>()) excluded.push_back({number, 6});
      }
    }
    const Choice choice = memory.pick(*rc::gen::arbitrary<std::uint64_t>(), excluded);
    if (good.empty()) {
      RC_ASSERT(choice.result == PickResult::no_instance);
    } else {
      RC_ASSERT(choice.result == PickResult::ok);
      RC_ASSERT(good.contains(choice.slot));
    }
  }));
}

TEST_CASE("keys of an unusable instance spread evenly over the others") {
  Memory memory(shm::LookupKind::table, 10);
  memory.set_usable(3, false);
  memory.set_usable(4, false);
  std::map<std::uint32_t, int> moved;
  int total = 0;
  for (int k = 0; k < 100000; ++k) {
    const Choice choice = memory.pick(key_hash("key" + std::to_string(k)));
    if (choice.because == Because::first_choice) continue;
    ++moved[choice.slot];
    ++total;
  }
  CHECK(total > 18000);
  CHECK(moved.size() == 8);
  for (const auto& [slot, count] : moved)
    CHECK(count == doctest::Approx(total / 8.0).epsilon(0.1));
}

TEST_CASE("a round robin is one order for all who share its tickets") {
  Memory memory(shm::LookupKind::schedule, 5);
  std::array workers{tests::PlainPicker(memory), tests::PlainPicker(memory),
                     tests::PlainPicker(memory)};
  std::map<std::uint32_t, int> counts;
  constexpr int kRounds = 400;
  for (int i = 0; i < 5 * kRounds; ++i)
    ++counts[workers[static_cast<std::size_t>(i) % 3].pick().slot];
  for (const auto& [slot, count] : counts) {
    // No worker sits on more than a block's rest.
    CHECK(std::abs(count - kRounds) <= static_cast<int>(3 * (kTicketBlock - 1)));
  }
  std::vector<std::uint32_t> order;
  for (int i = 0; i < 10; ++i)
    order.push_back(memory.pick(0).slot);
  for (std::size_t i = 5; i < 10; ++i)
    CHECK(order[i] == order[i - 5]);
  CHECK(std::set<std::uint32_t>(order.begin(), order.end()).size() == 5);
}

TEST_CASE("the turns of an unusable instance are shared out evenly") {
  Memory memory(shm::LookupKind::schedule, 4);
  memory.set_usable(2, false);
  std::map<std::uint32_t, int> counts;
  for (int i = 0; i < 3000; ++i)
    ++counts[memory.pick(0).slot];
  CHECK(counts == std::map<std::uint32_t, int>{{0, 1000}, {1, 1000}, {3, 1000}});
}

TEST_CASE("a root that moved is never overlooked") {
  for (const auto kind :
       {shm::LookupKind::table, shm::LookupKind::ring, shm::LookupKind::schedule}) {
    Memory memory(kind, 4);
    memory.record.root.store(7, std::memory_order_relaxed);
    CHECK(memory.pick(1).result == PickResult::changed);
    for (std::size_t i = 0; i < 4; ++i)
      memory.set_usable(i, false);
    CHECK(memory.pick(1).result == PickResult::changed);
  }
}

TEST_CASE("random words in a table never lead outside of it") {
  CHECK(tests::holds("random words never lead outside", [] {
    const auto kind =
        *rc::gen::element(shm::LookupKind::table, shm::LookupKind::ring, shm::LookupKind::schedule);
    Memory memory(kind, *rc::gen::inRange<std::size_t>(1, 20));
    const auto damage = [](auto& words) {
      using Value = decltype(words[0].load(std::memory_order_relaxed));
      for (auto& word : words) {
        if (*rc::gen::inRange(0, 20) == 0)
          word.store(*rc::gen::arbitrary<Value>(), std::memory_order_relaxed);
      }
    };
    damage(memory.groups[0].members);
    damage(memory.groups[0].index);
    damage(memory.states);
    for (int i = 0; i < 50; ++i) {
      auto& lookup = memory.groups[0].lookup;
      auto& word = lookup[*rc::gen::inRange<std::size_t>(0, lookup.size())];
      word.store(*rc::gen::arbitrary<std::uint16_t>(), std::memory_order_relaxed);
    }
    memory.shared.next_ticket.store(*rc::gen::arbitrary<std::uint64_t>(),
                                    std::memory_order_relaxed);
    for (int i = 0; i < 50; ++i) {
      const Choice choice = memory.pick(*rc::gen::arbitrary<std::uint64_t>());
      if (choice.result == PickResult::ok) RC_ASSERT(choice.slot < memory.states.size());
    }
  }));
}
