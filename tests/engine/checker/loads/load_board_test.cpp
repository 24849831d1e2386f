// The load board against plain sums over rows, after any order of what workers, reapers and
// checkers do, kills included; and what it publishes, one rule at a time.
#include "engine/checker/loads/load_board.hpp"

#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "tests/support/fake_workers.hpp"
#include "tests/support/property.hpp"

namespace ballast::checker {
namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;  // one thread
constexpr std::uint64_t kMs = 1'000'000;
constexpr std::uint64_t kSecond = 1'000 * kMs;

using tests::FakeLoads;
using tests::FakeWorkers;

std::vector<LoadMember> members_of(std::size_t count, std::uint32_t service = 0) {
  std::vector<LoadMember> members;
  for (std::size_t i = 0; i < count; ++i)
    members.push_back({static_cast<std::uint16_t>(i), 1, service});
  return members;
}

// A small world on which anything may happen, and the plain truth beside it.
class World {
 public:
  static constexpr std::size_t kRows = 5;
  static constexpr std::uint16_t kSlots = 70;  // more than a page

  World() {
    for (std::size_t row = 0; row + 1 < kRows; ++row)
      workers_.claim(row);
    restart_checker();
  }

  void step() {
    const auto row = *rc::gen::inRange<std::size_t>(0, kRows);
    // Mostly few slots, so that they meet.
    const auto slot = static_cast<std::uint16_t>(
        *rc::gen::weightedOneOf<int>({{4, rc::gen::inRange(0, 4)}, {1, rc::gen::inRange(60, 70)}}));
    switch (*rc::gen::inRange(0, 13)) {
      case 0:
      case 1:
      case 2:
        if (alive_[row]) start(row, slot);
        break;
      case 3:
      case 4:
        if (alive_[row]) finish_one(row);
        break;
      case 5:  // more than the journal holds
        for (int i = *rc::gen::inRange(500, 1500); alive_[row] && i > 0; --i) {
          start(row, static_cast<std::uint16_t>(i % kSlots));
          finish_one(row);
        }
        break;
      case 6:  // killed between the count and the journal
        if (alive_[row]) {
          workers_.start_uncounted(row, slot);
          die(row);
        }
        break;
      case 7:
        if (alive_[row]) die(row);
        break;
      case 8:
        if (dead_[row]) reap(row);
        break;
      case 9:  // a new owner, who reaps a dead one
        if (!alive_[row]) {
          workers_.claim(row);
          alive_[row] = true;
          dead_[row] = false;
        }
        break;
      case 10:
        change_tenant(slot);
        break;
      case 11:
        carry(slot);
        break;
      case 12:
        if (*rc::gen::inRange(0, 4) == 0) restart_checker();
        break;
      default:
        break;
    }
    if (*rc::gen::inRange(0, 3) == 0) look();
  }

  void wind_up() {
    for (std::size_t row = 0; row < kRows; ++row) {
      if (dead_[row]) reap(row);
    }
    look();
  }

 private:
  void start(std::size_t row, std::uint16_t slot) {
    workers_.start(row, slot);
    open_[row].push_back(slot);
  }
  void finish_one(std::size_t row) {
    if (open_[row].empty()) return;
    workers_.finish(row, open_[row].back(), shm::kSuccess, 5);
    open_[row].pop_back();
  }
  void die(std::size_t row) {
    alive_[row] = false;
    dead_[row] = true;
    open_[row].clear();
  }
  void reap(std::size_t row) {
    workers_.reap(row);
    dead_[row] = false;
  }
  shm::Totals plain_sum(std::uint16_t slot) const {
    shm::Totals totals = shm::read_record(loads_.view.carried[slot]);
    totals += shm::sum_rows(workers_.view, slot);
    return totals;
  }
  // As the publisher admits a new tenant.
  void change_tenant(std::uint16_t slot) {
    if (plain_sum(slot).in_flight() != 0) return;
    shm::Totals baseline;
    baseline -= shm::sum_rows(workers_.view, slot);
    baseline.values[shm::kStarted] = baseline.finished();
    shm::store_record(loads_.view.carried[slot], baseline);
    ++members_[slot].incarnation;
    board_->set_members(members_, workers_.view, loads_.view.carried, now_);
  }
  // As a growth: counts that belong to the slot come from elsewhere.
  void carry(std::uint16_t slot) {
    shm::Totals totals = shm::read_record(loads_.view.carried[slot]);
    totals.values[shm::kStarted] += 3;
    totals.values[shm::kSuccess] += *rc::gen::inRange(1U, 4U);
    shm::store_record(loads_.view.carried[slot], totals);
    board_->look_at_carried(loads_.view.carried);
  }
  void restart_checker() {
    board_.emplace();
    board_->set_members(members_, workers_.view, loads_.view.carried, now_, &loads_.view);
  }
  void look() {
    now_ += 1'000;  // too little for any row to have its turn
    static_cast<void>(board_->look(workers_.view, now_));
    board_->publish(loads_.view);
    // Exact, but for those who died on the way to the journal and have not been reaped.
    if (std::find(dead_.begin(), dead_.end(), true) != dead_.end()) return;
    std::int64_t sum = 0;
    for (const LoadMember& member : members_) {
      const std::int64_t expected = plain_sum(member.slot).in_flight();
      RC_ASSERT(board_->in_flight(member.slot) == expected);
      RC_ASSERT(engine::unpack_load(loads_.view.loads[member.slot].load(kRelaxed)).in_flight ==
                expected);
      sum += expected;
    }
    RC_ASSERT(board_->service_in_flight(0) == sum);
    RC_ASSERT(loads_.view.service_loads[0].in_flight.load(kRelaxed) ==
              static_cast<std::uint64_t>(sum));
  }

