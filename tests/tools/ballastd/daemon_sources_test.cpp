// A running ballastd whose instances come from a file and from a real name server: through changes,
// outages and restarts no pick fails and nobody is lost.
#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <string>

#include "engine/ballast.h"
#include "tests/support/dnsmasq.hpp"
#include "tests/support/skip.hpp"
#include "tests/tools/ballastd/daemon_process.hpp"

using ballast::tests::Behaviour;
using ballast::tests::Dnsmasq;
using ballast::tests::free_port;
using ballast::tests::local_endpoint;
using ballast::tests::Process;
using ballast::tests::Setting;
using ballast::tests::TinyServer;

namespace {

// The ports that `count` picks went to; every one must succeed.
std::set<std::uint16_t> picked(const std::string& directory, int count = 400) {
  ballast_t* handle = nullptr;
  ballast_options_t options = BALLAST_OPTIONS_INIT;
  options.directory = directory.c_str();
  REQUIRE(ballast_attach(&options, &handle) == BALLAST_OK);
  ballast_service_t service = 0;
  REQUIRE(ballast_find_service(handle, "web", &service) == BALLAST_OK);
  std::set<std::uint16_t> ports;
  for (int key = 0; key < count; ++key) {
    ballast_pick_t pick = BALLAST_PICK_INIT;
    REQUIRE(ballast_pick(handle, service, &key, sizeof key, nullptr, &pick) == BALLAST_OK);
    ports.insert(pick.port);
    REQUIRE(ballast_report(handle, &pick, BALLAST_SUCCESS, 100) == BALLAST_OK);
  }
  ballast_detach(handle);
  return ports;
}

void replace(const std::string& path, const std::string& text) {
  std::ofstream(path + ".new") << text;
  std::filesystem::rename(path + ".new", path);
}

std::string targets(const std::set<std::uint16_t>& ports) {
  std::string text = R"([{"targets": [)";
  for (const std::uint16_t port : ports)
    text += (text.back() == '[' ? "\"127.0.0.1:" : ", \"127.0.0.1:") + std::to_string(port) + '"';
  return text + "]}]";
}

}  // namespace

TEST_CASE("a file is followed, and its last good set outlives it and a restart") {
  const std::uint16_t one = free_port();
  const std::uint16_t two = free_port();
  TinyServer server(Behaviour::good, {local_endpoint(one), local_endpoint(two)});
  Setting setting;
  const std::string path = setting.file() + ".targets";
  setting.write("[service.web]\nsources = [{ file = \"" + path + "\" }]\n");
  replace(path, targets({one}));
  Process daemon(setting.run());
  daemon.wait_for("ready");
  daemon.wait_for("instance_up");
  CHECK(picked(setting.directory()) == std::set{one});
  replace(path, targets({one, two}));
  daemon.wait_for("instance_up");
  CHECK(picked(setting.directory()) == std::set{one, two});
  std::filesystem::remove(path);
  const std::string line = daemon.wait_for("source_failed");
  CHECK(line.find("No such file or directory") != std::string::npos);
  CHECK(line.find("instances=2") != std::string::npos);
  CHECK(picked(setting.directory()) == std::set{one, two});

  // With the file still away. The table says who belongs to the service.
  daemon.signal(SIGKILL);
  daemon.wait_for_exit();
  Process next(setting.run());
  next.wait_for("ready");
  next.wait_for("source_failed");
  CHECK(picked(setting.directory()) == std::set{one, two});
  // Nor does a reload lose anybody.
  next.signal(SIGHUP);
  next.wait_for("reloaded");
  CHECK(picked(setting.directory()) == std::set{one, two});
  replace(path, targets({two}));
  next.wait_for("source_recovered");
  next.wait_for("instance_removed");
  CHECK(picked(setting.directory()) == std::set{two});
  next.signal(SIGTERM);
  CHECK(next.wait_for_exit() == 0);
}

