// The pick itself: a key's hash, the lookup array, the instance's state word, what the caller wants
// of its address, and one look at root at the end, which says whether all of it belonged to one
// generation. Run by workers on what the checker publishes; writes nothing shared but the tickets
// of a round robin. No lock, system call, allocation or clock. A dead checker changes nothing
// here. Templates over the view's words, so that tests/model and the benchmarks' floor use this
// very source. docs/memory-model.md, "publish-and-pick", has the argument.
#pragma once

#include <cstdint>
#include <span>

#include "engine/generation_view.hpp"
#include "engine/hash.hpp"
#include "engine/ketama.hpp"
#include "shm/crash_point.hpp"
#include "shm/generation.hpp"
#include "shm/layout.hpp"
#include "shm/state_word.hpp"

namespace ballast::engine {

// How many candidates of the lookup array are tried before the members are walked one by one. With
// half of all instances down, 24 misses in a row happen once in 2^24 picks; when nearly all are
// down, walking the members is the cheaper way anyway.
inline constexpr std::uint32_t kMaxProbes = 24;

// How many tickets a handle takes at a time. The line they come from is shared by the whole host
// and costs up to about 110 ns when contended: 14 ns a pick in blocks of 8. A worker may sit on 7
// tickets, so the host's order is exact to within 7 picks a worker.
inline constexpr std::uint32_t kTicketBlock = 8;

enum class PickResult : std::uint8_t {
  ok = 0,
  no_instance = 1,  // every instance is unusable or excluded
  changed = 2,      // root moved: refresh the view and pick again
  long_way = 3,     // the straight path does not apply: call choose()
};

// Why the pick fell where it did: what was wrong with the first candidate.
enum class Because : std::uint8_t { first_choice = 0, unusable = 1, excluded = 2 };

struct Choice {
  std::uint64_t state = 0;  // the instance's state word as it was seen
  std::uint32_t slot = 0;
  std::uint16_t attempts = 0;  // candidates looked at, this one included
  Because because = Because::first_choice;
  PickResult result = PickResult::long_way;
};

// An instance that must not be picked again: which slot, and which tenant of it.
struct Excluded {
  std::uint32_t slot;
  std::uint32_t incarnation;
};

// The tickets that a handle has taken and not yet used. Plain memory of one thread.
struct Tickets {
  std::uint64_t next = 0;
  std::uint64_t end = 0;

  void drop() noexcept { next = end = 0; }
};

// Takes the next ticket of a service, `shared` being the host's counter.
template <class Word>
[[nodiscard]] std::uint64_t take_ticket(Word& shared, Tickets& mine) noexcept {
  if (mine.next == mine.end) {
    // Relaxed: a ticket is only a number, nothing is published with it.
    mine.next = shared.fetch_add(kTicketBlock, std::memory_order_relaxed);
    mine.end = mine.next + kTicketBlock;
  }
  return mine.next++;
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
    if (shm::is_plain(state)) [[likely]] {
      also(slot);
      BALLAST_POINT("pick.read");
      if (shm::unchanged(*view.root, view.entered)) [[likely]] {
        return {state, slot, 1, Because::first_choice, PickResult::ok};
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
  const std::uint64_t ticket = take_ticket(shared, tickets);
  const Choice choice = confirm(view, shm::get(view.lookup[ticket % view.lookup_count]), also);
  if (choice.result != PickResult::ok) --tickets.next;  // choose() takes it again
  return choice;
}

// The candidates of one pick, in order, for the view's kind of lookup.
template <class View, class TicketWord>
class Candidates {
 public:
  Candidates(const View& view, std::uint64_t hash, TicketWord* shared, Tickets& tickets) noexcept
      : view_(view), hash_(hash), shared_(shared), tickets_(tickets) {
    if (view.kind == shm::LookupKind::ring) {
      place_ = ring_place(view, static_cast<std::uint32_t>(hash));
    }
  }

  [[nodiscard]] std::uint32_t next(std::uint32_t attempt) noexcept {
    switch (view_.kind) {
      case shm::LookupKind::table:
        return at(reduce(attempt_hash(hash_, attempt), view_.lookup_count));
      case shm::LookupKind::ring: {
        const std::uint64_t here = place_;
        place_ = place_ + 1 == view_.lookup_count ? 0 : place_ + 1;
        return at(here);
      }
      case shm::LookupKind::schedule:
        // An unusable instance's turn is skipped, so that its share is spread over all others.
        last_ticket_ = take_ticket(*shared_, tickets_);
        return at(last_ticket_ % view_.lookup_count);
      case shm::LookupKind::none:
        break;
    }
    return shm::kNoSlot;
  }

  // Where to begin walking the members: different for each key (or turn), the same on every host.
  [[nodiscard]] std::uint64_t walk_start() const noexcept {
    const std::uint64_t from = view_.kind == shm::LookupKind::schedule ? last_ticket_ : hash_;
    return reduce(attempt_hash(from, kMaxProbes), view_.member_count);
  }

 private:
  [[nodiscard]] std::uint32_t at(std::uint64_t place) const noexcept {
    return shm::get(view_.lookup[place]);
  }

  const View& view_;
  std::uint64_t hash_;
  TicketWord* shared_;
  Tickets& tickets_;
  std::uint64_t place_ = 0;
  std::uint64_t last_ticket_ = 0;
};

// The whole pick, whatever the kind and the health. `hash` is the key's hash of the view's kind:
// crc32 for a ring, `key_hash` else (for a schedule it does not matter). Candidates are tried in
// the order that every process and host shares, then, after kMaxProbes, every member once; so a
// usable instance that is not excluded is always found. Kept out of the straight path's line.
template <class View, class TicketWord, class Also>
[[nodiscard, gnu::noinline]] Choice choose(const View& view, std::uint64_t hash, TicketWord* shared,
                                           Tickets& tickets, std::span<const Excluded> excluded,
                                           Also&& also) noexcept {
  Choice choice;
  const auto try_slot = [&](std::uint32_t slot) noexcept {
    if (choice.attempts != UINT16_MAX) ++choice.attempts;
    BALLAST_POINT("pick.slot");
    if (slot >= view.slot_count) return false;
    const std::uint64_t state = shm::get(view.states[slot]);
    Because wrong = Because::first_choice;
    if (!shm::is_usable(state)) wrong = Because::unusable;
    for (const Excluded& e : excluded) {
      if (e.slot == slot && e.incarnation == shm::incarnation_of(state)) wrong = Because::excluded;
    }
    if (wrong != Because::first_choice) {
      if (choice.because == Because::first_choice) choice.because = wrong;
      return false;
    }
    also(slot);
    BALLAST_POINT("pick.read");
    choice.slot = slot;
    choice.state = state;
    return true;
  };
  bool found = false;
  if (view.kind != shm::LookupKind::none) {
    Candidates<View, TicketWord> candidates(view, hash, shared, tickets);
    for (std::uint32_t attempt = 0; attempt < kMaxProbes && !found; ++attempt)
      found = try_slot(candidates.next(attempt));
    std::uint64_t place = candidates.walk_start();
    for (std::uint64_t i = 0; i < view.member_count && !found; ++i) {
      found = try_slot(shm::get(view.members[place]));
      place = place + 1 == view.member_count ? 0 : place + 1;
    }
  }
  if (!shm::unchanged(*view.root, view.entered)) {
    choice.result = PickResult::changed;
  } else {
    choice.result = found ? PickResult::ok : PickResult::no_instance;
  }
  return choice;
}

}  // namespace ballast::engine
