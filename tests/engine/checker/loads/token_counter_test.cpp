// Limits after a death, through the publisher's tick, on real rows.
#include "engine/checker/loads/token_counter.hpp"

#include <doctest/doctest.h>

#include <memory>
#include <optional>
#include <vector>

#include "shm/lease.hpp"
#include "tests/support/hand_worker.hpp"
#include "tests/support/published.hpp"

namespace ballast::checker {
namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;  // one thread

using shm::TokenKind;
using shm::TokenName;
using tests::HandWorker;
using tests::Published;

Settings two_instances(std::uint32_t max_workers = 8) {
  return tests::settings_of({tests::service_of("web", Strategy::maglev, 2)}, max_workers);
}

struct Limited {
  Published published{two_instances()};
  std::uint16_t slot = published.find(0, 0).slot;
  std::uint16_t other = published.find(0, 1).slot;
  TokenName instance{TokenKind::instance, slot};
  TokenName service{TokenKind::service, 0};
  TokenName retry{TokenKind::retry, 0};

  [[nodiscard]] const shm::CheckerSegment& segment() const {
    return published.publisher().segment();
  }
};

}  // namespace

TEST_CASE("what a dead worker held is free again once it was reaped") {
  Limited l;
  HandWorker living(l.segment());
  HandWorker dying(l.segment());
  for (HandWorker* const worker : {&living, &dying}) {
    REQUIRE(worker->take(l.instance, l.slot, 2));
    REQUIRE(worker->take(l.service, l.slot, 9));
    REQUIRE(worker->take(l.service, l.other, 9));
    REQUIRE(worker->take(l.retry, l.other, 9));
  }
  CHECK_FALSE(living.take(l.instance, l.slot, 2));
  CHECK(l.published.publisher().tick().tokens_corrected == 0);
  SUBCASE("at rest") {
    dying.die();
    CHECK(l.published.publisher().tick().tokens_corrected == 3);
  }
  SUBCASE("with a swap that it had not counted yet") {
    dying.row.journal().pending.store(pack(l.service), kRelaxed);
    dying.word(l.service).fetch_add((std::uint64_t{1} << 32) + 1, kRelaxed);
    CHECK(living.used(l.service) == 5);
    dying.die();
    CHECK(l.published.publisher().tick().tokens_corrected == 3);
  }
  SUBCASE("with a token given back and not counted yet") {
    dying.row.journal().pending.store(pack(l.retry), kRelaxed);
    dying.word(l.retry).fetch_add((std::uint64_t{1} << 32) - 1, kRelaxed);
    CHECK(living.used(l.retry) == 1);
    dying.die();
    CHECK(l.published.publisher().tick().tokens_corrected == 2);
  }
  CHECK(living.used(l.instance) == 1);
  CHECK(living.used(l.service) == 2);
  CHECK(living.used(l.retry) == 1);
  CHECK(living.take(l.instance, l.slot, 2));
}

TEST_CASE("with many rows and instances tokens are counted once a second, not at every tick") {
  constexpr int kInstances = 600;
  constexpr std::uint32_t kRows = 64;
  Published large(
      tests::settings_of({tests::service_of("web", Strategy::maglev, kInstances)}, kRows));
  static_assert(kInstances * kRows > kHeldPerTick);
  std::vector<std::unique_ptr<HandWorker>> workers;
  for (std::uint32_t i = 0; i < kRows; ++i)
    workers.push_back(std::make_unique<HandWorker>(large.publisher().segment()));
  const TokenName service{TokenKind::service, 0};
  static_cast<void>(large.publisher().tick());
  REQUIRE(workers[0]->take(service, large.find(0, 0).slot, 9));
  workers[0]->die();
  std::uint64_t corrected = 0;
  for (int tick = 1; tick < 10; ++tick)
    corrected += large.publisher().tick().tokens_corrected;
  CHECK(corrected == 0);
  CHECK(large.publisher().tick().tokens_corrected == 1);
  CHECK(workers[1]->used(service) == 0);
}

