// The exact text and JSON of a snapshot made by hand.
#include "tools/ballast/render.hpp"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "tests/tools/ballast/sample_snapshot.hpp"
#include "tools/ballast/table.hpp"

namespace shm = ballast::shm;
namespace tools = ballast::tools;
using ballast::tests::kNow;
using ballast::tests::kSecond;
using ballast::tests::sample;

TEST_CASE("dump for people") {
  CHECK(tools::dump_text(sample(), tools::Colours::no) ==
        R"(directory  /dev/shm/ballast/default
checker    running, pid 4711, term 2, since 2023-11-14 21:13:20, heartbeat 50 ms ago
segment    1, made 2023-11-14 20:13:20, format 1.0, table 1.4 MiB, workers 2.0 KiB
room       services 1 of 16, instances 2 of 64 (1 cooling), rows 1 of 256, arena 512 B

service checkout: maglev, epoch 3, 2 instances, 1 usable, published 5 min ago
  requests  1200, 7 failed (0.58 %); latency: mean 2.5 ms, p50 <= 1.5 ms, p99 <= 25 ms
  INSTANCE            STATE  REASON           WEIGHT  IN FLIGHT  STARTED  FAILED  LATENCY  CHECKS  BAD    TOOK  CHECKED  CHANGED  SLOT
  127.0.0.1:8081      up     passed                1          3     1200       7   2.5 ms    3600    2  312 us      1 s      2 h     0
  [2001:db8::1]:8082  down   connect_refused    5/10          0        0       0        -    3600    2  312 us      1 s      3 d    12
  [2001:db8::1]:8082  gone   connect_refused    5/10          0        0       0        -       0    2       -        -      3 d    13
)");
}

TEST_CASE("what an instance gets less for") {
  auto s = sample();
  tools::ServiceView& service = s.services[0];
  service.out = 1;
  tools::InstanceView& ejected = service.instances[0];
  ejected.state.ejected = true;
  ejected.state.usable = false;
  ejected.ejected_until_ns = kNow + 25 * kSecond;
  ejected.ejections = 2;
  tools::InstanceView slow = ejected;
  slow.state.ejected = false;
  slow.state.usable = true;
  slow.state.weight = 6;
  slow.ramp_since_ns = kNow - 12 * kSecond;
  tools::InstanceView observed = slow;
  observed.ramp_since_ns = 0;
  observed.state.weight = 32;
  observed.multiplier = 0.5;
  observed.weight_reason = ballast::engine::WeightReason::observed;
  observed.latency_us = 20'300;
  tools::InstanceView reported = observed;
  reported.weight_reason = ballast::engine::WeightReason::reported;
  reported.utilisation = 0.8;
  service.instances = {ejected, slow, observed, reported};
  const std::string text = tools::dump_text(s, tools::Colours::no);
  CHECK(text.substr(text.find("service ")) ==
        R"(service checkout: maglev, epoch 3, 4 instances, 3 usable, 1 ejected, published 5 min ago
  requests  4800, 28 failed (0.58 %); latency: mean 2.5 ms, p50 <= 1.5 ms, p99 <= 25 ms
  INSTANCE        STATE    REASON  WEIGHT  IN FLIGHT  STARTED  FAILED  LATENCY  CHECKS  BAD    TOOK  CHECKED  CHANGED  SLOT  WHY
  127.0.0.1:8081  ejected  passed       1          3     1200       7   2.5 ms    3600    2  312 us      1 s      2 h     0  ejected, 25 s left, 2 times
  127.0.0.1:8081  up       passed  0.09/1          3     1200       7   2.5 ms    3600    2  312 us      1 s      2 h     0  slow start for 12 s
  127.0.0.1:8081  up       passed   0.5/1          3     1200       7   2.5 ms    3600    2  312 us      1 s      2 h     0  50 % observed 20.3 ms
  127.0.0.1:8081  up       passed   0.5/1          3     1200       7   2.5 ms    3600    2  312 us      1 s      2 h     0  50 % reported 80 % busy
)");
  const auto dump = nlohmann::json::parse(tools::dump_json(s));
  CHECK(dump["services"][0]["out"] == 1);
  CHECK(dump["services"][0]["instances"][0]["ejected"] == true);
  CHECK(dump["services"][0]["instances"][2]["weight"] == 0.5);
  CHECK(dump["services"][0]["instances"][2]["weight_reason"] == "observed");
}

