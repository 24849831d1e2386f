// A check by gRPC's health protocol (grpc.health.v1.Health), over HTTP/2: `Check` for every check,
// all on one connection that is kept, and `Watch` beside it where the server offers that, so that
// it tells of a change by itself. nghttp2 works on memory alone; the connection is the prober's. A
// server may be hostile: what it can make us keep, or answer, between two checks is bounded.
#pragma once

#include <memory>

#include "engine/checker/probing/exchange.hpp"

namespace ballast::checker {

// What a server may send from one check to the next, and its response's headers.
inline constexpr std::size_t kMaxHttp2Bytes = 128 << 10;
inline constexpr std::size_t kMaxHttp2Frames = 1000;
inline constexpr std::size_t kMaxHttp2HeaderBytes = 16 << 10;

// Whether this build speaks HTTP/2.
[[nodiscard]] bool grpc_is_built_in() noexcept;

// `check` must outlive the exchange. Null where this build does not speak HTTP/2.
[[nodiscard]] std::unique_ptr<Exchange> make_grpc_exchange(const CheckSettings& check,
                                                           const InstanceSettings& instance);

}  // namespace ballast::checker
