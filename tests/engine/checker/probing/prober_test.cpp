// The prober against real server processes, on both backends; sentinel_test.cpp has what it makes
// of kept connections. Nothing is measured by the clock: where it matters that something is seen at
// once, the check interval is an hour. The pump's limit only keeps a broken build from hanging.
#include "engine/checker/probing/prober.hpp"

#include <doctest/doctest.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <thread>
#include <vector>

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

TEST_CASE("a server that comes back is up after `rise` passes") {
  on_each_backend([](Backend backend) {
    const auto endpoint = tests::local_endpoint(tests::free_port());
    auto server = std::make_unique<TinyServer>(Behaviour::good, std::vector{endpoint});
    Probing bench(backend);
    CheckSettings check = quick();
    check.rise = 3;
    bench.add(1, endpoint, check);
    bench.until_verdicts(1, 1);
    server->kill();
    bench.until_verdicts(1, 2);
    CHECK_FALSE(bench.verdicts[1][1].healthy);
    server = std::make_unique<TinyServer>(Behaviour::good, std::vector{endpoint});
    bench.until_verdicts(1, 3);
    CHECK(bench.verdicts[1][2].healthy);
    const auto& checks = bench.checks[1];
    REQUIRE(checks.size() >= 4);
    for (std::size_t i = checks.size() - 3; i < checks.size(); ++i)
      CHECK(checks[i].passed());
    CHECK_FALSE(checks[checks.size() - 4].passed());
  });
}

TEST_CASE("polite closes and settings without keep-alive keep nothing") {
  on_each_backend([](Backend backend) {
    const auto polite = tests::local_endpoint(tests::free_port());
    TinyServer server(Behaviour::closes_politely, {polite});
    const auto good = tests::local_endpoint(tests::free_port());
    TinyServer other(Behaviour::good, {good});
    Probing bench(backend);
    bench.add(1, polite, quick());
    CheckSettings check = quick();
    check.keep_alive = false;
    bench.add(2, good, check);
    bench.until_checks(1, 5);
    bench.until_checks(2, 5);
    CHECK(bench.prober->stats().kept == 0);
    CHECK(bench.prober->stats().connections_lost == 0);
    CHECK(bench.verdicts[1].size() == 1);
    CHECK(bench.verdicts[2].size() == 1);
  });
}

TEST_CASE("every bad answer has its reason, and none holds a check beyond its time") {
  struct Expected {
    Behaviour behaviour;
    Reason reason;
  };
  on_each_backend([](Backend backend) {
    const std::vector<Expected> all = {
        {Behaviour::unhealthy, Reason::bad_status}, {Behaviour::hangs, Reason::timeout},
        {Behaviour::half, Reason::timeout},         {Behaviour::half_and_closes, Reason::closed},
        {Behaviour::garbage, Reason::bad_response}, {Behaviour::huge_headers, Reason::bad_response},
        {Behaviour::drips, Reason::timeout},        {Behaviour::closes_at_once, Reason::closed},
        {Behaviour::endless_body, Reason::passed},
    };
    Probing bench(backend);
    std::vector<std::unique_ptr<TinyServer>> servers;
    for (std::size_t i = 0; i < all.size(); ++i) {
      const auto endpoint = tests::local_endpoint(tests::free_port());
      servers.push_back(std::make_unique<TinyServer>(all[i].behaviour, std::vector{endpoint}));
      CheckSettings check = hourly();
      // Asked again soon if this process was too late itself, which is no result.
      check.fast_interval = Milliseconds(10);
      // Long enough for an answer on a busy machine, where one is expected.
      check.timeout = all[i].reason == Reason::timeout ? Milliseconds(150) : Milliseconds(10000);
      bench.add(i, endpoint, check);
    }
    for (std::size_t i = 0; i < all.size(); ++i) {
      CAPTURE(i);
      bench.until_verdicts(i, 1);
      CHECK(bench.verdicts[i][0].healthy == (all[i].reason == Reason::passed));
      const Reason reason = bench.verdicts[i][0].check.reason;
      // Bytes of our request that the peer has not read when it closes turn the end into a reset.
      const bool reset_instead = reason == Reason::reset && all[i].reason == Reason::closed;
      CHECK((reason == all[i].reason || reset_instead));
    }
  });
}

