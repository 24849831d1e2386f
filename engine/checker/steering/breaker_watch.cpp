// Freeing permits and counting what is out.
#include "engine/checker/steering/breaker_watch.hpp"

#include <set>
#include <utility>

#include "engine/breaker_report.hpp"
#include "engine/coarse_clock.hpp"
#include "engine/ejection_budget.hpp"
#include "shm/state_word.hpp"

namespace ballast::checker {

namespace {

using engine::coarse_ms;

bool is_within(const shm::CheckerSegment& segment, std::uint16_t slot) {
  return slot < segment.workers.breakers.size() && slot < segment.workers.instances.size() &&
         slot < segment.table.states.size();
}

// By outlier detection, which takes from the same budget.
bool is_ejected(const shm::CheckerSegment& segment, std::uint16_t slot) {
  // Relaxed: the checker reads its own word.
  return shm::unpack(segment.table.states[slot].load(std::memory_order_relaxed)).ejected;
}

// Whether the owner of a row that took a permit has left or died and been reaped since.
bool is_gone(const shm::WorkersWriter& workers, std::uint32_t row, std::uint32_t incarnation) {
  if (row >= workers.directory.size()) return true;
  // Relaxed: release_permit() has acquired what the holder did before it took the permit, and
  // before that it took its row ([mm:breaker]).
  const auto claim = workers.directory[row].claim.load(std::memory_order_relaxed);
  const shm::Identity id = shm::unpack_identity(claim);
  return id.phase != shm::Phase::live || (id.incarnation & 0xffff) != incarnation;
}

std::uint32_t glance(const shm::CheckerSegment& segment, const WatchedService& service) {
  std::uint32_t out = 0;
  for (const WatchedInstance& i : service.instances) {
    if (!is_within(segment, i.slot)) continue;
    out += engine::is_out(segment.workers.breakers[i.slot], i.incarnation) ? 1 : 0;
    out += is_ejected(segment, i.slot) ? 1 : 0;
  }
  return out;
}

std::uint32_t count_exactly(const shm::CheckerSegment& segment, const WatchedService& service) {
  std::uint32_t out = 0;
  for (const WatchedInstance& i : service.instances) {
    if (!is_within(segment, i.slot)) continue;
    out += engine::settle_breaker(segment.workers.breakers[i.slot], i.incarnation, coarse_ms);
    out += is_ejected(segment, i.slot) ? 1 : 0;
  }
  return out;
}

// Closes breakers until no more than `allowed` instances are out, if breakers alone can do that.
void close_beyond(const shm::CheckerSegment& segment, const WatchedService& service,
                  std::uint32_t allowed, std::vector<BreakerChange>& changes) {
  if (service.record >= segment.workers.services.size()) return;
  shm::Word64& budget = segment.workers.services[service.record].open_breakers;
  std::uint32_t out = glance(segment, service);
  for (const WatchedInstance& i : service.instances) {
    if (out <= allowed) return;
    if (!is_within(segment, i.slot)) continue;
    const auto words = engine::breaker_words(segment.workers, i.slot);
    if (!engine::close_breaker(words, i.incarnation, budget, coarse_ms)) continue;
    --out;
    changes.push_back({i.slot, i.incarnation, true});
  }
}

// Who leaves with an open breaker gives its place back, and does not wait for the next count: with
// a reload every second there would be none.
void close_of_the_gone(const shm::CheckerSegment& segment,
                       const std::vector<WatchedService>& before,
                       const std::vector<WatchedService>& now) {
  std::set<std::pair<std::uint16_t, std::uint32_t>> stay;
  for (const WatchedService& service : now) {
    for (const WatchedInstance& i : service.instances)
      stay.emplace(i.slot, i.incarnation);
  }
  for (const WatchedService& service : before) {
    if (service.record >= segment.workers.services.size()) continue;
    shm::Word64& budget = segment.workers.services[service.record].open_breakers;
    for (const WatchedInstance& i : service.instances) {
      if (stay.contains({i.slot, i.incarnation}) || !is_within(segment, i.slot)) continue;
      static_cast<void>(engine::close_breaker(engine::breaker_words(segment.workers, i.slot),
                                              i.incarnation, budget, coarse_ms));
    }
  }
}

// No breaker of the service may be open at all.
bool stays_closed(const WatchedService& service) {
  return !service.has_breaker || service.cap == 0;
}

}  // namespace

void BreakerWatch::follow(const shm::CheckerSegment& segment,
                          std::vector<WatchedService> services) {
  close_of_the_gone(segment, services_, services);
  services_ = std::move(services);
  doubts_.assign(services_.size(), {});
  for (const WatchedService& service : services_) {
    for (const WatchedInstance& i : service.instances) {
      if (!is_within(segment, i.slot)) continue;
      // Relaxed: a word about another tenant is nobody's.
      const engine::Breaker b =
          engine::unpack_breaker(segment.workers.breakers[i.slot].load(std::memory_order_relaxed));
      if (b.tenant == engine::tenant_of(i.incarnation)) continue;
      engine::reset_breaker(engine::breaker_words(segment.workers, i.slot), i.incarnation,
                            coarse_ms);
    }
    close_beyond(segment, service, stays_closed(service) ? 0 : service.cap, changes_);
    if (service.has_breaker) continue;
    for (const WatchedInstance& i : service.instances) {
      if (!is_within(segment, i.slot)) continue;
      // Once it is switched on again, failures of before are not the first of a row.
      const auto words = engine::breaker_words(segment.workers, i.slot);
      engine::note_success(words, i.incarnation);
      words.window.store(0, std::memory_order_relaxed);
    }
  }
}

BreakerLook BreakerWatch::look(const shm::CheckerSegment& segment, bool counts) {
  BreakerLook look;
  for (std::size_t s = 0; s < services_.size(); ++s) {
    const WatchedService& service = services_[s];
    if (service.record >= segment.workers.services.size()) continue;
    shm::Word64& budget = segment.workers.services[service.record].open_breakers;
    // Relaxed: a glance decides nothing.
    const std::uint64_t word = budget.load(std::memory_order_relaxed);
    // While nothing is out of a service no permit can be.
    if (engine::any_out(word) && stays_closed(service)) {
      close_beyond(segment, service, 0, changes_);
    } else if (engine::any_out(word)) {
      for (const WatchedInstance& i : service.instances) {
        if (!is_within(segment, i.slot)) continue;
        const bool freed = engine::release_permit(
            engine::breaker_words(segment.workers, i.slot),
            [&](std::uint32_t row, std::uint32_t incarnation) {
              return is_gone(segment.workers, row, incarnation);
            },
            coarse_ms);
        look.permits_freed += freed ? 1 : 0;
        if (freed) changes_.push_back({i.slot, i.incarnation, false});
      }
    }
    if (!counts) continue;
    Doubt& doubt = doubts_[s];
    const std::uint32_t counted = glance(segment, service);
    const bool differs = counted != engine::unpack_budget(word).count;
    const bool as_before = doubt.is_open && doubt.budget == word && doubt.counted == counted;
    doubt = {word, counted, differs};
    if (!differs || !as_before) continue;
    if (engine::recount(budget, [&] { return count_exactly(segment, service); }))
      ++look.budgets_corrected;
    doubt.is_open = false;
  }
  return look;
}

}  // namespace ballast::checker
