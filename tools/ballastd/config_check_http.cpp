// [service.NAME.check] of kind "http": what is asked, and which answers pass.
#include <strings.h>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "engine/checker/probing/body_match.hpp"
#include "tools/ballastd/config_keys.hpp"
#include "tools/ballastd/config_service.hpp"
#include "tools/ballastd/peer_words.hpp"

namespace ballast::tools {
namespace {

using checker::CheckSettings;
using Type = ConfigValue::Type;

constexpr auto kMethods =
    std::to_array<std::string_view>({"GET", "HEAD", "OPTIONS", "POST", "PUT"});
// Headers that the check itself is responsible for.
constexpr auto kOwnHeaders = std::to_array<std::pair<const char*, const char*>>(
    {{"Host", "set host"},
     {"Connection", "set keep_alive"},
     {"Content-Length", "leave it out: a check has no body"},
     {"Transfer-Encoding", "leave it out: a check has no body"},
     {"Expect", "leave it out: a check has no body"},
     {"Upgrade", "leave it out: only HTTP/1.1 is spoken"}});

std::optional<Complaint> judge_header(const std::string& name, const std::string& value) {
  const auto is_token = [](char c) {
    const bool alphanumeric =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    return alphanumeric || std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
  };
  if (name.empty() || !std::all_of(name.begin(), name.end(), is_token)) {
    return Complaint{in_quotes(name) + " is not the name of a header",
                     "use letters, digits and '-', such as \"X-Probe\""};
  }
  for (const auto& [own, instead] : kOwnHeaders) {
    if (strcasecmp(own, name.c_str()) == 0) {
      return Complaint{"the header " + name + " is not for you to set here", instead};
    }
  }
  const auto is_printable = [](char c) { return c >= 0x20 && c < 0x7F; };
  if (!std::all_of(value.begin(), value.end(), is_printable)) {
    return Complaint{"the value of the header " + name + " has a character that is not allowed",
                     "use printable ASCII on one line"};
  }
  if (name.size() + value.size() > checker::kMaxCheckTextBytes) {
    return Complaint{"the header " + name + " is too long",
                     "use at most " + std::to_string(checker::kMaxCheckTextBytes) + " bytes"};
  }
  return std::nullopt;
}

void read_headers(ConfigWalk& walk, const ConfigValue& table, CheckSettings& check) {
  const ConfigValue* headers = table.find("headers");
  if (headers == nullptr) return;
  if (!headers->is(Type::table)) {
    return walk.wrong_type(*headers, "headers",
                           "a table of names and values: { \"X-Probe\" = \"1\" }");
  }
  for (const auto& [name, value] : headers->entries) {
    if (!value.is(Type::string)) {
      walk.wrong_type(value, "the header " + in_quotes(name), "a string");
      continue;
    }
    if (const auto bad = judge_header(name, value.string)) walk.complain(value, *bad);
    check.headers.emplace_back(name, value.string);
  }
  if (check.headers.size() > checker::kMaxCheckHeaders) {
    walk.complain(*headers, {"more than " + std::to_string(checker::kMaxCheckHeaders) + " headers",
                             "leave out what no check needs"});
  }
}

void read_status(ConfigWalk& walk, const ConfigValue& value,
                 std::vector<checker::StatusRange>& out) {
  if (!value.is(Type::string)) {
    return walk.wrong_type(value, "status",
                           "a string, such as \"200-399\", or an array of such strings");
  }
  const auto range = parse_status_range(value.string);
  if (!range.ok()) return walk.complain(value, range.complaint());
  out.push_back({range.value().low, range.value().high});
}

void read_statuses(ConfigWalk& walk, const ConfigValue& table, CheckSettings& check) {
  const ConfigValue* value = table.find("status");
  if (value == nullptr) return;
  check.statuses.clear();
  if (!value->is(Type::array)) return read_status(walk, *value, check.statuses);
  if (value->items.empty() || value->items.size() > checker::kMaxCheckHeaders) {
    return walk.complain(*value, {"status has " + std::to_string(value->items.size()) + " ranges",
                                  "use 1 to " + std::to_string(checker::kMaxCheckHeaders)});
  }
  for (const ConfigValue& item : value->items)
    read_status(walk, item, check.statuses);
}

// A text that a body must have; empty if there is none to look for.
std::string read_body_rule(ConfigWalk& walk, const ConfigValue& table, const char* key) {
  const auto text = walk.read_string(table, key, "a string");
  if (!text) return {};
  const ConfigValue& value = *table.find(key);
  if (text->empty()) {
    walk.complain(value, {std::string(key) + " is empty", "leave it out to take any body"});
  }
  if (text->size() > checker::kMaxCheckTextBytes) {
    walk.complain(value, {std::string(key) + " is " + std::to_string(text->size()) + " bytes long",
                          "use at most " + std::to_string(checker::kMaxCheckTextBytes)});
  }
  return *text;
}

}  // namespace

void read_http_check(ConfigWalk& walk, const ConfigValue& table, CheckSettings& check) {
  if (const auto method = walk.read_string(table, "method", "a string, such as \"GET\"")) {
    if (!contains(kMethods, *method)) {
      const std::string_view nearest = meant_word(*method, kMethods);
      walk.complain(*table.find("method"),
                    {"method " + in_quotes(*method) + " is not one that checks",
                     nearest.empty() ? "use one of " + listed(kMethods)
                                     : "did you mean " + in_quotes(nearest) + "?"});
    }
    check.method = *method;
  }
  if (const auto path = walk.read_string(table, "path", "a string, such as \"/health\"")) {
    if (const auto bad = judge_path(*path)) walk.complain(*table.find("path"), *bad);
    check.path = *path;
  }
  if (const auto host = walk.read_string(table, "host", "a string")) {
    if (const auto bad = judge_host(*host)) walk.complain(*table.find("host"), *bad);
    check.host = *host;
  }
  read_headers(walk, table, check);
  read_statuses(walk, table, check);
  check.body_contains = read_body_rule(walk, table, "body_contains");
  check.body_regex = read_body_rule(walk, table, "body_regex");
  if (const auto bad = checker::judge_regex(check.body_regex)) {
    walk.complain(*table.find("body_regex"),
                  {"body_regex cannot be used: " + *bad, "write it in RE2's syntax"});
  }
  if (check.method != "HEAD") return;
  for (const char* key : {"body_contains", "body_regex"})
    walk.refuse(table, key, "the answer has a body", "set another method than HEAD");
}

}  // namespace ballast::tools
