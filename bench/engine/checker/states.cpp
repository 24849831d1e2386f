// Reading the state words.
#include "bench/engine/checker/states.hpp"

#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <thread>
#include <utility>

#include "bench/support/clock.hpp"
#include "shm/generation.hpp"
#include "shm/paths.hpp"
#include "shm/state_word.hpp"

namespace ballast::bench {

namespace {
constexpr std::uint64_t kPatienceNs = 60'000'000'000;
}

std::size_t States::usable() {
  if (!segment_) {
    const auto ids = shm::list_segments(directory_);
    if (ids.empty()) return 0;
    auto opened = shm::WorkerSegment::open(directory_, ids.back());
    if (!opened) return 0;
    segment_ = std::move(*opened);
  }
  const auto& states = segment_->table.states;
  return static_cast<std::size_t>(
      std::count_if(states.begin(), states.end(),
                    [](const shm::Word64& word) { return shm::is_usable(shm::get(word)); }));
}

void States::wait(const std::function<bool()>& done, const char* what) {
  const std::uint64_t limit = monotonic_ns() + kPatienceNs;
  while (!done()) {
    if (monotonic_ns() > limit) throw std::runtime_error(what);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

void States::wait_for(std::size_t instances, const char* what) {
  wait([&] { return usable() >= instances; }, what);
}

void States::wait_for_none(const char* what) {
  wait([&] { return usable() == 0; }, what);
}

}  // namespace ballast::bench