TEST_CASE("a reset, a refusal and a missing route are told apart") {
  on_each_backend([](Backend backend) {
    const auto resetting = tests::local_endpoint(tests::free_port());
    TinyServer server(Behaviour::resets_at_once, {resetting});
    Probing bench(backend);
    bench.add(1, resetting, hourly());
    bench.add(2, tests::local_endpoint(tests::free_port()), hourly());
    // No TCP to a broadcast address, whatever the routes of the machine.
    bench.add(3, *shm::parse_endpoint("255.255.255.255:80"), hourly());
    for (InstanceId id = 1; id <= 3; ++id)
      bench.until_verdicts(id, 1);
    CHECK(bench.verdicts[1][0].check.reason == Reason::reset);
    CHECK(bench.verdicts[2][0].check.reason == Reason::connect_refused);
    CHECK(bench.verdicts[3][0].check.reason == Reason::unreachable);
  });
}

TEST_CASE("a timeout counts one by one, and a stopped server is down after `fall`") {
  on_each_backend([](Backend backend) {
    const auto endpoint = tests::local_endpoint(tests::free_port());
    TinyServer server(Behaviour::good, {endpoint});
    Probing bench(backend);
    CheckSettings check = quick();
    check.timeout = Milliseconds(100);
    check.fall = 3;
    bench.add(1, endpoint, check);
    bench.until_verdicts(1, 1);
    server.pause();
    bench.until_verdicts(1, 2);
    CHECK_FALSE(bench.verdicts[1][1].healthy);
    const auto& checks = bench.checks[1];
    REQUIRE(checks.size() >= 3);
    for (std::size_t i = checks.size() - 3; i < checks.size(); ++i) {
      CHECK(checks[i].reason == Reason::timeout);
    }
    server.resume();
    bench.until_verdicts(1, 3);
    CHECK(bench.verdicts[1][2].healthy);
  });
}

// That the time passes is what is under test: nothing else is awaited.
TEST_CASE("a checker that was stopped past a deadline blames nobody") {
  on_each_backend([](Backend backend) {
    const auto endpoint = tests::local_endpoint(tests::free_port());
    TinyServer server(Behaviour::hangs, {endpoint});
    Probing bench(backend);
    CheckSettings check = hourly();
    check.timeout = Milliseconds(50);
    check.fall = 1;
    bench.add(1, endpoint, check, Health::up);
    bench.until([&] { return bench.prober->stats().connects == 1; });
    // Not run again until the deadline is long past.
    const auto late = std::chrono::steady_clock::now() + check.timeout + Milliseconds(250);
    while (std::chrono::steady_clock::now() < late)
      std::this_thread::sleep_until(late);
    bench.until([&] { return bench.prober->stats().no_result == 1; });
    CHECK(bench.checks[1].empty());
    CHECK(bench.verdicts[1].empty());
  });
}

TEST_CASE("TCP: connects, sees refusals, and watches a connection only when asked to") {
  on_each_backend([](Backend backend) {
    const auto plain = tests::local_endpoint(tests::free_port());
    const auto watched = tests::local_endpoint(tests::free_port());
    TinyServer server(Behaviour::banner, {plain, watched});
    Probing bench(backend);
    CheckSettings check = quick();
    check.kind = CheckKind::tcp;
    bench.add(1, plain, check);
    bench.until_checks(1, 5);
    CHECK(bench.prober->stats().kept == 0);

    CheckSettings hour = hourly();
    hour.kind = CheckKind::tcp;
    hour.tcp_sentinel = true;
    bench.add(2, watched, hour);
    bench.until_verdicts(2, 1);
    CHECK(bench.verdicts[2][0].healthy);
    CHECK(bench.prober->stats().kept == 1);
    server.kill();
    bench.until_verdicts(2, 2);
    CHECK(bench.verdicts[2][1].check.reason == Reason::connect_refused);
    bench.until_verdicts(1, 2);
    CHECK(bench.verdicts[1][1].check.reason == Reason::connect_refused);
  });
}

