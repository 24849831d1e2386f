// From the command line to a request, and from the answer to what people read.
#include "tools/ballast/control_verbs.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>

#include "tools/ballast/control_client.hpp"
#include "tools/ballast/duration.hpp"
#include "tools/ballast/table.hpp"

namespace ballast::tools {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;

constexpr std::array<std::string_view, 14> kVerbs{
    "add",   "remove", "drain",  "maint",    "ready",  "weight",  "strategy",
    "eject", "reset",  "reload", "handover", "status", "sources", "changes"};
constexpr std::array<std::string_view, 12> kOptions{
    "--json", "--dir",  "--namespace", "--socket", "--wait",  "--timeout",
    "--for",  "--zone", "--tier",      "--weight", "--admin", "--name"};

// A ballastd that is busy with ten thousand instances answers within a fraction of that.
constexpr milliseconds kPatience{30'000};
// Names are looked up, instances are checked first.
constexpr milliseconds kLongPatience{600'000};

CliOutput wrong(const std::string& what) {
  return {2, {}, "ballast: " + what + "\n"};
}

std::string text_of(const json& object, const char* field) {
  const auto found = object.find(field);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}
std::uint64_t number_of(const json& object, const char* field) {
  const auto found = object.find(field);
  return found != object.end() && found->is_number_unsigned() ? found->get<std::uint64_t>() : 0;
}
bool flag_of(const json& object, const char* field) {
  const auto found = object.find(field);
  return found != object.end() && found->is_boolean() && found->get<bool>();
}
json list_of(const json& object, const char* field) {
  const auto found = object.find(field);
  return found != object.end() && found->is_array() ? *found : json::array();
}

// The epoch of the first service, which of most answers is the only one.
std::optional<std::uint64_t> epoch_of(const json& answer) {
  const auto epochs = answer.find("epochs");
  if (epochs == answer.end() || !epochs->is_object() || epochs->empty()) return std::nullopt;
  const json& first = epochs->begin().value();
  if (!first.is_number_unsigned()) return std::nullopt;
  return first.get<std::uint64_t>();
}

std::string plural(std::uint64_t count, const char* what) {
  return fmt::format("{} {}{}", count, what, count == 1 ? "" : "s");
}

// ---- requests

json request_of(const std::string& verb, const ControlOptions& options, std::string& error) {
  json request{{"verb", verb}};
  if (!options.service.empty()) request["service"] = options.service;
  if (options.instances.size() == 1) request["instance"] = options.instances.front();
  if (options.instances.size() > 1) request["instance"] = options.instances;
  if (verb == "weight") request["weight"] = options.weight;
  if (verb == "strategy") request["strategy"] = options.strategy;
  if (options.with_weight) request["weight"] = *options.with_weight;
  if (options.tier) request["tier"] = *options.tier;
  if (!options.zone.empty()) request["zone"] = options.zone;
  if (!options.name.empty()) request["name"] = options.name;
  if (!options.admin.empty()) request["admin"] = options.admin;
  if (verb == "eject") {
    const auto duration = parse_duration(options.duration);
    if (!duration) {
      error = "--for \"" + options.duration.substr(0, 80) +
              "\" is no time: write 500ms, 30s, 5m, 2h or 0";
      return request;
    }
    request["for_ms"] = duration->count();
  }
  return request;
}

// ---- answers

std::string about_change(const std::string& verb, const ControlOptions& options,
                         const json& answer) {
  std::string what = verb + " " + options.service;
  for (const std::string& instance : options.instances)
    what += " " + instance;
  const std::uint64_t epoch = epoch_of(answer).value_or(0);
  if (verb == "eject") return what + ": done\n";
  return fmt::format("{}: {} epoch {}\n", what,
                     flag_of(answer, "changed") ? "holds from" : "held already, at", epoch);
}

std::string about_waiting(const json& line) {
  const std::uint64_t workers = number_of(line, "workers");
  const std::uint64_t there = number_of(line, "seen") + number_of(line, "idle");
  std::string text =
      fmt::format("waiting: {} of {} have seen it", there, plural(workers, "worker"));
  if (line.contains("in_flight"))
    text += fmt::format(", {} in flight", plural(number_of(line, "in_flight"), "request"));
  return text + "\n";
}

std::string about_wait(const json& answer) {
  if (number_of(answer, "workers") == 0) return "no worker is attached, nothing is in flight\n";
  const std::uint64_t idle = number_of(answer, "idle");
  std::string text =
      fmt::format("all {} have seen it", plural(number_of(answer, "workers"), "worker"));
  if (idle != 0) text += fmt::format(" ({} had nothing to see)", idle);
  if (answer.contains("in_flight")) text += ", nothing is in flight";
  return text + "\n";
}

std::string about_idle(const json& answer, const char* field) {
  std::string text;
  for (const json& idle : list_of(answer, field)) {
    if (idle.is_string())
      text += "a change acts on nobody at present: " + idle.get<std::string>() + "\n";
  }
  return text;
}

std::string about_reload(const json& answer) {
  std::string text =
      fmt::format("reloaded: {}, {}", plural(number_of(answer, "services"), "service"),
                  plural(number_of(answer, "instances"), "instance"));
  const auto epochs = answer.find("epochs");
  if (epochs == answer.end() || !epochs->is_object() || epochs->empty())
    return text + ", nothing to publish\n" + about_idle(answer, "idle_changes");
  std::size_t shown = 0;
  for (const auto& [service, epoch] : epochs->items()) {
    if (++shown > 10) break;
    text += fmt::format("{} {} from epoch {}", shown == 1 ? ";" : ",", service, epoch.dump());
  }
  return text + (epochs->size() > 10 ? ", ...\n" : "\n") + about_idle(answer, "idle_changes");
}

std::string about_status(const json& answer) {
  if (answer.contains("instances")) {
    std::string text = fmt::format("{}: {}, epoch {}\n", text_of(answer, "service"),
                                   text_of(answer, "strategy"), number_of(answer, "epoch"));
    TextTable table({{"ADDRESS"},
                     {"HEALTH"},
                     {"ADMIN"},
                     {"WEIGHT", true},
                     {"TIER", true},
                     {"IN FLIGHT", true},
                     {"FROM"}});
    for (const json& one : list_of(answer, "instances")) {
      table.add({text_of(one, "address"),
                 text_of(one, "health") + (flag_of(one, "ejected") ? ", ejected" : ""),
                 text_of(one, "admin"), std::to_string(number_of(one, "weight")),
                 std::to_string(number_of(one, "tier")),
                 std::to_string(number_of(one, "in_flight")), text_of(one, "from")});
    }
    return text + table.render(2);
  }
  std::string text = fmt::format("ballastd {} with pid {} in {}, {}, segment {}, term {}\n",
                                 text_of(answer, "version"), number_of(answer, "pid"),
                                 text_of(answer, "directory"), text_of(answer, "io"),
                                 number_of(answer, "segment"), number_of(answer, "term"));
  TextTable table({{"SERVICE"},
                   {"STRATEGY"},
                   {"EPOCH", true},
                   {"INSTANCES", true},
                   {"USABLE", true},
                   {"DRAINED", true}});
  for (const json& one : list_of(answer, "services")) {
    table.add({text_of(one, "service"), text_of(one, "strategy"),
               std::to_string(number_of(one, "epoch")), std::to_string(number_of(one, "instances")),
               std::to_string(number_of(one, "usable")),
               std::to_string(number_of(one, "drained"))});
  }
  text += table.render(2);
  if (!flag_of(answer, "changes_kept"))
    text += "changes are not kept: " + text_of(answer, "changes_error") + "\n";
  return text + about_idle(answer, "idle_changes");
}

std::string about_sources(const json& answer) {
  const json sources = list_of(answer, "sources");
  if (sources.empty()) return "no service has a source besides the configuration\n";
  TextTable table({{"SERVICE"}, {"KIND"}, {"NAME"}, {"INSTANCES", true}, {"FAILURES", true}});
  for (const json& one : sources) {
    std::string note = text_of(one, "error");
    if (!note.empty() && one.contains("failing_for_ms"))
      note += fmt::format(" (for {} s)", number_of(one, "failing_for_ms") / 1000);
    if (note.empty()) note = text_of(one, "note");
    table.add(
        {text_of(one, "service"), text_of(one, "kind"), text_of(one, "name"),
         std::to_string(number_of(one, "instances")), std::to_string(number_of(one, "failures"))},
        note);
  }
  return table.render(0);
}

std::string about_changes(const json& answer) {
  std::string text;
  const auto services = answer.find("services");
  if (services != answer.end() && services->is_object()) {
    for (const auto& [service, changes] : services->items()) {
      if (const std::string strategy = text_of(changes, "strategy"); !strategy.empty())
        text += service + ": strategy " + strategy + "\n";
      const auto instances = changes.find("instances");
      if (instances == changes.end() || !instances->is_object()) continue;
      for (const auto& [address, change] : instances->items()) {
        text += service + " " + address + ":";
        if (change.contains("added")) text += " added";
        if (flag_of(change, "removed")) text += " removed";
        if (change.contains("admin")) text += " " + text_of(change, "admin");
        if (change.contains("weight"))
          text += " weight " + std::to_string(number_of(change, "weight"));
        text += "\n";
      }
    }
  }
  if (text.empty()) text = "operators have changed nothing\n";
  return text + about_idle(answer, "idle");
}

std::string about(const std::string& verb, const ControlOptions& options, const json& answer) {
  if (verb == "reload") return about_reload(answer);
  if (verb == "handover") return "handed over\n";
  if (verb == "status") return about_status(answer);
  if (verb == "sources") return about_sources(answer);
  if (verb == "changes") return about_changes(answer);
  return about_change(verb, options, answer);
}

std::string reason_of(const json& answer) {
  const std::string text = text_of(answer, "error");
  return text.empty() ? "it was refused" : text;
}

CliOutput unreachable(const shm::Error& error, const std::string& socket,
                      const ControlPlace& place) {
  if (error.code == ENOENT || error.code == ECONNREFUSED) {
    return {1,
            {},
            "ballast: no ballastd listens at " + socket +
                ": start it, or say where it is with --dir or --socket" + place.others + "\n"};
  }
  if (error.code == EACCES) {
    return {1,
            {},
            "ballast: " + error.to_text() +
                ": only root, the user of ballastd and the members of control_group may\n"};
  }
  return {1, {}, "ballast: " + error.to_text() + "\n"};
}

}  // namespace

std::span<const std::string_view> control_verbs() {
  return kVerbs;
}
std::span<const std::string_view> control_options() {
  return kOptions;
}

void add_control_verbs(CLI::App& app, ControlOptions& options) {
  const auto add = [&](const char* name, const char* what) {
    CLI::App* verb = app.add_subcommand(name, what);
    verb->add_flag("--json", options.json, "the answer as it came; docs/control.md");
    verb->add_option("--dir", options.directory, "the directory of the namespace's files");
    verb->add_option("--namespace", options.name_space, "the namespace (default: \"default\")");
    verb->add_option("--socket", options.socket, "where ballastd listens, if elsewhere");
    return verb;
  };
  const auto of_service = [&](const char* name, const char* what, bool needed = true) {
    CLI::App* verb = add(name, what);
    auto* service = verb->add_option("SERVICE", options.service, "the service");
    if (needed) service->required();
    return verb;
  };
  const auto waits = [&](CLI::App* verb) {
    verb->add_flag("--wait", options.wait, "until every worker has seen it");
    verb->add_option("--timeout", options.timeout, "for --wait: 500ms, 30s (default), 5m");
    return verb;
  };
  const auto of_instances = [&](const char* name, const char* what) {
    CLI::App* verb = of_service(name, what);
    verb->add_option("INSTANCE", options.instances, "addresses, such as 10.0.0.1:80")->required();
    return verb;
  };
  CLI::App* verb = waits(of_instances("add", "have instances that nothing else names"));
  verb->add_option("--weight", options.with_weight, "1 to 1000");
  verb->add_option("--tier", options.tier, "0 to 3; the lowest is used first");
  verb->add_option("--zone", options.zone, "the zone it is in");
  verb->add_option("--name", options.name, "what ketama hashes and checks call it");
  verb->add_option("--admin", options.admin, "ready, drain or maintenance");
  waits(of_instances("remove", "have instances no more"));
  waits(of_instances("drain", "no new requests for instances; --wait: until none is in flight"));
  waits(of_instances("maint", "as drain, and said to people"));
  waits(of_instances("ready", "end drain and maintenance"));
  verb = waits(of_service("weight", "set an instance's weight"));
  verb->add_option("INSTANCE", options.instance, "its address")->required();
  verb->add_option("WEIGHT", options.weight, "1 to 1000")->required();
  verb = waits(of_service("strategy", "have a service choose by another strategy"));
  verb->add_option("STRATEGY", options.strategy, "such as maglev or round_robin")->required();
  verb = waits(of_instances(
      "eject", "keep instances out for a time, as outliers are; --wait: until none is in flight"));
  verb->add_option("--for", options.duration, "how long: 30s, 5m, 2h; 0 takes back")->required();
  verb = waits(of_service("reset", "forget what operators changed"));
  verb->add_option("INSTANCE", options.instances, "of these alone");
  add("reload", "read the configuration again");
  add("handover", "start a successor, and wait until it has taken over");
  of_service("status", "what runs, and how its services and instances are", false);
  of_service("sources", "where instances come from, and how it goes", false);
  of_service("changes", "what operators have changed", false);
}

CliOutput run_control_verb(const std::string& verb, const ControlOptions& given,
                           const ControlPlace& place, const Writer& write) {
  ControlOptions options = given;
  if (!options.instance.empty()) options.instances = {options.instance};
  std::string error;
  const json request = request_of(verb, options, error);
  if (!error.empty()) return wrong(error);
  const auto timeout = parse_duration(options.timeout);
  if (!timeout || timeout->count() > 3'600'000) {
    return wrong("--timeout \"" + options.timeout.substr(0, 80) +
                 "\" is no time of at most an hour: write 500ms, 30s or 5m");
  }
  const std::string socket = options.socket.empty() ? place.directory + "/control" : options.socket;
  ControlClient client(socket);
  const bool is_long = verb == "reload" || verb == "handover";
  const auto answer = client.ask(request, is_long ? kLongPatience : kPatience);
  if (!answer) return unreachable(answer.error(), socket, place);
  CliOutput output;
  const auto show = [&](const std::string& text) {
    if (!write || !write(text)) output.out += write ? "" : text;
  };
  if (!flag_of(*answer, "ok")) {
    if (options.json) show(answer->dump() + "\n");
    output.status = 1;
    output.errors = "ballast: " + reason_of(*answer) + "\n";
    return output;
  }
  if (!options.wait) show(options.json ? answer->dump() + "\n" : about(verb, options, *answer));
  if (options.wait && !options.json) show(about(verb, options, *answer));
  if (const std::string warning = text_of(*answer, "warning"); !warning.empty()) {
    output.status = 3;
    output.errors = "ballast: " + warning + "\n";
  }
  if (!options.wait) return output;

  json wait{{"verb", "wait"},
            {"service", options.service},
            {"timeout_ms", timeout->count()},
            {"progress", true}};
  if (const auto epoch = epoch_of(*answer)) wait["epoch"] = *epoch;
  const bool ejects = verb == "eject";
  if (ejects) wait["state"] = true;
  const bool drains = verb == "drain" || verb == "maint" || verb == "remove" ||
                      (ejects && request.value("for_ms", std::int64_t{0}) != 0);
  if (drains) wait["instance"] = options.instances;
  std::string shown;
  const auto waited = client.ask(wait, *timeout + kPatience, [&](const json& line) {
    std::string text = about_waiting(line);
    if (options.json || text == shown) return;
    shown = std::move(text);
    show(shown);
  });
  if (!waited) return unreachable(waited.error(), socket, place);
  if (options.json) {
    json both = *answer;
    both["wait"] = *waited;
    show(both.dump() + "\n");
  }
  if (flag_of(*waited, "ok")) {
    if (!options.json) show(about_wait(*waited));
    return output;
  }
  output.status = text_of(*waited, "code") == "timeout" ? 4 : 1;
  output.errors +=
      (output.status == 4 ? "ballast: it holds, but not within " + options.timeout + ": "
                          : std::string("ballast: ")) +
      reason_of(*waited) + "\n";
  return output;
}

}  // namespace ballast::tools
