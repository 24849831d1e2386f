// A transition as the checker tells it: one value from which both the record in the flight recorder
// and the line in the log are made, so that they never disagree. Whoever in the checker's process
// changes something that people want to find again makes one and gives it to Checker::record (or
// Publisher::record). docs/events.md says how to add a kind.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "engine/checker/event.hpp"
#include "engine/checker/publishing/notice.hpp"
#include "engine/checker/settings.hpp"
#include "shm/event.hpp"

namespace ballast::checker {

struct Transition {
  Level level = Level::info;
  shm::Event event;        // `time_ns` 0: now
  std::string instance{};  // as configured, for the log; empty: the endpoint's text
  // For the log alone: what has no place in a record.
  std::vector<std::pair<std::string, std::string>> also{};
};

// What the log says of it.
[[nodiscard]] Event to_log(const Transition& transition);

// The beginning of one about an instance.
[[nodiscard]] Transition about(const std::string& service, const InstanceSettings& instance,
                               shm::EventKind kind, shm::EventBy by);
// About a service, or about nobody in particular.
[[nodiscard]] Transition about(const std::string& service, shm::EventKind kind, shm::EventBy by);

// What steering decided about an instance of `service`, or about it.
[[nodiscard]] Transition to_transition(const Notice& notice, const ServiceSettings& service);

}  // namespace ballast::checker
