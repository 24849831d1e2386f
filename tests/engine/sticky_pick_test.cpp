// A token leads to its instance where it was made, and by the address where slots are given
// otherwise; never to an instance of another service, and never to another address.
#include "engine/sticky_pick.hpp"

#include <doctest/doctest.h>

#include <array>
#include <deque>
#include <string>
#include <vector>

#include "shm/endpoint.hpp"
#include "shm/state_word.hpp"

using namespace ballast;
using namespace ballast::engine;

namespace {

constexpr std::uint32_t kService = 5;
const StickyKeys kKeys{{1, 2}, {3, 4}};

std::array<std::uint64_t, 3> words_of(int number) {
  const auto endpoint = shm::parse_endpoint("10.0." + std::to_string(number / 250) + "." +
                                            std::to_string(1 + number % 250) + ":80");
  REQUIRE(endpoint);
  return endpoint->to_words();
}

std::string token_of(const SipKey& key, std::uint16_t slot, std::uint32_t incarnation, int number) {
  std::string text(kStickyText, '?');
  encode_sticky(key, {slot, incarnation, sticky_fingerprint(key, words_of(number))},
                std::span<char, kStickyText>(text.data(), kStickyText));
  return text;
}

// A table of 64 slots, and one service of one or more groups in it.
struct World {
  std::vector<shm::Word64> states = std::vector<shm::Word64>(64);
  std::vector<shm::InstanceRecord> instances = std::vector<shm::InstanceRecord>(64);
  std::deque<std::vector<shm::Word16>> members;
  shm::Word64 root{7};
  std::vector<GenerationView> groups;
  StickyMemory memory;

  // `slots` from `first` on get the addresses from `number` on.
  void add_group(std::uint16_t first, std::uint16_t count, int number) {
    auto& slots = members.emplace_back(count);
    for (std::uint16_t i = 0; i < count; ++i) {
      const auto slot = static_cast<std::uint16_t>(first + i);
      slots[i] = slot;
      set(slot, number + i, 1);
    }
    GenerationView view;
    view.states = states.data();
    view.slot_count = states.size();
    view.root = &root;
    view.entered = root;
    view.members = slots.data();
    view.member_count = count;
    view.kind = shm::LookupKind::table;
    groups.push_back(view);
  }
  void set(std::uint16_t slot, int number, std::uint32_t incarnation) {
    shm::State state;
    state.incarnation = incarnation;
    states[slot] = shm::pack(state);
    const auto words = words_of(number);
    for (std::size_t i = 0; i < words.size(); ++i)
      instances[slot].endpoint[i] = words[i];
  }
  // -1: nothing.
  int find(const std::string& token) {
    const auto slot = find_sticky({groups, instances.data(), 1, kService}, kKeys, token, memory);
    return slot ? static_cast<int>(*slot) : -1;
  }
};

}  // namespace

TEST_CASE("where it was made, a token leads straight to its slot") {
  World world;
  world.add_group(10, 20, 100);
  for (std::uint16_t i = 0; i < 20; ++i) {
    CHECK(world.find(token_of(kKeys.current, 10 + i, 1, 100 + i)) == 10 + i);
    CHECK(world.find(token_of(kKeys.previous, 10 + i, 1, 100 + i)) == 10 + i);
  }
}

TEST_CASE("elsewhere it is found by its address") {
  World world;
  world.add_group(10, 20, 100);
  for (int round = 0; round < 2; ++round) {  // searched, then remembered
    // Another slot, one that is out of range, one of the same number with another tenant.
    CHECK(world.find(token_of(kKeys.current, 12, 1, 115)) == 25);
    CHECK(world.find(token_of(kKeys.current, 65000, 1, 115)) == 25);
    CHECK(world.find(token_of(kKeys.current, 11, 9, 101)) == 11);
    CHECK(world.find(token_of(kKeys.current, 63, 0, 101)) == 11);
    CHECK(world.find(token_of(kKeys.current, 12, 1, 500)) == -1);
  }
}

TEST_CASE("what is remembered holds for one generation") {
  World world;
  world.add_group(10, 20, 100);
  const std::string moved = token_of(kKeys.current, 3, 1, 105);
  const std::string absent = token_of(kKeys.current, 3, 1, 500);
  CHECK(world.find(moved) == 15);
  CHECK(world.find(absent) == -1);
  // The next generation has the one elsewhere and the other at last.
  world.root = 8;
  world.groups[0].entered = 8;
  world.set(15, 500, 2);
  world.set(20, 105, 2);
  CHECK(world.find(moved) == 20);
  CHECK(world.find(absent) == 15);
}

TEST_CASE("what was read while the generation changed is not kept") {
  World world;
  world.add_group(10, 20, 100);
  const std::string absent = token_of(kKeys.current, 3, 1, 500);
  world.root = 8;  // but the view is of 7
  CHECK(world.find(absent) == -1);
  world.root = 7;
  world.set(17, 500, 2);
  CHECK(world.find(absent) == 17);
}

TEST_CASE("an instance of another service is not found, although its slot is named") {
  World world;
  world.add_group(10, 20, 100);
  world.set(40, 300, 1);  // no member
  CHECK(world.find(token_of(kKeys.current, 40, 1, 300)) == -1);
  // The same address in both: the service's own slot.
  world.set(41, 104, 1);
  CHECK(world.find(token_of(kKeys.current, 41, 1, 104)) == 14);
}

TEST_CASE("all groups are searched") {
  World world;
  world.add_group(10, 5, 100);
  world.add_group(30, 5, 200);
  CHECK(world.find(token_of(kKeys.current, 33, 1, 203)) == 33);
  CHECK(world.find(token_of(kKeys.current, 2, 1, 203)) == 33);
  CHECK(world.find(token_of(kKeys.current, 2, 1, 104)) == 14);
}

TEST_CASE("a view without members finds nothing, whatever it held before") {
  World world;
  world.add_group(10, 5, 100);
  world.groups[0].kind = shm::LookupKind::none;
  CHECK(world.find(token_of(kKeys.current, 12, 1, 102)) == -1);
  world.groups.clear();
  CHECK(world.find(token_of(kKeys.current, 12, 1, 102)) == -1);
}

TEST_CASE("a foreign token and no token find nothing") {
  World world;
  world.add_group(10, 5, 100);
  CHECK(world.find("") == -1);
  CHECK(world.find(token_of({8, 8}, 12, 1, 102)) == -1);
  CHECK(find_sticky({world.groups, world.instances.data(), 1, kService}, {},
                    token_of(kKeys.current, 12, 1, 102), world.memory) == std::nullopt);
}

TEST_CASE("members that a damaged file names are looked at with care") {
  World world;
  world.add_group(10, 3, 100);
  world.members[0][0] = 60000;
  world.members[0][1] = 12;
  world.members[0][2] = 3;
  for (std::uint16_t slot :
       {std::uint16_t{0}, std::uint16_t{3}, std::uint16_t{12}, std::uint16_t{60000}}) {
    const int found = world.find(token_of(kKeys.current, slot, 1, 102));
    CHECK((found == -1 || found == 12));
  }
}
