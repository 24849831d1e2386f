// How many retries a service may have in flight, host-wide: a share of all its requests in flight,
// so that retries cannot become the load that they answer to. Read by every pick that is a retry;
// the count itself is a token (shm/tokens.hpp).
#pragma once

#include <algorithm>
#include <cstdint>

namespace ballast::engine {

// At least `minimum`, so that a quiet service can retry at all (Envoy's retry budget: 20 %, at
// least 3). Rounded down, as Envoy does.
[[nodiscard]] constexpr std::uint32_t retry_limit(std::uint64_t in_flight, std::uint32_t percent,
                                                  std::uint32_t minimum) noexcept {
  const std::uint64_t bounded = std::min<std::uint64_t>(in_flight, UINT32_MAX);
  const std::uint64_t share = bounded * percent / 100;
  return static_cast<std::uint32_t>(
      std::max<std::uint64_t>(std::min<std::uint64_t>(share, UINT32_MAX), minimum));
}

}  // namespace ballast::engine
