// Snapshots for programs. Names follow the words of docs/design.md; times are CLOCK_REALTIME in
// nanoseconds, 0 for never.
#include <nlohmann/json.hpp>

#include "engine/inspect/rates.hpp"
#include "engine/strategy.hpp"
#include "tools/ballast/render.hpp"

namespace ballast::tools {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kFormat = 1;

Json counters_json(const Counters& c) {
  return {{"started", c[shm::kStarted]},
          {"success", c[shm::kSuccess]},
          {"connect_failure", c[shm::kConnectFailure]},
          {"timeout", c[shm::kTimeout]},
          {"reset", c[shm::kReset]},
          {"server_error", c[shm::kServerError]},
          {"overload", c[shm::kOverload]},
          {"cancelled", c[shm::kCancelled]},
          {"abandoned", c[shm::kAbandoned]},
          {"latency_sum_us", c[shm::kLatencySumUs]},
          {"latency_count", c[shm::kLatencyCount]}};
}

const char* strategy_name(std::uint64_t number) {
  const auto strategy = engine::strategy_of(number);
  return strategy ? engine::to_text(*strategy) : "unknown";
}

const char* lookup_name(shm::LookupKind kind) {
  switch (kind) {
    case shm::LookupKind::none:
      return "none";
    case shm::LookupKind::table:
      return "table";
    case shm::LookupKind::ring:
      return "ring";
    case shm::LookupKind::schedule:
      return "schedule";
  }
  return "unknown";
}

const char* breaker_name(engine::BreakerState state) {
  switch (state) {
    case engine::BreakerState::closed:
      return "closed";
    case engine::BreakerState::open:
      return "open";
    case engine::BreakerState::half_open:
      break;
  }
  return "half_open";
}

Json breaker_json(const BreakerView& b) {
  return {{"state", breaker_name(b.state)},
          {"failures", b.failures},
          {"level", b.level},
          {"left_ms", b.left_ms},
          {"window_failures", b.window_failures},
          {"window_requests", b.window_requests}};
}

template <class T>
Json said(const std::optional<T>& value) {
  return value ? Json(*value) : Json(nullptr);
}

Json agent_json(const engine::AgentReport& agent) {
  if (agent == engine::AgentReport{}) return nullptr;
  return {{"up", said(agent.up)},
          {"admin", agent.admin ? Json(shm::to_text(*agent.admin)) : Json(nullptr)},
          {"weight_percent", said(agent.weight_percent)},
          {"max_in_flight", said(agent.max_in_flight)}};
}

Json mean_json(std::uint64_t sum_us, std::uint64_t count) {
  return count == 0 ? Json(nullptr) : Json(sum_us / count);
}

Json rate_json(const std::optional<inspect::Rate>& rate) {
  if (!rate) return nullptr;
  return {{"started", rate->started},
          {"failed", rate->failed},
          {"mean_latency_us", mean_json(rate->latency_sum_us, rate->latency_count)}};
}

Json latency_json(const shm::Latencies& latencies) {
  const std::uint64_t count = inspect::count_of(latencies);
  if (count == 0) return nullptr;
  Json json = {{"count", count}, {"mean_us", latencies.sum_us / count}};
  for (const auto& [name, share] : {std::pair{"p50_us", 0.5}, {"p90_us", 0.9}, {"p99_us", 0.99}}) {
    const std::uint64_t us = inspect::quantile_us(latencies, share).value_or(0);
    json[name] = us == inspect::kBeyondUs ? Json(nullptr) : Json(us);
  }
  return json;
}

Json instance_json(const InstanceView& i) {
  return {{"address", i.address},
          {"slot", i.slot},
          {"incarnation", i.state.incarnation},
          {"phase", i.phase == shm::Phase::live ? "live" : "cooling"},
          // The word of one that is gone says how it was.
          {"usable", i.phase == shm::Phase::live && i.state.usable},
          {"health", shm::to_text(i.state.health)},
          {"admin", shm::to_text(i.state.admin)},
          {"reason", shm::to_text(i.state.reason)},
          {"weight", effective_weight(i)},
          {"configured_weight", i.configured_weight},
          {"tier", i.tier},
          {"multiplier", i.multiplier},
          {"weight_reason", engine::to_text(i.weight_reason)},
          {"agent", agent_json(i.agent)},
          {"ramp_since_ns", i.ramp_since_ns},
          {"ejected", i.state.ejected},
          {"ejections", i.ejections},
          {"ejected_until_ns", i.ejected_until_ns},
          {"breaker", breaker_json(i.breaker)},
          {"latency_us", i.latency_us},
          {"qps", i.qps},
          {"utilisation", i.utilisation},
          {"in_flight", in_flight_of(i.counters)},
          {"counters", counters_json(i.counters)},
          {"mean_latency_us",
           mean_json(i.counters[shm::kLatencySumUs], i.counters[shm::kLatencyCount])},
          {"rate", rate_json(i.rate)},
          {"checks", i.checks},
          {"check_failures", i.check_failures},
          {"check_us", i.check_us},
          {"flips", i.flips},
          {"admitted_ns", i.admitted_ns},
          {"changed_ns", i.changed_ns},
          {"checked_ns", i.checked_ns}};
}

Json policy_json(const engine::Policy& policy) {
  Json json = Json::object();
#define BALLAST_POLICY_JSON(name, initial, low, high) json[#name] = policy.name;
  BALLAST_POLICY_FIELDS(BALLAST_POLICY_JSON)
#undef BALLAST_POLICY_JSON
  return json;
}

const char* panic_name(engine::PanicMode mode) {
  if (mode == engine::PanicMode::none) return "none";
  return mode == engine::PanicMode::all ? "all" : "fail";
}

Json groups_json(const std::vector<GroupView>& groups) {
  Json json = Json::array();
  for (const GroupView& group : groups) {
    json.push_back({{"tier", group.tier},
                    {"local", group.is_local},
                    {"share", group.share},
                    {"panic", panic_name(group.panic)},
                    {"slots", group.slots}});
  }
  return json;
}

Json service_json(const ServiceView& s) {
  Json instances = Json::array();
  for (const auto& instance : s.instances)
    instances.push_back(instance_json(instance));
  return {{"name", s.name},
          {"strategy", strategy_name(s.strategy)},
          {"policy", policy_json(s.policy)},
          {"groups", groups_json(s.groups)},
          {"epoch", s.epoch},
          {"members", s.members},
          {"lookup", lookup_name(s.lookup)},
          {"lookup_count", s.lookup_count},
          {"changed_ns", s.changed_ns},
          {"out", s.out},
          {"latency", latency_json(s.latencies)},
          {"rate", rate_json(s.rate)},
          {"instances", std::move(instances)}};
}

Json row_json(const RowView& r) {
  return {{"row", r.index},
          {"owner", to_text(r.owner)},
          {"pid", r.pid},
          {"tid", r.tid},
          {"command", r.command},
          {"start_ticks", r.start_ticks},
          {"claimed_ns", r.claimed_ns},
          {"incarnation", r.incarnation},
          {"reaps", r.reaps},
          {"in_flight", in_flight_of(r.counters)},
          {"counters", counters_json(r.counters)}};
}

Json head_json(const Snapshot& s) {
  Json head = {{"format", kFormat},
               {"directory", s.directory},
               {"read_ns", s.read_ns},
               {"over_ns", s.over_ns},
               {"warnings", s.warnings}};
  head["checker"] = {{"state", to_text(s.checker)},
                     {"pid", s.checker_pid},
                     {"term", s.term},
                     {"since_ns", s.checker_since_ns},
                     {"heartbeat", s.heartbeat},
                     {"heartbeat_ns", s.heartbeat_ns}};
  head["segment"] = {{"id", s.segment},
                     {"previous", s.previous_segment},
                     {"superseded_by", s.superseded_by},
                     {"major", s.major},
                     {"minor", s.minor},
                     {"layout_hash", s.layout_hash},
                     {"created_ns", s.created_ns},
                     {"this_boot", s.this_boot},
                     {"table_bytes", s.table_bytes},
                     {"workers_bytes", s.workers_bytes},
                     {"arena_bytes", s.arena_bytes},
                     {"services", s.service_capacity},
                     {"instances", s.instance_capacity},
                     {"rows", s.row_capacity}};
  return head;
}

// Names come from mapped bytes, which need not be UTF-8.
std::string written(const Json& json) {
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace

std::string dump_json(const Snapshot& snapshot) {
  Json json = head_json(snapshot);
  json["services"] = Json::array();
  for (const auto& service : snapshot.services)
    json["services"].push_back(service_json(service));
  return written(json);
}

std::string workers_json(const Snapshot& snapshot) {
  Json json = head_json(snapshot);
  json["workers"] = Json::array();
  for (const auto& row : snapshot.rows)
    json["workers"].push_back(row_json(row));
  return written(json);
}

}  // namespace ballast::tools
