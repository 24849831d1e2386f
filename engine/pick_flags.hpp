// What a pick carries to its report, in `flags` of ballast_pick_t: what the report has to do
// besides counting the outcome. The library's own; users only keep it. 0: nothing.
#pragma once

#include <cstdint>

namespace ballast::engine {

namespace pick_flags {
inline constexpr std::uint8_t kJournals = 1;       // the load board is to hear of it
inline constexpr std::uint8_t kInstanceToken = 2;  // it holds one of the instance's limit
inline constexpr std::uint8_t kServiceToken = 4;   // ... of the service's limit
inline constexpr std::uint8_t kRetryToken = 8;     // ... of the service's retry budget
inline constexpr std::uint8_t kPermit = 16;        // it tries an instance whose breaker was open
inline constexpr std::uint8_t kFeedsBreaker = 32;  // its outcome counts for the breaker
inline constexpr std::uint8_t kWatched = 64;       // the checker looks for its service's failures
inline constexpr std::uint8_t kAllTokens = kInstanceToken | kServiceToken | kRetryToken;
}  // namespace pick_flags

}  // namespace ballast::engine
