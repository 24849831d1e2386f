// What was told already, against what is; see standing_troubles.hpp.
#include "tools/ballastd/standing_troubles.hpp"

#include "engine/checker/probing/command_probe.hpp"
#include "tools/ballastd/limits.hpp"

namespace ballast::tools {

using checker::Level;

void StandingTroubles::look_at_size(const checker::Settings& wanted) {
  const auto exceeded = exceeded_limit(wanted);
  if (exceeded && !exceeded_) tell_({Level::warning, "limit_exceeded", {{"because", *exceeded}}});
  exceeded_ = exceeded.has_value();
}

// They keep their places, and nobody else would ever say so.
void StandingTroubles::look_at_commands(std::size_t stuck) {
  const bool none = stuck == 0;
  const bool all = stuck >= checker::kMaxCommands;
  if (none == (stuck_ == 0) && all == (stuck_ >= checker::kMaxCommands)) return;
  stuck_ = stuck;
  if (none) return tell_({Level::info, "commands_ended", {}});
  const std::string places = std::to_string(checker::kMaxCommands);
  tell_({all ? Level::error : Level::warning,
         "commands_stuck",
         {{"commands", std::to_string(stuck)},
          {"because", "they were killed and do not end, most likely in a file system that hangs"},
          {"consequence", all ? "all " + places + " places are taken: no check of kind exec runs"
                              : "each keeps one of the " + places + " places for commands"}}});
}

}  // namespace ballast::tools
