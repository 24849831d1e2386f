// What the numbers of an event mean, in words: the one place that knows, for the log of the checker
// and for the tools that read the flight recorder, so that they never disagree. Pure functions.
#pragma once

#include <string>
#include <vector>

#include "shm/event.hpp"

namespace ballast::inspect {

struct EventField {
  std::string name;
  std::string text;
  bool is_number = false;

  friend bool operator==(const EventField&, const EventField&) = default;
};

// What is to be said of an event besides its time and its kind, in the order to be shown: service,
// instance, what is the kind's own, by whom. docs/events.md has the list.
[[nodiscard]] std::vector<EventField> describe(const shm::Event& event);

}  // namespace ballast::inspect
