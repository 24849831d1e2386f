// ballastd as systemd sees it: when it says that it is ready, reloads, lives and stops.
#include <doctest/doctest.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include <csignal>
#include <cstdlib>
#include <string>
#include <utility>

#include "tests/support/notify_socket.hpp"
#include "tests/support/scrape.hpp"
#include "tests/support/skip.hpp"
#include "tests/tools/ballastd/daemon_process.hpp"

using ballast::tests::NotifySocket;
using ballast::tests::Process;
using ballast::tests::Setting;

namespace {

// What systemd sets for the programs that it starts.
class Environment {
 public:
  explicit Environment(const NotifySocket& socket) {
    ::setenv("NOTIFY_SOCKET", socket.address().c_str(), 1);
    ::setenv("WATCHDOG_USEC", "100000", 1);
  }
  ~Environment() {
    ::unsetenv("NOTIFY_SOCKET");
    ::unsetenv("WATCHDOG_USEC");
  }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;
};

}  // namespace

TEST_CASE("ready once it is in charge, alive, reloading, ready again, stopping") {
  const NotifySocket socket;
  const Environment environment(socket);
  const Setting setting;
  Process daemon(setting.run());
  CHECK(socket.next_of("READY=1").find("STATUS=checking 1 instances of 1 services in " +
                                       setting.directory()) != std::string::npos);
  daemon.wait_for(" ready");
  CHECK(socket.next_of("WATCHDOG=1") == "WATCHDOG=1");
  CHECK(socket.next_of("WATCHDOG=1") == "WATCHDOG=1");

  setting.write(setting.service() + setting.service("other"));
  daemon.signal(SIGHUP);
  CHECK(socket.next_of("RELOADING=1").find("MONOTONIC_USEC=") != std::string::npos);
  CHECK(socket.next_of("READY=1").find("of 2 services") != std::string::npos);

  // A reload that fails is over, too.
  setting.write("nonsense");
  daemon.signal(SIGHUP);
  CHECK(socket.next_of("RELOADING=1") != "");
  CHECK(socket.next_of("READY=1").find("of 2 services") != std::string::npos);

  daemon.signal(SIGTERM);
  CHECK(socket.next_of("STOPPING=1") == "STOPPING=1\nSTATUS=SIGTERM");
  CHECK(daemon.wait_for_exit() == 0);
}

TEST_CASE("one that cannot take office never says that it is ready") {
  const Setting setting;
  Process first(setting.run());
  first.wait_for(" ready");
  const NotifySocket socket;
  const Environment environment(socket);
  Process second(setting.run());
  CHECK(socket.next_of("STOPPING=1").find("STATUS=") != std::string::npos);
  CHECK(second.wait_for_exit() == 1);
}

// Stops one thread of a process, as a debugger does; the others go on.
class StoppedThread {
 public:
  explicit StoppedThread(pid_t tid) : tid_(tid) {
    stopped_ = ::ptrace(PTRACE_SEIZE, tid, nullptr, nullptr) == 0 &&
               ::ptrace(PTRACE_INTERRUPT, tid, nullptr, nullptr) == 0 &&
               ::waitpid(tid, nullptr, __WALL) == tid;
  }
  ~StoppedThread() { go_on(); }
  StoppedThread(const StoppedThread&) = delete;
  StoppedThread& operator=(const StoppedThread&) = delete;
  [[nodiscard]] bool is_stopped() const { return stopped_; }
  void go_on() {
    if (std::exchange(stopped_, false)) ::ptrace(PTRACE_DETACH, tid_, nullptr, nullptr);
  }

 private:
  pid_t tid_;
  bool stopped_ = false;
};

TEST_CASE("one whose loop stands still gives no sign of life, whatever its other threads do") {
  const NotifySocket socket;
  const Environment environment(socket);
  const Setting setting;
  const std::uint16_t port = ballast::tests::free_port();
  setting.write("[metrics]\nlisten = \"127.0.0.1:" + std::to_string(port) + "\"\n" +
                setting.service());
  Process daemon(setting.run());
  daemon.wait_for(" metrics ");
  CHECK(socket.next_of("WATCHDOG=1") == "WATCHDOG=1");
  StoppedThread loop(daemon.pid());  // the first thread's number is the process's
  if (!loop.is_stopped()) return ballast::tests::skip("this process may not trace its children");
  // What it said before it stood still, and then nothing: far longer than its period.
  while (!socket.is_quiet_for_ms(500)) {
  }
  // The process as such lives: its thread for metrics answers, and knows.
  const auto metrics = ballast::tests::local_endpoint(port);
  while (ballast::tests::get(metrics, "/health").status != 503)
    CHECK(socket.is_quiet_for_ms(50));
  CHECK(ballast::tests::get(metrics, "/health").body == "the checker stands still\n");
  loop.go_on();
  CHECK(socket.next_of("WATCHDOG=1") == "WATCHDOG=1");
}
