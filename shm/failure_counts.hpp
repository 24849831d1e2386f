// Failed requests that workers report, counted for the checker, which looks for them many times a
// second: in one word an instance and one a service, shared by the host, so that while nothing
// fails a look is one load a service. Workers count only while the checker watches. A worker killed
// between the two words leaves a failure that is found with the service's next one. Templates over
// the words, so that tests/model explores this very source. docs/memory-model.md, "failure-counts",
// has the argument.
#pragma once

#include <atomic>
#include <cstdint>

#include "shm/crash_point.hpp"

namespace ballast::shm {

template <class Word>
void count_failure(Word& instance, Word& service) noexcept {
  // Relaxed: the service's count publishes it.
  instance.fetch_add(1, std::memory_order_relaxed);
  BALLAST_POINT("failure.instance");
  // [mm:failure-counts] release: the instance's count comes first. Pairs with read_failures().
  service.fetch_add(1, std::memory_order_release);
}

// The service's count. Whoever finds it grown finds the instances' counts grown as well, if they
// are read after this.
template <class Word>
[[nodiscard]] std::uint64_t read_failures(const Word& service) noexcept {
  // [mm:failure-counts] acquire: pairs with count_failure().
  return service.load(std::memory_order_acquire);
}

}  // namespace ballast::shm
