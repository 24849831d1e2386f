// The other side of the checker's benchmarks: ten thousand addresses 127.1.x.y behind one static
// server, a process of its own on a processor of its own. It answers every request with the same
// 200 and counts, in memory that it shares with the benchmark, what arrived and when. If it dies
// the checks fail and the figures show it.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "bench/support/processes.hpp"
#include "shm/endpoint.hpp"

namespace ballast::bench {

// The addresses of targets: 127.1.x.y, all with `port`. At most 62,500.
[[nodiscard]] std::vector<shm::Endpoint> target_endpoints(std::size_t count, std::uint16_t port);

struct Arrivals {
  static constexpr std::size_t kBins = 120'000;  // of a millisecond, from the server's start on
  std::atomic<std::uint64_t> connections{0};
  std::atomic<std::uint64_t> requests{0};
  std::uint64_t begin_ns = 0;  // CLOCK_REALTIME, the begin of the first bin
  std::atomic<std::uint32_t> requests_in[kBins] = {};
};

// Takes the calling process, and those that it starts, away to a network of its own with nothing
// but a loopback device, so that no other program's connections are counted or in the way. False
// where that is refused.
bool leave_the_network() noexcept;
// Connections that were begun in this network so far. A connection that is reset before its
// handshake is whole, as HAProxy's are, never gets to the server's program.
[[nodiscard]] std::uint64_t connections_begun();

struct TargetsOptions {
  std::uint16_t port = 0;  // on every address of the loopback device
  unsigned rank = 0;       // processor
  bool by_time = false;    // fill `requests_in`, by the time at which the kernel got the bytes
  bool at_ease = false;    // neither at real-time priority nor on that processor
};

class Targets {
 public:
  // Listening when the constructor returns. Throws if it cannot.
  explicit Targets(const TargetsOptions& options);

  // SIGKILL, and waits; every connection is reset.
  void kill() noexcept { child_->kill(); }
  void signal(int number) const noexcept { child_->signal(number); }

  [[nodiscard]] const Arrivals& arrivals() const noexcept { return arrivals_[0]; }
  [[nodiscard]] std::uint64_t connections() const noexcept {
    return arrivals_[0].connections.load(std::memory_order_relaxed);
  }
  [[nodiscard]] std::uint64_t requests() const noexcept {
    return arrivals_[0].requests.load(std::memory_order_relaxed);
  }

 private:
  SharedArray<Arrivals> arrivals_{1};
  std::unique_ptr<Child> child_;
};

}  // namespace ballast::bench
