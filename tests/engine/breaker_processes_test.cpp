// Breakers between real processes: five that fail, pick, hold the permit, are killed or stopped, at
// the test's word, one at a time, so that every step can be checked in all of them; with a checker,
// and with one that was killed before they came. About a thousand openings in all.
#include <doctest/doctest.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <memory>
#include <optional>
#include <string>

#include "engine/breaker_word.hpp"
#include "engine/handle.hpp"
#include "engine/pick_flags.hpp"
#include "tests/support/moved_clock.hpp"
#include "tests/support/published.hpp"

using namespace ballast;

namespace {

constexpr int kWorkers = 5;
constexpr std::uint64_t kOpenMs = 1'000'000;  // far more than a test takes
constexpr std::uint64_t kTrialMs = 500'000;
const std::string kKey = "somebody";

checker::Settings settings() {
  checker::ServiceSettings web = tests::service_of("web", engine::Strategy::maglev, 10);
  web.policy.breaker_consecutive = kWorkers;
  web.policy.breaker_rate_percent = 0;
  web.policy.breaker_open_ms = kOpenMs;
  web.policy.breaker_open_max_ms = kOpenMs;
  web.policy.breaker_trial_ms = kTrialMs;
  return tests::settings_of({web}, 16);
}

struct Command {
  enum What : std::uint8_t { pick, report, leave } what;
  ballast_outcome_t outcome;
};

struct Reply {
  ballast_status_t status;
  std::uint32_t slot;
  std::uint32_t incarnation;
  std::uint8_t reason;
};

// In the child: does what it is told and says what came of it.
[[noreturn]] void obey(int socket, const std::string& directory) {
  auto handle = engine::Handle::attach(directory);
  if (!handle) ::_exit(2);
  (*handle)->set_clock(tests::moved_ms);
  ballast_service_t service = 0;
  if ((*handle)->find_service("web", service) != BALLAST_OK) ::_exit(3);
  ballast_pick_t pick = BALLAST_PICK_INIT;
  Command command{};
  while (::read(socket, &command, sizeof command) == sizeof command) {
    Reply reply{};
    switch (command.what) {
      case Command::pick:
        reply.status = (*handle)->pick(service, kKey.data(), kKey.size(), pick);
        reply.slot = pick.slot;
        reply.incarnation = pick.incarnation;
        reply.reason = pick.reason;
        break;
      case Command::report:
        reply.status = (*handle)->report(pick, command.outcome, 10);
        break;
      case Command::leave:
        handle->reset();
        ::_exit(0);
    }
    if (::write(socket, &reply, sizeof reply) != sizeof reply) break;
  }
  ::_exit(4);
}

class Worker {
 public:
  explicit Worker(const std::string& directory) {
    int ends[2] = {};
    REQUIRE(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
    pid_ = ::fork();
    REQUIRE(pid_ >= 0);
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      ::close(ends[0]);
      obey(ends[1], directory);
    }
    ::close(ends[1]);
    socket_ = ends[0];
  }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;
  ~Worker() {
    kill();
    ::close(socket_);
  }

  void tell(Command command) const {
    REQUIRE(::write(socket_, &command, sizeof command) == sizeof command);
  }
  [[nodiscard]] Reply answer() const {
    Reply reply{};
    REQUIRE(::read(socket_, &reply, sizeof reply) == sizeof reply);
    return reply;
  }
  [[nodiscard]] Reply pick() const {
    tell({Command::pick, BALLAST_ABANDONED});
    const Reply reply = answer();
    CHECK(reply.status == BALLAST_OK);
    return reply;
  }
  void report(ballast_outcome_t outcome) const {
    tell({Command::report, outcome});
    CHECK(answer().status == BALLAST_OK);
  }
  // Where its pick falls, which then succeeds.
  [[nodiscard]] Reply look() const {
    const Reply reply = pick();
    report(BALLAST_SUCCESS);
    return reply;
  }

  void kill() {
    if (pid_ < 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }
  void stop() const {
    ::kill(pid_, SIGSTOP);
    int status = 0;
    ::waitpid(pid_, &status, WUNTRACED);
    REQUIRE(WIFSTOPPED(status));
  }
  void go_on() const { ::kill(pid_, SIGCONT); }

 private:
  pid_t pid_ = -1;
  int socket_ = -1;
};

// A checker in a process of its own, that publishes and is killed.
void publish_and_die(const std::string& directory) {
  const pid_t pid = ::fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    auto lease = shm::Lease::acquire(directory, shm::Lease::Wait::no);
    if (!lease) ::_exit(2);
    auto publisher = checker::Publisher::open(std::move(*lease), settings());
    if (!publisher || !publisher->apply(settings())) ::_exit(3);
    ::raise(SIGKILL);
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  REQUIRE(WIFSIGNALED(status));
}

// Five workers of one namespace, all of whom know one key.
struct Host {
  enum class Checker { lives, was_killed };

  explicit Host(Checker checker) {
    static_cast<void>(tests::clock_offset());  // before anybody is forked
    if (checker == Checker::lives) {
      published.emplace(settings());
    } else {
      directory.emplace();
      publish_and_die(directory->path());
    }
    for (auto& worker : workers)
      worker = start();
    home = workers[0]->look().slot;
  }

