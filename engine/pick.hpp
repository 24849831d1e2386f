// The straight paths: a pick that needs no second look. A key's hash, the lookup array, the
// instance's state word, what the caller wants of its address, and one look at root at the end,
// which says whether all of it belonged to one generation. Run by workers on what the checker
// publishes; writes nothing shared but the tickets of a round robin. No lock, system call,
// allocation or clock. A dead checker changes nothing here. Templates over the view's words, so
// that tests/model and the benchmarks' floor use this very source. docs/memory-model.md,
// "publish-and-pick", has the argument.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "engine/breaker_word.hpp"
#include "engine/ejection_budget.hpp"
#include "engine/generation_view.hpp"
#include "engine/hash.hpp"
#include "engine/hash_bound.hpp"
#include "engine/in_flight.hpp"
#include "engine/ketama.hpp"
#include "engine/load_score.hpp"
#include "engine/service_view.hpp"
#include "shm/crash_point.hpp"
#include "shm/generation.hpp"
#include "shm/layout.hpp"
#include "shm/state_word.hpp"

namespace ballast::engine {

// How many tickets a handle takes at a time. The line they come from is shared by the whole host
// and costs up to about 110 ns when contended: 1 ns a pick in blocks of 127. A worker may sit on
// 126 tickets, but they are successive turns: equal instances miss at most one turn more than
// others by each worker, so after any number of picks they differ by no more than 1 + the number of
// workers. A prime, so that blocks do not all begin with the same instance where their number
// divides it.
inline constexpr std::uint32_t kTicketBlock = 127;

enum class PickResult : std::uint8_t {
  ok = 0,
  no_instance = 1,  // every instance is unusable or excluded
  changed = 2,      // root moved: refresh the view and pick again
  long_way = 3,     // the straight path does not apply: call choose()
  limited = 4,      // who could be used has as many requests in flight as it may
  retry_budget = 5,
};

// Why the pick fell where it did: what was wrong with the first candidate, or what was special
// about the one that it is. The numbers of ballast_reason_t.
enum class Because : std::uint8_t {
  first_choice = 0,
  unusable = 1,
  excluded = 2,
  breaker = 3,
  load = 4,
  sticky = 5,
  sticky_lost = 6,
  panic = 7,
  trial = 8,
};

struct Choice {
  std::uint64_t state = 0;  // the instance's state word as it was seen
  std::uint32_t slot = 0;
  std::uint32_t permit = 0;    // with pick_flags::kPermit
  std::uint8_t flags = 0;      // what this pick holds, besides what every pick of the service has
  std::uint16_t attempts = 0;  // candidates looked at, this one included
  Because because = Because::first_choice;
  PickResult result = PickResult::long_way;
};

// Takes the next turn of a service, `shared` being the host's counter of tickets: its place in the
// schedule of `length` places. Divides once a block.
template <class Word>
[[nodiscard]] std::uint64_t take_turn(Word& shared, Tickets& mine, std::uint64_t length) noexcept {
  if (mine.next == mine.end || mine.length != length) [[unlikely]] {
    if (mine.next == mine.end) {
      // Relaxed: a ticket is only a number, nothing is published with it.
      mine.next = shared.fetch_add(kTicketBlock, std::memory_order_relaxed);
      mine.end = mine.next + kTicketBlock;
    }
    mine.place = mine.next % length;
    mine.length = length;
  }
  const std::uint64_t place = mine.place;
  mine.place = place + 1 == length ? 0 : place + 1;
  ++mine.next;
  return place;
}

// Whether no open breaker stands in the way of a slot: at once while none of the service is.
template <class View>
[[nodiscard, gnu::always_inline]] inline bool no_breaker_open(const View& view,
                                                              std::uint32_t slot) noexcept {
  // Relaxed, both: a breaker may open or close at any time; who needs more asks choose().
  if (!any_out(view.open_breakers->load(std::memory_order_relaxed))) [[likely]]
    return true;
  const std::uint64_t word = view.breakers[slot].load(std::memory_order_relaxed);
  return unpack_breaker(word).state == BreakerState::closed;
}

// What every straight path ends with, however it came to `slot`: it is plainly usable and nothing
// has moved. `also(slot)` reads what else is wanted of the instance, with acquire loads, before
// root is looked at. In any other case nothing is decided, and choose() is to be called.
template <class View, class Also>
[[nodiscard, gnu::always_inline]] inline Choice confirm(const View& view, std::uint32_t slot,
                                                        Also&& also) noexcept {
  if (slot < view.slot_count) [[likely]] {
    BALLAST_POINT("pick.slot");
    const std::uint64_t state = shm::get(view.states[slot]);
    if (shm::is_plain(state) && no_breaker_open(view, slot)) [[likely]] {
      also(slot);
      BALLAST_POINT("pick.read");
      if (shm::unchanged(*view.root, view.entered)) [[likely]] {
        return {.state = state, .slot = slot, .attempts = 1, .result = PickResult::ok};
      }
    }
  }
  return {};
}

// The straight path of a table, and what an unarmed view or one of another kind falls out of.
template <class View, class Also>
[[nodiscard, gnu::always_inline]] inline Choice pick_straight(const View& view, std::uint64_t hash,
                                                              Also&& also) noexcept {
  return confirm(view, shm::get(view.fast[reduce(hash, view.fast_count)]), also);
}

// The instance that a key of this hash goes to at its `attempt`-th try. The second choice is the
// placement as it would be without the first; from there on keys spread evenly.
template <class View>
[[nodiscard]] std::uint32_t table_candidate(const View& view, std::uint64_t hash,
                                            std::uint32_t attempt) noexcept {
  if (view.seconds != nullptr && attempt != 0) {
    if (attempt == 1) return shm::get(view.seconds[reduce(hash, view.lookup_count)]);
    --attempt;
  }
  return shm::get(view.lookup[reduce(attempt_hash(hash, attempt), view.lookup_count)]);
}

// Index of the ring's first point at or after `hash`.
template <class View>
[[nodiscard]] std::uint64_t ring_place(const View& view, std::uint32_t hash) noexcept {
  return find_ketama(std::span(view.points, view.lookup_count),
                     std::span(view.index, view.index_count), hash);
}

// The straight path of a ring. Only for a view of that kind.
template <class View, class Also>
[[nodiscard]] Choice pick_ring(const View& view, std::uint32_t hash, Also&& also) noexcept {
  return confirm(view, shm::get(view.lookup[ring_place(view, hash)]), also);
}

// The straight path of a schedule. Only for a view of that kind.
template <class View, class TicketWord, class Also>
[[nodiscard]] Choice pick_turn(const View& view, TicketWord& shared, Tickets& tickets,
                               Also&& also) noexcept {
  const std::uint64_t place = take_turn(shared, tickets, view.lookup_count);
  const Choice choice = confirm(view, shm::get(view.lookup[place]), also);
  if (choice.result != PickResult::ok) [[unlikely]] {
    --tickets.next;  // choose() takes it again
    tickets.length = 0;
  }
  return choice;
}

// The straight path of random draws by weight. Only for a view of a schedule.
template <class View, class Also>
[[nodiscard]] Choice pick_random(const View& view, Random& random, Also&& also) noexcept {
  const Random before = random;
  const Choice choice = confirm(view, shm::get(view.lookup[random.below(view.lookup_count)]), also);
  // choose() begins with the same draw: an instance that takes a part of its picks is to be asked.
  if (choice.result != PickResult::ok) [[unlikely]]
    random = before;
  return choice;
}

namespace detail {

// The best of some random instances, all of them different and plain; kNoSlot if that cannot be
// had. Sets `looked_at`.
[[nodiscard]] inline std::uint32_t draw_least(const ServiceView& service, Picker& me,
                                              std::uint32_t& looked_at) noexcept {
  const GenerationView& view = service.first();
  const LoadRule rule = load_rule(service);
  const std::uint32_t choices = service.policy.choices;
  std::array<std::uint32_t, policy_limits::choices.high> drawn;  // filled as far as it is used
  std::uint32_t count = 0;
  std::uint32_t best = shm::kNoSlot;
  LoadScore best_score;
  for (std::uint32_t tries = 0; count < choices; ++tries) {
    if (tries == 2 * choices) return shm::kNoSlot;
    const std::uint32_t slot = shm::get(view.lookup[me.random.below(view.lookup_count)]);
    bool again = false;
    for (std::uint32_t i = 0; i < count; ++i)
      again |= drawn[i] == slot;
    if (again) continue;
    if (slot >= view.slot_count) return shm::kNoSlot;
    const std::uint64_t state = shm::get(view.states[slot]);
    if (!shm::is_plain(state)) return shm::kNoSlot;
    const LoadScore score = load_score(load_of(service, me, slot), shm::weight_of(state), rule);
    drawn[count++] = slot;
    // The first of equals: they were drawn at random.
    if (count == 1 || compare(score, best_score) == Better::first) {
      best = slot;
      best_score = score;
    }
  }
  looked_at = count;
  return best;
}

}  // namespace detail

// The straight path of the strategies that compare load: as choose() does it, but only while all
// that is drawn is plain. Only for an armed service of that kind.
template <class Also>
[[nodiscard]] Choice pick_least(ServiceView& service, Picker& me, Also&& also) noexcept {
  if (look_at_load_beat(service, me)) [[unlikely]] {
    service.path = Path::long_way;
    return {};
  }
  const Random before = me.random;
  std::uint32_t looked_at = 0;
  Choice choice = confirm(service.first(), detail::draw_least(service, me, looked_at), also);
  choice.attempts = static_cast<std::uint16_t>(looked_at);
  if (choice.result != PickResult::ok) [[unlikely]]
    me.random = before;  // choose() begins with the same draws
  return choice;
}

// The straight path of a table whose instances have a bound: the first of a key's places that is
// below it. Only for an armed service of that kind.
template <class Also>
[[nodiscard]] Choice pick_bounded(ServiceView& service, const Picker& me, std::uint64_t hash,
                                  Also&& also) noexcept {
  constexpr std::uint32_t kAttempts = 8;  // 1 in 4 is above at c = 1.25, at most
  if (look_at_load_beat(service, me)) [[unlikely]] {
    service.path = Path::long_way;
    return {};
  }
  const GenerationView& view = service.first();
  const HashBound bound = bound_of(service);
  for (std::uint32_t attempt = 0; attempt < kAttempts; ++attempt) {
    const std::uint32_t slot = table_candidate(view, hash, attempt);
    if (slot >= view.slot_count) return {};
    const std::uint64_t state = shm::get(view.states[slot]);
    if (!shm::is_plain(state)) return {};
    if (bound.is_set() &&
        bound.reached(load_of(service, me, slot).in_flight, shm::weight_of(state))) {
      continue;
    }
    Choice choice = confirm(view, slot, also);
    choice.attempts = static_cast<std::uint16_t>(attempt + 1);
    if (attempt != 0) choice.because = Because::load;
    return choice;
  }
  return {};
}

}  // namespace ballast::engine
