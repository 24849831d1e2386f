// Growth, explored by Relacy: a checker makes a new segment, names it in the locator and marks the
// roots of the old one superseded, while workers pick. Whoever follows the mark finds a segment
// that is whole; whoever stays picks from the old one as before. Every sabotaged variant must be
// caught. Guards docs/memory-model.md#growth.
#include <doctest/doctest.h>

#include "tests/model/relacy_word.hpp"

namespace ballast::model {
namespace {

enum class Sabotage {
  none,
  locator_relaxed,
  locator_loaded_relaxed,
  named_before_whole,
  marked_first
};

constexpr const char* name_of(Sabotage sabotage) noexcept {
  switch (sabotage) {
    case Sabotage::none:
      return "growth";
    case Sabotage::locator_relaxed:
      return "growth, the locator stored relaxed";
    case Sabotage::locator_loaded_relaxed:
      return "growth, the locator loaded relaxed";
    case Sabotage::named_before_whole:
      return "growth, the new segment named before it is whole";
    case Sabotage::marked_first:
      return "growth, the old segment marked before the new one is named";
  }
  return "?";
}

struct Seen {
  std::uint64_t followed = 0;
  std::uint64_t stayed = 0;
};

struct Segment {
  Word<> root;
  Word<> words[2];  // one a buffer
};

template <Sabotage kSabotage, unsigned kReaders, unsigned kPicks>
struct GrowthModel : rl::test_suite<GrowthModel<kSabotage, kReaders, kPicks>, 1 + kReaders> {
  using Locator = Word<kSabotage == Sabotage::locator_relaxed
                           ? Orders::relaxed_stores
                           : (kSabotage == Sabotage::locator_loaded_relaxed ? Orders::relaxed_loads
                                                                            : Orders::as_written)>;

  static inline Seen seen;
  static std::string name() { return name_of(kSabotage); }

  // The old segment has generation 1 out, whose word is 11; the new one will say 21 in its first
  // generation and 22 in its second.
  Segment segments[2];
  Locator active;

  void before() {
    mortality.reset();
    for (Segment& segment : segments) {
      segment.root.preset(0);
      segment.words[0].preset(0);
      segment.words[1].preset(0);
    }
    segments[0].words[1].preset(11);
    segments[0].root.preset(1);
    active.preset(0);
  }

  void thread(unsigned index) {
    if (index == 0) {
      grow();
    } else {
      work();
    }
  }

 private:
  void grow() {
    Segment& fresh = segments[1];
    const auto make_whole = [&] {
      shm::publish(fresh.root, [&](unsigned buffer) { shm::put(fresh.words[buffer], 21U); });
    };
    // As Lease::set_active_segment.
    const auto name_it = [&] { active.store(1, std::memory_order_release); };
    const auto mark_old = [&] { shm::supersede(segments[0].root); };
    if constexpr (kSabotage == Sabotage::named_before_whole) {
      name_it();
      make_whole();
      mark_old();
    } else if constexpr (kSabotage == Sabotage::marked_first) {
      mark_old();
      make_whole();
      name_it();
    } else {
      make_whole();
      name_it();
      mark_old();
    }
    shm::publish(fresh.root, [&](unsigned buffer) { shm::put(fresh.words[buffer], 22U); });
  }

  void work() {
    std::uint64_t attached = 0;
    std::uint64_t entered = shm::enter(segments[0].root);
    for (unsigned i = 0; i < kPicks; ++i) {
      if (attached == 0 && shm::is_superseded(entered)) {
        // Once the mark is seen the locator names the new segment.
        attached = active.load(std::memory_order_acquire);
        RL_ASSERT(attached == 1);
        entered = shm::enter(segments[attached].root);
      } else if (attached == 0 && i == kPicks - 1) {
        // As a process that attaches anew just now: it need not have seen the mark.
        attached = active.load(std::memory_order_acquire);
        entered = shm::enter(segments[attached].root);
      }
      const Segment& segment = segments[attached];
      RL_ASSERT(shm::epoch_of(entered) >= 1);
      const std::uint64_t word = shm::get(segment.words[shm::buffer_of(entered)]);
      if (shm::unchanged(segment.root, entered)) {
        RL_ASSERT(word == (attached == 0 ? 11 : 20 + shm::epoch_of(entered)));
        ++(attached == 0 ? seen.stayed : seen.followed);
      } else {
        entered = shm::enter(segment.root);
      }
    }
  }
};

template <Sabotage kSabotage>
using Large = GrowthModel<kSabotage, 2, 4>;
template <Sabotage kSabotage>
using Small = GrowthModel<kSabotage, 1, 2>;

constexpr std::uint64_t kIterations = 500'000;

template <Sabotage kSabotage>
void must_be_caught() {
  CHECK_MESSAGE(explore<Large<kSabotage>>(kIterations).result == rl::test_result_user_assert_failed,
                name_of(kSabotage));
  CHECK_MESSAGE(explore<Small<kSabotage>>(0).result == rl::test_result_user_assert_failed,
                name_of(kSabotage));
}

}  // namespace

TEST_CASE("whoever follows the mark finds a whole segment") {
  const Explored random = explore<Large<Sabotage::none>>(kIterations);
  CHECK_MESSAGE(random.result == rl::test_result_success, random.report);
  CHECK(Large<Sabotage::none>::seen.followed > kIterations / 10);
  CHECK(Large<Sabotage::none>::seen.stayed > kIterations / 10);
  const Explored full = explore<Small<Sabotage::none>>(0);
  CHECK_MESSAGE(full.result == rl::test_result_success, full.report);
  CHECK(Small<Sabotage::none>::seen.followed > 0);
}

TEST_CASE("sabotage is caught") {
  must_be_caught<Sabotage::locator_relaxed>();
  must_be_caught<Sabotage::locator_loaded_relaxed>();
  must_be_caught<Sabotage::named_before_whole>();
  must_be_caught<Sabotage::marked_first>();
}

}  // namespace ballast::model
