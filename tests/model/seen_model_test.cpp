// How a checker learns that nobody picks by an earlier generation any more (shm/seen.hpp), explored
// by Relacy: a worker takes its row, enters the service for the first time and picks, while the
// checker publishes a generation, replaces the segment or changes a state, and looks once. If that
// look says "done", every pick by what was before is among what it counts, and there will be no
// other. Every sabotaged variant must be caught. Guards docs/memory-model.md#seen-epoch.
#include <doctest/doctest.h>

#include <array>

#include "shm/seen.hpp"
#include "tests/model/relacy_word.hpp"

namespace ballast::model {
namespace {

enum class Sabotage {
  none,
  noted_released,
  noted_relaxed,
  no_second_look,
  looked_again_acquired,
  published_released,
  taken_released,
  claim_loaded_acquired,
  seen_loaded_acquired,
  seen_loaded_relaxed,
  forgotten_relaxed,
  not_restated,
};

// What the checker does before it looks.
enum class Change { generation, segment, state };

constexpr const char* name_of(Sabotage sabotage) noexcept {
  switch (sabotage) {
    case Sabotage::none:
      return "seen";
    case Sabotage::noted_released:
      return "seen, noted with release only";
    case Sabotage::noted_relaxed:
      return "seen, noted relaxed";
    case Sabotage::no_second_look:
      return "seen, root not looked at again";
    case Sabotage::looked_again_acquired:
      return "seen, root looked at again with acquire only";
    case Sabotage::published_released:
      return "seen, published with release only";
    case Sabotage::taken_released:
      return "seen, the row taken with release only";
    case Sabotage::claim_loaded_acquired:
      return "seen, the claim loaded with acquire only";
    case Sabotage::seen_loaded_acquired:
      return "seen, loaded with acquire only";
    case Sabotage::seen_loaded_relaxed:
      return "seen, loaded relaxed";
    case Sabotage::forgotten_relaxed:
      return "seen, forgotten relaxed";
    case Sabotage::not_restated:
      return "seen, a state changed and root not stated again";
  }
  return "?";
}

// A word whose sequentially consistent stores and loads can be made weaker ones.
class Weakened : public Word<> {
 public:
  std::memory_order stored = std::memory_order_seq_cst;
  std::memory_order loaded = std::memory_order_seq_cst;
  bool forgets_relaxed = false;

  std::uint64_t load(std::memory_order order) const {
    return Word<>::load(order == std::memory_order_seq_cst ? loaded : order);
  }
  void store(std::uint64_t value, std::memory_order order) {
    if (order == std::memory_order_seq_cst) order = stored;
    if (order == std::memory_order_release && forgets_relaxed) order = std::memory_order_relaxed;
    Word<>::store(value, order);
  }
};

struct Seen {
  std::uint64_t done_unseen = 0;  // the row is free, or has never used the service
  std::uint64_t done_seen = 0;
  std::uint64_t behind = 0;
  std::uint64_t old_picks = 0;
};

template <Sabotage kSabotage, unsigned kPicks, Change kChange = Change::generation>
struct SeenModel : rl::test_suite<SeenModel<kSabotage, kPicks, kChange>, 2> {
  static inline Seen seen_of_all;
  static std::string name() { return name_of(kSabotage); }

  Weakened root;
  Weakened claim;
  Weakened seen;
  Word<> state;
  Word<> started;
  std::uint64_t old_picks = 0;  // beside the model: what the worker really did
  std::uint64_t counted = 0;
  bool is_done = false;

  void before() {
    mortality.reset();
    root.preset(kOld);
    claim.preset(0);
    seen.preset(0);
    state.preset(kOld);
    started.preset(0);
    constexpr auto release = std::memory_order_release;
    constexpr auto acquire = std::memory_order_acquire;
    constexpr auto relaxed = std::memory_order_relaxed;
    if (kSabotage == Sabotage::noted_released) seen.stored = release;
    if (kSabotage == Sabotage::noted_relaxed) seen.stored = relaxed;
    if (kSabotage == Sabotage::looked_again_acquired) root.loaded = acquire;
    if (kSabotage == Sabotage::published_released) root.stored = release;
    if (kSabotage == Sabotage::taken_released) claim.stored = release;
    if (kSabotage == Sabotage::claim_loaded_acquired) claim.loaded = acquire;
    if (kSabotage == Sabotage::seen_loaded_acquired) seen.loaded = acquire;
    if (kSabotage == Sabotage::seen_loaded_relaxed) seen.loaded = relaxed;
    seen.forgets_relaxed = kSabotage == Sabotage::forgotten_relaxed;
  }

  void thread(unsigned index) {
    if (index == 0) {
      work();
    } else {
      check();
    }
  }

  void after() {
    seen_of_all.old_picks += old_picks;
    // The first picks are the ones by the old generation, so the count says whether it has them.
    if (is_done) RL_ASSERT(counted >= old_picks);
  }

 private:
  static constexpr std::uint64_t kOld = 1;
  static constexpr std::uint64_t kNew = 2;

