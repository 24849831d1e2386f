// A worker of the demo: a process that sends one request after another for random keys, each to the
// instance that Ballast picks, and reports how it went. When the first attempt fails it tries once
// more, on another instance. It knows nothing of the other workers or of the checker, writes its
// own figures on the board, and may be killed at any point.
#pragma once

#include <ballast.hpp>

#include <cstddef>

#include "tools/demo/board.hpp"
#include "tools/demo/servers.hpp"

namespace ballast::tools::demo {

inline constexpr const char* kService = "web";

// What a worker does until the board says stop.
void send_requests(Board& board, const Servers& servers, std::size_t worker, Balancer balancer);

// Where a pick leads: the index of its server, or kNobody.
unsigned server_of(const Servers& servers, const Pick& pick) noexcept;

}  // namespace ballast::tools::demo
