// Right configurations: what the keys mean, and what the defaults are.
#include "tools/ballastd/config.hpp"

#include <doctest/doctest.h>

#include "engine/ballast.h"
#include "tools/ballastd/config_keys.hpp"

namespace tools = ballast::tools;
namespace checker = ballast::checker;
using std::chrono::milliseconds;

namespace {

checker::Settings read(const std::string& text) {
  tools::ConfigEnvironment environment;
  environment.resolve = [](const std::string&) {
    return *ballast::shm::parse_endpoint("10.9.8.7:1");
  };
  environment.find_group = [](const std::string& group) {
    return group == "www-data" ? std::optional<std::uint32_t>(33) : std::nullopt;
  };
  const auto result = tools::read_config_text("f.toml", text, environment);
  for (const auto& error : result.errors)
    MESSAGE(error.text);
  REQUIRE(result.settings.has_value());
  return *result.settings;
}

}  // namespace

TEST_CASE("a service needs a name and addresses, nothing else") {
  const auto settings = read("[service.checkout]\ninstances = [\"127.0.0.1:8081\"]\n");
  CHECK(settings.name_space == "default");
  CHECK(settings.directory.empty());
  CHECK(settings.workers_group.empty());
  CHECK(settings.max_workers == 256);
  CHECK(settings.max_events == 4096);
  REQUIRE(settings.services.size() == 1);
  const auto& service = settings.services[0];
  CHECK(service.name == "checkout");
  CHECK(service.policy.strategy == checker::Strategy::maglev);
  CHECK(service.check == checker::CheckSettings{});
  REQUIRE(service.instances.size() == 1);
  CHECK(service.instances[0].endpoint.to_text() == "127.0.0.1:8081");
  CHECK(service.instances[0].text == "127.0.0.1:8081");
  CHECK(service.instances[0].weight == 1);
}

TEST_CASE("every key") {
  const auto settings = read(R"(
[ballast]
namespace = "shop"
directory = "/run/ballast/shop"
workers_group = "www-data"
max_workers = 64
max_events = 1000

[service.checkout]
strategy = "ketama"
instances = ["backend1:8081", { address = "[::1]:80", weight = 1000 }]

[service.checkout.check]
kind = "http"
path = "/health?deep=1"
host = "shop.example"
status = "200-204"
keep_alive = false
interval = "5s"
fast_interval = "250ms"
timeout = "1.5s"
rise = 1
fall = 100
jitter = "0%"
first_check = "up"
)");
  CHECK(settings.name_space == "shop");
  CHECK(settings.directory == "/run/ballast/shop");
  CHECK(settings.workers_group == "www-data");
  CHECK(settings.max_workers == 64);
  CHECK(settings.max_events == 1000);
  REQUIRE(settings.services.size() == 1);
  const auto& service = settings.services[0];
  CHECK(service.policy.strategy == checker::Strategy::ketama);
  REQUIRE(service.instances.size() == 2);
  CHECK(service.instances[0].text == "backend1:8081");
  CHECK(service.instances[0].endpoint.to_text() == "10.9.8.7:8081");
  CHECK(service.instances[1].endpoint.to_text() == "[::1]:80");
  CHECK(service.instances[1].weight == 1000);
  checker::CheckSettings check;
  check.path = "/health?deep=1";
  check.host = "shop.example";
  check.statuses = {{200, 204}};
  check.keep_alive = false;
  check.interval = milliseconds(5000);
  check.fast_interval = milliseconds(250);
  check.timeout = milliseconds(1500);
  check.rise = 1;
  check.fall = 100;
  check.jitter_percent = 0;
  check.first_check = checker::FirstCheck::up;
  CHECK(service.check == check);
}

