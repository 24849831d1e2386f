// Metrics of ballastd as a process: served as soon as it is in charge, where a reload says, and
// after a hand-over by the successor.
#include <doctest/doctest.h>

#include <chrono>
#include <csignal>
#include <string>

#include "shm/endpoint.hpp"
#include "tests/support/scrape.hpp"
#include "tests/tools/ballastd/daemon_process.hpp"

using namespace ballast;
using tests::free_port;
using tests::get;
using tests::Process;
using tests::Samples;
using tests::Setting;

namespace {

std::string with_metrics(const Setting& setting, const std::string& listen) {
  return "[metrics]\nlisten = \"" + listen + "\"\n" + setting.service();
}

std::string address(std::uint16_t port) {
  return "127.0.0.1:" + std::to_string(port);
}

}  // namespace

TEST_CASE("metrics are served where the configuration says, from reload to reload") {
  const Setting setting;
  const std::string first = address(free_port());
  setting.write(with_metrics(setting, first));
  Process daemon(setting.run());
  daemon.wait_for(" metrics listen=" + first);
  daemon.wait_for("instance_up");
  const auto where = *shm::parse_endpoint(first);
  CHECK(get(where, "/health").status == 200);
  const Samples samples(get(where, "/metrics").body);
  CHECK(samples.at("ballast_checker_in_charge") == 1);
  CHECK(samples.at("ballast_prober_targets") == 1);
  // A reading may be from just before; the next one is not.
  const std::string in_use = "ballast_service_instances{service=\"checkout\",state=\"in_use\"}";
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (Samples(get(where, "/metrics").body).at(in_use) != 1)
    REQUIRE(std::chrono::steady_clock::now() < deadline);

  const std::string second = address(free_port());
  setting.write(with_metrics(setting, second));
  daemon.signal(SIGHUP);
  daemon.wait_for(" metrics listen=" + second);
  CHECK(get(*shm::parse_endpoint(second), "/health").status == 200);
  daemon.signal(SIGTERM);
  CHECK(daemon.wait_for_exit() == 0);
}

TEST_CASE("an address in use is said once, tried again, and keeps nothing else from going on") {
  const Setting setting;
  const Setting other;
  const std::string listen = address(free_port());
  setting.write(with_metrics(setting, listen));
  other.write(with_metrics(other, listen));
  Process holder(setting.run());
  holder.wait_for(" metrics listen=" + listen);
  Process daemon(other.run());
  const std::string line = daemon.wait_for("metrics_failed");
  CHECK(line.find("choose another metrics.listen") != std::string::npos);
  daemon.wait_for("instance_up");
  holder.signal(SIGTERM);
  CHECK(holder.wait_for_exit() == 0);
  daemon.wait_for(" metrics listen=" + listen);
}

TEST_CASE("a successor serves them from the same address") {
  const Setting setting;
  const std::string listen = address(free_port());
  setting.write(with_metrics(setting, listen));
  Process first(setting.run());
  first.wait_for(" metrics listen=" + listen);
  Process second(setting.run({"--handover"}));
  second.wait_for(" metrics listen=" + listen);
  CHECK(first.wait_for_exit() == 0);
  const Samples samples(get(*shm::parse_endpoint(listen), "/metrics").body);
  CHECK(samples.at("ballast_checker_term") == 2);
  CHECK(samples.at("ballast_checker_in_charge") == 1);
}