  FakeWorkers workers_{kRows, kSlots};
  FakeLoads loads_{kSlots};
  std::vector<LoadMember> members_ = members_of(kSlots);
  std::optional<LoadBoard> board_;
  std::vector<bool> alive_ = {true, true, true, true, false};
  std::vector<bool> dead_ = std::vector<bool>(kRows);
  std::vector<std::uint16_t> open_[kRows];
  std::uint64_t now_ = kSecond;
};

// A board with workers and a table, all of which have something.
struct Small {
  explicit Small(std::size_t slots = 4, const LoadRules& rules = {})
      : workers(4, slots), loads(slots), board(rules) {
    for (std::size_t row = 0; row < 4; ++row)
      workers.claim(row);
    board.set_members(members_of(slots), workers.view, loads.view.carried, now);
  }
  LookReport look(std::uint64_t after = 2 * kMs) {
    now += after;
    const LookReport report = board.look(workers.view, now);
    board.publish(loads.view);
    return report;
  }
  [[nodiscard]] engine::Load load(std::size_t slot) const {
    return engine::unpack_load(loads.view.loads[slot].load(kRelaxed));
  }

  FakeWorkers workers;
  FakeLoads loads;
  LoadBoard board;
  std::uint64_t now = kSecond;
};

}  // namespace

TEST_CASE("totals are the sums over rows, whoever does what in which order") {
  CHECK(tests::holds("board and sums agree", [] {
    World world;
    for (int i = *rc::gen::inRange(0, 600); i > 0; --i)
      world.step();
    world.wind_up();
  }));
}

TEST_CASE("a look reads what journals name, and nothing else") {
  Small s(100);
  s.look();
  CHECK_FALSE(s.look().moved);
  for (int i = 0; i < 50; ++i) {
    s.workers.start(1, 7);
    s.workers.start(1, 8);
  }
  const LookReport report = s.look();
  CHECK(report.moved);
  CHECK(report.records == 2);
  CHECK(report.whole_rows == 0);
  CHECK(s.board.in_flight(7) == 50);
  CHECK(s.load(8).in_flight == 50);
}

TEST_CASE("what no journal names is found when its row has its turn") {
  Small s;
  s.look();
  s.workers.start_uncounted(2, 3);
  CHECK_FALSE(s.look().moved);
  CHECK(s.board.in_flight(3) == 0);
  for (std::uint64_t waited = 0; waited < LoadBoard::kRescanNs; waited += 20 * kMs)
    s.look(20 * kMs);
  CHECK(s.board.in_flight(3) == 1);
}

TEST_CASE("turns cost no more than they may") {
  Small s(4);
  std::uint64_t records = 0;
  for (int i = 0; i < 1000; ++i)
    records += s.look(10 * kMs).records;
  CHECK(records >= 9 * 4 * 4);  // ten seconds: every row ten times, but for the first
  CHECK(records <= 11 * 4 * 4);
}

