// The states of a running checker's instances, as a worker sees them. Used by the benchmarks that
// ask when all are up, or whether one is down; opens the newest segment and looks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "shm/segment.hpp"

namespace ballast::bench {

class States {
 public:
  // Nothing is there to be seen until a checker has published.
  explicit States(std::string directory) : directory_(std::move(directory)) {}

  // Of the active segment's instances, so many can be picked; 0 while there is none.
  [[nodiscard]] std::size_t usable();
  // Waits until so many are, looking every millisecond; throws `what` after a minute.
  void wait_for(std::size_t instances, const char* what);
  // Waits until none is.
  void wait_for_none(const char* what);

 private:
  void wait(const std::function<bool()>& done, const char* what);

  std::string directory_;
  std::optional<shm::WorkerSegment> segment_;
};

}  // namespace ballast::bench
