// [service.NAME.check]: how instances are checked.
#include <algorithm>

#include "tools/ballastd/config_keys.hpp"
#include "tools/ballastd/config_service.hpp"

namespace ballast::tools {
namespace {

using checker::CheckSettings;
using checker::Milliseconds;

void refuse_unless(ConfigWalk& walk, const ConfigValue& table,
                   std::initializer_list<const char*> keys, const std::string& kind) {
  for (const char* key : keys)
    walk.refuse(table, key, "kind is " + in_quotes(kind), "set kind = " + in_quotes(kind));
}

void read_http(ConfigWalk& walk, const ConfigValue& table, CheckSettings& check) {
  if (const auto path = walk.read_string(table, "path", "a string, such as \"/health\"")) {
    if (const auto bad = judge_path(*path)) walk.complain(*table.find("path"), *bad);
    check.path = *path;
  }
  if (const auto host = walk.read_string(table, "host", "a string")) {
    if (const auto bad = judge_host(*host)) walk.complain(*table.find("host"), *bad);
    check.host = *host;
  }
  if (const auto status = walk.read_string(table, "status", "a string, such as \"200-399\"")) {
    const auto range = parse_status_range(*status);
    if (!range.ok()) {
      walk.complain(*table.find("status"), range.complaint());
    } else {
      check.statuses = {{range.value().low, range.value().high}};
    }
  }
}

// What is not given follows a shorter interval down, so that setting one key is enough.
void judge_against_interval(ConfigWalk& walk, const ConfigValue& table, const char* key,
                            Milliseconds interval, Milliseconds& out) {
  const ConfigValue* value = table.find(key);
  if (value == nullptr) out = std::min(out, interval);
  if (out <= interval || value == nullptr) return;
  const ConfigValue* given = table.find("interval");
  std::vector<SourceText::Note> notes{{value->span, given == nullptr ? "here" : "is longer than"}};
  if (given != nullptr) notes.push_back({given->span, "the interval"});
  walk.complain({std::string(key) + " is longer than the interval of " +
                     duration_text(static_cast<std::uint64_t>(interval.count())),
                 "shorten it, or lengthen the interval"},
                notes);
}

}  // namespace

void read_check(ConfigWalk& walk, const ConfigValue& service, const std::string& where,
                CheckSettings& check) {
  const ConfigValue* table = service.find("check");
  if (table == nullptr || !walk.want_table(*table, "check", where + ".check")) return;
  walk.judge_keys(*table, where, "[" + where + ".check]", keys::check());
  read_fields(walk, *table, keys::check_fields(), check);
  if (check.kind != checker::CheckKind::tcp) {
    refuse_unless(walk, *table, {"tcp_sentinel"}, "tcp");
  }
  if (check.kind == checker::CheckKind::http) {
    read_http(walk, *table, check);
  } else {
    refuse_unless(walk, *table, {"path", "host", "status", "keep_alive"}, "http");
  }
  judge_against_interval(walk, *table, "fast_interval", check.interval, check.fast_interval);
  judge_against_interval(walk, *table, "timeout", check.interval, check.timeout);
}

}  // namespace ballast::tools
