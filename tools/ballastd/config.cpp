// Walks the parsed TOML and judges every key and value, going on after an error so that one run
// shows as many as possible. The only unit that sees toml11, which is slow to compile.
#include "tools/ballastd/config.hpp"

#include <map>
#include <sstream>

#include "tools/ballastd/toml_reader.hpp"

namespace ballast::tools {
namespace {

using checker::CheckSettings;
using checker::Milliseconds;
using std::string_view;

constexpr std::array<string_view, 2> kRootKeys{"ballast", "service"};
constexpr std::array<string_view, 4> kBallastKeys{"namespace", "directory", "workers_group",
                                                  "max_workers"};
constexpr std::array<string_view, 3> kServiceKeys{"instances", "strategy", "check"};
constexpr std::array<string_view, 13> kCheckKeys{
    "kind",          "path",    "host", "status", "keep_alive", "tcp_sentinel", "interval",
    "fast_interval", "timeout", "rise", "fall",   "jitter",     "first_check"};
constexpr std::array<string_view, 2> kInstanceKeys{"address", "weight"};

constexpr std::size_t kMaxDirectoryBytes = 3072;  // PATH_MAX less the file names

// A name as it would be written in a table's header, with nothing that could spoil a line.
std::string shown(const std::string& name) {
  const bool fine = !judge_name("", name) && name.find('.') == std::string::npos;
  return fine ? name : in_quotes(name);
}

// The table in which `key` would be right, seen from the service at `path`.
std::string home_of(const std::string& key, const std::string& path) {
  const std::string service = path.empty() ? "service.NAME" : path;
  if (contains(kBallastKeys, key)) return "[ballast]";
  if (contains(kServiceKeys, key)) return "[" + service + "]";
  if (contains(kCheckKeys, key)) return "[" + service + ".check]";
  if (key == "weight") return "the instance: { address = \"HOST:PORT\", weight = 5 }";
  return {};
}

class Reader : private TomlReader {
 public:
  Reader(const SourceText& source, const ConfigEnvironment& environment)
      : TomlReader(source), environment_(environment) {}

  ConfigResult read(const Value& root) {
    const bool all_known = judge_keys(root, {}, "the file", kRootKeys, home_of);
    read_ballast(root);
    read_services(root, all_known);
    ConfigResult result;
    result.errors = take_errors();
    if (result.errors.empty()) result.settings = std::move(settings_);
    return result;
  }

 private:
  void read_ballast(const Value& root) {
    const Value* ballast = find(root, "ballast");
    if (ballast == nullptr) return;
    if (!ballast->is_table()) {
      wrong_type(*ballast, "ballast", "a table: [ballast]");
      return;
    }
    judge_keys(*ballast, {}, "[ballast]", kBallastKeys, home_of);
    if (const auto name = read_string(*ballast, "namespace", "a string")) {
      settings_.name_space = *name;
      if (const auto bad = judge_name("namespace", *name)) {
        complain(*find(*ballast, "namespace"), *bad);
      }
    }
    if (const auto directory = read_string(*ballast, "directory", "a string")) {
      settings_.directory = *directory;
      const Value& at = *find(*ballast, "directory");
      if (directory->empty() || directory->front() != '/') {
        complain(at, {"directory " + in_quotes(*directory) + " is not an absolute path",
                      "start it with a slash"});
      } else if (directory->size() > kMaxDirectoryBytes ||
                 directory->find('\0') != std::string::npos) {
        complain(at, {"directory is not a usable path",
                      "use at most " + std::to_string(kMaxDirectoryBytes) + " bytes"});
      }
    }
    if (const auto group = read_string(*ballast, "workers_group", "the name of a group")) {
      settings_.workers_group = *group;
      const bool exists = environment_.group_exists(*group);
      if (!exists) {
        complain(*find(*ballast, "workers_group"),
                 {"there is no group " + in_quotes(*group),
                  "add it with groupadd, or name one that exists"});
      }
    }
    read_number(*ballast, "max_workers", 1, checker::kMaxWorkerRows, settings_.max_workers);
  }

  // A key that is missing is not missed when another is misspelt: it may be that one.
  void read_services(const Value& root, bool all_known) {
    const Value* services = find(root, "service");
    if (services == nullptr) {
      if (!all_known) return;
      complain_of_file(
          {"no service is configured", "add [service.NAME] with instances = [\"HOST:PORT\"]"});
      return;
    }
    if (!services->is_table()) {
      wrong_type(*services, "service", "a table for each service: [service.NAME]");
      return;
    }
    using Entry = const Table::value_type*;
    std::vector<Entry> in_order;
    for (const auto& entry : services->as_table())
      in_order.push_back(&entry);
    std::sort(in_order.begin(), in_order.end(), [](Entry a, Entry b) {
      return span_of(a->second).offset < span_of(b->second).offset;
    });
    if (in_order.size() > checker::kMaxServices) {
      const auto& [name, value] = *in_order[checker::kMaxServices];
      complain({std::to_string(in_order.size()) + " services are configured",
                "the limit is " + std::to_string(checker::kMaxServices)},
               {{key_span(value, name), "the first one too many"}});
      return;
    }
    for (const Entry entry : in_order)
      read_service(entry->first, entry->second);
  }