TEST_CASE("whoever claims a dead worker's row, or leaves with tokens, has them counted") {
  Limited l;
  std::optional<HandWorker> worker(l.segment());
  REQUIRE(worker->take(l.instance, l.slot, 9));
  SUBCASE("claimed") {
    worker->die();
    const Settings one_row = two_instances(1);
    Published small(one_row);
    HandWorker first(small.publisher().segment());
    const TokenName name{TokenKind::instance, small.find(0, 0).slot};
    REQUIRE(first.take(name, static_cast<std::uint16_t>(name.index), 9));
    first.die();
    HandWorker second(small.publisher().segment());
    CHECK(second.used(name) == 1);
    CHECK(small.publisher().tick().tokens_corrected == 1);
    CHECK(second.used(name) == 0);
  }
  SUBCASE("left") {
    worker.reset();
    CHECK(l.published.publisher().tick().tokens_corrected == 1);
  }
  SUBCASE("left without any") {
    worker->give(l.instance, l.slot);
    worker.reset();
    CHECK(l.segment().workers.header->tokens_dirty.load(kRelaxed) == 0);
  }
}

TEST_CASE("a word that somebody is at is counted another time") {
  Limited l;
  HandWorker living(l.segment());
  HandWorker dying(l.segment());
  REQUIRE(living.take(l.instance, l.slot, 9));
  REQUIRE(dying.take(l.instance, l.slot, 9));
  dying.die();
  living.row.journal().pending.store(pack(l.instance), kRelaxed);  // stopped there
  CHECK(l.published.publisher().tick().tokens_corrected == 0);
  CHECK(living.used(l.instance) == 2);
  living.row.journal().pending.store(0, kRelaxed);
  CHECK(l.published.publisher().tick().tokens_corrected == 1);
  CHECK(living.used(l.instance) == 1);
}

TEST_CASE("a checker that takes office counts unasked") {
  Limited l;
  HandWorker living(l.segment());
  REQUIRE(living.take(l.instance, l.slot, 9));
  l.published.publisher().tick();
  // Its predecessor died after it had seen that there was something to count.
  living.word(l.instance).fetch_add((std::uint64_t{1} << 32) + 3, kRelaxed);
  CHECK(l.published.publisher().tick().tokens_corrected == 0);
  TokenCounter successor;
  CHECK(successor.count(l.segment(), nullptr).changed == 1);
  CHECK(living.used(l.instance) == 1);
  CHECK(successor.count(l.segment(), nullptr).exact == 0);  // nothing to do any more
}

TEST_CASE("an instance that left still counts for its service") {
  Limited l;
  HandWorker living(l.segment());
  HandWorker dying(l.segment());
  REQUIRE(living.take(l.service, l.other, 9));
  REQUIRE(dying.take(l.service, l.other, 9));
  l.published.apply(tests::settings_of({tests::service_of("web", Strategy::maglev, 1)}));
  dying.die();
  l.published.publisher().tick();
  CHECK(living.used(l.service) == 1);
}

TEST_CASE("in a growth, what is held in the segment before is held") {
  Limited l;
  std::optional<HandWorker> before(l.segment());
  REQUIRE(before->take(l.instance, l.slot, 3));
  REQUIRE(before->take(l.instance, l.slot, 3));
  l.published.apply(two_instances(16));
  HandWorker after(l.segment());
  CHECK(after.used(l.instance) == 2);
  CHECK(after.take(l.instance, l.slot, 3));
  CHECK_FALSE(after.take(l.instance, l.slot, 3));
  l.published.publisher().tick();
  CHECK(after.used(l.instance) == 3);
  before->give(l.instance, l.slot);  // to the old word
  l.published.publisher().tick();
  CHECK(after.used(l.instance) == 2);
  CHECK(after.take(l.instance, l.slot, 3));
  SUBCASE("it leaves") {
    before.reset();
  }
  SUBCASE("it dies") {
    before->die();
  }
  for (int i = 0; i < 3; ++i)
    l.published.publisher().tick();
  CHECK(l.segment().table.header->previous_segment.load(kRelaxed) == 0);
  CHECK(after.used(l.instance) == 2);
}

}  // namespace ballast::checker
