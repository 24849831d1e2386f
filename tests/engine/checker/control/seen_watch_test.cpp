// Which workers are waited for: real processes that pick, sleep, work without picking, are stopped
// and are killed; and rows whose owners the kernel says nothing of.
#include "engine/checker/control/seen_watch.hpp"

#include <doctest/doctest.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "shm/generation.hpp"
#include "shm/paths.hpp"
#include "tests/support/attached.hpp"
#include "tests/support/child.hpp"
#include "tests/support/published.hpp"

using namespace ballast;
using namespace ballast::checker;
using tests::Published;

namespace {

using State = ThreadActivity::State;

Settings web(int instances) {
  return tests::settings_of({tests::service_of("web", Strategy::maglev, instances),
                             tests::service_of("api", Strategy::maglev, 2, 500)},
                            64);
}

std::uint64_t epoch_of(const Published& published) {
  return shm::epoch_of(
      published.publisher().segment().table.services[0].root.load(std::memory_order_relaxed));
}

// A worker process that has picked once and then does as it is told. 'p': picks once more.
class WorkerProcess {
 public:
  enum class Meanwhile { sleeps, works };

  WorkerProcess(const Published& published, Meanwhile meanwhile, const char* service = "web") {
    REQUIRE(::pipe(commands_.data()) == 0);
    REQUIRE(::pipe(answers_.data()) == 0);
    pid_ = ::fork();
    REQUIRE(pid_ >= 0);
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      run(published.directory(), meanwhile, service);
      ::_exit(0);
    }
    wait_for_answer();
  }
  ~WorkerProcess() {
    kill();
    for (const int fd : {commands_[0], commands_[1], answers_[0], answers_[1]})
      ::close(fd);
  }
  WorkerProcess(const WorkerProcess&) = delete;
  WorkerProcess& operator=(const WorkerProcess&) = delete;

  [[nodiscard]] pid_t pid() const { return pid_; }
  void pick() const {
    REQUIRE(::write(commands_[1], "p", 1) == 1);
    wait_for_answer();
  }
  void kill() {
    if (pid_ < 0) return;
    ::kill(pid_, SIGKILL);
    tests::exit_of(pid_);
    pid_ = -1;
  }

 private:
  void wait_for_answer() const {
    char byte = 0;
    REQUIRE(::read(answers_[0], &byte, 1) == 1);
  }
  void run(const std::string& directory, Meanwhile meanwhile, const char* service) const {
    const tests::Attached worker(directory, service);
    char byte = 'p';
    do {
      ballast_pick_t pick = BALLAST_PICK_INIT;
      if (worker.pick("key", pick) != BALLAST_OK) ::_exit(1);
      ballast_report(worker.handle, &pick, BALLAST_SUCCESS, -1);
      if (::write(answers_[1], &byte, 1) != 1) ::_exit(1);
      volatile bool busy = meanwhile == Meanwhile::works;
      while (busy) {
      }
    } while (::read(commands_[0], &byte, 1) == 1);
  }

  pid_t pid_ = -1;
  std::array<int, 2> commands_{};
  std::array<int, 2> answers_{};
};

using Meanwhile = WorkerProcess::Meanwhile;

// Looks until `done` says so of a report.
SeenReport look_until(Published& published, SeenWatch& watch, std::uint64_t now_ms,
                      const std::function<bool(const SeenReport&)>& done) {
  const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  for (;;) {
    SeenReport report =
        watch.look(published.publisher().segment(), published.publisher().draining(), now_ms);
    if (done(report)) return report;
    REQUIRE_MESSAGE(std::chrono::steady_clock::now() < limit, "nothing changed for 60 s");
  }
}
bool is_done(const SeenReport& report) {
  return report.done();
}

