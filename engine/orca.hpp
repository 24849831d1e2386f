// The load that a backend reports with a response, in the format of ORCA's header
// `endpoint-load-metrics`, and the one word in which the host keeps it. Workers read the header
// that their embedder passes on, as hostile input, and store the word for the checker's weight
// controller. Pure functions; nothing is shared here. docs/reported-load.md has format and limits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace ballast::engine {

// A header longer than that is refused unread.
inline constexpr std::size_t kMaxOrcaBytes = 4096;

// What a backend said of itself, brought within the limits of the word.
struct ReportedLoad {
  std::uint32_t utilisation = 0;  // in 1/100,000 of its capacity; 0: not reported; at most 10.48
  std::uint32_t qps_tenths = 0;   // requests a second; 0: not reported; at most 1,677,721.5
  std::uint32_t error_ppm = 0;    // errors in a million requests; at most 1,048,575

  friend bool operator==(const ReportedLoad&, const ReportedLoad&) = default;
};

//   bits 0-19    utilisation
//   bits 20-43   requests a second
//   bits 44-63   errors
// A word of 0: nothing was ever reported.
inline constexpr std::uint32_t kMaxReportedUtilisation = (1U << 20) - 1;
inline constexpr std::uint32_t kMaxReportedQpsTenths = (1U << 24) - 1;
inline constexpr std::uint32_t kMaxReportedErrorPpm = (1U << 20) - 1;

[[nodiscard]] constexpr std::uint64_t pack(const ReportedLoad& load) noexcept {
  return std::uint64_t{load.utilisation & kMaxReportedUtilisation} |
         std::uint64_t{load.qps_tenths & kMaxReportedQpsTenths} << 20 |
         std::uint64_t{load.error_ppm & kMaxReportedErrorPpm} << 44;
}
[[nodiscard]] constexpr ReportedLoad unpack_reported_load(std::uint64_t word) noexcept {
  return {static_cast<std::uint32_t>(word) & kMaxReportedUtilisation,
          static_cast<std::uint32_t>(word >> 20) & kMaxReportedQpsTenths,
          static_cast<std::uint32_t>(word >> 44)};
}

enum class OrcaResult : std::uint8_t {
  ok = 0,
  nothing = 1,      // well formed, but says neither how busy the backend is nor what it serves
  unsupported = 2,  // not TEXT: JSON, or the binary form, which `endpoint-load-metrics-bin` has too
  malformed = 3,    // not name=number throughout, a number below 0 or not finite, a name twice
  too_long = 4,     // above kMaxOrcaBytes
};

[[nodiscard]] const char* to_text(OrcaResult result) noexcept;

// Reads the value of the header: "TEXT cpu_utilization=0.3, rps_fractional=10, eps=1". Numbers are
// decimal or with an exponent; ':' may stand for '='; blanks around names and numbers are allowed.
// `application_utilization` counts if it is above 0, else `cpu_utilization`; `rps_fractional`, else
// the older `rps`. Other names are read and not used. Too large a number counts as the largest, too
// small a one above 0 as the smallest; a report with any mistake in it is refused as a whole.
// `out` is set only on `ok`.
[[nodiscard]] OrcaResult parse_orca(std::string_view header, ReportedLoad& out) noexcept;

}  // namespace ballast::engine
