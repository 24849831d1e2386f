// Prometheus's part in the checker's benchmarks: a process that gets /metrics once a second as long
// as it lives, each time over a new connection, and counts what it got in memory that it shares
// with the benchmark. A page that does not come, or is no page, ends it, and the benchmark says so.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "bench/support/processes.hpp"

namespace ballast::bench {

// The page at 127.0.0.1:port, without what HTTP puts before it. Throws if there is none within some
// seconds.
[[nodiscard]] std::string scrape(std::uint16_t port);

class Scraper {
 public:
  explicit Scraper(std::uint16_t port, unsigned rank);

  [[nodiscard]] std::uint64_t pages() const noexcept {
    return counts_[0].pages.load(std::memory_order_relaxed);
  }
  // Of the last page.
  [[nodiscard]] std::uint64_t bytes() const noexcept {
    return counts_[0].bytes.load(std::memory_order_relaxed);
  }

 private:
  struct Counts {
    std::atomic<std::uint64_t> pages{0};
    std::atomic<std::uint64_t> bytes{0};
  };
  SharedArray<Counts> counts_{1};
  std::unique_ptr<Child> child_;
};

}  // namespace ballast::bench
