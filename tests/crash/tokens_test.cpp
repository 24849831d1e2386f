// Deaths while limits and loads are being kept. Workers are killed between pending, swap, count and
// journal, while they claim a dead one's row and while they leave; checkers while they reap, drop,
// count and look. After each, once the next checker has ticked and looked, every limit says exactly
// what the living hold, and what is published in flight is exactly theirs. Seeded:
// BALLAST_CRASH_SEED and BALLAST_CRASH_KILLS change what a run does.
#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <iterator>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "engine/checker/publishing/publisher.hpp"
#include "engine/load_word.hpp"
#include "shm/journal.hpp"
#include "shm/paths.hpp"
#include "shm/row_protocol.hpp"
#include "shm/rows.hpp"
#include "shm/tokens.hpp"
#include "tests/crash/points.hpp"
#include "tests/support/published.hpp"

namespace ballast::crash {
namespace {

using checker::Publisher;
using checker::Settings;
using shm::TokenKind;
using shm::TokenName;

constexpr auto kRelaxed = std::memory_order_relaxed;  // nobody writes while the test looks
constexpr std::uint32_t kLimit = 7;
constexpr int kInstances = 3;

std::uint64_t number_from(const char* variable, std::uint64_t otherwise) {
  const char* text = std::getenv(variable);
  return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
}

unsigned below(std::mt19937_64& random, std::uint64_t limit) {
  return static_cast<unsigned>(random() % limit);
}

Publisher next_checker(const std::string& directory, const Settings& settings) {
  auto lease = shm::Lease::acquire(directory, shm::Lease::Wait::no);
  if (!lease) give_up(lease.error().to_text());
  auto publisher = Publisher::open(std::move(*lease), settings);
  if (!publisher) give_up(publisher.error().to_text());
  if (const shm::Status applied = publisher->apply(settings); !applied)
    give_up(applied.error().to_text());
  return std::move(*publisher);
}

// A worker of a namespace that has one, or several in turn, in a process that may die.
struct Worker {
  explicit Worker(const std::string& directory)
      : segment(open(directory)), row(claim(segment)), slots(slots_of(segment)) {}

  static shm::CheckerSegment open(const std::string& directory) {
    auto segment = shm::CheckerSegment::open(directory, shm::list_segments(directory).back());
    if (!segment) give_up(segment.error().to_text());
    return std::move(*segment);
  }
  static shm::Row claim(const shm::CheckerSegment& segment) {
    auto row = shm::Row::claim(segment.workers, segment.workers_file.path());
    if (!row) give_up(row.error().to_text());
    return std::move(*row);
  }
  static std::vector<std::uint16_t> slots_of(const shm::CheckerSegment& segment) {
    std::vector<std::uint16_t> slots;
    for (std::size_t i = 0; i < segment.table.instances.size(); ++i) {
      const auto word = segment.table.instances[i].identity.load(kRelaxed);
      if (shm::unpack_identity(word).phase == shm::Phase::live)
        slots.push_back(static_cast<std::uint16_t>(i));
    }
    return slots;
  }

