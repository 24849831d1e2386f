// Looks at loads through the publisher: how often, what is published, and that restarts and growth
// lose nothing.
#include "engine/checker/loads/load_watch.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <optional>

#include "engine/load_word.hpp"
#include "tests/support/hand_worker.hpp"
#include "tests/support/published.hpp"

namespace ballast::checker {
namespace {

using namespace std::chrono_literals;
using tests::HandWorker;
using tests::Published;

constexpr auto kRelaxed = std::memory_order_relaxed;  // one thread

Settings settings_with(Strategy strategy, std::uint32_t max_workers = 8) {
  return tests::settings_of({tests::service_of("web", strategy, 3)}, max_workers);
}

std::uint32_t published_in_flight(const Published& published, std::uint16_t slot) {
  const auto& table = published.publisher().segment().table;
  return engine::unpack_load(table.loads[slot].load(kRelaxed)).in_flight;
}

}  // namespace

TEST_CASE("it looks often while something moves, and rests else") {
  Published published(settings_with(Strategy::least_connections));
  Publisher& publisher = published.publisher();
  const std::uint16_t slot = published.find(0, 1).slot;
  HandWorker worker(publisher.segment());
  worker.start(slot);
  CHECK(publisher.look_at_loads() == 2ms);
  CHECK(published_in_flight(published, slot) == 1);
  CHECK(publisher.look_at_loads() == 4ms);
  CHECK(publisher.look_at_loads() == 8ms);
  for (int i = 0; i < 5; ++i)
    static_cast<void>(publisher.look_at_loads());
  CHECK(publisher.look_at_loads() == 50ms);
  worker.finish(slot);
  CHECK(publisher.look_at_loads() == 2ms);
  CHECK(published_in_flight(published, slot) == 0);
}

TEST_CASE("where no pick asks, once a second; a reload changes that") {
  Published published(settings_with(Strategy::maglev));
  CHECK(published.publisher().look_at_loads() == 1s);
  published.apply(settings_with(Strategy::adaptive));
  CHECK(published.publisher().look_at_loads() == 4ms);  // nothing moved
  Settings slower = settings_with(Strategy::adaptive);
  slower.load_interval = Milliseconds(100);
  published.apply(slower);
  CHECK(published.publisher().look_at_loads() == 100ms);
}

TEST_CASE("every look beats") {
  Published published(settings_with(Strategy::maglev));
  const shm::Word64& beat = published.publisher().segment().table.header->load_beat;
  const std::uint64_t before = beat.load(kRelaxed);
  static_cast<void>(published.publisher().look_at_loads());
  static_cast<void>(published.publisher().look_at_loads());
  CHECK(beat.load(kRelaxed) == before + 2);
}

TEST_CASE("a reaped worker's requests are gone with the next look") {
  Published published(settings_with(Strategy::least_connections));
  Publisher& publisher = published.publisher();
  const std::uint16_t slot = published.find(0, 0).slot;
  HandWorker dying(publisher.segment());
  dying.start(slot);
  dying.start(slot);
  static_cast<void>(publisher.look_at_loads());
  CHECK(published_in_flight(published, slot) == 2);
  dying.die();
  static_cast<void>(publisher.look_at_loads());
  CHECK(published_in_flight(published, slot) == 2);
  CHECK(publisher.tick().abandoned == 2);
  static_cast<void>(publisher.look_at_loads());
  CHECK(published_in_flight(published, slot) == 0);
}

TEST_CASE("growth keeps totals: what is in flight in the segment before, too") {
  Published published(settings_with(Strategy::least_connections));
  Publisher& publisher = published.publisher();
  const std::uint16_t slot = published.find(0, 0).slot;
  std::optional<HandWorker> before(publisher.segment());
  before->start(slot);
  before->start(slot);
  static_cast<void>(publisher.look_at_loads());
  published.apply(settings_with(Strategy::least_connections, 16));
  CHECK(published_in_flight(published, slot) == 2);
  HandWorker after(publisher.segment());
  after.start(slot);
  static_cast<void>(publisher.look_at_loads());
  CHECK(published_in_flight(published, slot) == 3);
  before->finish(slot);
  publisher.tick();
  static_cast<void>(publisher.look_at_loads());
  CHECK(published_in_flight(published, slot) == 2);
  SUBCASE("it leaves with one in flight") {
    before.reset();
  }
  SUBCASE("it dies with one in flight") {
    before->die();
  }
  for (int i = 0; i < 3; ++i)
    publisher.tick();
  static_cast<void>(publisher.look_at_loads());
  CHECK(published_in_flight(published, slot) == 1);
  CHECK(publisher.loads().service_in_flight(0) == 1);
}

TEST_CASE("a successor finds the sums and the averages") {
  Published published(settings_with(Strategy::least_connections));
  Publisher& publisher = published.publisher();
  const shm::CheckerSegment& segment = publisher.segment();
  const std::uint16_t slot = published.find(0, 0).slot;
  HandWorker worker(segment);
  worker.start(slot);
  worker.start(slot);
  worker.row.counters()[slot].values[shm::kLatencySumUs].store(700, kRelaxed);
  worker.row.counters()[slot].values[shm::kLatencyCount].store(1, kRelaxed);
  worker.finish(slot);
  static_cast<void>(publisher.look_at_loads());
  const std::uint64_t word = segment.table.loads[slot].load(kRelaxed);
  CHECK(engine::unpack_load(word).cost_us == 700);
  LoadWatch successor;
  const LoadMember member{slot, published.find(0, 0).incarnation, 0};
  successor.follow(segment, {member}, 2ms, true, 1);
  CHECK(segment.table.loads[slot].load(kRelaxed) == word);
  static_cast<void>(successor.look(segment, 2));
  CHECK(segment.table.loads[slot].load(kRelaxed) == word);
  // Another tenant of the slot has neither.
  successor.follow(segment, {{slot, member.incarnation + 1, 0}}, 2ms, true, 3);
  CHECK(engine::unpack_load(segment.table.loads[slot].load(kRelaxed)).errors == 0);
  CHECK_FALSE(successor.board().estimate(slot)->tried());
}

}  // namespace ballast::checker
