// What checks came to, counted by service and kind: how long they took, and why they failed. The
// checker counts each result, on the loop's thread; metrics get a copy once a second. It starts
// from nothing with the process; what has to outlive that is in the table.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "engine/checker/probing/time_histogram.hpp"
#include "engine/checker/probing/verdict.hpp"
#include "engine/checker/settings.hpp"
#include "shm/state_word.hpp"

namespace ballast::checker {

// Of one service, by one kind. An agent beside the check is a kind of its own.
struct CheckCounts {
  std::string labels;                                       // service and kind, for metrics
  TimeHistogram durations;                                  // of all that came to a result
  std::array<std::uint64_t, shm::kReasonCount> failures{};  // by why
};

class CheckTally {
 public:
  void count(const std::string& service, CheckKind kind, const CheckResult& result);
  // Forgets services that there are no more.
  void keep(const Settings& settings);

  [[nodiscard]] const std::vector<CheckCounts>& all() const noexcept { return counts_; }

 private:
  static constexpr std::size_t kKinds = static_cast<std::size_t>(CheckKind::agent) + 1;
  static constexpr std::size_t kNone = SIZE_MAX;

  // Indices in `counts_`, by kind.
  std::unordered_map<std::string, std::array<std::size_t, kKinds>> places_;
  std::vector<CheckCounts> counts_;
};

[[nodiscard]] const char* to_text(CheckKind kind) noexcept;

}  // namespace ballast::checker