TEST_CASE("damaged rows do no harm") {
  Small s;
  shm::append_journal(s.workers.view.journal(0), 65535);
  shm::append_journal(s.workers.view.journal(0), 4);
  s.workers.view.journal(1).head.store(UINT64_MAX, kRelaxed);
  s.workers.view.row(2)[1].values[shm::kSuccess].store(7, kRelaxed);  // more ends than starts
  for (auto& value : s.workers.view.row(3)[2].values)
    value.store(0x8000'0000'0000'0000, kRelaxed);
  s.workers.start(0, 0);
  s.look();
  s.look(2 * kSecond);
  CHECK(s.board.in_flight(0) == 1);
  CHECK(s.load(1).in_flight == 0);
  CHECK(s.board.in_flight(1) == -7);
  CHECK(s.load(0).in_flight == 1);
}

TEST_CASE("an instance never tried costs twice the median of the others") {
  Small s;
  for (int i = 0; i < 4; ++i) {
    s.look();
    CHECK(s.load(3).cost_us == 0);  // of nobody anything is known
  }
  s.workers.serve(0, 0, shm::kSuccess, 100);
  s.workers.serve(0, 1, shm::kSuccess, 300);
  s.workers.serve(0, 2, shm::kSuccess, 900);
  s.look();
  CHECK(s.load(0).cost_us == 100);
  CHECK(s.load(1).cost_us == 300);
  CHECK(s.load(2).cost_us == 900);
  CHECK(s.load(3).cost_us == 600);
  s.workers.serve(0, 1, shm::kSuccess, 700);
  s.look();
  CHECK(s.load(3).cost_us == 1400);
  // Back from an absence: as one never tried.
  s.board.forget(2);
  s.look();
  CHECK(s.load(2).cost_us == 200);
  CHECK(s.load(3).cost_us == 200);
}

TEST_CASE("nobody costs more than ten times the median") {
  Small s(3);
  s.workers.serve(0, 0, shm::kTimeout, 10'000'000);
  s.workers.serve(0, 1, shm::kSuccess, 1000);
  s.workers.serve(0, 2, shm::kSuccess, 2000);
  s.look();
  s.workers.serve(0, 0, shm::kTimeout, 10'000'000);
  s.look();
  CHECK(s.load(0).cost_us == 20'000);
  CHECK(s.load(2).cost_us == 2000);
}

TEST_CASE("a service's rule is its strategy's") {
  FakeWorkers workers(1, 4);
  FakeLoads loads(4, 2);
  workers.claim(0);
  LoadBoard board;
  const std::vector<LoadMember> members{{0, 1, 0, CostRule::peak},
                                        {1, 1, 0, CostRule::peak},
                                        {2, 1, 1, CostRule::smooth},
                                        {3, 1, 1, CostRule::smooth}};
  board.set_members(members, workers.view, loads.view.carried, kSecond);
  for (std::uint64_t i = 1; i <= 2; ++i) {
    for (std::uint16_t slot = 0; slot < 4; ++slot)
      workers.serve(0, slot, shm::kSuccess, i * 1000);
    static_cast<void>(board.look(workers.view, kSecond + i * kMs));
  }
  CHECK(board.load_of(0).cost_us == 2000);
  CHECK(board.load_of(2).cost_us == 1001);  // a millisecond's part of one second
}

TEST_CASE("failures that are quick cost more than successes that are slow") {
  Small s(3);
  for (int i = 0; i < 200; ++i) {
    s.workers.serve(0, 0, shm::kConnectFailure, 0);  // not timed, as workers count it
    s.workers.serve(0, 2, shm::kServerError, 20);
    s.workers.serve(1, 1, shm::kSuccess, 2000);
    s.look();
  }
  CHECK(s.load(0).cost_us == 20'000);
  CHECK(s.load(1).cost_us == 2000);
  CHECK(s.load(2).cost_us >= 2000);
  CHECK(s.load(0).errors == 255);
  CHECK(s.load(1).errors == 0);
}

TEST_CASE("one that is slow and idle is tried again") {
  Small s(3);
  s.workers.serve(0, 0, shm::kSuccess, 90'000);
  s.look();
  for (int i = 0; i < 6000; ++i) {  // a minute
    s.workers.serve(0, 1, shm::kSuccess, 1000);
    s.workers.serve(0, 2, shm::kSuccess, 1000);
    s.look(10 * kMs);
  }
  CHECK(s.load(0).cost_us < 1500);
  CHECK(s.load(0).cost_us >= 1000);
}

TEST_CASE("one that hangs is not") {
  Small s(3);
  s.workers.serve(0, 0, shm::kSuccess, 9000);
  s.workers.start(0, 0);
  for (int i = 0; i < 6000; ++i) {
    s.workers.serve(0, 1, shm::kSuccess, 1000);
    s.workers.serve(0, 2, shm::kSuccess, 1000);
    s.look(10 * kMs);
  }
  CHECK(s.load(0).cost_us == 9000);
}

TEST_CASE("above the quantile is hot") {
  LoadRules rules;
  rules.hot_quantile = 0.6;
  Small s(10, rules);
  s.look();
  CHECK(s.loads.view.service_loads[0].hot_threshold.load(kRelaxed) == 0);
  for (std::uint16_t slot = 0; slot < 10; ++slot) {
    for (int i = 0; i <= slot; ++i)
      s.workers.start(0, slot);
  }
  s.look();
  // 1 to 10 in flight: six of ten are not above 6.
  CHECK(s.board.hot_threshold(0) == 6);
  CHECK(s.loads.view.service_loads[0].hot_threshold.load(kRelaxed) == 6);
}

TEST_CASE("services are totalled apart") {
  FakeWorkers workers(1, 4);
  FakeLoads loads(4, 8);
  workers.claim(0);
  LoadBoard board;
  const std::vector<LoadMember> members{{0, 1, 5}, {1, 1, 2}, {2, 1, 5}, {3, 1, 2}};
  board.set_members(members, workers.view, loads.view.carried, kSecond);
  workers.start(0, 0);
  workers.start(0, 2);
  workers.start(0, 1);
  static_cast<void>(board.look(workers.view, kSecond + kMs));
  board.publish(loads.view);
  CHECK(board.service_in_flight(5) == 2);
  CHECK(board.service_in_flight(2) == 1);
  CHECK(board.service_in_flight(0) == 0);
  CHECK(loads.view.service_loads[5].in_flight.load(kRelaxed) == 2);
  // One leaves with a request in flight, one comes.
  const std::vector<LoadMember> fewer{{1, 1, 2}, {2, 1, 5}};
  board.set_members(fewer, workers.view, loads.view.carried, kSecond + 2 * kMs);
  CHECK(board.service_in_flight(5) == 1);
  CHECK(board.in_flight(0) == 0);
  board.set_members(members, workers.view, loads.view.carried, kSecond + 3 * kMs);
  CHECK(board.service_in_flight(5) == 2);
  workers.finish(0, 0, shm::kSuccess);
  static_cast<void>(board.look(workers.view, kSecond + 4 * kMs));
  CHECK(board.in_flight(0) == 0);
}

TEST_CASE("an overrun journal costs a look at the whole row") {
  Small s(100);
  s.look();
  for (int i = 0; i < 2000; ++i)
    s.workers.serve(2, static_cast<std::uint16_t>(i % 100), shm::kSuccess, 10);
  s.workers.start(2, 99);
  const LookReport report = s.look();
  CHECK(report.whole_rows == 1);
  CHECK(report.records == 100);
  CHECK(s.board.in_flight(99) == 1);
  CHECK(s.board.traffic(0).finished == 20);
}

TEST_CASE("carried counts belong to the slot, from the first look on") {
  FakeWorkers workers(1, 2);
  FakeLoads loads(2);
  workers.claim(0);
  loads.view.carried[1].values[shm::kStarted].store(5, kRelaxed);
  LoadBoard board;
  board.set_members(members_of(2), workers.view, loads.view.carried, kSecond);
  CHECK(board.in_flight(1) == 5);
  loads.view.carried[1].values[shm::kTimeout].store(4, kRelaxed);  // in the segment before
  board.look_at_carried(loads.view.carried);
  board.publish(loads.view);
  static_cast<void>(board.look(workers.view, kSecond + kMs));
  CHECK(board.in_flight(1) == 1);
  CHECK(board.service_in_flight(0) == 1);
  CHECK(board.load_of(1).errors == 84);  // four outcomes of about ten
}

TEST_CASE("traffic is what passed since, by kind") {
  Small s(2);
  for (const shm::CounterIndex outcome :
       {shm::kSuccess, shm::kSuccess, shm::kConnectFailure, shm::kTimeout, shm::kReset,
        shm::kServerError, shm::kOverload, shm::kCancelled, shm::kAbandoned}) {
    s.workers.serve(3, 1, outcome, 10);
  }
  s.look();
  CHECK(s.board.traffic(1) == Traffic{9, 2, 5, 9, 90});
  CHECK(s.board.traffic(0) == Traffic{});
  // A new tenant begins with nothing, whatever its slot has counted.
  s.board.set_members(std::vector<LoadMember>{{0, 1, 0}, {1, 2, 0}}, s.workers.view,
                      s.loads.view.carried, s.now);
  s.look();
  CHECK(s.board.traffic(1) == Traffic{});
  CHECK(s.load(1).cost_us == 20);  // never tried: twice what the service had
  CHECK(s.load(1).errors == 0);
}

TEST_CASE("a successor goes on with what was published") {
  Small s(2);
  s.workers.serve(0, 0, shm::kSuccess, 4000);
  s.workers.serve(0, 0, shm::kReset, 4000);
  s.workers.start(0, 0);
  s.look();
  const engine::Load before = s.load(0);
  LoadBoard next;
  next.set_members(members_of(2), s.workers.view, s.loads.view.carried, s.now, &s.loads.view);
  CHECK(next.in_flight(0) == 1);
  CHECK(next.load_of(0).in_flight == before.in_flight);
  CHECK(next.load_of(0).cost_us == doctest::Approx(before.cost_us).epsilon(0.01));
  CHECK(next.load_of(0).errors == doctest::Approx(before.errors).epsilon(0.02));
  // What was there before is not taken for traffic.
  static_cast<void>(next.look(s.workers.view, s.now + kMs));
  CHECK(next.traffic(0) == Traffic{});
}

}  // namespace ballast::checker
