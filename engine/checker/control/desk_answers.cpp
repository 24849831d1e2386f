// Reading the table for the control desk.
#include "engine/checker/control/desk_answers.hpp"

#include <algorithm>
#include <array>
#include <map>

#include "engine/checker/control/change_edit.hpp"
#include "engine/service_name.hpp"
#include "shm/endpoint.hpp"
#include "shm/generation.hpp"
#include "shm/state_word.hpp"
#include "shm/totals.hpp"

namespace ballast::checker {

using nlohmann::json;

namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;  // the only writer reads its own words

bool is_live(const shm::ServiceRecord& record) {
  return shm::unpack_identity(record.identity.load(kRelaxed)).phase == shm::Phase::live;
}

std::uint64_t epoch_in(const shm::ServiceRecord& record) {
  return shm::epoch_of(record.root.load(kRelaxed));
}

// One name stands for itself, several are a list.
json instances_of(const Request& request) {
  if (request.instances.size() == 1) return request.instances.front();
  return request.instances;
}

// Who named it, which the roster has noted.
const char* origin_of(const InstanceSettings& instance) {
  switch (instance.named_by) {
    case shm::EventBy::discovery:
      return "source";
    case shm::EventBy::operators:
      return "operator";
    default:
      return "configuration";
  }
}

}  // namespace

std::optional<std::size_t> record_of(const Publisher& publisher, const std::string& service) {
  const auto services = publisher.segment().table.services;
  for (std::size_t i = 0; i < services.size(); ++i) {
    if (is_live(services[i]) && engine::service_name(services[i]) == service) return i;
  }
  return std::nullopt;
}

std::optional<std::uint64_t> epoch_of(const Publisher& publisher, const std::string& service) {
  const auto record = record_of(publisher, service);
  if (!record) return std::nullopt;
  return epoch_in(publisher.segment().table.services[*record]);
}

Epochs epochs_of(const Publisher& publisher) {
  Epochs epochs;
  for (const shm::ServiceRecord& record : publisher.segment().table.services) {
    if (is_live(record)) epochs.emplace_back(engine::service_name(record), epoch_in(record));
  }
  return epochs;
}

void finish_answer(json& answer, const std::string& id, const char* verb) {
  if (*verb != '\0') answer["verb"] = verb;
  if (!id.empty()) answer["id"] = json::parse(id);
}

std::string to_line(const json& answer) {
  return answer.dump(-1, ' ', false, json::error_handler_t::replace);
}

json about_change(const Request& request, const Publisher& publisher, std::uint64_t epoch,
                  bool changed) {
  json answer{{"ok", true},
              {"service", request.service},
              {"changed", changed},
              {"epochs", {{request.service, epoch}}},
              {"segment", publisher.segment_id()}};
  if (!request.instances.empty()) answer["instance"] = instances_of(request);
  return answer;
}

json about_reload(const Publisher& publisher, const Epochs& before, const Roster& roster) {
  const std::map<std::string, std::uint64_t> known(before.begin(), before.end());
  json changed = json::object();
  for (const auto& [service, epoch] : epochs_of(publisher)) {
    const auto found = known.find(service);
    if (found == known.end() || found->second != epoch) changed[service] = epoch;
  }
  return {{"ok", true},
          {"epochs", std::move(changed)},
          {"segment", publisher.segment_id()},
          {"services", publisher.settings().services.size()},
          {"instances", publisher.instances().size()},
          {"idle_changes", roster.idle_changes()}};
}

json about_services(const Publisher& publisher) {
  struct Counts {
    std::size_t instances = 0;
    std::size_t usable = 0;
    std::size_t drained = 0;
  };
  const Settings& settings = publisher.settings();
  std::vector<Counts> counts(settings.services.size());
  for (const PublishedInstance& instance : publisher.instances()) {
    const shm::State state =
        shm::unpack(publisher.segment().table.states[instance.slot].load(kRelaxed));
    Counts& count = counts[instance.service];
    ++count.instances;
    count.usable += state.usable ? 1 : 0;
    count.drained += state.admin != shm::Admin::ready ? 1 : 0;
  }
  std::map<std::string, std::uint64_t> epochs;
  for (auto& [name, epoch] : epochs_of(publisher))
    epochs[std::move(name)] = epoch;
  json list = json::array();
  for (std::size_t s = 0; s < settings.services.size(); ++s) {
    const ServiceSettings& service = settings.services[s];
    list.push_back({{"service", service.name},
                    {"strategy", engine::to_text(service.policy.strategy)},
                    {"epoch", epochs[service.name]},
                    {"instances", counts[s].instances},
                    {"usable", counts[s].usable},
                    {"drained", counts[s].drained}});
  }
  return list;
}

json about_service(const Publisher& publisher, const std::string& name) {
  const Settings& settings = publisher.settings();
  const auto service = std::find_if(settings.services.begin(), settings.services.end(),
                                    [&](const ServiceSettings& one) { return one.name == name; });
  if (service == settings.services.end()) return {};
  return {{"ok", true},
          {"service", name},
          {"strategy", engine::to_text(service->policy.strategy)},
          {"epoch", epoch_of(publisher, name).value_or(0)},
          {"segment", publisher.segment_id()}};
}