  void read_service(const std::string& name, const Value& value) {
    const Span name_span = key_span(value, name);
    if (const auto bad = judge_name("service name", name)) complain(*bad, {{name_span, "here"}});
    if (!value.is_table()) {
      wrong_type(value, "service " + in_quotes(name), "a table: [service." + shown(name) + "]");
      return;
    }
    const std::string path = "service." + shown(name);
    const bool all_known = judge_keys(value, path, "[" + path + "]", kServiceKeys, home_of);
    checker::ServiceSettings service;
    service.name = name;
    using checker::Strategy;
    constexpr std::array<std::pair<string_view, Strategy>, 3> kChoices{
        {{"maglev", Strategy::maglev},
         {"ketama", Strategy::ketama},
         {"round_robin", Strategy::round_robin}}};
    read_choice(value, "strategy", kChoices, service.policy.strategy);
    if (const Value* check = find(value, "check")) read_check(path, *check, service.check);
    if (const Value* instances = find(value, "instances")) {
      read_instances(*instances, service);
    } else if (all_known) {
      complain(
          {"service " + in_quotes(name) + " has no instances", "add instances = [\"HOST:PORT\"]"},
          {{name_span, "to this service"}});
    }
    settings_.services.push_back(std::move(service));
  }

  void read_instances(const Value& list, checker::ServiceSettings& service) {
    if (!list.is_array()) {
      wrong_type(list, "instances", "an array of addresses: [\"HOST:PORT\"]");
      return;
    }
    if (list.as_array().empty()) {
      complain(list, {"instances of service " + in_quotes(service.name) + " is empty",
                      "add an address, or remove the service"});
      return;
    }
    std::map<std::array<std::uint64_t, 3>, const Value*> seen;
    for (const Value& item : list.as_array()) {
      if (++instances_ == checker::kMaxInstances + 1) {
        complain(
            {"more than " + std::to_string(checker::kMaxInstances) + " instances are configured",
             "the limit is for all services together"},
            {{span_of(item), "the first one too many"}});
      }
      if (instances_ > checker::kMaxInstances) return;
      checker::InstanceSettings instance;
      const Value* address = read_instance(item, instance);
      if (address == nullptr) continue;
      const auto [place, added] = seen.emplace(instance.endpoint.to_words(), address);
      if (!added) {
        complain({"two instances of service " + in_quotes(service.name) + " have the address " +
                      instance.endpoint.to_text(),
                  "remove one of them"},
                 {{span_of(*address), "this one"}, {span_of(*place->second), "is also here"}});
        continue;
      }
      service.instances.push_back(std::move(instance));
    }
  }

  // Returns the value that holds the address, or null when the instance is unusable.
  const Value* read_instance(const Value& item, checker::InstanceSettings& instance) {
    const Value* address = &item;
    if (item.is_table()) {
      const bool all_known = judge_keys(item, {}, "an instance", kInstanceKeys, home_of);
      address = find(item, "address");
      read_number(item, "weight", 1, checker::kMaxWeight, instance.weight);
      if (address == nullptr) {
        if (all_known) {
          complain(item, {"this instance has no address", "add address = \"HOST:PORT\""});
        }
        return nullptr;
      }
    }
    if (!address->is_string()) {
      wrong_type(*address, "an instance's address", "a string: \"HOST:PORT\"");
      return nullptr;
    }
    instance.text = address->as_string().str;
    const auto parsed = parse_address(instance.text, [this](const std::string& host) {
      auto known = resolved_.find(host);
      if (known == resolved_.end()) {
        known = resolved_.emplace(host, environment_.resolve(host)).first;
      }
      return known->second;
    });
    if (!parsed.ok()) {
      complain(*address, parsed.complaint());
      return nullptr;
    }
    instance.endpoint = parsed.value();
    return address;
  }

  void read_check(const std::string& path, const Value& table, CheckSettings& check) {
    const std::string where = "[" + path + ".check]";
    if (!table.is_table()) {
      wrong_type(table, "check", "a table: " + where);
      return;
    }
    judge_keys(table, path, where, kCheckKeys, home_of);
    using checker::CheckKind;
    using checker::FirstCheck;
    constexpr std::array<std::pair<string_view, CheckKind>, 3> kKinds{
        {{"http", CheckKind::http}, {"tcp", CheckKind::tcp}, {"none", CheckKind::none}}};
    constexpr std::array<std::pair<string_view, FirstCheck>, 2> kFirstChecks{
        {{"decides", FirstCheck::decides}, {"up", FirstCheck::up}}};
    read_choice(table, "kind", kKinds, check.kind);
    read_choice(table, "first_check", kFirstChecks, check.first_check);
    read_kind_specific(table, check);
    read_timing(table, check);
  }