TEST_CASE("what an agent asked for") {
  using ballast::engine::AgentReport;
  auto s = sample();
  tools::InstanceView& instance = s.services[0].instances[0];
  const auto why = [&](const AgentReport& agent) {
    instance.agent = agent;
    const std::string text = tools::dump_text(s, tools::Colours::no);
    const std::size_t at = text.find("agent: ");
    return at == std::string::npos ? "" : text.substr(at, text.find('\n', at) - at);
  };
  CHECK(why({}).empty());
  CHECK(why({true, ballast::shm::Admin::ready, 100, 0}).empty());
  CHECK(why({.up = false}) == "agent: down");
  CHECK(why({false, ballast::shm::Admin::drain, 75, 30}) == "agent: down drain 75 % maxconn 30");
  const auto json = [&] {
    return nlohmann::json::parse(tools::dump_json(s))["services"][0]["instances"][0]["agent"];
  };
  CHECK(json() ==
        nlohmann::json::parse(
            R"({"up": false, "admin": "drain", "weight_percent": 75, "max_in_flight": 30})"));
  instance.agent = {.weight_percent = 10};
  CHECK(json() ==
        nlohmann::json::parse(
            R"({"up": null, "admin": null, "weight_percent": 10, "max_in_flight": null})"));
  instance.agent = {};
  CHECK(json().is_null());
}

