// [service.NAME.check]: how instances are checked.
#include <algorithm>
#include <string>
#include <vector>

#include "tools/ballastd/config_keys.hpp"
#include "tools/ballastd/config_service.hpp"

namespace ballast::tools {
namespace {

using checker::CheckSettings;
using checker::Milliseconds;

// Refuses what says nothing to a check of this kind.
void refuse_others(ConfigWalk& walk, const ConfigValue& table, checker::CheckKind kind) {
  for (const keys::CheckKey& key : keys::check_keys()) {
    if ((key.kinds & keys::only(kind)) != 0) continue;
    std::vector<std::string> words;
    for (const Choice& choice : keys::check_kinds()) {
      const auto one = static_cast<checker::CheckKind>(choice.number);
      if ((key.kinds & keys::only(one)) != 0) words.push_back(in_quotes(choice.word));
    }
    std::string kinds;
    for (std::size_t i = 0; i < words.size(); ++i)
      kinds += (i == 0 ? "" : i + 1 < words.size() ? ", " : " or ") + words[i];
    walk.refuse(table, key.word, "kind is " + kinds,
                words.size() == 1 ? "set kind = " + kinds : "set kind to one of them");
  }
}

}  // namespace

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

static void judge_preset(ConfigWalk& walk, const ConfigValue& table, const CheckSettings& check) {
  const bool negotiates =
      check.preset == checker::Preset::postgres || check.preset == checker::Preset::mysql;
  if (!negotiates || !check.tls.enabled) return;
  walk.complain(*table.find("preset"),
                {"this preset cannot be spoken inside TLS: such servers negotiate it later",
                 "remove tls, or check with kind = \"exec\""});
}

void read_check(ConfigWalk& walk, const ConfigValue& service, const std::string& where,
                CheckSettings& check) {
  const ConfigValue* table = service.find("check");
  if (table == nullptr || !walk.want_table(*table, "check", where + ".check")) return;
  walk.judge_keys(*table, where, "[" + where + ".check]", keys::check());
  read_fields(walk, *table, keys::check_fields(), check);
  refuse_others(walk, *table, check.kind);
  switch (check.kind) {
    case checker::CheckKind::http:
      read_http_check(walk, *table, check);
      break;
    case checker::CheckKind::tcp:
    case checker::CheckKind::udp:
      read_steps(walk, *table, check);
      break;
    case checker::CheckKind::exec:
      read_command(walk, *table, check);
      break;
    case checker::CheckKind::agent:
      read_agent_check(walk, *table, check);
      break;
    case checker::CheckKind::grpc:
      read_grpc_check(walk, *table, check);
      break;
    case checker::CheckKind::none:
      break;
  }
  read_tls(walk, *table, where, check);
  judge_preset(walk, *table, check);
  judge_against_interval(walk, *table, "fast_interval", check.interval, check.fast_interval);
  judge_against_interval(walk, *table, "timeout", check.interval, check.timeout);
}

}  // namespace ballast::tools