TEST_CASE("IPv6") {
  on_each_backend([](Backend backend) {
    const auto endpoint =
        tests::local_endpoint(tests::free_port(shm::Family::ipv6), shm::Family::ipv6);
    TinyServer server(Behaviour::good, {endpoint});
    Probing bench(backend);
    bench.add(1, endpoint, hourly());
    bench.until_verdicts(1, 1);
    CHECK(bench.verdicts[1][0].healthy);
    server.kill();
    bench.until_verdicts(1, 2);
    CHECK_FALSE(bench.verdicts[1][1].healthy);
  });
}

TEST_CASE("adopted health: a passing server changes nothing, a dead one needs `fall`") {
  on_each_backend([](Backend backend) {
    const auto endpoint = tests::local_endpoint(tests::free_port());
    TinyServer server(Behaviour::good, {endpoint});
    Probing bench(backend);
    bench.add(1, endpoint, quick(), Health::up);
    bench.add(2, endpoint, quick(), Health::down);
    bench.add(3, tests::local_endpoint(tests::free_port()), quick(), Health::up);
    bench.add(4, tests::local_endpoint(tests::free_port()), quick(), Health::down);
    bench.until_checks(1, 5);
    bench.until_checks(4, 5);
    bench.until_verdicts(2, 1);
    bench.until_verdicts(3, 1);
    CHECK(bench.verdicts[1].empty());
    CHECK(bench.verdicts[4].empty());
    CHECK(bench.verdicts[2][0].healthy);
    CHECK_FALSE(bench.verdicts[3][0].healthy);
    CHECK(bench.checks[2][0].passed());
    CHECK(bench.checks[2].size() >= 2);
    CHECK(bench.checks[3].size() >= 3);
  });
}

TEST_CASE("removal at any moment is safe, also from within a verdict") {
  on_each_backend([](Backend backend) {
    const auto good = tests::local_endpoint(tests::free_port());
    const auto hanging = tests::local_endpoint(tests::free_port());
    TinyServer server(Behaviour::good, {good});
    TinyServer other(Behaviour::hangs, {hanging});
    Probing bench(backend);
    bench.add(1, good, hourly());
    bench.add(2, hanging, hourly());
    bench.add(3, tests::local_endpoint(tests::free_port()), hourly());
    CHECK(bench.prober->remove(3));  // before its first check
    CHECK_FALSE(bench.prober->remove(3));
    bench.on_verdict = [&](InstanceId id, const Verdict&) {
      CHECK(bench.prober->remove(id));
      CHECK(bench.prober->stats().targets == 1);
    };
    bench.until_verdicts(1, 1);
    CHECK(bench.prober->remove(2));  // in the middle of its check
    CHECK(bench.prober->stats().targets == 0);
    CHECK(bench.prober->stats().kept == 0);
    bench.until([&] { return bench.loop->open_streams() == 0; });

    // Added and removed over and over with everything in flight.
    bench.on_verdict = nullptr;
    for (int round = 0; round < 200; ++round) {
      bench.add(10, good, hourly());
      bench.add(11, hanging, hourly());
      for (int turn = 0; turn < round % 5; ++turn)
        bench.loop->run_once({});
      CHECK(bench.prober->remove(10));
      CHECK(bench.prober->remove(11));
    }
    bench.until([&] { return bench.loop->open_streams() == 0; });
    CHECK(bench.verdicts[11].empty());
  });
}

TEST_CASE("an update moves the check to the new address and keeps the health") {
  on_each_backend([](Backend backend) {
    const auto first = tests::local_endpoint(tests::free_port());
    const auto second = tests::local_endpoint(tests::free_port());
    TinyServer one(Behaviour::good, {first});
    TinyServer two(Behaviour::unhealthy, {second});
    Probing bench(backend);
    bench.add(1, first, quick());
    bench.until_verdicts(1, 1);
    InstanceSettings instance;
    instance.endpoint = second;
    CHECK(bench.prober->update(1, instance, quick()));
    CHECK_FALSE(bench.prober->update(2, instance, quick()));
    bench.until_verdicts(1, 2);
    CHECK(bench.verdicts[1][1].check.reason == Reason::bad_status);
    CHECK(bench.verdicts[1][1].check.detail == 503);
  });
}

