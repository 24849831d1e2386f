// What the checker's steering has decided that people want to hear of. Plain values; whoever runs
// the checker turns them into events.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/checker/steering/outlier.hpp"
#include "engine/policy.hpp"

namespace ballast::checker {

// Why an ejection ended.
enum class TakenBack : std::uint8_t {
  time = 0,           // it was over
  checks_passed = 1,  // before its time
  settings = 2,       // they no longer allow it
  by_operator = 3,    // told to
};

[[nodiscard]] constexpr const char* to_text(TakenBack because) noexcept {
  switch (because) {
    case TakenBack::time:
      return "time";
    case TakenBack::checks_passed:
      return "checks_passed";
    case TakenBack::settings:
      return "settings";
    case TakenBack::by_operator:
      return "operator";
  }
  return "unknown";
}

// Indices are those of the settings last applied.
struct Notice {
  enum class Kind : std::uint8_t { ejected, taken_back, panic_began, panic_ended };
  Kind kind = Kind::ejected;
  std::size_t service = 0;
  std::size_t instance = 0;                          // not for panic
  OutlierVerdict verdict;                            // ejected
  std::uint64_t for_ms = 0;                          // ejected
  std::uint32_t times = 0;                           // ejected
  TakenBack because = TakenBack::time;               // taken back
  engine::PanicMode mode = engine::PanicMode::none;  // panic
};

}  // namespace ballast::checker
