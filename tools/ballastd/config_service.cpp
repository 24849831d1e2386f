// A service's name and its instances.
#include "tools/ballastd/config_service.hpp"

#include <array>

#include "tools/ballastd/config_keys.hpp"

namespace ballast::tools {
namespace {

using Type = ConfigValue::Type;

// A name as it would be written in a table's header, with nothing that could spoil a line.
std::string shown(const std::string& name) {
  const bool fine = !judge_name("", name) && name.find('.') == std::string::npos;
  return fine ? name : in_quotes(name);
}

}  // namespace

void ServiceReader::read(const std::string& name, const ConfigValue& value) {
  const Span name_span = walk_.key_span(value, name);
  if (const auto bad = judge_name("service name", name)) {
    walk_.complain(*bad, {{name_span, "here"}});
  }
  const std::string where = "service." + shown(name);
  if (!walk_.want_table(value, "service " + in_quotes(name), where)) return;
  const bool all_known = walk_.judge_keys(value, where, "[" + where + "]", keys::service());
  checker::ServiceSettings service;
  service.name = name;
  read_strategy(walk_, value, service.policy);
  read_check(walk_, value, where, service.check);
  read_agent(walk_, value, where, service);
  read_protection(walk_, value, where, service);
  read_sources(walk_, value, where, service);
  if (const ConfigValue* instances = value.find("instances")) {
    read_instances(*instances, service);
  } else if (all_known && value.find("sources") == nullptr) {
    walk_.complain(
        {"service " + in_quotes(name) + " has no instances", "add instances = [\"HOST:PORT\"]"},
        {{name_span, "to this service"}});
  }
  settings_.services.push_back(std::move(service));
}

void ServiceReader::read_instances(const ConfigValue& list, checker::ServiceSettings& service) {
  if (!list.is(Type::array)) {
    walk_.wrong_type(list, "instances", "an array of addresses: [\"HOST:PORT\"]");
    return;
  }
  if (list.items.empty()) {
    walk_.complain(list, {"instances of service " + in_quotes(service.name) + " is empty",
                          service.sources.empty() ? "add an address, or remove the service"
                                                  : "leave the key out; they come from sources"});
    return;
  }
  std::map<std::array<std::uint64_t, 3>, const ConfigValue*> seen;
  for (const ConfigValue& item : list.items) {
    if (++instances_ == checker::kMaxInstances + 1) {
      walk_.complain(
          {"more than " + std::to_string(checker::kMaxInstances) + " instances are configured",
           "the limit is for all services together"},
          {{item.span, "the first one too many"}});
    }
    if (instances_ > checker::kMaxInstances) return;
    checker::InstanceSettings instance;
    const ConfigValue* address = read_instance(item, instance);
    if (address == nullptr) continue;
    const auto [place, added] = seen.emplace(instance.endpoint.to_words(), address);
    if (!added) {
      walk_.complain({"two instances of service " + in_quotes(service.name) + " have the address " +
                          instance.endpoint.to_text(),
                      "remove one of them"},
                     {{address->span, "this one"}, {place->second->span, "is also here"}});
      continue;
    }
    service.instances.push_back(std::move(instance));
  }
}

const ConfigValue* ServiceReader::read_instance(const ConfigValue& item,
                                                checker::InstanceSettings& instance) {
  const ConfigValue* address = &item;
  if (item.is(Type::table)) {
    const bool all_known = walk_.judge_keys(item, {}, "an instance", keys::instance());
    address = item.find("address");
    read_fields(walk_, item, keys::instance_fields(), instance);
    read_zone(item, instance);
    read_check_address(item, instance);
    if (address == nullptr) {
      if (all_known) {
        walk_.complain(item, {"this instance has no address", "add address = \"HOST:PORT\""});
      }
      return nullptr;
    }
  }
  if (!address->is(Type::string)) {
    walk_.wrong_type(*address, "an instance's address", "a string: \"HOST:PORT\"");
    return nullptr;
  }
  instance.text = address->string;
  const auto parsed = parse(instance.text);
  if (!parsed.ok()) {
    walk_.complain(*address, parsed.complaint());
    return nullptr;
  }
  instance.endpoint = parsed.value();
  return address;
}

Parsed<shm::Endpoint> ServiceReader::parse(const std::string& address) {
  return parse_address(address, [this](const std::string& host) {
    auto known = resolved_.find(host);
    if (known == resolved_.end()) {
      known = resolved_.emplace(host, environment_.resolve(host)).first;
    }
    return known->second;
  });
}

void ServiceReader::read_check_address(const ConfigValue& item,
                                       checker::InstanceSettings& instance) {
  const auto address = walk_.read_string(item, "check_address", "a string: \"HOST:PORT\"");
  if (!address) return;
  const auto parsed = parse(*address);
  if (parsed.ok()) {
    instance.check_endpoint = parsed.value();
  } else {
    walk_.complain(*item.find("check_address"), parsed.complaint());
  }
}

void ServiceReader::read_zone(const ConfigValue& item, checker::InstanceSettings& instance) {
  const auto zone = walk_.read_string(item, "zone", "a string");
  if (!zone) return;
  instance.zone = *zone;
  if (const auto bad = judge_name("zone", *zone)) {
    walk_.complain(*item.find("zone"), *bad);
  } else if (settings_.zone.empty() && !zone_refused_) {
    zone_refused_ = true;
    walk_.refuse(item, "zone", "[ballast] says in which zone this host is",
                 "add zone = \"NAME\" to [ballast]");
  }
}

}  // namespace ballast::tools