TEST_CASE("every strategy, and the ways to spell it") {
  const auto strategy_of = [](const std::string& keys) {
    return read("[service.a]\ninstances = [\"10.0.0.1:1\"]\n" + keys).services[0].policy.strategy;
  };
  for (const auto& name : ballast::engine::kStrategies) {
    CHECK(strategy_of("strategy = \"" + std::string(name.text) + "\"") == name.strategy);
  }
  using checker::Strategy;
  CHECK(strategy_of("strategy = \"weighted_round_robin\"") == Strategy::round_robin);
  CHECK(strategy_of("strategy = \"consistent_hash\"") == ballast::engine::Policy{}.strategy);
  CHECK(strategy_of("strategy = \"consistent_hash\"\nhash = \"ketama\"") == Strategy::ketama);
  CHECK(strategy_of("hash = \"rendezvous\"") == Strategy::rendezvous);
}

TEST_CASE("how many candidates are compared") {
  const auto choices_of = [](const std::string& keys) {
    return read("[service.a]\ninstances = [\"10.0.0.1:1\"]\n" + keys).services[0].policy.choices;
  };
  CHECK(choices_of("strategy = \"least_connections\"") == 2);
  CHECK(choices_of("strategy = \"adaptive\"") == 3);
  CHECK(choices_of("strategy = \"adaptive\"\nchoices = 2") == 2);
  CHECK(choices_of("strategy = \"least_response_time\"\nchoices = \"all\"") == 0);
}