TEST_CASE("what a breaker keeps away") {
  using ballast::engine::BreakerState;
  auto s = sample();
  tools::ServiceView& service = s.services[0];
  tools::InstanceView open = service.instances[0];
  open.breaker = {BreakerState::open, 0, 3, 24'100, 40, 44};
  tools::InstanceView due = open;
  due.breaker = {BreakerState::open, 0, 1, 0, 0, 0};
  tools::InstanceView tried = open;
  tried.breaker = {BreakerState::half_open, 0, 1, 2'000, 0, 0};
  tools::InstanceView failing = open;
  failing.breaker = {BreakerState::closed, 2, 0, 0, 2, 2};
  failing.ramp_since_ns = kNow - 12 * kSecond;
  service.instances = {open, due, tried, failing};
  const std::string text = tools::dump_text(s, tools::Colours::no);
  CHECK(text.find("  breaker open, 25 s left, 3 times\n") != std::string::npos);
  CHECK(text.find("  breaker open, due\n") != std::string::npos);
  CHECK(text.find("  breaker half open, one request tries it\n") != std::string::npos);
  CHECK(text.find("  2 failures in a row, slow start for 12 s\n") != std::string::npos);
  const auto dump = nlohmann::json::parse(tools::dump_json(s));
  const auto& json = dump["services"][0]["instances"];
  CHECK(json[0]["breaker"]["state"] == "open");
  CHECK(json[0]["breaker"]["level"] == 3);
  CHECK(json[0]["breaker"]["left_ms"] == 24'100);
  CHECK(json[0]["breaker"]["window_failures"] == 40);
  CHECK(json[0]["breaker"]["window_requests"] == 44);
  CHECK(json[2]["breaker"]["state"] == "half_open");
  CHECK(json[3]["breaker"]["state"] == "closed");
  CHECK(json[3]["breaker"]["failures"] == 2);
}

namespace {

// A service of which one instance is kept away by its breaker, one is tried, one is down.
tools::Snapshot troubled() {
  using ballast::engine::BreakerState;
  auto s = sample();
  tools::ServiceView& service = s.services[0];
  tools::InstanceView open = service.instances[0];
  open.address = "127.0.0.1:8083";
  open.breaker = {BreakerState::open, 0, 3, 24'100, 40, 44};
  tools::InstanceView tried = open;
  tried.address = "127.0.0.1:8084";
  tried.breaker = {BreakerState::half_open, 0, 1, 2'000, 0, 0};
  service.instances = {service.instances[0], service.instances[1], open, tried};
  service.out = 2;
  return s;
}

}  // namespace

TEST_CASE("an open breaker shows in the state, its colour and the counts") {
  auto s = troubled();
  const std::string text = tools::dump_text(s, tools::Colours::yes);
  CHECK(text.find("4 instances, 1 usable, 2 ejected") != std::string::npos);
  CHECK(text.find("\x1b[33mup, breaker open\x1b[0m") != std::string::npos);
  CHECK(text.find("\x1b[33mup, breaker half open\x1b[0m") != std::string::npos);
  CHECK(text.find("\x1b[32mup\x1b[0m") != std::string::npos);
  // Where it gets nothing anyway, that is what counts.
  s.services[0].instances[2].state.usable = false;
  s.services[0].instances[2].state.admin = shm::Admin::drain;
  CHECK(tools::dump_text(s, tools::Colours::yes).find("\x1b[33mdrain\x1b[0m") != std::string::npos);
}

TEST_CASE("a narrow terminal gets folded lines, fewer columns, and WHY below its row") {
  const auto s = troubled();
  CHECK(tools::dump_text(s, tools::Colours::no, 80) ==
        R"(directory  /dev/shm/ballast/default
checker    running, pid 4711, term 2, since 2023-11-14 21:13:20,
           heartbeat 50 ms ago
segment    1, made 2023-11-14 20:13:20, format 1.0, table 1.4 MiB,
           workers 2.0 KiB
room       services 1 of 16, instances 4 of 64, rows 1 of 256, arena 512 B

service checkout: maglev, epoch 3, 4 instances, 1 usable, 2 ejected,
          published 5 min ago
  requests  3600, 21 failed (0.58 %); latency: mean 2.5 ms, p50 <= 1.5 ms,
            p99 <= 25 ms
  INSTANCE            STATE                  REASON           IN FLIGHT  FAILED
  127.0.0.1:8081      up                     passed                   3       7
  [2001:db8::1]:8082  down                   connect_refused          0       0
  127.0.0.1:8083      up, breaker open       passed                   3       7
      breaker open, 25 s left, 3 times
  127.0.0.1:8084      up, breaker half open  passed                   3       7
      breaker half open, one request tries it
)");
  // The least needed first, and no more of them than it takes.
  const auto titles = [](const std::string& text) {
    const auto at = text.find("  INSTANCE");
    std::istringstream words(text.substr(at, text.find('\n', at) - at));
    std::string all;
    for (std::string word; words >> word;)
      all += (all.empty() ? "" : " ") + word;
    return all;
  };
  const auto of = [&](std::size_t width) {
    return titles(tools::dump_text(sample(), tools::Colours::no, width));
  };
  const std::string head = "INSTANCE STATE REASON WEIGHT IN FLIGHT STARTED FAILED";
  CHECK(of(134) == head + " LATENCY CHECKS BAD TOOK CHECKED CHANGED SLOT");
  CHECK(of(133) == head + " LATENCY CHECKS BAD TOOK CHECKED CHANGED");
  CHECK(of(127) == head + " LATENCY BAD TOOK CHECKED CHANGED");
  CHECK(of(100) == head + " LATENCY CHANGED");
  CHECK(of(90) == head + " LATENCY");
  CHECK(of(80) == "INSTANCE STATE REASON IN FLIGHT FAILED LATENCY");
  CHECK(of(1) == "INSTANCE STATE REASON IN FLIGHT FAILED");
  CHECK(tools::workers_text(s, tools::Colours::no, 80).find("FAILED  ABANDONED\n") !=
        std::string::npos);
}

TEST_CASE("what a second brought stands instead of all time, where there were two looks") {
  auto s = sample();
  s.over_ns = 2 * kSecond;
  tools::ServiceView& service = s.services[0];
  service.rate = ballast::inspect::Rate{1305, 0.5, 0, 0};
  service.instances[0].rate = ballast::inspect::Rate{1305, 0.5, 9'000, 3};
  service.instances[1].rate = ballast::inspect::Rate{};
  const std::string text = tools::dump_text(s, tools::Colours::no, 140);
  CHECK(text.substr(text.find("service ")) ==
        R"(service checkout: maglev, epoch 3, 2 instances, 1 usable, published 5 min ago
  requests  1305/s, 0.5 failed/s (0.04 %), in 2.0 s; latency: mean 2.5 ms, p50 <= 1.5 ms, p99 <= 25 ms
  INSTANCE            STATE  REASON           WEIGHT  IN FLIGHT  REQ/S  FAIL/S  LATENCY  CHECKS  BAD    TOOK  CHECKED  CHANGED  SLOT
  127.0.0.1:8081      up     passed                1          3   1305     0.5   3.0 ms    3600    2  312 us      1 s      2 h     0
  [2001:db8::1]:8082  down   connect_refused    5/10          0    0.0     0.0        -    3600    2  312 us      1 s      3 d    12
  [2001:db8::1]:8082  gone   connect_refused    5/10          0      -       -        -       0    2       -        -      3 d    13
)");
  const std::string narrow = tools::dump_text(s, tools::Colours::no, 80);
  CHECK(narrow.substr(narrow.find("service ")) ==
        R"(service checkout: maglev, epoch 3, 2 instances, 1 usable, published 5 min ago
  requests  1305/s, 0.5 failed/s (0.04 %), in 2.0 s; latency: mean 2.5 ms,
            p50 <= 1.5 ms, p99 <= 25 ms
  INSTANCE            STATE  REASON           IN FLIGHT  REQ/S  FAIL/S  LATENCY
  127.0.0.1:8081      up     passed                   3   1305     0.5   3.0 ms
  [2001:db8::1]:8082  down   connect_refused          0    0.0     0.0        -
  [2001:db8::1]:8082  gone   connect_refused          0      -       -        -
)");
  // A service that came meanwhile, and one that nobody asks.
  service.rate.reset();
  CHECK(tools::dump_text(s, tools::Colours::no).find("  requests  1200, 7 failed") !=
        std::string::npos);
  service.instances.clear();
  CHECK(tools::dump_text(s, tools::Colours::no).find("  requests") == std::string::npos);
}

TEST_CASE("no line is wider than a terminal that has room for the least") {
  auto s = troubled();
  s.services[0].policy.breaker_consecutive = 3;
  for (std::size_t width = 80; width < 200; ++width) {
    CAPTURE(width);
    std::istringstream lines(tools::dump_text(s, tools::Colours::no, width) +
                             tools::workers_text(s, tools::Colours::no, width));
    for (std::string line; std::getline(lines, line);) {
      CAPTURE(line);
      CHECK(line.size() <= width);
    }
  }
  CHECK(tools::dump_text(s, tools::Colours::no, 200) == tools::dump_text(s, tools::Colours::no));
}

TEST_CASE("a breaker's settings stand where they are not the default") {
  auto s = sample();
  CHECK(tools::dump_text(s, tools::Colours::no).find("  breaker ") == std::string::npos);
  s.services[0].policy.breaker_consecutive = 3;
  CHECK(tools::dump_text(s, tools::Colours::no)
            .find("  breaker   3 failures in a row, or 85 % of at least 50 in 10 s; open 5 s to "
                  "5 min; at most 10 % ejected\n") != std::string::npos);
}

TEST_CASE("workers for people") {
  const std::string text = tools::workers_text(sample(), tools::Colours::no);
  CHECK(
      text.substr(text.find("\n\n") + 2) ==
      R"(ROW  OWNER  PID  TID  COMMAND  ATTACHED  IN FLIGHT  STARTED  FAILED  ABANDONED  TENANTS  REAPED
  0  alive  100  101  nginx        60 s          3     1200       7          0        4       1
  1  free     -    -  -               -          0        0       0          0        1       0
)");
}

TEST_CASE("the checker's states") {
  auto s = sample();
  const auto line = [&] {
    const std::string text = tools::dump_text(s, tools::Colours::no);
    return text.substr(text.find("checker"), text.find("\nsegment") - text.find("checker"));
  };
  s.heartbeat_ns = kNow - 5 * kSecond;
  CHECK(line() ==
        "checker    holds the lease but does not beat, pid 4711, term 2, since 2023-11-14 "
        "21:13:20, heartbeat 5 s ago");
  s.checker = tools::CheckerState::left;
  CHECK(line() == "checker    none: the last one left in order, term 2, heartbeat 5 s ago");
  s.checker = tools::CheckerState::died;
  CHECK(line() == "checker    none: pid 4711 died or this is a copy, term 2, heartbeat 5 s ago");
  s.checker = tools::CheckerState::unknown;
  CHECK(line() == "checker    unknown, heartbeat 5 s ago");
}

TEST_CASE("colours only where they are wanted, and they take no width") {
  const std::string plain = tools::dump_text(sample(), tools::Colours::no);
  std::string coloured = tools::dump_text(sample(), tools::Colours::yes);
  CHECK(plain.find('\x1b') == std::string::npos);
  CHECK(coloured.find("\x1b[32mup\x1b[0m") != std::string::npos);
  CHECK(coloured.find("\x1b[31mdown\x1b[0m") != std::string::npos);
  for (auto at = coloured.find('\x1b'); at != std::string::npos; at = coloured.find('\x1b')) {
    coloured.erase(at, coloured.find('m', at) - at + 1);
  }
  CHECK(coloured == plain);
}

TEST_CASE("what a damaged file holds cannot drive the terminal or spoil the JSON") {
  auto s = sample();
  s.services[0].name = "a\x1b[31m\xff\n";
  s.rows[0].command = "\x07\xc3";
  s.warnings = {"bad\x1b"};
  const std::string text =
      tools::dump_text(s, tools::Colours::no) + tools::workers_text(s, tools::Colours::no);
  CHECK(text.find('\x1b') == std::string::npos);
  CHECK(text.find('\x07') == std::string::npos);
  CHECK(text.find("warning: bad?") == 0);
  CHECK(text.find("service a?[31m??: ") != std::string::npos);
  CHECK(nlohmann::json::accept(tools::dump_json(s)));
  CHECK(nlohmann::json::accept(tools::workers_json(s)));
}

TEST_CASE("strategies with their options") {
  const auto title = [](ballast::engine::Strategy strategy, auto change) {
    auto s = sample();
    auto& service = s.services[0];
    service.strategy = static_cast<std::uint64_t>(strategy);
    service.policy.strategy = strategy;
    change(service.policy);
    const std::string text = tools::dump_text(s, tools::Colours::no);
    const auto at = text.find("checkout: ") + 10;
    return text.substr(at, text.find(", epoch") - at);
  };
  using ballast::engine::Policy;
  using ballast::engine::Strategy;
  CHECK(title(Strategy::maglev, [](Policy& p) { p.hash_bound_percent = 125; }) ==
        "maglev bounded at 1.25");
  CHECK(title(Strategy::round_robin, [](Policy&) {}) == "round_robin");
  CHECK(title(Strategy::least_connections, [](Policy&) {}) == "least_connections of 2");
  CHECK(title(Strategy::least_response_time, [](Policy& p) { p.choices = 0; }) ==
        "least_response_time of all");
  CHECK(title(Strategy::adaptive, [](Policy& p) {
          p.choices = 3;
          p.hot_cold = 1;
        }) == "adaptive of 3 with hot/cold");
  auto s = sample();
  s.services[0].strategy = 99;
  CHECK(tools::dump_text(s, tools::Colours::no).find("checkout: strategy 99, epoch") !=
        std::string::npos);
}

TEST_CASE("limits, protections and groups, where there are any") {
  auto s = sample();
  auto& service = s.services[0];
  service.policy.max_in_flight = 100;
  service.policy.service_max_in_flight = 1000;
  service.policy.retry_percent = 20;
  service.policy.breaker_consecutive = 0;
  service.policy.breaker_rate_percent = 0;
  service.policy.panic_percent = 50;
  service.policy.panic_mode = 2;
  service.policy.stale_mode = 1;
  service.policy.stale_after_ms = 1'500;
  service.groups = {{0, true, 0.75, ballast::engine::PanicMode::none, {0}},
                    {0, false, 0.25, ballast::engine::PanicMode::none, {12, 14}},
                    {1, true, 0, ballast::engine::PanicMode::fail, {}}};
  const std::string text = tools::dump_text(s, tools::Colours::no);
  const auto at = text.find("  limits");
  CHECK(
      text.substr(at, text.find("  INSTANCE") - at) ==
      R"(  limits    100 in flight an instance, 1000 in all, retries 20 % of those in flight, at least 3
  breaker   off
  panic     below 50 %: picks fail
  stale     after 1500 ms: all are used
  group     tier 0, this zone: 1 instance, 75.0 % of picks
  group     tier 0, other zones: 2 instances, 25.0 % of picks
  group     tier 1, this zone: 0 instances, 0.0 % of picks, panic: picks fail
)");
  const auto json = nlohmann::json::parse(tools::dump_json(s))["services"][0];
  CHECK(json["policy"]["max_in_flight"] == 100);
  CHECK(json["policy"]["breaker_open_ms"] == 5'000);
  CHECK(json["policy"]["hash_bound_percent"] == 0);
  REQUIRE(json["groups"].size() == 3);
  CHECK(json["groups"][1]["local"] == false);
  CHECK(json["groups"][1]["share"] == 0.25);
  CHECK(json["groups"][1]["slots"][1] == 14);
  CHECK(json["groups"][2]["panic"] == "fail");
}

TEST_CASE("ages") {
  const auto age = [](std::uint64_t seconds) {
    return tools::age_text(kNow - seconds * kSecond, kNow);
  };
  CHECK(tools::age_text(0, kNow) == "-");
  CHECK(age(0) == "0 s");
  CHECK(age(119) == "119 s");
  CHECK(age(120) == "2 min");
  CHECK(age(7200) == "2 h");
  CHECK(age(48 * 3600) == "2 d");
  CHECK(tools::age_text(kNow + 2 * kSecond, kNow) == "?");
  CHECK(tools::age_text(kNow + kSecond / 2, kNow) == "0 s");
}