  [[nodiscard]] std::unique_ptr<Worker> start() const {
    return std::make_unique<Worker>(published ? published->directory() : directory->path());
  }
  // A second of the checker, if there is one.
  void pass_a_second() {
    for (int i = 0; i < 10 && published; ++i)
      published->publisher().tick();
  }

  // Each of the five sees one failure; the last one opens it for all.
  void open() {
    for (const auto& worker : workers)
      CHECK(worker->pick().slot == home);
    for (std::size_t i = 0; i < workers.size(); ++i) {
      if (i + 1 == workers.size()) {  // one too few; a look that says nothing about the instance
        CHECK(workers[0]->pick().slot == home);
        workers[0]->report(BALLAST_CANCELLED);
      }
      workers[i]->report(BALLAST_CONNECT_FAILURE);
    }
    for (const auto& worker : workers)
      check_elsewhere(*worker);
  }

  void check_elsewhere(const Worker& worker) const {
    const Reply reply = worker.look();
    CHECK(reply.slot != home);
    CHECK(reply.reason == BALLAST_MOVED_BREAKER);
  }
  void check_at_home(const Worker& worker) const {
    const Reply reply = worker.look();
    CHECK(reply.slot == home);
    CHECK(reply.reason == BALLAST_FIRST_CHOICE);
  }
  // The one among `from..` whose pick tries the instance, which all others' do not.
  [[nodiscard]] Worker& trier(std::size_t from = 0) const {
    const Reply reply = workers[from]->pick();
    CHECK(reply.slot == home);
    CHECK(reply.reason == BALLAST_TRIAL);
    for (std::size_t i = 0; i < workers.size(); ++i) {
      if (i > from) check_elsewhere(*workers[i]);
    }
    return *workers[from];
  }
  void close(std::size_t from = 0) const {
    trier(from).report(BALLAST_SUCCESS);
    for (const auto& worker : workers)
      check_at_home(*worker);
  }
  static void wait_until_due() { tests::move_clock(2 * kOpenMs); }

  std::optional<tests::Published> published;
  std::optional<tests::TempDir> directory;
  std::array<std::unique_ptr<Worker>, kWorkers> workers;
  std::uint32_t home = 0;
};

void open_and_close(Host::Checker checker, int rounds) {
  Host host(checker);
  for (int round = 0; round < rounds; ++round) {
    host.open();
    Host::wait_until_due();
    host.close();
    if (round % 16 == 0) host.pass_a_second();
  }
}

}  // namespace

TEST_CASE("five failures of five processes open it for all of them") {
  open_and_close(Host::Checker::lives, 300);
}

TEST_CASE("the same after the checker was killed") {
  open_and_close(Host::Checker::was_killed, 300);
}

TEST_CASE("a success that any of them sees starts the count over") {
  Host host(Host::Checker::was_killed);
  for (int round = 0; round < 10; ++round) {
    for (const auto& worker : host.workers)
      CHECK(worker->pick().slot == host.home);
    for (std::size_t i = 0; i < host.workers.size(); ++i)
      host.workers[i]->report(i + 1 < host.workers.size() ? BALLAST_RESET : BALLAST_SUCCESS);
  }
}

TEST_CASE("a failed trial opens it again for all, one that is cancelled lets the next one try") {
  Host host(Host::Checker::was_killed);
  for (int round = 0; round < 50; ++round) {
    host.open();
    Host::wait_until_due();
    host.trier().report(BALLAST_TIMEOUT);
    for (const auto& worker : host.workers)
      host.check_elsewhere(*worker);
    Host::wait_until_due();
    host.trier().report(BALLAST_CANCELLED);
    host.close(1);
  }
}

TEST_CASE("the holder of the permit is killed: the checker frees it, or it expires") {
  for (const auto checker : {Host::Checker::lives, Host::Checker::was_killed}) {
    Host host(checker);
    for (int round = 0; round < 80; ++round) {
      host.open();
      Host::wait_until_due();
      static_cast<void>(host.trier());
      host.workers[0]->kill();
      if (checker == Host::Checker::lives) {
        host.pass_a_second();
      } else {
        host.check_elsewhere(*host.workers[1]);
        tests::move_clock(kTrialMs + 1000);
      }
      host.workers[0] = host.start();
      host.close(1);
    }
  }
}

TEST_CASE(
    "the holder of the permit is stopped: it keeps it for its time, and then comes too late") {
  for (const auto checker : {Host::Checker::lives, Host::Checker::was_killed}) {
    Host host(checker);
    for (int round = 0; round < 80; ++round) {
      host.open();
      Host::wait_until_due();
      static_cast<void>(host.trier());
      host.workers[0]->stop();
      host.pass_a_second();
      host.check_elsewhere(*host.workers[1]);
      tests::move_clock(kTrialMs + 1000);
      const Worker& heir = host.trier(1);
      host.workers[0]->go_on();
      host.workers[0]->report(round % 2 == 0 ? BALLAST_CONNECT_FAILURE : BALLAST_SUCCESS);
      host.check_elsewhere(*host.workers[2]);
      heir.report(BALLAST_SUCCESS);
      for (const auto& worker : host.workers)
        host.check_at_home(*worker);
    }
  }
}
