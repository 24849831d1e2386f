// Threads that use one handle at the same time, against what ballast.h says. It is a mistake of the
// program, and what the handle counts is wrong then, but the table and what other workers count
// stay right, picks fall on instances of the service, and nothing is left in flight once the handle
// is gone. If the table moves to new files in the middle of it, the process may crash, itself
// alone. Not under ThreadSanitizer, to which each of these races is an error, as it should be.
#include <ballast.h>
#include <doctest/doctest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <csignal>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/attached.hpp"
#include "tests/support/child.hpp"
#include "tests/support/published.hpp"

using namespace ballast;
using engine::Strategy;
using tests::Attached;
using tests::Published;
using tests::service_of;
using tests::settings_of;

namespace {

constexpr int kThreads = 4;
constexpr int kPicks = 20'000;  // at least, and as long as it is republished
constexpr int kRepublications = 200;

// How many of the picks were of no instance that the service ever had.
int share(const Attached& shared, const std::atomic<bool>& stop) {
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&shared, &wrong, &stop, t] {
      std::array<ballast_pick_t, 4> picks;
      for (int i = 0; i < kPicks || !stop.load(std::memory_order_relaxed); ++i) {
        ballast_pick_t& pick = picks[static_cast<std::size_t>(i) % picks.size()];
        pick = BALLAST_PICK_INIT;
        const ballast_pick_t* tried[] = {&picks[static_cast<std::size_t>(i + 1) % picks.size()]};
        ballast_pick_options_t options = BALLAST_PICK_OPTIONS_INIT;
        options.tried = tried;
        options.tried_count = i % 16 == 15 ? 1 : 0;
        const std::uint64_t key = static_cast<std::uint64_t>(i) * 4 + static_cast<unsigned>(t);
        const auto status =
            ballast_pick(shared.handle, shared.service, &key, sizeof key, &options, &pick);
        if (status == BALLAST_OK) {
          if (pick.family != 4 || pick.port != 8080 || pick.address[0] != 127) ++wrong;
          ballast_report(shared.handle, &pick, i % 8 == 0 ? BALLAST_SERVER_ERROR : BALLAST_SUCCESS,
                         100);
        }
      }
    });
  }
  for (auto& thread : threads)
    thread.join();
  return wrong.load();
}

void pick_once(const Attached& worker, int key) {
  ballast_pick_t pick = BALLAST_PICK_INIT;
  REQUIRE(worker.pick(std::to_string(key), pick) == BALLAST_OK);
  REQUIRE(ballast_report(worker.handle, &pick, BALLAST_SUCCESS, 1) == BALLAST_OK);
}

// A process whose threads do it, until it is told to stop.
class Sharing {
 public:
  explicit Sharing(const std::string& directory)
      : memory_(::mmap(nullptr, sizeof(std::atomic<bool>), PROT_READ | PROT_WRITE,
                       MAP_SHARED | MAP_ANONYMOUS, -1, 0)) {
    REQUIRE(memory_ != MAP_FAILED);
    stop_ = new (memory_) std::atomic<bool>{false};
    child_ = ::fork();
    if (child_ == 0) {
      ::alarm(120);
      std::signal(SIGSEGV, SIG_DFL);  // not doctest's: it would tell of a test that crashed
      std::signal(SIGABRT, SIG_DFL);
      const Attached shared(directory);
      const int wrong = share(shared, *stop_);
      ballast_detach(shared.handle);
      ::_exit(wrong == 0 ? 0 : 1);
    }
  }
  Sharing(const Sharing&) = delete;
  Sharing& operator=(const Sharing&) = delete;
  ~Sharing() { ::munmap(memory_, sizeof(std::atomic<bool>)); }

  int end() {
    stop_->store(true, std::memory_order_relaxed);
    return tests::exit_of(child_);
  }
  void kill() {
    ::kill(child_, SIGKILL);
    tests::exit_of(child_);
  }

 private:
  void* memory_;
  std::atomic<bool>* stop_ = nullptr;
  pid_t child_ = -1;
};

}  // namespace

TEST_CASE("threads that share a handle spoil nobody else's counts, and nothing that is published") {
  for (const Strategy strategy : {Strategy::maglev, Strategy::round_robin, Strategy::random,
                                  Strategy::least_connections, Strategy::ketama}) {
    CAPTURE(std::string(engine::to_text(strategy)));
    auto web = service_of("web", strategy, 20);
    web.policy.max_in_flight = strategy == Strategy::least_connections ? 100 : 0;
    Published published(settings_of({web}, 16));
    const Attached other(published.directory());
    ballast_pick_t held = BALLAST_PICK_INIT;
    REQUIRE(other.pick("k", held) == BALLAST_OK);
    Sharing sharing(published.directory());
    for (int i = 0; i < kRepublications; ++i) {
      auto less = web;
      less.instances.resize(static_cast<std::size_t>(10 + i % 10));
      published.apply(settings_of({less}, 16));
      pick_once(other, i);
      published.publisher().tick();
    }
    CHECK(sharing.end() == 0);
    published.publisher().tick();
    CHECK(published.in_flight() == 1);
    CHECK(ballast_report(other.handle, &held, BALLAST_SUCCESS, 1) == BALLAST_OK);
    CHECK(published.in_flight() == 0);
  }
}

TEST_CASE("a process that this brings down, as the table moves to new files, harms itself alone") {
  auto web = service_of("web", Strategy::maglev, 20);
  Published published(settings_of({web}, 16));
  const Attached other(published.directory());
  Sharing sharing(published.directory());
  for (unsigned i = 1; i <= 20; ++i) {
    published.apply(settings_of({web}, 16 + i));  // more rows than fit
    for (int n = 0; n < 100; ++n)
      pick_once(other, n);
    published.publisher().tick();
  }
  sharing.kill();  // if it still lives
  pick_once(other, 0);
  published.publisher().tick();
  CHECK(published.in_flight() == 0);
  const Attached fresh(published.directory());
  pick_once(fresh, 0);
}