TEST_CASE("another port, or another address, is checked than the one that serves") {
  on_each_backend([](Backend backend) {
    const auto serving = tests::local_endpoint(tests::free_port());
    const auto checked = tests::local_endpoint(tests::free_port());
    TinyServer server(Behaviour::good, {checked});
    Probing bench(backend);
    CheckSettings check = hourly();
    check.port = checked.port;
    bench.add(1, serving, check);
    InstanceSettings instance{serving, serving.to_text(), 1};
    instance.check_endpoint = checked;
    REQUIRE(bench.prober->add(2, instance, hourly()));
    bench.add(3, serving, hourly());
    for (InstanceId id = 1; id <= 3; ++id)
      bench.until_verdicts(id, 1);
    CHECK(bench.verdicts[1][0].healthy);
    CHECK(bench.verdicts[2][0].healthy);
    CHECK_FALSE(bench.verdicts[3][0].healthy);
    // The address of the instance goes before the service's port.
    check.port = serving.port;
    CHECK(bench.prober->update(2, instance, check));
    bench.until_checks(2, 2);
    CHECK(bench.checks[2][1].passed());
  });
}

TEST_CASE("an update that changes only how the address is written asks anew") {
  on_each_backend([](Backend backend) {
    const auto endpoint = tests::local_endpoint(tests::free_port());
    TinyServer server(Behaviour::good, {endpoint});
    Probing bench(backend);
    bench.add(1, endpoint, hourly());
    bench.until_checks(1, 1);
    InstanceSettings instance{endpoint, endpoint.to_text(), 1};
    CHECK(bench.prober->update(1, instance, hourly()));
    CHECK(bench.prober->stats().kept == 1);  // nothing is new
    instance.text = "localhost:" + std::to_string(endpoint.port);
    CHECK(bench.prober->update(1, instance, hourly()));
    CHECK(bench.prober->stats().kept == 1);  // until the check that replaces it
    CHECK(bench.prober->update(1, instance, hourly()));
    bench.until_checks(1, 2);
    CHECK(bench.checks[1][1].passed());
    CHECK(bench.prober->stats().connects == 2);
    CHECK(bench.prober->stats().kept == 1);
    // Nor is it there for long if nothing is to be checked any more.
    CheckSettings none = hourly();
    none.kind = CheckKind::none;
    instance.text = "again:" + std::to_string(endpoint.port);
    CHECK(bench.prober->update(1, instance, hourly()));
    CHECK(bench.prober->update(1, instance, none));
    CHECK(bench.prober->stats().kept == 0);
  });
}

