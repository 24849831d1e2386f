// Right configurations: what the keys mean, and what the defaults are.
#include "tools/ballastd/config.hpp"

#include <doctest/doctest.h>

namespace tools = ballast::tools;
namespace checker = ballast::checker;
using std::chrono::milliseconds;

namespace {

checker::Settings read(const std::string& text) {
  tools::ConfigEnvironment environment;
  environment.resolve = [](const std::string&) {
    return *ballast::shm::parse_endpoint("10.9.8.7:1");
  };
  environment.group_exists = [](const std::string& group) { return group == "www-data"; };
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
  check.status_low = 200;
  check.status_high = 204;
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
