// gRPC checks against grpcio as Debian ships it: statuses, changes that are pushed, servers that do
// not offer that, deaths, deployments and TLS.
#include <doctest/doctest.h>

#include <memory>
#include <string>

#include "tests/support/certificates.hpp"
#include "tests/support/grpc_server.hpp"
#include "tests/support/probing.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/support/tiny_server.hpp"

namespace ballast::checker {
namespace {

using tests::GrpcServer;
using tests::on_each_backend;
using tests::Probing;

const std::string kScript = std::string(BALLAST_SOURCE_DIR) + "/tests/support/health_over_grpc.py";

CheckSettings settings(Milliseconds interval) {
  CheckSettings check;
  check.kind = CheckKind::grpc;
  check.interval = interval;
  check.fast_interval = interval;
  check.timeout = std::chrono::seconds(20);
  return check;
}

bool can_run() {
  if (tests::has_grpc()) return true;
  tests::skip("no grpcio (apt install python3-grpcio)");
  return false;
}

TEST_CASE("statuses, of the server and of a service") {
  if (!can_run()) return;
  on_each_backend([](Backend backend) {
    const shm::Endpoint endpoint = tests::local_endpoint(tests::free_port());
    GrpcServer server(kScript, endpoint.to_text());
    server.tell("set shop 1");
    Probing p(backend);
    CheckSettings check = settings(Milliseconds(20));
    check.grpc_watch = false;
    p.add(1, endpoint, check);
    check.grpc_service = "shop";
    p.add(2, endpoint, check);
    check.grpc_service = "bakery";
    p.add(3, endpoint, check);
    for (const InstanceId id : {1U, 2U, 3U})
      p.until_verdicts(id, 1);
    CHECK(p.verdicts[1][0].healthy);
    CHECK(p.verdicts[2][0].healthy);
    CHECK_FALSE(p.verdicts[3][0].healthy);
    CHECK(p.verdicts[3][0].check.reason == Reason::not_serving);
    CHECK(p.verdicts[3][0].check.note == "grpc-status 5 (NOT_FOUND): unknown service");
    server.tell("set shop 2");
    p.until_verdicts(2, 2);
    CHECK(p.verdicts[2][1].check.reason == Reason::not_serving);
    CHECK(p.verdicts[2][1].check.detail == 2);
    CHECK(p.verdicts[2][1].check.note == "NOT_SERVING");
    server.tell("set shop 1");
    p.until_verdicts(2, 3);
    CHECK(p.verdicts[2][2].healthy);
    CHECK(p.verdicts[1].size() == 1);
    // One connection for all checks of an instance.
    CHECK(p.checks[1].size() > 3);
    CHECK(p.prober->stats().connects == 3);
  });
}

TEST_CASE("changes are pushed, and count at once") {
  if (!can_run()) return;
  on_each_backend([](Backend backend) {
    const shm::Endpoint endpoint = tests::local_endpoint(tests::free_port());
    GrpcServer server(kScript, endpoint.to_text());
    Probing p(backend);
    // So long that only a push can bring the news, and only the push can make one answer enough.
    CheckSettings check = settings(std::chrono::hours(1));
    check.fall = 3;
    check.rise = 1;
    p.add(1, endpoint, check);
    p.until_verdicts(1, 1);
    CHECK(p.verdicts[1][0].healthy);
    server.tell("set - 2");
    p.until_verdicts(1, 2);
    CHECK(p.verdicts[1][1].check.reason == Reason::not_serving);
    server.tell("set - 1");
    p.until_verdicts(1, 3);
    CHECK(p.verdicts[1][2].healthy);
    CHECK(p.checks[1].size() == 3);
    CHECK(p.prober->stats().connects == 1);
  });
}

TEST_CASE("a server that does not offer Watch is checked all the same") {
  if (!can_run()) return;
  on_each_backend([](Backend backend) {
    const shm::Endpoint endpoint = tests::local_endpoint(tests::free_port());
    GrpcServer server(kScript, endpoint.to_text());
    server.tell("watch off");
    Probing p(backend);
    CheckSettings check = settings(Milliseconds(20));
    p.add(1, endpoint, check);
    p.until_checks(1, 5);
    for (const CheckResult& result : p.checks[1])
      CHECK(result.passed());
    CHECK(p.prober->stats().connects == 1);
    server.tell("set - 2");
    p.until_verdicts(1, 2);
    CHECK_FALSE(p.verdicts[1][1].healthy);
  });
}

TEST_CASE("a death is noticed at once, a deployment is none") {
  if (!can_run()) return;
  on_each_backend([](Backend backend) {
    const shm::Endpoint endpoint = tests::local_endpoint(tests::free_port());
    auto server = std::make_unique<GrpcServer>(kScript, endpoint.to_text());
    Probing p(backend);
    p.add(1, endpoint, settings(std::chrono::hours(1)));
    p.until_verdicts(1, 1);
    server->kill();
    p.until_verdicts(1, 2);
    CHECK(p.verdicts[1][1].check.reason == Reason::connect_refused);
    server = std::make_unique<GrpcServer>(kScript, endpoint.to_text());
    Probing again(backend);
    again.add(1, endpoint, settings(std::chrono::hours(1)));
    again.until_verdicts(1, 1);
    // GOAWAY: the connection is of no more use, and nobody listens for another.
    server->ask("stop 0");
    again.until_verdicts(1, 2);
    CHECK_FALSE(again.verdicts[1][1].healthy);
  });
}

TEST_CASE("over TLS") {
  if (!can_run()) return;
  on_each_backend([](Backend backend) {
    const tests::TempDir dir;
    const tests::Authority authority("An Authority");
    const tests::Pem pem = authority.sign({"health", {"IP:127.0.0.1"}, -60, 3600});
    const shm::Endpoint endpoint = tests::local_endpoint(tests::free_port());
    GrpcServer server(kScript, endpoint.to_text(),
                      {tests::write_file(dir.path(), "cert", pem.certificate),
                       tests::write_file(dir.path(), "key", pem.key)});
    Probing p(backend);
    CheckSettings check = settings(std::chrono::hours(1));
    check.tls.enabled = true;
    check.tls.ca = FileText(std::make_shared<const std::string>(authority.certificate()));
    p.add(1, endpoint, check);
    p.until_verdicts(1, 1);
    CHECK(p.verdicts[1][0].healthy);
    server.tell("set - 2");
    p.until_verdicts(1, 2);
    CHECK(p.verdicts[1][1].check.reason == Reason::not_serving);
    check.tls.server_name = "other.example";
    p.add(2, endpoint, check);
    p.until_verdicts(2, 1);
    CHECK(p.verdicts[2][0].check.reason == Reason::bad_certificate);
  });
}

}  // namespace
}  // namespace ballast::checker
