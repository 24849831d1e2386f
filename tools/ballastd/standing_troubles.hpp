// Troubles that last, each told once when it begins and once when it is over: more instances than
// the limits allow, and commands that no signal ends. The daemon's loop looks at them now and then.
#pragma once

#include <cstddef>
#include <functional>
#include <string>

#include "engine/checker/event.hpp"
#include "engine/checker/settings.hpp"

namespace ballast::tools {

class StandingTroubles {
 public:
  explicit StandingTroubles(checker::EventSink tell) : tell_(std::move(tell)) {}

  // The configuration alone was judged before; this is with what sources and operators add.
  void look_at_size(const checker::Settings& wanted);
  // How many commands were killed and have not ended.
  void look_at_commands(std::size_t stuck);

 private:
  checker::EventSink tell_;
  bool exceeded_ = false;
  std::size_t stuck_ = 0;  // as it was told
};

}  // namespace ballast::tools
