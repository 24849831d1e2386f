// What a check found and what follows from it: the words in which the prober reports. Plain values,
// made by the prober, consumed by whoever listens (the publisher, counters, tests). Nothing here is
// mapped or shared.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "engine/agent_word.hpp"
#include "shm/state_word.hpp"

namespace ballast::checker {

using shm::Health;
using shm::Reason;

// Chosen by the caller of the prober; the prober only hands it back.
using InstanceId = std::uint64_t;

// What an instance's agent wants of its balancing; what is unset it did not speak of.
using engine::AgentReport;

inline constexpr std::size_t kMaxNoteBytes = 200;

struct CheckResult {
  Reason reason = Reason::none;
  // The HTTP status (passed, bad_status), the HttpError (bad_response), the exit status (bad_exit),
  // the gRPC status or serving status (not_serving) or errno (the others); 0 where there is nothing
  // to add.
  std::int32_t detail = 0;
  std::chrono::microseconds latency{0};  // from the start of the check to its end
  // What the other side had to say, printable, at most kMaxNoteBytes; mostly empty.
  std::string note{};
  std::optional<AgentReport> agent{};

  [[nodiscard]] bool passed() const noexcept { return reason == Reason::passed; }
};

struct Verdict {
  bool healthy = false;
  CheckResult check;  // the check that brought it about
};

}  // namespace ballast::checker
