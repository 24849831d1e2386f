// What the checker knows of each instance that it has checked, and what it has to tell of it and of
// itself: transitions for the flight recorder and the log. Plain values, made and kept by the
// checker alone; whoever succeeds it starts from what the table says.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "engine/checker/probing/verdict.hpp"
#include "engine/checker/publishing/publisher.hpp"
#include "engine/checker/publishing/transition.hpp"
#include "engine/checker/settings.hpp"

namespace ballast::checker {

struct Target {
  std::string service;
  InstanceSettings instance;
  std::shared_ptr<const CheckSettings> check;  // its service's
  Health health = Health::unknown;
  Reason reason = Reason::none;  // of the last verdict
  bool checked = false;
  AgentReport agent;  // all that its agent has said
  // Where the publisher has it; meaningless in the shadow.
  std::uint16_t slot = 0;
  std::uint32_t incarnation = 0;
};

// That an instance's health is another than `before`, by this check.
[[nodiscard]] Transition flipped(const Target& target, Health before, const CheckResult& check);

// Says in a transition which checker it is about: this process, by its term and segment.
void name_checker(Transition& transition, const Publisher& publisher);

// That this checker has adopted a segment, or made the first one.
[[nodiscard]] Transition taken_over(const Publisher& publisher, const Settings& settings);

}  // namespace ballast::checker
