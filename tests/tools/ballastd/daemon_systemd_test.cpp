// ballastd as systemd sees it: when it says that it is ready, reloads, lives and stops.
#include <doctest/doctest.h>

#include <csignal>
#include <cstdlib>
#include <string>

#include "tests/support/notify_socket.hpp"
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

TEST_CASE("one that stands still gives no sign of life") {
  const NotifySocket socket;
  const Environment environment(socket);
  const Setting setting;
  Process daemon(setting.run());
  CHECK(socket.next_of("WATCHDOG=1") == "WATCHDOG=1");
  daemon.signal(SIGSTOP);
  // What it said before it stood still, and then nothing: far longer than its period.
  while (!socket.is_quiet_for_ms(500)) {
  }
  daemon.signal(SIGCONT);
  CHECK(socket.next_of("WATCHDOG=1") == "WATCHDOG=1");
}
