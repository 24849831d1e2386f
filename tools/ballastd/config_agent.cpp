// Checks that ask somebody else: a command of this host, or an agent on the instance's side, as the
// check itself or in [service.NAME.agent] beside one.
#include <algorithm>
#include <string>

#include "tools/ballastd/config_keys.hpp"
#include "tools/ballastd/config_service.hpp"

namespace ballast::tools {
namespace {

using Type = ConfigValue::Type;

constexpr const char* kExample = "[\"/usr/local/bin/check\", \"--fast\"]";

std::string read_sent(ConfigWalk& walk, const ConfigValue& table, const char* key) {
  const auto text = walk.read_string(table, key, "a string");
  if (text && text->size() > checker::kMaxCheckTextBytes) {
    walk.complain(*table.find(key),
                  {std::string(key) + " is " + std::to_string(text->size()) + " bytes long",
                   "use at most " + std::to_string(checker::kMaxCheckTextBytes)});
  }
  return text.value_or("");
}

}  // namespace

void read_command(ConfigWalk& walk, const ConfigValue& table, checker::CheckSettings& check) {
  const ConfigValue* list = table.find("command");
  if (list == nullptr) {
    return walk.complain(table, {"a check of kind \"exec\" has no command",
                                 "add command = " + std::string(kExample)});
  }
  if (!list->is(Type::array)) {
    // A line for a shell, most likely.
    return walk.wrong_type(
        *list, "command",
        ("an array, since no shell takes a line apart: " + std::string(kExample)).c_str());
  }
  std::size_t bytes = 0;
  for (const ConfigValue& item : list->items) {
    if (!item.is(Type::string)) {
      walk.wrong_type(item, "an argument", "a string");
      continue;
    }
    if (item.string.find('\0') != std::string::npos) {
      walk.complain(item, {"an argument has a NUL byte", "leave it out"});
    }
    bytes += item.string.size() + 1;
    check.command.push_back(item.string);
  }
  if (list->items.empty() || list->items.size() > checker::kMaxCommandArguments ||
      bytes > checker::kMaxCommandBytes) {
    return walk.complain(
        *list, {"command has " + std::to_string(list->items.size()) + " words of " +
                    std::to_string(bytes) + " bytes",
                "use 1 to " + std::to_string(checker::kMaxCommandArguments) +
                    " words and at most " + std::to_string(checker::kMaxCommandBytes) + " bytes"});
  }
  const ConfigValue& program = list->items.front();
  if (program.is(Type::string) && !program.string.starts_with('/')) {
    walk.complain(program, {"command " + in_quotes(program.string) + " is not an absolute path",
                            "write where the program is, such as \"/usr/bin/" +
                                (program.string.empty() ? "true" : program.string) + "\""});
  }
}

void read_agent_check(ConfigWalk& walk, const ConfigValue& table, checker::CheckSettings& check) {
  check.agent_send = read_sent(walk, table, "agent_send");
}

void read_agent(ConfigWalk& walk, const ConfigValue& service, const std::string& where,
                checker::ServiceSettings& out) {
  const ConfigValue* table = service.find("agent");
  if (table == nullptr || !walk.want_table(*table, "agent", where + ".agent")) return;
  const bool all_known = walk.judge_keys(*table, where, "[" + where + ".agent]", keys::agent());
  read_fields(walk, *table, keys::agent_fields(), out.agent);
  out.agent.send = read_sent(walk, *table, "send");
  if (table->find("port") == nullptr && all_known) {
    walk.complain(*table, {"the agent has no port", "add port = 9999, or where it listens"});
  }
  if (out.check.kind == checker::CheckKind::agent) {
    walk.complain(*table, {"the agent is the check of this service already",
                           "remove this table, or give the check another kind"});
  }
  judge_against_interval(walk, *table, "timeout", out.agent.interval, out.agent.timeout);
}

}  // namespace ballast::tools
