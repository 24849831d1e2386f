// Reads what an agent answers, in the words of HAProxy's agent-check: words between blanks or
// commas, in any order and any case, and after a '#' a text for people.
//
//   up, down, fail, stopped, failed    whether the instance may be used, as far as the agent knows
//   ready, drain, maint                whether it should be
//   75%                                of its configured weight
//   maxconn:30                         requests that it wants at once; 0: as many as may come
//
// Of several words for one thing the last one counts. Words that nobody knows are passed over, as
// HAProxy does, so that a newer agent can be asked. Pure; the bytes are foreign.
#pragma once

#include <string>
#include <string_view>

#include "engine/agent_word.hpp"

namespace ballast::checker {

inline constexpr std::size_t kMaxAgentLineBytes = 1024;

struct AgentLine {
  engine::AgentReport report;
  bool understood = false;  // at least one word was
  // For people, printable: how "down" was put, and the text after '#'; of a line without a word
  // that is known, the line.
  std::string note;
};

// `line` without its end, at most kMaxAgentLineBytes.
[[nodiscard]] AgentLine parse_agent_line(std::string_view line);

}  // namespace ballast::checker