TEST_CASE("names in DNS are followed, and an outage changes nothing, nor does a restart in it") {
  if (BALLASTD_HAS_DNS == 0) return ballast::tests::skip("built without DNS sources");
  if (ballast::tests::find_dnsmasq().empty()) {
    ballast::tests::skip("dnsmasq is not installed (package dnsmasq-base)");
    return;
  }
  const std::uint16_t port = free_port();
  TinyServer server(Behaviour::good, {local_endpoint(port)});
  Dnsmasq dns("127.0.0.1 web.test\n");
  Setting setting;
  setting.write("[service.web]\nsources = [{ dns = \"web.test\", port = " + std::to_string(port) +
                ", servers = [\"" + dns.address() + "\"] }]\n");
  Process daemon(setting.run());
  daemon.wait_for("instance_up");
  CHECK(picked(setting.directory()) == std::set{port});
  dns.stop();
  const std::string line = daemon.wait_for("source_failed");
  CHECK_MESSAGE(line.find("cannot look up") != std::string::npos, line);
  CHECK(picked(setting.directory()) == std::set{port});
  daemon.signal(SIGTERM);
  CHECK(daemon.wait_for_exit() == 0);
  Process next(setting.run());
  next.wait_for("source_failed");
  CHECK(picked(setting.directory()) == std::set{port});
  dns.start();
  next.wait_for("source_recovered");
  CHECK(picked(setting.directory()) == std::set{port});
  // NXDOMAIN is not believed unless the configuration says so.
  dns.set_hosts("127.0.0.1 other.test\n");
  const std::string gone = next.wait_for("source_failed");
  CHECK(gone.find("NXDOMAIN") != std::string::npos);
  CHECK(picked(setting.directory()) == std::set{port});
  next.signal(SIGTERM);
  CHECK(next.wait_for_exit() == 0);
}

TEST_CASE("a service without an instance starts, and gets its first ones when they come") {
  const std::uint16_t port = free_port();
  TinyServer server(Behaviour::good, {local_endpoint(port)});
  Setting setting;
  const std::string path = setting.file() + ".targets";
  setting.write("[service.web]\nsources = [{ file = \"" + path + "\" }]\n");
  Process daemon(setting.run());
  daemon.wait_for("source_failed");
  daemon.wait_for("ready");
  replace(path, targets({port}));
  daemon.wait_for("instance_up");
  CHECK(picked(setting.directory()) == std::set{port});
  // A successor takes it over with them.
  Process next(setting.run({"--handover"}));
  next.wait_for("ready");
  daemon.wait_for("left");
  CHECK(picked(setting.directory()) == std::set{port});
  next.signal(SIGTERM);
  CHECK(next.wait_for_exit() == 0);
}

TEST_CASE("more instances than a table holds are a failure of their source, also at the start") {
  Setting setting;
  const std::string path = setting.file() + ".targets";
  std::string many;
  for (int i = 0; i < 60'000; ++i) {
    many += (many.empty() ? "\"127." : ", \"127.") + std::to_string(i / 62'500) + "." +
            std::to_string(1 + i / 250) + "." + std::to_string(i % 250) + ":9\"";
  }
  replace(path, R"([{"targets": [)" + many + "]}]");
  const std::uint16_t port = free_port();
  TinyServer server(Behaviour::good, {local_endpoint(port)});
  setting.write(setting.service() + "[service.web]\nsources = [{ file = \"" + path + "\" }]\n");
  Process daemon(setting.run());
  const std::string line = daemon.wait_for("source_failed");
  CHECK_MESSAGE(line.find("60001 instances are more than") != std::string::npos, line);
  daemon.wait_for("ready");
  daemon.signal(SIGHUP);
  daemon.wait_for("reloaded");
  replace(path, targets({port}));
  daemon.wait_for("source_recovered");
  daemon.wait_for("instance_up");
  daemon.signal(SIGTERM);
  CHECK(daemon.wait_for_exit() == 0);
}
