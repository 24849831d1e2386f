// Republishing against picking, as fast as both go, by threads and by processes. Every generation
// gives every slot it names to a new tenant, whose number stands in the state word and in the three
// words of the address, and even and odd generations use different slots; so a pick that mixes two
// generations in any way is seen in what it returns. The strategy, and whether there are groups,
// changes with every generation too. Two sabotaged writers, one that names a
// generation before it has stored it and one that fills the live buffer, must be caught by the very
// check that the right one passes.
#include <doctest/doctest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <functional>
#include <iterator>
#include <new>
#include <numeric>
#include <thread>
#include <vector>

#include "engine/choose.hpp"
#include "engine/generation_view.hpp"
#include "engine/generation_writer.hpp"
#include "engine/pick.hpp"
#include "shm/generation.hpp"
#include "shm/state_word.hpp"
#include "shm/views.hpp"
#include "tests/support/any_pick.hpp"
#include "tests/support/sanitized.hpp"

using namespace ballast;
using namespace ballast::engine;

namespace {

constexpr std::uint64_t kEnough = tests::kThreadSanitized    ? 3'000
                                  : tests::kAddressSanitized ? 20'000
                                                             : 300'000;
// How long a sabotaged writer may go on uncaught before the test fails.
constexpr std::uint64_t kCatchWithin = 50'000'000;
constexpr std::size_t kSlots = 16;  // of each parity
constexpr std::size_t kLookup = 251;
constexpr int kReaders = 2;

enum class Writer { right, names_first, fills_live };

// A table without its file: in memory that threads or forked processes share.
struct World {
  shm::ServiceRecord service{};
  shm::InstanceRecord instances[2 * kSlots]{};
  shm::Word64 states[2 * kSlots]{};
  shm::Word64 loads[2 * kSlots]{};
  shm::LoadRecord load_details[2 * kSlots]{};
  shm::Word64 breakers[2 * kSlots]{};
  shm::SharedInstanceRecord shared_instances[2 * kSlots]{};
  shm::SharedServiceRecord shared{};
  shm::ServiceLoadRecord load{};
  shm::FileHeader header{};
  alignas(shm::kPage) std::byte arena[4 * shm::kPage]{};
  alignas(shm::kCacheLine) std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> picks[kReaders]{};
  std::atomic<std::uint64_t> mixed[kReaders]{};