  // As Row::claim(), Handle::refresh() and picks.
  void work() {
    std::array<Nothing, 0> none;
    static_cast<void>(shm::take(claim, none));
    std::uint64_t entered = 0;
    for (unsigned i = 0; i < kPicks; ++i) {
      while (entered == 0 || !shm::unchanged(root, entered)) {
        entered = shm::enter(root);
        if (shm::is_superseded(entered)) break;
        if constexpr (kSabotage == Sabotage::no_second_look) {
          seen.store(entered, std::memory_order_seq_cst);
          break;
        } else if (!shm::note_seen(seen, root, entered)) {
          entered = 0;
        }
      }
      if (shm::is_superseded(entered)) {
        // As Attachment::retire_row(), and the rest of the picks in another row.
        shm::forget_seen(seen);
        return;
      }
      const std::uint64_t state_now = shm::get(state);
      if (kChange == Change::state ? state_now == kOld : entered == kOld) ++old_picks;
      shm::count_started(started);
    }
  }

  // As a publication and SeenWatch::look().
  void check() {
    change();
    const std::uint64_t word = claim.load(std::memory_order_seq_cst);
    if (shm::unpack_identity(word).phase != shm::Phase::live) {
      is_done = true;
      ++seen_of_all.done_unseen;
      return;
    }
    const std::uint64_t epoch = shm::read_seen(seen);
    is_done = epoch == 0 || epoch >= kNew;  // never, where nothing was published
    if (is_done) counted = started.load(std::memory_order_relaxed);
    ++(!is_done     ? seen_of_all.behind
       : epoch == 0 ? seen_of_all.done_unseen
                    : seen_of_all.done_seen);
  }

  void change() {
    if constexpr (kChange == Change::generation) {
      static_cast<void>(shm::publish(root, [](unsigned) {}));
    } else if constexpr (kChange == Change::segment) {
      shm::supersede(root);
    } else {
      shm::put(state, kNew);
      if constexpr (kSabotage != Sabotage::not_restated) shm::restate(root);
    }
  }

  struct Nothing {
    Word<> values[shm::kCounterCount];
  };
};

template <Sabotage kSabotage>
using Twice = SeenModel<kSabotage, 2>;
template <Sabotage kSabotage>
using Once = SeenModel<kSabotage, 1>;

template <Sabotage kSabotage>
using Replaced = SeenModel<kSabotage, 2, Change::segment>;
template <Sabotage kSabotage>
using Ejected = SeenModel<kSabotage, 2, Change::state>;

constexpr std::uint64_t kIterations = 200'000;

}  // namespace

TEST_CASE("who is done picks by no earlier generation") {
  using Model = Twice<Sabotage::none>;
  must_hold<Model>(kIterations);
  CHECK(Model::seen_of_all.done_unseen > kIterations / 100);
  CHECK(Model::seen_of_all.done_seen > kIterations / 1000);
  CHECK(Model::seen_of_all.behind > kIterations / 100);
  CHECK(Model::seen_of_all.old_picks > kIterations / 100);
}

TEST_CASE("who is done picks nothing from a segment that was replaced") {
  using Model = Replaced<Sabotage::none>;
  must_hold<Model>(kIterations);
  CHECK(Model::seen_of_all.done_unseen > kIterations / 100);
  CHECK(Model::seen_of_all.behind > kIterations / 100);
  CHECK(Model::seen_of_all.old_picks > kIterations / 100);
  must_be_caught<Replaced<Sabotage::noted_released>>(kIterations);
  must_be_caught<Replaced<Sabotage::published_released>>(kIterations);
  must_be_caught<Replaced<Sabotage::forgotten_relaxed>>(kIterations);
}

TEST_CASE("who is done picks by no state from before") {
  using Model = Ejected<Sabotage::none>;
  must_hold<Model>(kIterations);
  CHECK(Model::seen_of_all.done_unseen > kIterations / 100);
  CHECK(Model::seen_of_all.behind > kIterations / 100);
  CHECK(Model::seen_of_all.old_picks > kIterations / 100);
  must_be_caught<Ejected<Sabotage::noted_released>>(kIterations);
  must_be_caught<Ejected<Sabotage::published_released>>(kIterations);
  must_be_caught<Ejected<Sabotage::not_restated>>(kIterations);
}

TEST_CASE("every schedule of one pick and one look") {
  using Model = Once<Sabotage::none>;
  must_hold<Model>(0);
  CHECK(Model::seen_of_all.done_unseen > 0);
  CHECK(Model::seen_of_all.behind > 0);
}

TEST_CASE("sabotage is caught") {
  must_be_caught<Twice<Sabotage::noted_released>>(kIterations);
  must_be_caught<Twice<Sabotage::noted_relaxed>>(kIterations);
  must_be_caught<Twice<Sabotage::no_second_look>>(kIterations);
  must_be_caught<Twice<Sabotage::looked_again_acquired>>(kIterations);
  must_be_caught<Twice<Sabotage::published_released>>(kIterations);
  must_be_caught<Twice<Sabotage::taken_released>>(kIterations);
  must_be_caught<Twice<Sabotage::claim_loaded_acquired>>(kIterations);
  must_be_caught<Twice<Sabotage::seen_loaded_acquired>>(kIterations);
  must_be_caught<Twice<Sabotage::seen_loaded_relaxed>>(kIterations);
}

}  // namespace ballast::model
