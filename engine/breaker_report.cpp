// The rare paths of feeding a breaker.
#include "engine/breaker_report.hpp"

#include "engine/generation_view.hpp"
#include "engine/pick_flags.hpp"
#include "engine/policy.hpp"
#include "shm/failure_counts.hpp"
#include "shm/generation.hpp"

namespace ballast::engine {

namespace {

// How often a policy that is being replaced is read again. What is read after that is a mixture of
// two, each number within its limits: good enough for one failure.
constexpr unsigned kMaxReads = 64;

struct Rules {
  Policy policy;
  std::uint32_t cap = 0;  // how many instances of the service may be out
};

Rules read_rules(const shm::ServiceRecord& service) noexcept {
  Rules rules;
  for (unsigned i = 0; i < kMaxReads; ++i) {
    const std::uint64_t root = shm::enter(service.root);
    rules.policy = get_policy(service.policies[shm::buffer_of(root)]);
    std::uint64_t members = 0;
    const std::uint64_t groups = read_group_count(service, root);
    for (std::uint64_t g = 0; g < groups; ++g) {
      const auto& generation = service.generations[shm::buffer_of(root)][g];
      members += std::min<std::uint64_t>(shm::get(generation.member_count), shm::kMaxInstances);
    }
    rules.cap = ejection_cap(rules.policy.max_ejected_percent, members);
    if (shm::unchanged(service.root, root)) break;
  }
  return rules;
}

void count_failure(const shm::WorkersWriter& workers, std::uint64_t service,
                   std::uint32_t slot) noexcept {
  shm::count_failure(workers.instances[slot].failures, workers.services[service].failures);
}

}  // namespace

void note_unfed_failure(const shm::WorkerSegment& segment, const ballast_pick_t& pick,
                        ballast_outcome_t outcome) noexcept {
  const shm::WorkersWriter& workers = segment.workers;
  if (pick.slot >= workers.instances.size() || pick.slot >= segment.table.instances.size()) return;
  const std::uint64_t index =
      segment.table.instances[pick.slot].service.load(std::memory_order_relaxed);
  if (index >= segment.table.services.size() || index >= workers.services.size()) return;
  const Rules rules = read_rules(segment.table.services[index]);
  if (effect_of(outcome, rules.policy.breaker_outcomes) == Effect::failure) {
    count_failure(workers, index, pick.slot);
  }
}

void feed_success(const shm::WorkersWriter& workers, std::uint32_t slot, std::uint32_t incarnation,
                  std::uint64_t successes, std::uint32_t row) noexcept {
  const auto words = breaker_words(workers, slot);
  note_success(words, incarnation);
  // Relaxed: note_successes() looks again.
  if (words.window.load(std::memory_order_relaxed) != 0 && (successes + row) % kSuccessBatch == 0)
    note_successes(words, incarnation);
}

Noted feed_breaker(const shm::WorkerSegment& segment, const ballast_pick_t& pick,
                   ballast_outcome_t outcome, std::uint64_t retry_after_ms,
                   ClockMs clock_ms) noexcept {
  const shm::WorkersWriter& workers = segment.workers;
  if (pick.slot >= workers.instances.size() || pick.slot >= workers.breakers.size() ||
      pick.slot >= segment.table.instances.size()) {
    return Noted::nothing;
  }
  // Relaxed: the breaker's word says whether it is still about this pick's tenant.
  const std::uint64_t index =
      segment.table.instances[pick.slot].service.load(std::memory_order_relaxed);
  if (index >= segment.table.services.size() || index >= workers.services.size()) {
    return Noted::nothing;
  }
  const auto words = breaker_words(workers, pick.slot);
  const BreakerOwner owner{pick.incarnation, pick.slot};
  shm::Word64& budget = workers.services[index].open_breakers;
  const Rules rules = read_rules(segment.table.services[index]);
  const Effect effect = effect_of(outcome, rules.policy.breaker_outcomes);
  if (effect == Effect::failure && (pick.flags & pick_flags::kWatched) != 0)
    count_failure(workers, index, pick.slot);
  BALLAST_POINT("breaker.report");
  if ((pick.flags & pick_flags::kPermit) != 0) {
    return decide_trial(words, owner, rules.policy, pick.permit, effect, retry_after_ms, budget,
                        clock_ms);
  }
  switch (effect) {
    case Effect::failure:
      return note_failure(words, owner, rules.policy, budget, rules.cap, clock_ms);
    case Effect::pushback:
      return note_pushback(words, owner, rules.policy, retry_after_ms, budget, rules.cap, clock_ms);
    case Effect::success:
      note_success(words, pick.incarnation);
      break;
    case Effect::none:
      break;
  }
  return Noted::nothing;
}

}  // namespace ballast::engine
