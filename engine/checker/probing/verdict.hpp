// What a check found and what follows from it: the words in which the prober reports. Plain values,
// made by the prober, consumed by whoever listens (the publisher, counters, tests). Nothing here is
// mapped or shared.
#pragma once

#include <chrono>
#include <cstdint>

#include "shm/state_word.hpp"

namespace ballast::checker {

using shm::Health;
using shm::Reason;

// Chosen by the caller of the prober; the prober only hands it back.
using InstanceId = std::uint64_t;

struct CheckResult {
  Reason reason = Reason::none;
  // The HTTP status (passed, bad_status), the HttpError (bad_response) or errno (the others); 0
  // where there is nothing to add.
  std::int32_t detail = 0;
  std::chrono::microseconds latency{0};  // from the start of the check to its end

  [[nodiscard]] bool passed() const noexcept { return reason == Reason::passed; }
};

struct Verdict {
  bool healthy = false;
  CheckResult check;  // the check that brought it about
};

}  // namespace ballast::checker