  // A request with all three tokens, or with none if a limit is reached.
  void begin(std::uint16_t slot) {
    std::vector<TokenName> taken;
    for (const TokenName name : names_of(slot)) {
      if (!shm::take_token(word(name), row.journal().pending, held(slot), name, kLimit)) {
        while (!taken.empty()) {
          give(taken.back(), slot);
          taken.pop_back();
        }
        return;
      }
      taken.push_back(name);
    }
    shm::count_started(row.counters()[slot].values[shm::kStarted]);
    BALLAST_POINT("hand.started");
    shm::append_journal(row.journal(), slot);
    open_requests.push_back(slot);
  }
  void end() {
    if (open_requests.empty()) return;
    const std::uint16_t slot = open_requests.back();
    shm::count_outcome(row.counters()[slot].values[shm::kSuccess]);
    BALLAST_POINT("hand.finished");
    shm::append_journal(row.journal(), slot);
    for (const TokenName name : names_of(slot))
      give(name, slot);
    open_requests.pop_back();
  }
  static std::vector<TokenName> names_of(std::uint16_t slot) {
    return {{TokenKind::instance, slot}, {TokenKind::service, 0}, {TokenKind::retry, 0}};
  }
  void give(TokenName name, std::uint16_t slot) {
    shm::give_token(word(name), row.journal().pending, held(slot), name);
  }
  [[nodiscard]] shm::Word64& held(std::uint16_t slot) {
    return row.counters()[slot].values[shm::kHeldTokens];
  }
  [[nodiscard]] shm::Word64& word(TokenName name) const {
    if (name.kind == TokenKind::service) return segment.workers.services[0].tokens;
    if (name.kind == TokenKind::retry) return segment.workers.services[0].retry_tokens;
    return segment.workers.instances[name.index].tokens;
  }
  [[nodiscard]] std::uint32_t used(TokenName name) const {
    return shm::unpack_tokens(word(name).load(kRelaxed)).used;
  }

  shm::CheckerSegment segment;
  shm::Row row;
  std::vector<std::uint16_t> slots;
  std::vector<std::uint16_t> open_requests;
};

// One namespace, and the test's own process as the worker that lives through it.
struct World {
  World() {
    checker::ServiceSettings service =
        tests::service_of("web", engine::Strategy::least_connections, kInstances);
    settings = tests::settings_of({service}, 4);
    next_checker(dir.path(), settings).leave();
    witness.emplace(dir.path());
  }

  void inspect() {
    // Whoever died: no limit was ever exceeded, and what the living hold is held.
    for (const std::uint16_t slot : witness->slots) {
      for (const TokenName name : Worker::names_of(slot)) {
        CHECK(witness->used(name) <= kLimit);
        CHECK(witness->used(name) >= expected(name));
      }
    }
    Publisher publisher = next_checker(dir.path(), settings);
    publisher.tick();
    static_cast<void>(publisher.look_at_loads());
    const shm::CheckerSegment& segment = publisher.segment();
    for (const std::uint16_t slot : witness->slots) {
      for (const TokenName name : Worker::names_of(slot))
        CHECK(witness->used(name) == expected(name));
      const auto in_flight = static_cast<std::uint32_t>(
          std::count(witness->open_requests.begin(), witness->open_requests.end(), slot));
      CHECK(engine::unpack_load(segment.table.loads[slot].load(kRelaxed)).in_flight == in_flight);
      CHECK(publisher.loads().in_flight(slot) == in_flight);
    }
    CHECK(segment.table.service_loads[0].in_flight.load(kRelaxed) == witness->open_requests.size());
    for (std::size_t row = 0; row < segment.workers.directory.size(); ++row) {
      const auto claim = segment.workers.directory[row].claim.load(kRelaxed);
      const bool is_live = shm::unpack_identity(claim).phase == shm::Phase::live;
      CHECK(is_live == (row == witness->row.index()));
      if (!is_live && segment.workers.ever_claimed(row))
        CHECK(segment.workers.journal(row).pending.load(kRelaxed) == 0);
    }
    publisher.leave();
  }

  [[nodiscard]] std::uint32_t expected(TokenName name) const {
    const auto& open = witness->open_requests;
    if (name.kind != TokenKind::instance) return static_cast<std::uint32_t>(open.size());
    return static_cast<std::uint32_t>(std::count(open.begin(), open.end(), name.index));
  }
  void hold(std::mt19937_64& random, std::size_t requests) {
    while (witness->open_requests.size() > requests)
      witness->end();
    // The dead who are not reaped yet may have left no token: then fewer.
    for (int i = 0; i < 10 && witness->open_requests.size() < requests; ++i)
      witness->begin(witness->slots[below(random, witness->slots.size())]);
  }