TEST_CASE("workers that pick see it, those that sleep have nothing to see") {
  Published published(web(4));
  const WorkerProcess first(published, Meanwhile::sleeps);
  const WorkerProcess second(published, Meanwhile::sleeps);
  const WorkerProcess elsewhere(published, Meanwhile::sleeps, "api");
  published.apply(web(5));
  first.pick();
  SeenWatch watch(0, epoch_of(published), 0);
  const SeenReport report = look_until(published, watch, 0, is_done);
  CHECK(report.rows == 3);
  CHECK(report.seen == 2);  // one never asked for the service
  CHECK(report.idle == 1);
  second.pick();
  CHECK(look_until(published, watch, 0, is_done).seen == 3);
}

TEST_CASE("one that works without picking is past its pick before long") {
  Published published(web(4));
  const WorkerProcess worker(published, Meanwhile::works);
  published.apply(web(5));
  SeenWatch watch(0, epoch_of(published), 0);
  CHECK(look_until(published, watch, 0, is_done).idle == 1);
}

TEST_CASE("one that is stopped is waited for, until it goes on or dies") {
  for (const bool dies : {false, true}) {
    CAPTURE(dies);
    Published published(web(4));
    WorkerProcess worker(published, Meanwhile::works);
    REQUIRE(::kill(worker.pid(), SIGSTOP) == 0);
    int status = 0;
    REQUIRE(::waitpid(worker.pid(), &status, WUNTRACED) == worker.pid());
    published.apply(web(5));
    SeenWatch watch(0, epoch_of(published), 0);
    for (int looks = 0; looks < 10; ++looks) {
      const SeenReport report = watch.look(published.publisher().segment(), nullptr, 1'000'000);
      CHECK_FALSE(report.done());
      REQUIRE(report.missing.size() == 1);
      CHECK(report.missing[0].pid == static_cast<std::uint64_t>(worker.pid()));
      CHECK(report.missing[0].stopped);
      CHECK(report.missing[0].command == "checker_control");
    }
    if (dies) {
      worker.kill();
      published.publisher().tick();  // reaps
      CHECK(watch.look(published.publisher().segment(), nullptr, 0).rows == 0);
    } else {
      REQUIRE(::kill(worker.pid(), SIGCONT) == 0);
      CHECK(look_until(published, watch, 0, is_done).idle == 1);
    }
  }
}

TEST_CASE("workers of the segment before a growth are waited for too") {
  Published published(web(4));
  const WorkerProcess worker(published, Meanwhile::works);
  REQUIRE(::kill(worker.pid(), SIGSTOP) == 0);
  int status = 0;
  REQUIRE(::waitpid(worker.pid(), &status, WUNTRACED) == worker.pid());
  const std::uint64_t segment = published.publisher().segment_id();
  published.apply(web(300));
  REQUIRE(published.publisher().segment_id() != segment);
  REQUIRE(published.publisher().draining() != nullptr);
  SeenWatch watch(0, epoch_of(published), 0);
  CHECK_FALSE(
      watch.look(published.publisher().segment(), published.publisher().draining(), 0).done());
  REQUIRE(::kill(worker.pid(), SIGCONT) == 0);
  CHECK(look_until(published, watch, 0, is_done).idle == 1);
}

