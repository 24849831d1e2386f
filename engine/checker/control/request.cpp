// The table of verbs and fields, and the strict reading of a request.
#include "engine/checker/control/request.hpp"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "engine/checker/control/roster.hpp"
#include "engine/text/spelling.hpp"

namespace ballast::checker {
namespace {

using nlohmann::json;

constexpr std::array<VerbInfo, 16> kVerbs{{
    {Verb::add, "add", true, "service instance", "weight tier zone name admin",
     "have instances that nothing else names"},
    {Verb::remove, "remove", true, "service instance", "", "have instances no more"},
    {Verb::drain, "drain", true, "service instance", "", "no new requests; those in flight go on"},
    {Verb::ready, "ready", true, "service instance", "", "end drain and maintenance"},
    {Verb::maint, "maint", true, "service instance", "", "as drain, and said to people"},
    {Verb::weight, "weight", true, "service instance weight", "", "set the weight"},
    {Verb::strategy, "strategy", true, "service strategy", "", "choose by another strategy"},
    {Verb::eject, "eject", true, "service instance for_ms", "",
     "out for a time, as an outlier is; for_ms 0 takes back"},
    {Verb::reset, "reset", true, "service", "instance",
     "forget what operators changed: of instances, or of the whole service"},
    {Verb::reload, "reload", true, "", "", "read the configuration again"},
    {Verb::handover, "handover", true, "", "", "start a successor, and leave to it"},
    {Verb::status, "status", false, "", "service", "what runs here"},
    {Verb::sources, "sources", false, "", "service", "where instances come from, and how it goes"},
    {Verb::changes, "changes", false, "", "service", "what operators have changed"},
    {Verb::wait, "wait", false, "service", "epoch instance timeout_ms progress state",
     "until all workers have seen the epoch, and the instance has no requests in flight"},
    {Verb::help, "help", false, "", "", "this"},
}};

constexpr std::array<std::string_view, 15> kFields{
    "verb",  "id",       "service", "instance", "weight",     "tier",     "zone", "name",
    "admin", "strategy", "for_ms",  "epoch",    "timeout_ms", "progress", "state"};

constexpr std::array kAdmins{shm::Admin::ready, shm::Admin::drain, shm::Admin::maintenance};

// Never leaves this file.
struct Wrong {
  const char* code;
  std::string text;
};

[[noreturn]] void bad(std::string text) {
  throw Wrong{"bad_request", std::move(text)};
}

std::string in_quotes(std::string_view text) {
  constexpr std::size_t kShown = 80;
  return json(std::string(text.substr(0, kShown)))
      .dump(-1, ' ', true, json::error_handler_t::replace);
}

// Whether `word` is one of `words`, which have blanks between.
bool is_among(std::string_view word, std::string_view words) {
  while (!words.empty()) {
    const auto blank = words.find(' ');
    if (words.substr(0, blank) == word) return true;
    words = blank == std::string_view::npos ? std::string_view{} : words.substr(blank + 1);
  }
  return false;
}

std::string_view first_of(std::string_view& words) {
  const auto blank = words.find(' ');
  const std::string_view word = words.substr(0, blank);
  words = blank == std::string_view::npos ? std::string_view{} : words.substr(blank + 1);
  return word;
}

template <std::size_t N>
std::string did_you_mean(std::string_view word, const std::array<std::string_view, N>& known,
                         std::string_view otherwise) {
  const std::string_view nearest = engine::nearest_word(word, known);
  if (nearest.empty()) return std::string(otherwise);
  return "did you mean \"" + std::string(nearest) + "\"?";
}

const std::string& string_of(const json& value, std::string_view field, std::size_t most) {
  const std::string name(field);
  if (!value.is_string()) bad(name + " must be a string");
  const auto& text = value.get_ref<const std::string&>();
  if (text.empty()) bad(name + " is empty");
  if (text.size() > most) bad(name + " is longer than " + std::to_string(most) + " bytes");
  const auto is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; };
  if (std::any_of(text.begin(), text.end(), is_control)) bad(name + " has a control character");
  return text;
}

std::uint64_t number_of(const json& value, std::string_view field, std::uint64_t low,
                        std::uint64_t high) {
  if (!value.is_number_unsigned() || value.get<std::uint64_t>() < low ||
      value.get<std::uint64_t>() > high) {
    bad(std::string(field) + " must be a whole number from " + std::to_string(low) + " to " +
        std::to_string(high));
  }
  return value.get<std::uint64_t>();
}

Verb verb_of(const json& value) {
  const std::string& text = string_of(value, "verb", kMaxRequestBytes);
  std::array<std::string_view, kVerbs.size()> names;
  for (std::size_t i = 0; i < kVerbs.size(); ++i) {
    if (text == kVerbs[i].name) return kVerbs[i].verb;
    names[i] = kVerbs[i].name;
  }
  throw Wrong{"unknown_verb", "there is no verb " + in_quotes(text) + ": " +
                                  did_you_mean(text, names, "ask for \"help\"")};
}

engine::Strategy strategy_of(const json& value) {
  const std::string& text = string_of(value, "strategy", kMaxRequestBytes);
  std::array<std::string_view, engine::kStrategies.size()> names;
  std::string all;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (text == engine::kStrategies[i].text) return engine::kStrategies[i].strategy;
    names[i] = engine::kStrategies[i].text;
    all += (i == 0 ? "use " : ", ") + std::string(names[i]);
  }
  bad("there is no strategy " + in_quotes(text) + ": " + did_you_mean(text, names, all));
}