  tests::TempDir dir;
  Settings settings;
  std::optional<Worker> witness;
};

void work(const std::string& directory, unsigned requests, unsigned kept, bool leave) {
  Worker worker(directory);
  for (unsigned i = 0; i < requests; ++i) {
    worker.begin(worker.slots[i % worker.slots.size()]);
    if (worker.open_requests.size() > kept) worker.end();
  }
  if (leave) return;
  ::_exit(0);  // as killed, with what it holds
}

struct Scenario {
  std::string name;
  bool after_a_death;  // begins with a dead worker's row
  std::function<void(World&)> act;
};

std::vector<Scenario> scenarios() {
  return {
      {"work", false, [](World& w) { work(w.dir.path(), 6, 2, /*leave=*/true); }},
      {"claim", true, [](World& w) { work(w.dir.path(), 3, 1, /*leave=*/true); }},
      {"check", true,
       [](World& w) {
         Publisher publisher = next_checker(w.dir.path(), w.settings);
         publisher.tick();
         static_cast<void>(publisher.look_at_loads());
         publisher.leave();
       }},
  };
}

void prepare(World& world, const Scenario& scenario, std::mt19937_64& random) {
  world.hold(random, below(random, 4));
  if (!scenario.after_a_death) return;
  // All rows but the witness's belong to the dead, so that a claimer has to take one of theirs.
  for (int i = 0; i < 3; ++i) {
    const Ended ended = run_child({}, [&] { work(world.dir.path(), 4, 2, /*leave=*/false); });
    REQUIRE(ended.exit_code == 0);
  }
}

}  // namespace

TEST_CASE("limits and loads are exact after any death") {
  const std::uint64_t seed = number_from("BALLAST_CRASH_SEED", 20260722);
  const std::uint64_t wanted = number_from("BALLAST_CRASH_KILLS", 400);
  std::mt19937_64 random(seed);
  const std::vector<Scenario> all = scenarios();
  World world;
  std::vector<Profile> points;
  for (const Scenario& scenario : all) {
    INFO("scenario ", scenario.name);
    prepare(world, scenario, random);
    points.push_back(profile_of([&] { scenario.act(world); }));
    REQUIRE_FALSE(points.back().empty());
    world.inspect();
  }
  std::map<std::string, std::uint64_t> killed_at;
  std::uint64_t kills = 0;
  std::uint64_t rounds = 0;
  while (kills < wanted && rounds < 3 * wanted) {
    const std::size_t which = ++rounds % all.size();
    const auto point = std::next(points[which].begin(), below(random, points[which].size()));
    const std::uint64_t most = std::min<std::uint64_t>(point->second, 6);
    const Fate fate{point->first, 1 + below(random, most), SIGKILL};
    INFO("seed ", seed, ", round ", rounds, ": ", all[which].name, " killed at ", fate.point,
         ", passage ", fate.hit);
    prepare(world, all[which], random);
    const Ended ended = run_child(fate, [&] { all[which].act(world); });
    REQUIRE((ended.killed || ended.exit_code == 0));
    if (ended.killed) {
      ++kills;
      ++killed_at[fate.point];
    }
    if (below(random, 4) == 0) continue;  // the next one dies on top of it
    world.inspect();
  }
  world.hold(random, 0);
  world.inspect();
  CHECK(kills >= wanted);
  for (const char* const named :
       {"tokens.pending", "tokens.swapped", "tokens.held", "tokens.giving", "tokens.given",
        "tokens.dropped", "tokens.cleared", "tokens.counted", "journal.entry", "hand.started",
        "hand.finished", "reap.slot", "loads.looked", "loads.published"}) {
    CHECK_MESSAGE((wanted < 400 || killed_at.contains(named)), named);
  }
  std::cout << kills << " kills in " << rounds << " rounds:";
  for (const auto& [point, count] : killed_at)
    std::cout << ' ' << point << ' ' << count;
  std::cout << std::endl;
}

}  // namespace ballast::crash