  // Keys that would silently do nothing with this kind of check.
  void refuse(const Value& table, std::initializer_list<const char*> keys, const char* kind) {
    for (const char* key : keys) {
      if (const Value* value = find(table, key)) {
        complain({std::string(key) + " has no meaning unless kind is " + in_quotes(kind),
                  "remove it, or set kind = " + in_quotes(kind)},
                 {{key_span(*value, key), "here"}});
      }
    }
  }

  void read_flag(const Value& table, const char* key, bool& out) {
    const Value* value = find(table, key);
    if (value == nullptr) return;
    if (!value->is_boolean()) {
      wrong_type(*value, key, "true or false");
    } else {
      out = value->as_boolean();
    }
  }

  void read_kind_specific(const Value& table, CheckSettings& check) {
    if (check.kind != checker::CheckKind::tcp) refuse(table, {"tcp_sentinel"}, "tcp");
    read_flag(table, "tcp_sentinel", check.tcp_sentinel);
    if (check.kind != checker::CheckKind::http) {
      refuse(table, {"path", "host", "status", "keep_alive"}, "http");
      return;
    }
    read_flag(table, "keep_alive", check.keep_alive);
    if (const auto path = read_string(table, "path", "a string, such as \"/health\"")) {
      if (const auto bad = judge_path(*path)) complain(*find(table, "path"), *bad);
      check.path = *path;
    }
    if (const auto host = read_string(table, "host", "a string")) {
      if (const auto bad = judge_host(*host)) complain(*find(table, "host"), *bad);
      check.host = *host;
    }
    if (const auto status = read_string(table, "status", "a string, such as \"200-399\"")) {
      const auto range = parse_status_range(*status);
      if (!range.ok()) {
        complain(*find(table, "status"), range.complaint());
      } else {
        check.status_low = range.value().low;
        check.status_high = range.value().high;
      }
    }
  }

  void read_timing(const Value& table, CheckSettings& check) {
    read_duration(table, "interval", checker::kMinInterval, checker::kMaxInterval, check.interval);
    // What is not given follows a shorter interval down, so that setting one key is enough.
    judge_against_interval(table, "fast_interval", checker::kMinInterval, check.interval,
                           check.fast_interval);
    judge_against_interval(table, "timeout", checker::kMinTimeout, check.interval, check.timeout);
    read_number(table, "rise", 1, checker::kMaxRiseFall, check.rise);
    read_number(table, "fall", 1, checker::kMaxRiseFall, check.fall);
    if (const auto text = read_string(table, "jitter", "a string, such as \"10%\"")) {
      const auto parsed = parse_percent(*text);
      if (!parsed.ok()) {
        complain(*find(table, "jitter"), parsed.complaint());
      } else if (parsed.value() > checker::kMaxJitterPercent) {
        complain(*find(table, "jitter"),
                 {"jitter " + in_quotes(*text) + " is out of range",
                  "use \"0%\" to \"" + std::to_string(checker::kMaxJitterPercent) + "%\""});
      } else {
        check.jitter_percent = parsed.value();
      }
    }
  }

  void judge_against_interval(const Value& table, const char* key, Milliseconds low,
                              Milliseconds interval, Milliseconds& out) {
    if (!read_duration(table, key, low, checker::kMaxInterval, out)) {
      out = std::min(out, interval);
      return;
    }
    if (out <= interval) return;
    const Value* given = find(table, "interval");
    std::vector<SourceText::Note> notes{
        {span_of(*find(table, key)), given == nullptr ? "here" : "is longer than"}};
    if (given != nullptr) notes.push_back({span_of(*given), "the interval"});
    complain({std::string(key) + " is longer than the interval of " +
                  std::to_string(interval.count()) + "ms",
              "shorten it, or lengthen the interval"},
             notes);
  }

  const ConfigEnvironment& environment_;
  checker::Settings settings_;
  std::map<std::string, Parsed<shm::Endpoint>> resolved_;
  std::size_t instances_ = 0;
};

ConfigResult failed(Diagnostic error) {
  ConfigResult result;
  result.errors.push_back(std::move(error));
  return result;
}

}  // namespace

ConfigResult read_config_text(const std::string& name, std::string text,
                              const ConfigEnvironment& environment) {
  const SourceText source(name, std::move(text));
  if (auto bad = source.check_text()) return failed(std::move(*bad));
  try {
    std::istringstream stream(source.text());
    const Value root =
        toml::parse<toml::discard_comments, std::unordered_map, std::vector>(stream, name);
    return Reader(source, environment).read(root);
  } catch (const toml::exception& error) {
    return failed(diagnose_toml_error(source, error.what()));
  } catch (const std::exception& error) {
    return failed(diagnose_file(name, std::string("cannot be parsed: ") + error.what(),
                                "check the TOML syntax"));
  }
}

}  // namespace ballast::tools