json about_member(const Publisher& publisher, const PublishedInstance& member,
                  std::uint64_t in_flight) {
  const ServiceSettings& service = publisher.settings().services[member.service];
  const InstanceSettings& instance = service.instances[member.instance];
  const shm::State state =
      shm::unpack(publisher.segment().table.states[member.slot].load(kRelaxed));
  json one{{"address", instance.endpoint.to_text()},
           {"name", instance.text},
           {"slot", member.slot},
           {"health", shm::to_text(state.health)},
           {"reason", shm::to_text(state.reason)},
           {"admin", shm::to_text(state.admin)},
           {"usable", state.usable},
           {"ejected", state.ejected},
           {"weight", instance.weight},
           {"tier", instance.tier},
           {"from", origin_of(instance)},
           {"in_flight", in_flight}};
  if (!instance.zone.empty()) one["zone"] = instance.zone;
  return one;
}

json about_sources(const std::vector<SourceStatus>& statuses, const std::string& service) {
  json list = json::array();
  for (const SourceStatus& status : statuses) {
    if (!service.empty() && status.service != service) continue;
    json one{{"service", status.service},    {"source", status.source},
             {"kind", to_text(status.kind)}, {"name", status.name},
             {"answered", status.answered},  {"instances", status.instances},
             {"failures", status.failures},  {"changes", status.changes}};
    if (!status.error.empty()) one["error"] = status.error;
    if (!status.note.empty()) one["note"] = status.note;
    if (status.failing_for) one["failing_for_ms"] = status.failing_for->count();
    if (status.unchanged_for) one["unchanged_for_ms"] = status.unchanged_for->count();
    list.push_back(std::move(one));
  }
  return list;
}

std::variant<std::vector<DrainingSlot>, Refusal> draining_slots(const Publisher& publisher,
                                                                std::size_t record,
                                                                const Roster& roster,
                                                                const Request& request) {
  const auto found = find_instances(roster, request);
  if (const auto* refusal = std::get_if<Refusal>(&found)) return *refusal;
  const auto& endpoints = std::get<std::vector<shm::Endpoint>>(found);
  std::map<std::array<std::uint64_t, 3>, bool> any;  // by what is looked for
  for (const shm::Endpoint& endpoint : endpoints)
    any.emplace(endpoint.to_words(), false);
  std::vector<DrainingSlot> slots;
  const auto instances = publisher.segment().table.instances;
  for (std::size_t slot = 0; slot < instances.size(); ++slot) {
    const shm::InstanceRecord& instance = instances[slot];
    const auto identity = shm::unpack_identity(instance.identity.load(kRelaxed));
    if (identity.phase == shm::Phase::free || instance.service.load(kRelaxed) != record) continue;
    const auto wanted =
        any.find({instance.endpoint[0].load(kRelaxed), instance.endpoint[1].load(kRelaxed),
                  instance.endpoint[2].load(kRelaxed)});
    if (wanted == any.end()) continue;
    slots.push_back({static_cast<std::uint16_t>(slot), identity.incarnation});
    wanted->second = true;
  }
  for (const shm::Endpoint& endpoint : endpoints) {
    // One that was removed, and had no request in flight for as long as its slot cooled, is
    // drained.
    const auto changed = roster.changes().instances.find(request.service);
    const bool removed =
        changed != roster.changes().instances.end() && changed->second.contains(endpoint.to_text());
    if (!any.at(endpoint.to_words()) && !removed) {
      return Refusal{
          "not_found", "service " + request.service + " has no instance " + endpoint.to_text(), {}};
    }
  }
  return slots;
}

json about_wait(const std::string& service, std::uint64_t epoch, const Publisher& publisher,
                const SeenReport& report) {
  json missing = json::array();
  for (const SeenReport::Missing& one : report.missing) {
    missing.push_back(
        {{"row", one.row}, {"pid", one.pid}, {"command", one.command}, {"stopped", one.stopped}});
  }
  return {{"service", service},
          {"epochs", {{service, epoch}}},
          {"segment", publisher.segment_id()},
          {"workers", report.rows},
          {"seen", report.seen},
          {"idle", report.idle},
          {"missing", std::move(missing)}};
}

std::string timeout_text(const SeenReport& report, std::uint64_t in_flight) {
  std::string text;
  if (!report.done()) {
    const std::uint64_t behind = report.rows - report.seen - report.idle;
    text =
        std::to_string(behind) + " of " + std::to_string(report.rows) + " workers have not seen it";
    for (const SeenReport::Missing& one : report.missing) {
      text += (&one == report.missing.data() ? ": " : ", ") + one.command + " with pid " +
              std::to_string(one.pid) + (one.stopped ? " (stopped)" : "");
    }
    if (behind > report.missing.size()) text += ", ...";
  }
  if (in_flight != 0) {
    text += (text.empty() ? "" : "; ") + std::to_string(in_flight) + " requests are in flight";
  }
  return text;
}

}  // namespace ballast::checker
