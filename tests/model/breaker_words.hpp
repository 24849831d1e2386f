// The breaker's and the budget's words as Relacy sees them, with an audit of every change: what the
// models of trying an open breaker (breaker_model_test.cpp) and of the ejection budget
// (ejection_model_test.cpp) have in common, and the ways in which they are sabotaged.
#pragma once

#include <array>
#include <type_traits>

#include "engine/breaker.hpp"
#include "tests/model/relacy_word.hpp"

namespace ballast::model {

enum class Sabotage {
  none,
  changed_by_storing,
  opened_before_the_budget,
  counted_without_touching,
  counted_without_version,
  given_back_regardless,
  word_loaded_late,
  recounts_read_late,
  report_without_stamp,
  hint_without_stamp,
  permits_not_counted,
  clock_before_the_word,
  changes_relaxed,
  changes_loaded_relaxed,
};

constexpr const char* name_of(Sabotage sabotage) noexcept {
  switch (sabotage) {
    case Sabotage::none:
      return "breaker";
    case Sabotage::changed_by_storing:
      return "breaker, changed by a load and a store";
    case Sabotage::opened_before_the_budget:
      return "breaker, opened before the budget is taken";
    case Sabotage::counted_without_touching:
      return "breaker, counted without touching closed ones";
    case Sabotage::counted_without_version:
      return "breaker, counted without a version";
    case Sabotage::given_back_regardless:
      return "breaker, given back after a count";
    case Sabotage::word_loaded_late:
      return "breaker, the word loaded after the budget is taken";
    case Sabotage::recounts_read_late:
      return "breaker, the number of counts read after closing";
    case Sabotage::report_without_stamp:
      return "breaker, a report that does not look at the stamp";
    case Sabotage::hint_without_stamp:
      return "breaker, a hint without a stamp";
    case Sabotage::permits_not_counted:
      return "breaker, permits not counted";
    case Sabotage::clock_before_the_word:
      return "breaker, the clock read before the word";
    case Sabotage::changes_relaxed:
      return "breaker, changed relaxed";
    case Sabotage::changes_loaded_relaxed:
      return "breaker, loaded relaxed";
  }
  return "?";
}

using engine::Breaker;
using engine::BreakerState;
using engine::Budget;
using engine::Effect;
using engine::Noted;

inline constexpr std::uint32_t kTenant = 1;
inline constexpr std::uint64_t kStart = 100;
inline constexpr unsigned kNobody = ~0U;

// What really is, kept beside the model by every change in the order of its word: Relacy runs one
// thread at a time and does not see this.
struct Audit {
  std::uint64_t now = kStart;
  unsigned cap = 1;
  unsigned out = 0;    // breakers not closed
  unsigned count = 0;  // what the budget's word says
  unsigned opened = 0;
  unsigned holder = kNobody;  // of the permit
  std::uint64_t permit_end = 0;
  std::array<bool, Mortality::kThreads> gone{};  // rows that nobody holds any more
  unsigned checker = kNobody;                    // the thread that may free a dead one's permit

  void changed(const Breaker& from, const Breaker& to) {
    const bool was_out = from.state != BreakerState::closed;
    const bool is_out = to.state != BreakerState::closed;
    if (!was_out && is_out) ++opened;
    if (was_out && !is_out) --out;
    if (!was_out && is_out) ++out;
    check_budget();
    const unsigned self = rl::thread_index();
    if (from.state == BreakerState::half_open && to.state != BreakerState::half_open) {
      RL_ASSERT(self == holder || (self == checker && gone[holder]));
      holder = kNobody;
    }
    if (to.state == BreakerState::half_open) {
      RL_ASSERT(from.until_ms <= now);
      holder = self;
      permit_end = to.until_ms;
    }
  }
  void check_budget() const {
    RL_ASSERT(out <= count);
    RL_ASSERT(out <= cap);
  }
};
inline Audit audit;

constexpr Orders orders_of(Sabotage sabotage) noexcept {
  if (sabotage == Sabotage::changes_relaxed) return Orders::relaxed_stores;
  return sabotage == Sabotage::changes_loaded_relaxed ? Orders::relaxed_loads : Orders::as_written;
}

// A word whose changes are audited, at once.
template <Sabotage kSabotage, bool kIsBudget>
class Audited : public Word<orders_of(kSabotage)> {
 public:
  using Base = Word<orders_of(kSabotage)>;

  bool compare_exchange_strong(std::uint64_t& expected, std::uint64_t desired,
                               std::memory_order success, std::memory_order failure) {
    if (mortality.dead()) return true;
    const std::uint64_t from = expected;
    if constexpr (kSabotage == Sabotage::changed_by_storing && !kIsBudget) {
      const std::uint64_t now = Base::load(failure);
      if (now != expected) {
        expected = now;
        return false;
      }
      Base::store(desired, success);
    } else if (!Base::compare_exchange_strong(expected, desired, success, failure)) {
      return false;
    }
    if constexpr (kIsBudget) {
      audit.count = engine::unpack_budget(desired).count;
      audit.check_budget();
    } else {
      audit.changed(engine::unpack_breaker(from), engine::unpack_breaker(desired));
    }
    return true;
  }
};

// A budget's word that comes back to a value that it had.
template <class Base>
class Unversioned : public Base {
 public:
  static constexpr std::uint64_t kVersion = std::uint64_t{0xfffff} << 32;
  bool compare_exchange_strong(std::uint64_t& expected, std::uint64_t desired,
                               std::memory_order success, std::memory_order failure) {
    return Base::compare_exchange_strong(expected, desired & ~kVersion, success, failure);
  }
};

template <Sabotage kSabotage>
using BreakerWord = Audited<kSabotage, false>;
template <Sabotage kSabotage>
using BudgetWord =
    std::conditional_t<kSabotage == Sabotage::counted_without_version,
                       Unversioned<Audited<kSabotage, true>>, Audited<kSabotage, true>>;

// Not explored: the window and, where it is not the matter, the hint decide nothing here.
struct PlainWord {
  std::uint64_t value = 0;
  std::uint64_t load(std::memory_order) const { return value; }
  void store(std::uint64_t next, std::memory_order) {
    if (!mortality.dead()) value = next;
  }
  bool compare_exchange_strong(std::uint64_t&, std::uint64_t next, std::memory_order order,
                               std::memory_order) {
    store(next, order);
    return true;
  }
};

template <class Word, class Permit>
struct Words {
  Word& breaker;
  PlainWord& window;
  Permit& permit;
};

inline constexpr auto kClock = [] { return audit.now; };

constexpr engine::Policy policy() {
  engine::Policy policy;
  policy.breaker_consecutive = 2;
  policy.breaker_rate_percent = 0;
  policy.breaker_open_ms = 4;
  policy.breaker_open_max_ms = 4;
  policy.breaker_trial_ms = 2;
  policy.breaker_jitter_percent = 0;
  return policy;
}

struct Seen {
  std::uint64_t opened = 0;
  std::uint64_t refused = 0;
  std::uint64_t closed = 0;
  std::uint64_t killed = 0;
  std::uint64_t repaired = 0;  // counts that changed the budget
  std::uint64_t taken = 0;     // permits
  std::uint64_t taken_over = 0;
  std::uint64_t freed = 0;
  std::uint64_t too_late = 0;  // reports of a permit that another had
};

}  // namespace ballast::model
