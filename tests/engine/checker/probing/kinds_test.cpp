// The prober with checks that are datagrams, commands and agents: real sockets and real processes,
// on both backends.
#include <doctest/doctest.h>

#include <fstream>
#include <string>

#include "engine/checker/probing/agent_check.hpp"
#include "engine/checker/probing/prober.hpp"
#include "tests/support/line_server.hpp"
#include "tests/support/probing.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/support/udp_peer.hpp"

namespace ballast::checker {
namespace {

using tests::LineServer;
using tests::on_each_backend;
using tests::Probing;
using tests::quick;
using tests::UdpPeer;

// ---- datagrams

CheckSettings asking(std::string question, std::string answer) {
  CheckSettings check = quick();
  check.kind = CheckKind::udp;
  check.steps = {{ExchangeStep::Kind::send, std::move(question)},
                 {ExchangeStep::Kind::expect, std::move(answer)}};
  return check;
}

TEST_CASE("a datagram's answer is the expected one, another, or none; nobody listens") {
  on_each_backend([](Backend backend) {
    UdpPeer peer;
    Probing probing(backend);
    probing.add(1, peer.endpoint(), asking("ping", "pong"));
    std::string answer = "so pong it is";
    const auto until = [&](const std::function<bool()>& done) {
      probing.until([&] {
        while (const auto question = peer.receive()) {
          CHECK(*question == "ping");
          peer.answer(answer);
        }
        return done();
      });
    };
    until([&] { return probing.checks[1].size() >= 3; });
    CHECK(probing.verdicts[1].at(0).healthy);
    CHECK(probing.checks[1].back().passed());

    answer = "who are\nyou?";
    until([&] { return probing.verdicts[1].size() == 2; });
    CHECK_FALSE(probing.verdicts[1][1].healthy);
    CHECK(probing.verdicts[1][1].check.reason == Reason::unexpected);
    CHECK(probing.verdicts[1][1].check.note == "who are you?");

    answer = "pong";
    until([&] { return probing.verdicts[1].size() == 3; });
    CHECK(probing.verdicts[1][2].healthy);

    peer.close();
    probing.until_verdicts(1, 4);
    CHECK_FALSE(probing.verdicts[1][3].healthy);
    CHECK(probing.verdicts[1][3].check.reason == Reason::connect_refused);
    CHECK(probing.prober->stats().kept == 0);
  });
}

TEST_CASE("no answer at all is a timeout") {
  on_each_backend([](Backend backend) {
    const UdpPeer silent;
    Probing probing(backend);
    CheckSettings check = asking("ping", "pong");
    check.timeout = Milliseconds(20);
    probing.add(1, silent.endpoint(), check);
    probing.until_verdicts(1, 1);
    CHECK(probing.verdicts[1][0].check.reason == Reason::timeout);
    probing.prober->remove(1);
    probing.until([&] { return probing.loop->open_streams() == 0; });
  });
}

TEST_CASE("several datagrams, one after the other") {
  on_each_backend([](Backend backend) {
    UdpPeer peer;
    Probing probing(backend);
    CheckSettings check = asking("one", "1");
    check.steps.push_back({ExchangeStep::Kind::send, "two"});
    check.steps.push_back({ExchangeStep::Kind::expect, "2"});
    probing.add(1, peer.endpoint(), check);
    probing.until([&] {
      while (const auto question = peer.receive())
        peer.answer(*question == "one" ? "1" : "2");
      return probing.verdicts[1].size() == 1;
    });
    CHECK(probing.verdicts[1][0].healthy);
  });
}

// ---- commands

CheckSettings running(const std::string& script) {
  CheckSettings check = quick();
  check.kind = CheckKind::exec;
  check.command = {"/bin/sh", "-c", script};
  return check;
}

TEST_CASE("a command decides by its exit status, and knows whom it is for") {
  on_each_backend([](Backend backend) {
    const tests::TempDir dir;
    const std::string flag = dir.path() + "/down";
    const shm::Endpoint endpoint = *shm::parse_endpoint("127.0.0.1:1234");
    Probing probing(backend);
    CheckSettings check =
        running("echo $BALLAST_INSTANCE $BALLAST_ADDRESS $BALLAST_PORT; test ! -e " + flag);
    check.port = 4321;
    probing.add(1, endpoint, check);
    probing.until_checks(1, 2);
    CHECK(probing.verdicts[1].at(0).healthy);
    CHECK(probing.checks[1][1].note == "127.0.0.1:1234 127.0.0.1 4321");
    CHECK(probing.checks[1][1].latency.count() > 0);
    std::ofstream(flag).close();
    probing.until_verdicts(1, 2);
    CHECK_FALSE(probing.verdicts[1][1].healthy);
    CHECK(probing.verdicts[1][1].check.reason == Reason::bad_exit);
    CHECK(probing.verdicts[1][1].check.detail == 1);
    // Checked otherwise from now on.
    InstanceSettings instance;
    instance.endpoint = endpoint;
    CHECK(probing.prober->update(1, instance, running("exit 0")));
    probing.until_verdicts(1, 3);
    CHECK(probing.verdicts[1][2].healthy);
  });
}

TEST_CASE("a command that hangs is a timeout, with what it has said") {
  on_each_backend([](Backend backend) {
    Probing probing(backend);
    CheckSettings check = running("echo waiting for the lock; sleep 1000 & wait");
    check.timeout = Milliseconds(100);
    check.fall = 1;
    probing.add(1, tests::local_endpoint(1), check);
    probing.until_checks(1, 2);
    CHECK(probing.checks[1][1].reason == Reason::timeout);
    CHECK(probing.verdicts[1].at(0).check.reason == Reason::timeout);
    // On a slow machine the deadline may come before the shell.
    const std::string& note = probing.checks[1][1].note;
    CHECK((note.empty() || note == "waiting for the lock"));
  });
}

TEST_CASE("that a program is missing is nobody's fault but ours, and said by name") {
  on_each_backend([](Backend backend) {
    Probing probing(backend);
    CheckSettings check = quick();
    check.kind = CheckKind::exec;
    check.command = {"/no/such/check"};
    probing.add(1, tests::local_endpoint(1), check, Health::up);
    probing.until([&] { return probing.prober->stats().no_result >= 5; });
    CHECK(probing.verdicts[1].empty());
    CHECK(probing.checks[1].empty());
    REQUIRE(probing.log.size() == 1);
    CHECK(probing.log[0].find("127.0.0.1:1 by running /no/such/check: No such file") !=
          std::string::npos);
  });
}

TEST_CASE("more commands than may run at once take their turns, and may be taken away meanwhile") {
  on_each_backend([](Backend backend) {
    constexpr InstanceId kMany = 150;
    Probing probing(backend);
    CheckSettings check = running("exit 0");
    check.interval = std::chrono::hours(1);
    for (InstanceId id = 1; id <= kMany; ++id)
      probing.add(id, tests::local_endpoint(static_cast<std::uint16_t>(id)), check);
    probing.until([&] { return probing.verdicts.size() == kMany; });
    check = running("sleep 1000");
    InstanceSettings instance;
    for (InstanceId id = 1; id <= kMany; ++id) {
      instance.endpoint = tests::local_endpoint(static_cast<std::uint16_t>(id));
      probing.prober->update(id, instance, check);
    }
    probing.until([&] { return probing.prober->stats().postponed > 0; });
    for (InstanceId id = 1; id <= kMany; id += 2)
      probing.prober->remove(id);
    // The rest goes with the prober.
  });
}

// ---- agents

TEST_CASE("an agent as the check") {
  on_each_backend([](Backend backend) {
    LineServer agent("up ready 75%\n");
    Probing probing(backend);
    CheckSettings check = quick();
    check.kind = CheckKind::agent;
    check.agent_send = "hello\n";
    probing.add(1, agent.endpoint(), check);
    const auto until = [&](const std::function<bool()>& done) {
      probing.until([&] {
        agent.turn();
        return done();
      });
    };
    until([&] { return probing.checks[1].size() >= 2; });
    CHECK(probing.verdicts[1].at(0).healthy);
    CHECK(probing.checks[1][1].agent == AgentReport{true, shm::Admin::ready, 75, {}});
    agent.say("fail #no disk");  // without an end but that of the connection
    until([&] { return probing.verdicts[1].size() == 2; });
    CHECK(probing.verdicts[1][1].check.reason == Reason::agent_down);
    CHECK(probing.verdicts[1][1].check.note == "fail: no disk");
    agent.say("up\n");
    until([&] { return probing.verdicts[1].size() == 3; });
    CHECK(probing.verdicts[1][2].healthy);
    agent.close();
    probing.until_verdicts(1, 4);
    CHECK(probing.verdicts[1][3].check.reason == Reason::connect_refused);
  });
}

TEST_CASE("an agent's number and place follow from its instance's") {
  CHECK(is_agent(agent_of(17)));
  CHECK_FALSE(is_agent(17));
  CHECK(spoken_for(agent_of(17)) == 17);
  AgentSettings agent;
  agent.port = 9000;
  agent.send = "x";
  agent.interval = Milliseconds(700);
  const CheckSettings check = agent_check(agent);
  CHECK(check.kind == CheckKind::agent);
  CHECK(check.port == 9000);
  CHECK(check.agent_send == "x");
  CHECK(check.interval == Milliseconds(700));
  CHECK(check.fast_interval == Milliseconds(700));
  InstanceSettings instance;
  instance.endpoint = *shm::parse_endpoint("10.0.0.1:80");
  CHECK(agent_place(instance).endpoint == instance.endpoint);
  instance.check_endpoint = *shm::parse_endpoint("10.9.9.9:81");
  CHECK(agent_place(instance).endpoint == *instance.check_endpoint);
  CHECK_FALSE(agent_place(instance).check_endpoint.has_value());
}

}  // namespace
}  // namespace ballast::checker