TEST_CASE("a first check that is brought forward keeps all of its time") {
  on_each_backend([](Backend backend) {
    const auto silent = tests::local_endpoint(tests::free_port());
    const auto good = tests::local_endpoint(tests::free_port());
    TinyServer server(Behaviour::hangs, {silent});
    TinyServer other(Behaviour::good, {good});
    Probing bench(backend);
    CheckSettings check = hourly();
    check.timeout = Milliseconds(120'000);
    check.fall = 1;
    bench.add(1, silent, check, Health::up);
    CHECK(bench.prober->check_soon(1));
    bench.add(2, good, quick());
    bench.until_checks(2, 5);
    CHECK(bench.checks[1].empty());
    // So after an update.
    check.fall = 2;
    CHECK(bench.prober->update(1, InstanceSettings{silent, silent.to_text(), 1}, check));
    CHECK(bench.prober->check_soon(1));
    bench.until_checks(2, 10);
    CHECK(bench.checks[1].empty());
    CHECK(bench.verdicts[1].empty());
  });
}

TEST_CASE("an instance that is not to be checked after all is left alone") {
  on_each_backend([](Backend backend) {
    const auto good = tests::local_endpoint(tests::free_port());
    TinyServer server(Behaviour::good, {good});
    Probing bench(backend);
    bench.add(1, good, hourly());
    CheckSettings none;
    none.kind = CheckKind::none;
    CHECK(bench.prober->update(1, InstanceSettings{good, good.to_text(), 1}, none));
    bench.add(2, good, quick());
    bench.until_checks(2, 5);
    CHECK(bench.checks[1].empty());
    CHECK(bench.prober->stats().no_result == 0);
  });
}

TEST_CASE("checks that wait for a process take no other check's turn, and all get theirs") {
  on_each_backend([](Backend backend) {
    constexpr std::size_t kRunning = 64;
    constexpr std::size_t kWaiting = 200;
    Probing bench(backend);
    CheckSettings endless = hourly();
    endless.kind = CheckKind::exec;
    endless.command = {"/bin/sleep", "3600"};
    endless.timeout = std::chrono::hours(1);
    const auto endpoint = tests::local_endpoint(1);
    for (std::size_t i = 0; i < kRunning; ++i)
      bench.add(i, endpoint, endless, Health::up);
    const auto stats = [&] { return bench.prober->stats(); };
    bench.until([&] { return stats().lags.count() == kRunning; });
    CheckSettings check = endless;
    check.command = {"/bin/true"};
    for (std::size_t i = 0; i < kWaiting; ++i)
      bench.add(kRunning + i, endpoint, check, Health::up);
    // Each of them once: they stand in line and do not ask again and again.
    bench.until([&] { return stats().postponed >= kWaiting; });
    CHECK(stats().checks == 0);
    const std::uint64_t held_back = stats().held_back;
    for (std::size_t i = 0; i < kRunning; ++i)
      CHECK(bench.prober->remove(i));
    for (std::size_t i = 0; i < kWaiting; ++i)
      bench.until_checks(kRunning + i, 1);
    CHECK(stats().held_back == held_back);
  });
}

TEST_CASE("thousands of kept connections that are lost together do not all start at once") {
  on_each_backend([](Backend backend) {
    constexpr std::size_t kLost = 2500;
    // Of the server and of the checker, which are one process's children and have its limit.
    rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = std::min<rlim_t>(limit.rlim_max, 4 * kLost);
    ::setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < 4 * kLost) return tests::skip("needs 10,000 descriptors");
    const auto endpoint = tests::local_endpoint(tests::free_port());
    TinyServer server(Behaviour::good, {endpoint});
    Probing bench(backend);
    for (std::size_t i = 0; i < kLost; ++i)
      bench.add(i, endpoint, hourly());
    for (std::size_t i = 0; i < kLost; ++i)
      bench.until_verdicts(i, 1);
    bench.until([&] { return bench.prober->stats().kept == kLost; });
    server.kill();
    for (std::size_t i = 0; i < kLost; ++i) {
      bench.until_verdicts(i, 2);
      CHECK_FALSE(bench.verdicts[i][1].healthy);
    }
    // But for the few that were just being asked.
    CHECK(bench.prober->stats().connections_lost > kLost / 10 * 9);
  });
}

TEST_CASE("more instances than streams: all are checked, part of them are watched") {
  on_each_backend([](Backend backend) {
    std::vector<shm::Endpoint> endpoints;
    shm::Endpoint endpoint = tests::local_endpoint(tests::free_port());
    for (std::uint8_t i = 0; i < 100; ++i) {
      endpoint.address[3] = static_cast<std::uint8_t>(i + 1);
      endpoints.push_back(endpoint);
    }
    TinyServer server(Behaviour::good, endpoints);
    Probing bench(backend, 20);
    for (std::size_t i = 0; i < endpoints.size(); ++i)
      bench.add(i, endpoints[i], quick());
    for (std::size_t i = 0; i < endpoints.size(); ++i)
      bench.until_checks(i, 3);
    for (std::size_t i = 0; i < endpoints.size(); ++i) {
      CHECK(bench.verdicts[i].size() == 1);
      for (const CheckResult& check : bench.checks[i])
        CHECK(check.passed());
    }
    CHECK(bench.prober->stats().kept <= 15);
    CHECK(bench.loop->open_streams() <= 20);
  });
}

}  // namespace
}  // namespace ballast::checker
