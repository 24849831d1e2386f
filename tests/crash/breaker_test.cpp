// Deaths and standstills in the middle of a breaker's changes: workers between the budget and the
// breaker, between the permit and its hint, between closing and giving back; a checker between
// counting and setting. After each, no more are out than the budget allows; when the next checker
// has ticked, the budget is exact; and everything can be tried, closed and opened again.
#include <doctest/doctest.h>
#include <unistd.h>

#include <csignal>
#include <memory>
#include <string>
#include <vector>

#include "engine/breaker_report.hpp"
#include "engine/checker/publishing/publisher.hpp"
#include "engine/handle.hpp"
#include "tests/crash/points.hpp"
#include "tests/support/moved_clock.hpp"
#include "tests/support/published.hpp"

namespace ballast::crash {
namespace {

using checker::Publisher;
using engine::BreakerState;

constexpr auto kRelaxed = std::memory_order_relaxed;  // nobody else runs while the test looks
constexpr int kInstances = 4;
constexpr std::uint32_t kCap = 2;
constexpr int kKeys = 20;
constexpr std::uint64_t kOpenMs = 1'000'000;

checker::Settings settings() {
  checker::ServiceSettings web = tests::service_of("web", engine::Strategy::maglev, kInstances);
  web.policy.breaker_consecutive = 2;
  web.policy.breaker_rate_percent = 0;
  web.policy.breaker_open_ms = kOpenMs;
  web.policy.breaker_open_max_ms = kOpenMs;
  web.policy.breaker_trial_ms = kOpenMs / 2;
  web.policy.max_ejected_percent = 50;
  return tests::settings_of({web}, 8);
}

Publisher next_checker(const std::string& directory) {
  auto lease = shm::Lease::acquire(directory, shm::Lease::Wait::no);
  if (!lease) give_up(lease.error().to_text());
  auto publisher = Publisher::open(std::move(*lease), settings());
  if (!publisher) give_up(publisher.error().to_text());
  if (const shm::Status applied = publisher->apply(settings()); !applied)
    give_up(applied.error().to_text());
  return std::move(*publisher);
}

void pass_three_seconds(Publisher& publisher) {
  for (int i = 0; i < 30; ++i)
    publisher.tick();
}

// A worker in whatever process makes it.
class Worker {
 public:
  explicit Worker(const std::string& directory) {
    auto handle = engine::Handle::attach(directory);
    if (!handle) give_up(handle.error().to_text());
    handle_ = std::move(*handle);
    handle_->set_clock(tests::moved_ms);
    if (handle_->find_service("web", service_) != BALLAST_OK) give_up("no service");
  }

  // A request with one of a few keys, which go everywhere. Returns where it went.
  std::uint32_t send_one(int number, ballast_outcome_t outcome) {
    const std::string key = "key" + std::to_string(number);
    ballast_pick_t pick = BALLAST_PICK_INIT;
    if (handle_->pick(service_, key.data(), key.size(), pick) != BALLAST_OK)
      give_up("nobody to pick");
    static_cast<void>(handle_->report(pick, outcome, 1));
    return pick.slot;
  }
  // With each of them.
  void send(ballast_outcome_t outcome, int times = 1) {
    for (int i = 0; i < kKeys * times; ++i)
      send_one(i % kKeys, outcome);
  }