TEST_CASE("every key of strategy and protection") {
  const auto settings = read(R"(
[ballast]
zone = "eu-1"
sticky_key_file = "/etc/ballast/sticky.key"
load_interval = "5ms"

[service.a]
strategy = "adaptive"
choices = 5
hot_cold = true
max_in_flight = 100
service_max_in_flight = 1000
max_ejected = "30%"
retry_budget = { share = "25%", minimum = 7 }
panic = { below = "50%", then = "fail" }
stale = { after = "1m", then = "all" }
instances = [{ address = "10.0.0.1:1", tier = 3, zone = "eu-2", admin = "drain" }]

[service.a.breaker]
consecutive = 7
failure_rate = "60%"
requests = 20
window = "30s"
open = "1s"
open_max = "1m"
trial = "2s"
jitter = "5%"
outcomes = ["timeout", "overload"]

[service.a.outlier]
enabled = false
interval = "5s"
success_rate_sigma = 2.5
success_rate_instances = 4
success_rate_requests = 50
failure_rate = "70%"
failure_requests = 40
latency_factor = 2
latency_requests = 60
ejection = "10s"
ejection_max = "2m"
checks_take_back = false

[service.a.slow_start]
window = "30s"
aggression = 1.5
floor = "20%"

[service.a.controller]
enabled = true
update = "500ms"
blackout = "5s"
expiry = "1m"
error_penalty = 1.5
floor = "25%"
damping = "50%"

[service.a.spillover]
overprovisioning = 1.2
prefer_local_zone = false

[service.b]
strategy = "maglev"
bound = 1.25
retry_budget = "10%"
instances = ["10.0.0.1:1"]
)");
  CHECK(settings.zone == "eu-1");
  CHECK(settings.sticky_key_file == "/etc/ballast/sticky.key");
  CHECK(settings.load_interval == milliseconds(5));
  const auto& a = settings.services[0];
  CHECK(a.instances[0].tier == 3);
  CHECK(a.instances[0].admin == ballast::shm::Admin::drain);
  CHECK(a.instances[0].zone == "eu-2");
  ballast::engine::Policy policy;
  policy.strategy = checker::Strategy::adaptive;
  policy.choices = 5;
  policy.hot_cold = 1;
  policy.max_in_flight = 100;
  policy.service_max_in_flight = 1000;
  policy.retry_percent = 25;
  policy.retry_minimum = 7;
  policy.breaker_consecutive = 7;
  policy.breaker_rate_percent = 60;
  policy.breaker_requests = 20;
  policy.breaker_window_ms = 30'000;
  policy.breaker_open_ms = 1'000;
  policy.breaker_open_max_ms = 60'000;
  policy.breaker_trial_ms = 2'000;
  policy.breaker_jitter_percent = 5;
  policy.breaker_outcomes = 1U << BALLAST_TIMEOUT | 1U << BALLAST_OVERLOAD;
  policy.max_ejected_percent = 30;
  policy.panic_percent = 50;
  policy.panic_mode = 2;
  policy.stale_after_ms = 60'000;
  policy.stale_mode = 1;
  CHECK(a.policy == policy);
  CHECK(a.outlier == checker::OutlierSettings{false, milliseconds(5'000), 25, 4, 50, 70, 40, 20, 60,
                                              milliseconds(10'000), milliseconds(120'000), false});
  CHECK(a.slow_start == checker::SlowStartSettings{milliseconds(30'000), 15, 20});
  CHECK(a.controller == checker::ControllerSettings{true, milliseconds(500), milliseconds(5'000),
                                                    milliseconds(60'000), 150, 25, 50});
  CHECK(a.spillover == checker::SpilloverSettings{120, false});
  const auto& b = settings.services[1];
  CHECK(b.policy.hash_bound_percent == 125);
  CHECK(b.policy.retry_percent == 10);
  CHECK(b.policy.retry_minimum == 3);

  // No field of a policy is out of reach.
  const ballast::engine::Policy defaults;
#define BALLAST_CHECK_FIELD(name, initial, low, high) \
  CHECK_MESSAGE((a.policy.name != defaults.name || b.policy.name != defaults.name), #name);
  BALLAST_POLICY_FIELDS(BALLAST_CHECK_FIELD)
#undef BALLAST_CHECK_FIELD
}

TEST_CASE("what is off, and how it is switched off") {
  const auto settings = read(R"(
[service.a]
instances = ["10.0.0.1:1"]
max_in_flight = 0
[service.b]
instances = ["10.0.0.1:1"]
breaker = { enabled = false, consecutive = 3, failure_rate = "50%" }
outlier = { success_rate_sigma = 0, failure_rate = "0%", latency_factor = 0 }
slow_start.window = "0s"
bound = 0
[service.c]
instances = ["10.0.0.1:1"]
breaker = { consecutive = 0 }
)");
  const auto& a = settings.services[0];
  CHECK(a.policy == ballast::engine::Policy{});
  CHECK(a.policy.retry_percent == 0);
  CHECK(a.policy.panic_percent == 0);
  CHECK(a.policy.stale_mode == 0);
  CHECK(ballast::engine::has_breaker(a.policy));
  CHECK(a.outlier == checker::OutlierSettings{});
  CHECK(a.outlier.enabled);
  CHECK_FALSE(a.controller.enabled);
  CHECK(a.slow_start.window == milliseconds(0));
  const auto& b = settings.services[1];
  CHECK_FALSE(ballast::engine::has_breaker(b.policy));
  CHECK(b.outlier.success_rate_sigma_tenths == 0);
  CHECK(b.outlier.failure_percent == 0);
  CHECK(b.outlier.latency_factor_tenths == 0);
  CHECK(b.policy.hash_bound_percent == 0);
  CHECK(ballast::engine::has_breaker(settings.services[2].policy));
}

TEST_CASE("the longest time follows the first one up") {
  const auto settings = read(
      "[service.a]\ninstances = [\"10.0.0.1:1\"]\nbreaker.open = \"10m\"\n"
      "outlier.ejection = \"20m\"\n");
  CHECK(settings.services[0].policy.breaker_open_max_ms == 600'000);
  CHECK(settings.services[0].outlier.ejection_max == milliseconds(1'200'000));
}

TEST_CASE("services keep the order of the file, however it is spelt") {
  const auto settings = read(
      "service.zebra = { instances = [\"10.0.0.1:1\"] }\n"
      "service.\"b.c\".instances = [\"10.0.0.1:1\"]\n"
      "service.m.check.kind = \"tcp\"\n"
      "service.m.check.tcp_sentinel = true\n"
      "service.m.instances = [\"10.0.0.1:1\"]\n"
      "[service.a]\n"
      "[[service.a.instances]]\n"
      "address = \"10.0.0.1:1\"\n"
      "[[service.a.instances]]\n"
      "address = \"10.0.0.1:2\"\n"
      "weight = 3\n");
  CHECK_FALSE(settings.services[0].check.tcp_sentinel);
  REQUIRE(settings.services.size() == 4);
  CHECK(settings.services[0].name == "zebra");
  CHECK(settings.services[1].name == "b.c");
  CHECK(settings.services[2].name == "m");
  CHECK(settings.services[2].check.kind == checker::CheckKind::tcp);
  CHECK(settings.services[2].check.tcp_sentinel);
  CHECK(settings.services[3].name == "a");
  CHECK(settings.services[3].instances[1].weight == 3);
}

TEST_CASE("a short interval takes what is not given down with it") {
  const auto settings =
      read("[service.a]\ninstances = [\"10.0.0.1:1\"]\ncheck.interval = \"100ms\"\n");
  CHECK(settings.services[0].check.interval == milliseconds(100));
  CHECK(settings.services[0].check.fast_interval == milliseconds(100));
  CHECK(settings.services[0].check.timeout == milliseconds(100));
}

TEST_CASE("windows line ends, a byte order mark and a missing last newline are no error") {
  const auto settings = read("\xEF\xBB\xBF[service.a]\r\ninstances = [\"10.0.0.1:1\"]");
  CHECK(settings.services[0].name == "a");
}

TEST_CASE("one name is looked up once") {
  int lookups = 0;
  tools::ConfigEnvironment environment;
  environment.resolve = [&](const std::string&) {
    ++lookups;
    return *ballast::shm::parse_endpoint("10.9.8.7:1");
  };
  const auto result = tools::read_config_text(
      "f", "[service.a]\ninstances = [\"b:1\", \"b:2\", \"b:3\"]\n", environment);
  CHECK(result.settings.has_value());
  CHECK(lookups == 1);
}

TEST_CASE("the largest configuration that is allowed is read") {
  std::string text = "[service.a]\ninstances = [\n";
  for (std::size_t i = 0; i < checker::kMaxInstances; ++i) {
    text += "  \"10.0." + std::to_string(i / 250) + "." + std::to_string(i % 250) + ":80\",\n";
  }
  CHECK(read(text + "]\n").services[0].instances.size() == checker::kMaxInstances);
}

TEST_CASE("the example is right") {
  const auto result = tools::read_config_file(BALLAST_SOURCE_DIR "/tools/ballastd/example.toml");
  for (const auto& error : result.errors)
    MESSAGE(error.text);
  REQUIRE(result.settings.has_value());
  CHECK(result.settings->services.size() >= 2);
}

TEST_CASE("the defaults are a configuration, and the one that holds without any") {
  // Of one service and one instance: what is printed names keys by their whole path.
  std::string text = tools::defaults_text();
  std::string instance;
  std::string rest;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = text.find('\n', at);
    const std::string line = text.substr(at, end - at);
    at = end + 1;
    const std::string prefix = "service.NAME.instances.";
    if (line.starts_with("#")) continue;
    if (line.starts_with(prefix)) {
      instance += ", " + line.substr(prefix.size(), line.find("  ") - prefix.size());
    } else {
      rest += line + "\n";
    }
  }
  // These say nothing without another key, and are refused for that.
  for (const char* key :
       {"choices", "hot_cold", "retry_budget.minimum", "panic.then", "stale.after",
        "check.tcp_sentinel", "check.watch", "check.preset", "check.max_output_bytes",
        "check.tls.enabled", "check.tls.verify", "slow_start.aggression", "slow_start.floor"}) {
    const std::size_t at = rest.find("service.NAME." + std::string(key) + " ");
    REQUIRE_MESSAGE(at != std::string::npos, key);
    rest.erase(at, rest.find('\n', at) + 1 - at);
  }
  const auto settings =
      read(rest + "service.NAME.instances = [{ address = \"1.1.1.1:1\"" + instance + " }]\n");
  REQUIRE(settings.services.size() == 1);
  const auto expected = read("[service.NAME]\ninstances = [\"1.1.1.1:1\"]\n");
  CHECK(settings.services[0] == expected.services[0]);
  CHECK(settings.max_workers == expected.max_workers);
  CHECK(settings.load_interval == expected.load_interval);
}