shm::Admin admin_of(const json& value) {
  const std::string& text = string_of(value, "admin", kMaxRequestBytes);
  for (const shm::Admin admin : kAdmins) {
    if (text == shm::to_text(admin)) return admin;
  }
  bad("admin is " + in_quotes(text) + ": use ready, drain or maintenance");
}

std::vector<std::string> instances_of(const json& value) {
  std::vector<std::string> instances;
  if (value.is_array()) {
    if (value.size() > kMaxRequestInstances) {
      bad("instance names " + std::to_string(value.size()) + " instances: at most " +
          std::to_string(kMaxRequestInstances) + " a request, so use several");
    }
    for (const json& one : value)
      instances.push_back(string_of(one, "instance", kMaxTextBytes));
    if (instances.empty()) bad("instance is an empty list");
  } else {
    instances.push_back(string_of(value, "instance", kMaxTextBytes));
  }
  return instances;
}

std::string id_of(const json& value) {
  if (value.is_string()) static_cast<void>(string_of(value, "id", kMaxIdBytes));
  if (!value.is_string() && !value.is_number_integer()) bad("id must be a string or a number");
  return value.dump();
}

void read_field(const std::string& field, const json& value, Request& request) {
  const auto ms = [&](Milliseconds most) {
    return Milliseconds(number_of(value, field, 0, static_cast<std::uint64_t>(most.count())));
  };
  if (field == "service") {
    request.service = string_of(value, field, kMaxServiceNameBytes);
  } else if (field == "instance") {
    request.instances = instances_of(value);
  } else if (field == "weight") {
    request.weight = static_cast<std::uint32_t>(number_of(value, field, 1, kMaxWeight));
  } else if (field == "tier") {
    request.tier = static_cast<std::uint32_t>(number_of(value, field, 0, kMaxTier));
  } else if (field == "zone") {
    request.zone = string_of(value, field, kMaxZoneBytes);
  } else if (field == "name") {
    request.name = string_of(value, field, kMaxTextBytes);
    if (!is_fit_for_text(*request.name)) {
      bad("name is " + in_quotes(*request.name) +
          ": it stands in a check's Host header, so use printable ASCII without blanks");
    }
  } else if (field == "admin") {
    request.admin = admin_of(value);
  } else if (field == "strategy") {
    request.strategy = strategy_of(value);
  } else if (field == "for_ms") {
    request.duration = ms(kMaxEjection);
  } else if (field == "epoch") {
    request.epoch = number_of(value, field, 0, INT64_MAX);
  } else if (field == "timeout_ms") {
    request.timeout = ms(kMaxWait);
  } else if (field == "progress") {
    if (!value.is_boolean()) bad("progress must be true or false");
    request.progress = value.get<bool>();
  } else if (field == "state") {
    if (!value.is_boolean()) bad("state must be true or false");
    request.state = value.get<bool>();
  }
}

Request read(const json& whole, std::string& id) {
  if (!whole.is_object()) bad("a request is a JSON object, such as {\"verb\": \"status\"}");
  const auto& fields = whole.get_ref<const json::object_t&>();
  if (const auto found = fields.find("id"); found != fields.end()) id = id_of(found->second);
  const auto verb = fields.find("verb");
  if (verb == fields.end()) bad("a request needs a \"verb\"; ask for {\"verb\": \"help\"}");
  Request request;
  request.id = id;
  request.verb = verb_of(verb->second);
  const VerbInfo& info = info_of(request.verb);
  for (const auto& [field, value] : fields) {
    if (field == "id" || field == "verb") continue;
    if (!is_among(field, info.needs) && !is_among(field, info.accepts)) {
      const bool known = std::find(kFields.begin(), kFields.end(), field) != kFields.end();
      const std::string takes =
          std::string(info.name) + " takes " +
          (info.needs.empty() && info.accepts.empty() ? "none" : "") + std::string(info.needs) +
          (info.needs.empty() || info.accepts.empty() ? "" : " ") + std::string(info.accepts);
      throw Wrong{"unknown_field", std::string(info.name) + " has no field " + in_quotes(field) +
                                       ": " +
                                       (known ? takes : did_you_mean(field, kFields, takes))};
    }
    read_field(field, value, request);
  }
  for (std::string_view needs = info.needs; !needs.empty();) {
    const std::string needed(first_of(needs));
    if (!fields.contains(needed)) bad(std::string(info.name) + " needs \"" + needed + "\"");
  }
  return request;
}

}  // namespace

std::span<const VerbInfo> verbs() {
  return kVerbs;
}

const VerbInfo& info_of(Verb verb) {
  return kVerbs[static_cast<std::size_t>(verb)];
}

std::variant<Request, Refusal> parse_request(std::string_view line) {
  std::string id;
  try {
    return read(json::parse(line), id);
  } catch (const json::parse_error& error) {
    const std::string what = error.what();
    const auto at = what.find("parse error");
    std::string shown = what.substr(at == std::string::npos ? 0 : at, 200);
    // The library quotes the bytes at which it stopped, whatever they are.
    std::replace_if(
        shown.begin(), shown.end(),
        [](char c) {
          return static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) > 0x7E;
        },
        '?');
    return Refusal{"bad_request", "a request is one line of JSON: " + shown, {}};
  } catch (const json::exception& error) {
    return Refusal{"bad_request", error.what(), id};
  } catch (const Wrong& wrong) {
    return Refusal{wrong.code, wrong.text, id};
  }
}

}  // namespace ballast::checker