TEST_CASE("one that cannot leave a replaced segment is waited for, asleep or not, until it can") {
  Published published(web(4));
  const tests::Attached worker(published.directory());
  const std::uint64_t segment = published.publisher().segment_id();
  published.apply(web(300));
  REQUIRE(published.publisher().segment_id() != segment);
  const std::string table =
      shm::table_path(published.directory(), published.publisher().segment_id());
  REQUIRE(std::rename(table.c_str(), (table + ".hidden").c_str()) == 0);
  SeenWatch watch(0, epoch_of(published), 0, [](auto, auto, auto) {
    return std::optional<ThreadActivity>{{State::sleeping, 0}};
  });
  const auto look = [&] {
    return watch.look(published.publisher().segment(), published.publisher().draining(), 99'000);
  };
  CHECK(look().idle == 1);  // it may never pick again, or find the new one
  ballast_pick_t pick = BALLAST_PICK_INIT;
  REQUIRE(worker.pick("key", pick) == BALLAST_OK);
  REQUIRE(pick.segment == segment);
  CHECK(worker.info().superseded == 1);
  CHECK_FALSE(look().done());
  CHECK(look().missing.size() == 1);
  REQUIRE(std::rename((table + ".hidden").c_str(), table.c_str()) == 0);
  for (int picks = 0; picks < 5000 && worker.info().superseded == 1; ++picks) {
    ballast_pick_t next = BALLAST_PICK_INIT;
    REQUIRE(worker.pick("key", next) == BALLAST_OK);
    REQUIRE(ballast_report(worker.handle, &next, BALLAST_SUCCESS, -1) == BALLAST_OK);
  }
  REQUIRE(worker.info().superseded == 0);
  // Its row there stays, for the request in flight; it picks by no generation of it.
  const SeenReport moved = look();
  CHECK(moved.done());
  CHECK(moved.rows == 2);
  CHECK(moved.seen == 2);
  CHECK(ballast_report(worker.handle, &pick, BALLAST_SUCCESS, -1) == BALLAST_OK);
  CHECK(look().rows == 1);
}

TEST_CASE("what the kernel says decides, and an owner that it does not know gets a second") {
  Published published(web(4));
  const tests::Attached worker(published.directory());
  published.apply(web(5));
  std::optional<ThreadActivity> activity{{State::running, 500}};
  SeenWatch watch(0, epoch_of(published), 10'000, [&](auto pid, auto tid, auto start) {
    CHECK(pid == static_cast<std::uint64_t>(::getpid()));
    CHECK(tid == static_cast<std::uint64_t>(::gettid()));
    CHECK(start != 0);
    return activity;
  });
  const auto look = [&](std::uint64_t now_ms) {
    return watch.look(published.publisher().segment(), nullptr, now_ms);
  };
  CHECK_FALSE(look(10'000).done());
  activity->cpu_ns = 500 + kPickCpuNs - 1;
  CHECK_FALSE(look(99'000).done());
  activity->state = State::stopped;
  CHECK(look(99'000).missing.at(0).stopped);
  activity->cpu_ns = 500 + kPickCpuNs;
  CHECK(look(99'000).idle == 1);
  activity = std::nullopt;
  CHECK(look(10'000).idle == 1);  // it stays so

  SeenWatch unseen(0, epoch_of(published), 10'000,
                   [](auto, auto, auto) { return std::optional<ThreadActivity>(); });
  const auto& segment = published.publisher().segment();
  CHECK_FALSE(unseen.look(segment, nullptr, 10'000 + kUnseenIdleMs - 1).done());
  CHECK(unseen.look(segment, nullptr, 10'000 + kUnseenIdleMs).done());
}

TEST_CASE("of many rows each has its turn to be asked about, a few a look") {
  Published published(web(4));
  std::vector<std::unique_ptr<tests::Attached>> workers;
  for (int n = 0; n < 40; ++n)
    workers.push_back(std::make_unique<tests::Attached>(published.directory()));
  published.apply(web(5));
  std::size_t asked = 0;
  State state = State::running;
  SeenWatch watch(0, epoch_of(published), 0, [&](auto, auto, auto) {
    ++asked;
    return std::optional<ThreadActivity>{{state, 0}};
  });
  const auto look = [&] { return watch.look(published.publisher().segment(), nullptr, 0); };
  CHECK(look().missing.size() == kMissingShown);
  CHECK(asked == kAskedPerLook);
  state = State::sleeping;
  CHECK(look().idle == 16);
  CHECK(look().idle == 32);
  CHECK(look().done());
  CHECK(asked == 16 + 40);
}

TEST_CASE("the kernel is not asked about a process that took over the number") {
  CHECK_FALSE(activity_of(static_cast<std::uint64_t>(::getpid()), 1, 1));
  CHECK_FALSE(activity_of(0, 0, 0));
}

}  // namespace
