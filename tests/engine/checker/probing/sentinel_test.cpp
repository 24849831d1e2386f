// What the prober makes of connections that it keeps: a lost one brings the next check forward, at
// once but not without limit, and is no death by itself. On both backends, with intervals of an
// hour where only the lost connection may bring something about.
#include "engine/checker/probing/prober.hpp"

#include <doctest/doctest.h>
#include <unistd.h>

#include <vector>

#include "tests/support/full_listener.hpp"
#include "tests/support/loops.hpp"
#include "tests/support/probing.hpp"
#include "tests/support/tiny_server.hpp"

namespace ballast::checker {
namespace {

using tests::Behaviour;
using tests::hourly;
using tests::on_each_backend;
using tests::Probing;
using tests::quick;
using tests::TinyServer;

void expect_no_flapping(Backend backend, Behaviour behaviour) {
  const auto endpoint = tests::local_endpoint(tests::free_port());
  TinyServer server(behaviour, {endpoint});
  Probing bench(backend);
  bench.add(1, endpoint, quick());
  bench.until_checks(1, 30);
  CHECK(bench.verdicts[1].size() == 1);
  for (const CheckResult& check : bench.checks[1])
    CHECK(check.passed());
  CHECK(bench.prober->stats().connects >= 29);
}

TEST_CASE("the first check decides, then a killed server is seen without waiting") {
  on_each_backend([](Backend backend) {
    const auto endpoint = tests::local_endpoint(tests::free_port());
    TinyServer server(Behaviour::good, {endpoint});
    Probing bench(backend);
    bench.add(7, endpoint, hourly());
    bench.until_verdicts(7, 1);
    CHECK(bench.verdicts[7][0].healthy);
    CHECK(bench.verdicts[7][0].check.reason == Reason::passed);
    CHECK(bench.verdicts[7][0].check.detail == 200);
    CHECK(bench.prober->stats().kept == 1);

    server.kill();
    bench.until_verdicts(7, 2);
    CHECK_FALSE(bench.verdicts[7][1].healthy);
    CHECK(bench.verdicts[7][1].check.reason == Reason::connect_refused);
    CHECK(bench.prober->stats().connections_lost == 1);
    CHECK(bench.prober->stats().kept == 0);
  });
}

TEST_CASE("a server that closes idle connections does not flap") {
  on_each_backend([](Backend backend) { expect_no_flapping(backend, Behaviour::closes_after); });
}

TEST_CASE("a server that says 408 before it closes does not flap") {
  on_each_backend([](Backend backend) { expect_no_flapping(backend, Behaviour::times_out_idle); });
}

// The close crosses our request on its way: the server has not failed, it has never been asked.

TEST_CASE("a kept connection that is closed under a request is no failure") {
  on_each_backend([](Backend backend) {
    const auto endpoint = tests::local_endpoint(tests::free_port());
    TinyServer server(Behaviour::answers_once, {endpoint});
    Probing bench(backend);
    bench.add(1, endpoint, quick());
    bench.until_checks(1, 20);
    CHECK(bench.verdicts[1].size() == 1);
    for (const CheckResult& check : bench.checks[1])
      CHECK(check.passed());
    CHECK(bench.prober->stats().stale_retries >= 10);
  });
}

TEST_CASE("a SYN that gets no answer after a lost connection is sent again soon") {
  on_each_backend([](Backend backend) {
    tests::FullListener server;  // one connection waits to be accepted, the next SYN is dropped
    Probing bench(backend);
    bench.add(1, server.endpoint(), hourly());
    int first = -1;
    bench.until([&] { return (first = server.try_accept()) >= 0; });
    bench.until([&] { return tests::answer_request(first); });
    bench.until_verdicts(1, 1);
    CHECK(bench.verdicts[1][0].healthy);
    server.fill();
    close(first);
    // Neither the interval (an hour) nor the check's time (twenty seconds) brings this about.
    bench.until([&] { return bench.prober->stats().second_attempts == 1; });
    CHECK(bench.checks[1].size() == 1);
    int second = -1;
    bench.until([&] {
      if (second < 0) second = server.try_accept();
      return second >= 0 && tests::answer_request(second);
    });
    bench.until_checks(1, 2);
    CHECK(bench.checks[1][1].reason == Reason::passed);
    CHECK(bench.verdicts[1].size() == 1);
    close(second);
  });
}

TEST_CASE("checks brought forward by closed connections are limited") {
  on_each_backend([](Backend backend) {
    const auto endpoint = tests::local_endpoint(tests::free_port());
    TinyServer server(Behaviour::closes_after, {endpoint});
    const auto other = tests::local_endpoint(tests::free_port());
    TinyServer marker(Behaviour::good, {other});
    Probing bench(backend);
    bench.add(1, endpoint, hourly());
    bench.add(2, other, quick());
    // The first check, and as many as the allowance gives; then nothing until the interval is over.
    bench.until([&] { return bench.prober->stats().connections_lost >= 4; });
    bench.until_checks(2, 20);
    CHECK(bench.checks[1].size() == 1 + HealthMachine::kLossBurst);
  });
}

TEST_CASE("TCP sentinel: a check replaces the connection that is watched") {
  on_each_backend([](Backend backend) {
    const auto endpoint = tests::local_endpoint(tests::free_port());
    TinyServer server(Behaviour::banner, {endpoint});
    Probing bench(backend);
    CheckSettings check = quick();
    check.kind = CheckKind::tcp;
    check.tcp_sentinel = true;
    bench.add(1, endpoint, check);
    bench.until_checks(1, 10);
    CHECK(bench.prober->stats().kept == 1);
    CHECK(bench.verdicts[1].size() == 1);
    CHECK(bench.loop->open_streams() <= 3);
  });
}

TEST_CASE("200 instances die at once, and every one is seen") {
  on_each_backend([](Backend backend) {
    std::vector<shm::Endpoint> endpoints;
    shm::Endpoint endpoint = tests::local_endpoint(tests::free_port());
    for (std::uint8_t i = 0; i < 200; ++i) {
      endpoint.address[1] = 1;
      endpoint.address[3] = static_cast<std::uint8_t>(i + 1);
      endpoints.push_back(endpoint);
    }
    TinyServer server(Behaviour::good, endpoints);
    Probing bench(backend);
    for (std::size_t i = 0; i < endpoints.size(); ++i)
      bench.add(i, endpoints[i], hourly());
    for (std::size_t i = 0; i < endpoints.size(); ++i)
      bench.until_verdicts(i, 1);
    CHECK(bench.prober->stats().kept == 200);
    server.kill();
    for (std::size_t i = 0; i < endpoints.size(); ++i) {
      bench.until_verdicts(i, 2);
      CHECK_FALSE(bench.verdicts[i][1].healthy);
    }
  });
}

}  // namespace
}  // namespace ballast::checker
