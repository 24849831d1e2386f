// What systemd hears, at a socket of the test's own: in the file system and without a name.
#include "tools/ballastd/service_manager.hpp"

#include <doctest/doctest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <string>

#include "tests/support/notify_socket.hpp"

namespace ballast::tools {
namespace {

using std::chrono::milliseconds;
using tests::NotifySocket;

}  // namespace

TEST_CASE("messages as sd_notify(3) has them") {
  NotifySocket socket;
  ServiceManager manager(socket.address().c_str(), nullptr, nullptr);
  CHECK(manager.is_there());
  CHECK_FALSE(manager.watchdog_period());
  manager.ready("checking 2 instances\nof 1");
  CHECK(socket.next() == "READY=1\nSTATUS=checking 2 instances of 1");
  manager.reloading();
  const std::string reloading = socket.next();
  CHECK(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="));
  CHECK(reloading.size() > std::strlen("RELOADING=1\nMONOTONIC_USEC="));
  manager.alive();
  CHECK(socket.next() == "WATCHDOG=1");
  manager.stopping("SIGTERM");
  CHECK(socket.next() == "STOPPING=1\nSTATUS=SIGTERM");
}

TEST_CASE("a socket without a name in the file system") {
  NotifySocket socket(NotifySocket::Kind::abstract);
  ServiceManager manager(socket.address().c_str(), nullptr, nullptr);
  manager.ready("");
  CHECK(socket.next() == "READY=1");
}

TEST_CASE("the watchdog wants a sign of life at half its time") {
  NotifySocket socket;
  const std::string address = socket.address();
  const auto period = [&](const char* usec, const char* pid) {
    return ServiceManager(address.c_str(), usec, pid).watchdog_period();
  };
  const std::string me = std::to_string(::getpid());
  CHECK(period("10000000", nullptr) == milliseconds(5000));
  CHECK(period("10000000", me.c_str()) == milliseconds(5000));
  CHECK(period("1000", nullptr) == milliseconds(1));
  CHECK_FALSE(period("10000000", "1"));  // another's
  CHECK_FALSE(period("0", nullptr));
  CHECK_FALSE(period("ten", nullptr));
  CHECK_FALSE(ServiceManager(nullptr, "10000000", nullptr).watchdog_period());
}

TEST_CASE("nobody there, nobody listening, or no address: nothing happens") {
  ServiceManager none(nullptr, nullptr, nullptr);
  CHECK_FALSE(none.is_there());
  none.ready("x");
  std::string gone;
  {
    NotifySocket socket;
    gone = socket.address();
  }
  ServiceManager deaf(gone.c_str(), nullptr, nullptr);
  deaf.ready("x");
  const std::string too_long = "/" + std::string(200, 'x');
  for (const char* address : {"", "@", "relative", too_long.c_str()}) {
    ServiceManager manager(address, nullptr, nullptr);
    CHECK_FALSE(manager.is_there());
    manager.ready("x");
  }
}

TEST_CASE("who does not read does not hold us up") {
  NotifySocket socket;
  ServiceManager manager(socket.address().c_str(), nullptr, nullptr);
  for (int i = 0; i < 100'000; ++i)
    manager.alive();  // far more than its queue holds
  CHECK(socket.next() == "WATCHDOG=1");
}

TEST_CASE("the variables are for ballastd alone") {
  NotifySocket socket;
  ::setenv("NOTIFY_SOCKET", socket.address().c_str(), 1);
  ::setenv("WATCHDOG_USEC", "2000000", 1);
  ServiceManager manager;
  CHECK(manager.is_there());
  CHECK(manager.watchdog_period() == milliseconds(1000));
  CHECK(std::getenv("NOTIFY_SOCKET") == nullptr);
  CHECK(std::getenv("WATCHDOG_USEC") == nullptr);
}

}  // namespace ballast::tools
