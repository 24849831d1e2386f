// Snapshots for programs: what stands where, and what is null.
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "tests/tools/ballast/sample_snapshot.hpp"
#include "tools/ballast/render.hpp"

namespace tools = ballast::tools;
using ballast::tests::kSecond;
using ballast::tests::sample;

TEST_CASE("the JSON is an interface") {
  const auto dump = nlohmann::json::parse(tools::dump_json(sample()));
  CHECK(dump["format"] == 1);
  CHECK(dump["checker"]["state"] == "running");
  CHECK(dump["checker"]["term"] == 2);
  CHECK(dump["segment"]["rows"] == 256);
  const auto& service = dump["services"][0];
  CHECK(service["name"] == "checkout");
  CHECK(service["strategy"] == "maglev");
  CHECK(service["lookup"] == "table");
  const auto& instance = service["instances"][0];
  for (const char* key : {"address",       "slot",
                          "incarnation",   "phase",
                          "usable",        "health",
                          "admin",         "reason",
                          "weight",        "configured_weight",
                          "tier",          "multiplier",
                          "weight_reason", "agent",
                          "ramp_since_ns", "ejected",
                          "ejections",     "ejected_until_ns",
                          "breaker",       "latency_us",
                          "qps",           "utilisation",
                          "in_flight",     "counters",
                          "checks",        "check_failures",
                          "check_us",      "flips",
                          "admitted_ns",   "changed_ns",
                          "checked_ns",    "mean_latency_us",
                          "rate"}) {
    CAPTURE(key);
    CHECK(instance.contains(key));
  }
  CHECK(instance["weight"] == 1);
  CHECK(service["instances"][1]["weight"] == 5);
  CHECK(instance["in_flight"] == 3);
  CHECK(instance["counters"]["timeout"] == 7);
  CHECK(service["instances"][2]["phase"] == "cooling");
  CHECK(service["instances"][2]["usable"] == false);
  const auto workers = nlohmann::json::parse(tools::workers_json(sample()));
  CHECK(workers["workers"][0]["owner"] == "alive");
  CHECK(workers["workers"][1]["owner"] == "free");
  CHECK(workers["workers"][0]["command"] == "nginx");
}

TEST_CASE("requests, as counted and in a time") {
  auto s = sample();
  const auto service = [&] { return nlohmann::json::parse(tools::dump_json(s))["services"][0]; };
  auto json = service();
  CHECK(json["latency"]["count"] == 1190);
  CHECK(json["latency"]["mean_us"] == 2'500);
  CHECK(json["latency"]["p50_us"] == 1'500);
  CHECK(json["latency"]["p90_us"] == 25'000);
  CHECK(json["latency"]["p99_us"] == 25'000);
  CHECK(json["rate"].is_null());
  CHECK(json["instances"][0]["mean_latency_us"] == 2'500);
  CHECK(json["instances"][0]["rate"].is_null());
  CHECK(json["instances"][1]["mean_latency_us"].is_null());

  s.over_ns = 2 * kSecond;
  s.services[0].rate = ballast::inspect::Rate{130.5, 0.5, 0, 0};
  s.services[0].instances[0].rate = ballast::inspect::Rate{130.5, 0.5, 9'000, 3};
  s.services[0].latencies.buckets = {};
  s.services[0].latencies.buckets[27] = 1;
  json = service();
  CHECK(nlohmann::json::parse(tools::dump_json(s))["over_ns"] == 2 * kSecond);
  CHECK(json["rate"]["started"] == 130.5);
  CHECK(json["rate"]["failed"] == 0.5);
  CHECK(json["rate"]["mean_latency_us"].is_null());
  CHECK(json["instances"][0]["rate"]["mean_latency_us"] == 3'000);
  CHECK(json["latency"]["p50_us"].is_null());  // nobody counted how long
  s.services[0].latencies = {};
  CHECK(service()["latency"].is_null());
}
