// The checker's part in circuit breakers, none of which they need to work: it frees the permits of
// workers that are gone, so that an instance is tried again at once, and counts once a second what
// is really out of each service, so that a worker that died between the budget and the breaker does
// not keep another from opening; and it closes those that a reload no longer allows to be open.
// Owned by the publisher. If the checker dies, permits expire and a
// budget may stay too small; a successor counts again.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "shm/segment.hpp"

namespace ballast::checker {

struct WatchedInstance {
  std::uint16_t slot = 0;
  std::uint32_t incarnation = 0;
};

struct WatchedService {
  std::size_t record = 0;
  std::vector<WatchedInstance> instances;
  bool has_breaker = true;  // one may open
  std::uint32_t cap = 0;    // so many instances may be out, by breakers and ejections together
};

// A breaker that the checker changed.
struct BreakerChange {
  std::uint16_t slot = 0;
  std::uint32_t incarnation = 0;
  bool closed =
      false;  // as the settings want it; else its permit's holder is gone: open again, due
};

struct BreakerLook {
  std::uint64_t permits_freed = 0;
  std::uint64_t budgets_corrected = 0;
};

class BreakerWatch {
 public:
  // The members from now on. Words that are about no present tenant (the workers file is new) are
  // made theirs, closed; so are breakers of services that have none any more, those beyond the cap,
  // and those of instances that are gone.
  void follow(const shm::CheckerSegment& segment, std::vector<WatchedService> services);

  // Frees permits, and closes what was opened by a report under a policy that is gone; with
  // `counts`, to be set about once a second, also compares the budgets. One that was wrong in two
  // looks in the same way is corrected: what a worker is just about to do would look so once.
  BreakerLook look(const shm::CheckerSegment& segment, bool counts);

  // What follow() and look() changed of present members since the last time.
  [[nodiscard]] std::vector<BreakerChange> take_changes() noexcept {
    return std::exchange(changes_, {});
  }

 private:
  struct Doubt {
    std::uint64_t budget = 0;
    std::uint32_t counted = 0;
    bool is_open = false;  // the last look found them apart
  };

  std::vector<WatchedService> services_;
  std::vector<Doubt> doubts_;  // by service
  std::vector<BreakerChange> changes_;
};

}  // namespace ballast::checker
