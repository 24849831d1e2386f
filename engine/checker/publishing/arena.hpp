// Which bytes of a table's arena are free. Nothing is remembered between uses: the used regions are
// read from the service records, so a checker that died in the middle of anything leaves no leak.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "shm/views.hpp"

namespace ballast::checker {

class FreeSpace {
 public:
  // Counts as used every live service's region, and also what its published generation names, which
  // after a crash may lie elsewhere.
  explicit FreeSpace(const shm::TableWriter& table);

  // First fit, on a cache line of its own; empty when there is no gap of `bytes`.
  [[nodiscard]] std::optional<std::uint64_t> take(std::uint64_t bytes);

 private:
  using Range = std::pair<std::uint64_t, std::uint64_t>;  // begin, end
  void use(std::uint64_t begin, std::uint64_t bytes);

  std::uint64_t begin_;
  std::uint64_t end_;
  std::vector<Range> used_;  // sorted
};

}  // namespace ballast::checker