 private:
  std::unique_ptr<engine::Handle> handle_;
  ballast_service_t service_ = 0;
};

// Opens what the budget allows, fails and passes trials, several times over.
void work(const std::string& directory) {
  Worker worker(directory);
  for (int round = 0; round < 3; ++round) {
    worker.send(BALLAST_RESET, 2);
    tests::move_clock(2 * kOpenMs);
    worker.send(round % 2 == 0 ? BALLAST_CANCELLED : BALLAST_TIMEOUT);
    tests::move_clock(2 * kOpenMs);
    worker.send(BALLAST_SUCCESS);
  }
}

struct Out {
  std::uint32_t out = 0;
  std::uint32_t count = 0;
};

Out look(const Publisher& publisher) {
  const shm::WorkersWriter& workers = publisher.segment().workers;
  Out out;
  for (const checker::PublishedInstance& p : publisher.instances())
    out.out += engine::is_out(workers.breakers[p.slot], p.incarnation) ? 1 : 0;
  out.count = engine::unpack_budget(workers.services[0].open_breakers.load(kRelaxed)).count;
  return out;
}

// What must hold whoever died, and what must be possible afterwards.
void inspect(Publisher& publisher, const std::string& directory) {
  Out now = look(publisher);
  CHECK(now.out <= now.count);
  CHECK(now.out <= kCap);
  pass_three_seconds(publisher);
  now = look(publisher);
  CHECK(now.out == now.count);
  // All close, and then as many open as may.
  Worker survivor(directory);
  for (int i = 0; i < 4; ++i) {
    tests::move_clock(2 * kOpenMs);
    survivor.send(BALLAST_SUCCESS);
  }
  now = look(publisher);
  CHECK(now.out == 0);
  CHECK(now.count == 0);
  survivor.send(BALLAST_RESET, 2);
  now = look(publisher);
  CHECK(now.out == kCap);
  CHECK(now.count == kCap);
  for (int i = 0; i < 4; ++i) {
    tests::move_clock(2 * kOpenMs);
    survivor.send(BALLAST_SUCCESS);
  }
  CHECK(look(publisher).count == 0);
}

// The points of breakers that such a worker passes, each with how often.
std::vector<std::pair<std::string, std::uint64_t>> points_of_work() {
  const tests::TempDir dir;
  static_cast<void>(tests::clock_offset());
  Publisher publisher = next_checker(dir.path());
  std::vector<std::pair<std::string, std::uint64_t>> points;
  for (const auto& [name, passed] : profile_of([&] { work(dir.path()); })) {
    if (name.starts_with("breaker.")) points.emplace_back(name, passed);
  }
  return points;
}

constexpr std::uint64_t kHits = 12;  // of each point, at most

}  // namespace

TEST_CASE("a worker is killed at every step of a breaker") {
  const auto points = points_of_work();
  CHECK(points.size() == 6);
  int killed = 0;
  for (const auto& [point, passed] : points) {
    const tests::TempDir dir;
    Publisher publisher = next_checker(dir.path());
    for (std::uint64_t hit = 1; hit <= std::min(passed, kHits); ++hit) {
      INFO(point << " hit " << hit);
      const Ended ended = run_child({point, hit, SIGKILL}, [&] { work(dir.path()); });
      CHECK(ended.killed);
      killed += ended.killed ? 1 : 0;
      inspect(publisher, dir.path());
    }
  }
  CHECK(killed >= 30);
}

TEST_CASE("a worker is stopped there, while others and the checker go on, and comes back") {
  for (const auto& [point, passed] : points_of_work()) {
    const tests::TempDir dir;
    Publisher publisher = next_checker(dir.path());
    for (std::uint64_t hit = 1; hit <= std::min<std::uint64_t>(passed, 4); ++hit) {
      INFO(point << " hit " << hit);
      const Ended stopped = run_child({point, hit, SIGSTOP}, [&] { work(dir.path()); });
      REQUIRE(stopped.stopped);
      pass_three_seconds(publisher);
      Worker other(dir.path());
      other.send(BALLAST_RESET, 2);
      Out now = look(publisher);
      CHECK(now.out <= now.count);
      CHECK(now.out <= kCap);
      CHECK(resume(stopped.pid).exit_code == 0);
      now = look(publisher);
      CHECK(now.out <= now.count);
      CHECK(now.out <= kCap);
      inspect(publisher, dir.path());
    }
  }
}

TEST_CASE(
    "what a stopped worker took of the budget is counted away, and it cannot use it any more") {
  static_cast<void>(tests::clock_offset());
  const tests::TempDir dir;
  Publisher publisher = next_checker(dir.path());
  Worker other(dir.path());
  const std::uint32_t home = other.send_one(0, BALLAST_CANCELLED);
  const Ended stopped = run_child({"breaker.budget_taken", 1, SIGSTOP}, [&] {
    Worker worker(dir.path());
    worker.send_one(0, BALLAST_RESET);
    worker.send_one(0, BALLAST_RESET);
  });
  REQUIRE(stopped.stopped);
  CHECK(look(publisher).count == 1);
  pass_three_seconds(publisher);
  CHECK(look(publisher).count == 0);
  // All that the budget allows, without touching the one that the stopped worker is about to open.
  for (int key = 1; key < kKeys && look(publisher).out < kCap; ++key) {
    if (other.send_one(key, BALLAST_CANCELLED) == home) continue;
    other.send_one(key, BALLAST_RESET);
    other.send_one(key, BALLAST_RESET);
  }
  REQUIRE(look(publisher).out == kCap);
  CHECK(resume(stopped.pid).exit_code == 0);
  CHECK(look(publisher).out == kCap);
  CHECK(look(publisher).count == kCap);
  inspect(publisher, dir.path());
}

TEST_CASE("a checker is killed while it counts") {
  const tests::TempDir dir;
  next_checker(dir.path()).leave();
  static_cast<void>(tests::clock_offset());
  const Ended worker = run_child({"breaker.budget_taken", 1, SIGKILL}, [&] { work(dir.path()); });
  CHECK(worker.killed);
  const Ended checker = run_child({"breaker.recounted", 1, SIGKILL}, [&] {
    Publisher publisher = next_checker(dir.path());
    pass_three_seconds(publisher);
  });
  CHECK(checker.killed);
  Publisher publisher = next_checker(dir.path());
  CHECK(look(publisher).count == 1);
  inspect(publisher, dir.path());
}

}  // namespace ballast::crash