  [[nodiscard]] shm::TableWriter table() noexcept {
    shm::TableWriter table;
    table.services = {&service, 1};
    table.instances = instances;
    table.states = states;
    table.loads = loads;
    table.load_details = load_details;
    table.service_loads = {&load, 1};
    table.header = &header;
    table.file = {reinterpret_cast<std::byte*>(this), sizeof *this};
    table.arena_offset = static_cast<std::uint64_t>(arena - table.file.data());
    table.arena_bytes = sizeof arena;
    return table;
  }
  [[nodiscard]] shm::WorkersWriter workers() noexcept {
    shm::WorkersWriter workers;
    workers.services = {&shared, 1};
    workers.breakers = breakers;
    workers.instances = shared_instances;
    return workers;
  }
  [[nodiscard]] std::uint64_t picked_by_slowest() const noexcept {
    std::uint64_t least = ~std::uint64_t{0};
    for (const auto& p : picks)
      least = std::min(least, p.load(std::memory_order_relaxed));
    return least;
  }
  [[nodiscard]] std::uint64_t all_mixed() const noexcept {
    std::uint64_t sum = 0;
    for (const auto& m : mixed)
      sum += m.load(std::memory_order_relaxed);
    return sum;
  }
};

struct SharedWorld {
  World* world;
  SharedWorld() {
    void* memory =
        ::mmap(nullptr, sizeof(World), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(memory != MAP_FAILED);
    world = new (memory) World;
    world->service.arena_offset.store(world->table().arena_offset, std::memory_order_relaxed);
    world->service.half_bytes.store(2 * shm::kPage, std::memory_order_relaxed);
  }
  SharedWorld(const SharedWorld&) = delete;
  SharedWorld& operator=(const SharedWorld&) = delete;
  ~SharedWorld() { ::munmap(world, sizeof(World)); }
};

Policy policy_of(std::uint64_t epoch) {
  constexpr Strategy kChanging[] = {Strategy::maglev, Strategy::random, Strategy::round_robin,
                                    Strategy::least_connections, Strategy::adaptive};
  Policy policy;
  policy.strategy = kChanging[epoch / 2 % std::size(kChanging)];
  policy.choices = epoch / 4 % 2 == 0 ? 2 : 0;
  return policy;
}

// One group or two halves.
std::vector<Placement> placements_of(std::uint64_t epoch) {
  const std::size_t groups = epoch / 3 % 2 + 1;
  std::vector<Placement> placements(groups);
  for (std::size_t g = 0; g < groups; ++g) {
    const std::size_t count = kSlots / groups;
    const auto first = static_cast<std::uint16_t>(epoch % 2 * kSlots + g * count);
    Placement& p = placements[g];
    p.kind =
        is_keyed(policy_of(epoch).strategy) ? shm::LookupKind::table : shm::LookupKind::schedule;
    p.members.resize(count);
    std::iota(p.members.begin(), p.members.end(), first);
    p.lookup.resize(kLookup);
    for (std::size_t i = 0; i < kLookup; ++i)
      p.lookup[i] = static_cast<std::uint16_t>(first + (i * 7 + epoch) % count);
  }
  return placements;
}

// What the sabotaged writers publish.
Placement placement_of(std::uint64_t epoch) {
  const auto first = static_cast<std::uint16_t>(epoch % 2 * kSlots);
  Placement p;
  p.kind = shm::LookupKind::table;
  p.members.resize(kSlots);
  std::iota(p.members.begin(), p.members.end(), first);
  p.lookup.resize(kLookup);
  for (std::size_t i = 0; i < kLookup; ++i)
    p.lookup[i] = static_cast<std::uint16_t>(first + (i * 7 + epoch) % kSlots);
  return p;
}

// Gives the slots of this parity to new tenants. They left with the generation before.
void admit_tenants(World& world, std::uint64_t epoch) {
  for (std::size_t i = 0; i < kSlots; ++i) {
    const std::size_t slot = epoch % 2 * kSlots + i;
    for (auto& word : world.instances[slot].endpoint)
      shm::put(word, epoch);
    shm::State state;
    state.incarnation = static_cast<std::uint32_t>(epoch);
    state.usable = true;
    state.plain = true;
    shm::put(world.states[slot], shm::pack(state));
  }
}

// What the sabotaged writers do wrong; `publish_placement` is what the right one calls.
void store_generation(World& world, const Placement& p, unsigned buffer, unsigned region) {
  const auto table = world.table();
  const std::uint64_t base = table.arena_offset + region * 2 * shm::kPage;
  shm::GenerationRecord& g = world.service.generations[buffer][0];
  shm::put(g.kind, static_cast<std::uint64_t>(p.kind));
  shm::put(g.member_offset, base);
  shm::put(g.member_count, p.members.size());
  shm::put(g.lookup_offset, base + 1024);
  shm::put(g.lookup_count, p.lookup.size());
  const auto members = table.array<shm::Word16>(base, p.members.size());
  const auto lookup = table.array<shm::Word16>(base + 1024, p.lookup.size());
  for (std::size_t i = 0; i < members.size(); ++i)
    shm::put(members[i], p.members[i]);
  for (std::size_t i = 0; i < lookup.size(); ++i)
    shm::put(lookup[i], p.lookup[i]);
}

void publish_next(World& world, Writer writer) {
  const std::uint64_t next = world.service.root.load(std::memory_order_relaxed) + 1;
  const Placement placement = placement_of(next);
  switch (writer) {
    case Writer::right:
      admit_tenants(world, next);
      REQUIRE(publish_placement(world.table(), 0, placements_of(next), policy_of(next)));
      break;
    case Writer::names_first:
      world.service.root.store(next, std::memory_order_release);
      admit_tenants(world, next);
      store_generation(world, placement, shm::buffer_of(next), shm::buffer_of(next));
      break;
    case Writer::fills_live:
      admit_tenants(world, next);
      store_generation(world, placement, shm::buffer_of(next), 0);
      world.service.root.store(next, std::memory_order_release);
      break;
  }
}

void read_until_stopped(World& world, int reader) {
  const auto table = world.table();
  const auto workers = world.workers();
  ServiceView view;
  Picker me;
  me.random = Random(static_cast<std::uint64_t>(reader));
  std::uint64_t hash = static_cast<std::uint64_t>(reader);
  while (!world.stop.load(std::memory_order_relaxed)) {
    const std::uint64_t entered = shm::enter(world.service.root);
    const bool readable = read_service(table, workers, 0, entered, view);
    if (!shm::unchanged(world.service.root, entered)) continue;
    if (!readable) {
      world.mixed[reader].fetch_add(1, std::memory_order_relaxed);
      continue;
    }
    view.arm();
    for (;;) {
      hash = attempt_hash(hash, 1);
      std::uint64_t address[3] = {};
      const auto read_address = [&](std::uint32_t slot) {
        for (std::size_t i = 0; i < 3; ++i)
          address[i] = shm::get(world.instances[slot].endpoint[i]);
      };
      const Choice choice = tests::pick_any(view, me, {.hash = hash}, read_address);
      if (choice.result == PickResult::changed) break;
      const std::uint64_t epoch = view.first().entered;
      const bool whole = choice.result == PickResult::ok && choice.slot / kSlots == epoch % 2 &&
                         shm::incarnation_of(choice.state) == static_cast<std::uint32_t>(epoch) &&
                         address[0] == epoch && address[1] == epoch && address[2] == epoch;
      if (!whole) world.mixed[reader].fetch_add(1, std::memory_order_relaxed);
      world.picks[reader].fetch_add(1, std::memory_order_relaxed);
      if (world.stop.load(std::memory_order_relaxed)) break;
    }
  }
}

// Publishes while `start` has the readers read, until enough was read, or something mixed.
std::uint64_t mixed_picks(Writer writer, World& world) {
  const std::uint64_t limit = writer == Writer::right ? ~std::uint64_t{0} : kCatchWithin;
  std::uint64_t published = 0;
  const auto done = [&] {
    if (world.all_mixed() != 0) return true;
    return writer == Writer::right && published >= kEnough && world.picked_by_slowest() >= kEnough;
  };
  while (published < limit && !done()) {
    publish_next(world, writer);
    ++published;
  }
  world.stop.store(true, std::memory_order_relaxed);
  return world.all_mixed();
}

std::uint64_t with_threads(Writer writer) {
  const SharedWorld shared;
  publish_next(*shared.world, writer);
  std::vector<std::thread> readers;
  for (int r = 0; r < kReaders; ++r)
    readers.emplace_back([&shared, r] { read_until_stopped(*shared.world, r); });
  mixed_picks(writer, *shared.world);
  for (auto& reader : readers)
    reader.join();
  return shared.world->all_mixed();
}

std::uint64_t with_processes(Writer writer) {
  const SharedWorld shared;
  publish_next(*shared.world, writer);
  std::vector<pid_t> readers;
  for (int r = 0; r < kReaders; ++r) {
    const pid_t child = ::fork();
    if (child == 0) {
      read_until_stopped(*shared.world, r);
      ::_exit(0);
    }
    readers.push_back(child);
  }
  mixed_picks(writer, *shared.world);
  for (const pid_t reader : readers)
    ::waitpid(reader, nullptr, 0);
  return shared.world->all_mixed();
}

}  // namespace

TEST_CASE("no pick mixes generations, by threads") {
  CHECK(with_threads(Writer::right) == 0);
}
TEST_CASE("no pick mixes generations, by processes") {
  CHECK(with_processes(Writer::right) == 0);
}
TEST_CASE("a root stored before its words is caught") {
  CHECK(with_threads(Writer::names_first) > 0);
  CHECK(with_processes(Writer::names_first) > 0);
}
TEST_CASE("a live buffer that is filled again is caught") {
  CHECK(with_threads(Writer::fills_live) > 0);
  CHECK(with_processes(Writer::fills_live) > 0);
}
