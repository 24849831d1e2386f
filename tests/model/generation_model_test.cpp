// The generation protocol (shm/generation.hpp), explored by Relacy: two checkers of which the first
// may be killed at any store, publishing generations into two buffers and moving new tenants into
// slots as early as the rules allow, against readers that pick. A pick that passes its check must
// have seen one generation only, and the tenant which that generation meant. Every sabotaged
// variant must be caught. Guards docs/memory-model.md#publish-and-pick.
#include <doctest/doctest.h>

#include "tests/model/relacy_word.hpp"

namespace ballast::model {
namespace {

enum class Sabotage {
  none,
  root_before_words,
  live_buffer_reused,
  words_relaxed,
  root_relaxed,
  words_loaded_relaxed,
  root_loaded_relaxed,
  slot_reused_at_once,
};

constexpr const char* name_of(Sabotage sabotage) noexcept {
  switch (sabotage) {
    case Sabotage::none:
      return "generation";
    case Sabotage::root_before_words:
      return "generation, root stored before the words";
    case Sabotage::live_buffer_reused:
      return "generation, buffer of the live generation reused";
    case Sabotage::words_relaxed:
      return "generation, words stored relaxed";
    case Sabotage::root_relaxed:
      return "generation, root stored relaxed";
    case Sabotage::words_loaded_relaxed:
      return "generation, words loaded relaxed";
    case Sabotage::root_loaded_relaxed:
      return "generation, root entered relaxed";
    case Sabotage::slot_reused_at_once:
      return "generation, slot given to a new tenant while it is still listed";
  }
  return "?";
}

constexpr Orders orders_of(Sabotage stores, Sabotage loads, Sabotage now) noexcept {
  if (now == stores) return Orders::relaxed_stores;
  return now == loads ? Orders::relaxed_loads : Orders::as_written;
}

// What a validated pick is checked against. Plain memory, written by the explored threads one at a
// time: Relacy does not see it.
struct Witness {
  std::array<std::uint64_t, 16> tenant_of_epoch{};
};

// Counted over all executions of one exploration, to show that the model is not idle.
struct Seen {
  std::uint64_t validated = 0;
  std::uint64_t rejected = 0;
  std::uint64_t killed = 0;
};

template <Sabotage kSabotage, unsigned kWriters, unsigned kReaders, unsigned kWords,
          unsigned kPublications, unsigned kPicks>
struct GenerationModel
    : rl::test_suite<GenerationModel<kSabotage, kWriters, kReaders, kWords, kPublications, kPicks>,
                     kWriters + kReaders> {
  using TableWord =
      Word<orders_of(Sabotage::words_relaxed, Sabotage::words_loaded_relaxed, kSabotage)>;
  using Root = Word<orders_of(Sabotage::root_relaxed, Sabotage::root_loaded_relaxed, kSabotage)>;

  // Of the variant that writes every generation over the last one.
  static constexpr unsigned kOnlyBuffer = 1;

  static inline Seen seen;
  static std::string name() { return name_of(kSabotage); }

  Root root;
  TableWord words[2][kWords];
  TableWord state[2];
  TableWord endpoint[2];
  KernelLock lease;
  Witness witness;
  std::uint64_t next_tenant = 2;

  // Generation 1 is published: every word of buffer 1 names slot 1, where tenant 1 lives. A word
  // holds the tenant too, which no real word does: it lets the reader tell whose word it read.
  void before() {
    mortality.reset();
    for (unsigned i = 0; i < kWords; ++i) {
      words[0][i].preset(0);
      words[1][i].preset(word_of(1, 1));
    }
    for (unsigned slot = 0; slot < 2; ++slot) {
      state[slot].preset(slot);
      endpoint[slot].preset(slot);
    }
    root.preset(1);
    witness.tenant_of_epoch[1] = 1;
  }

  void thread(unsigned index) {
    if (index < kWriters) {
      write(index);
    } else {
      read();
    }
  }

 private:
  static std::uint64_t word_of(std::uint64_t tenant, unsigned slot) { return tenant << 1 | slot; }

  void write(unsigned index) {
    lease.lock();
    // With a successor to come, this one may be killed at any store.
    if (index + 1 < kWriters) mortality.may_die_within(kPublications * (kWords + 3) - 1);
    for (unsigned i = 0; i < kPublications && !mortality.dead(); ++i)
      republish();
    if (mortality.dead()) ++seen.killed;
    lease.unlock();  // in order, or by the kernel when the process dies
  }

  // Generation n names slot n % 2. So the slot of generation n - 2 gets its new tenant as soon as
  // generation n - 1, which does not name it, is out.
  void republish() {
    using shm::put;
    const std::uint64_t next = shm::epoch_of(root.load(std::memory_order_relaxed)) + 1;
    const auto slot = static_cast<unsigned>(next & 1);
    const unsigned moved_in = kSabotage == Sabotage::slot_reused_at_once ? slot ^ 1 : slot;
    const std::uint64_t tenant = next_tenant++;
    // Nobody can be in generation `next` yet; if this writer dies first, its successor sets it
    // anew.
    if (!mortality.dead()) witness.tenant_of_epoch[next] = tenant;
    put(state[moved_in], tenant);
    put(endpoint[moved_in], tenant);
    const auto fill = [&](unsigned buffer) {
      for (unsigned i = 0; i < kWords; ++i)
        put(words[buffer][i], word_of(tenant, moved_in));
    };
    if constexpr (kSabotage == Sabotage::root_before_words) {
      root.store(next, std::memory_order_release);
      fill(shm::buffer_of(next));
    } else if constexpr (kSabotage == Sabotage::live_buffer_reused) {
      fill(kOnlyBuffer);
      root.store(next, std::memory_order_release);
    } else {
      shm::publish(root, fill);
    }
  }

  void read() {
    // As a worker's handle does, the epoch is kept from pick to pick until a check fails.
    std::uint64_t entered = shm::enter(root);
    for (unsigned i = 0; i < kPicks; ++i) {
      if (!pick(entered)) entered = shm::enter(root);
    }
  }

  bool pick(std::uint64_t entered) {
    const unsigned buffer =
        kSabotage == Sabotage::live_buffer_reused ? kOnlyBuffer : shm::buffer_of(entered);
    std::array<std::uint64_t, kWords> got{};
    for (unsigned i = 0; i < kWords; ++i)
      got[i] = shm::get(words[buffer][i]);
    const auto slot = static_cast<unsigned>(got[kWords - 1] & 1);
    const std::uint64_t picked_state = shm::get(state[slot]);
    const std::uint64_t picked_endpoint = shm::get(endpoint[slot]);
    if (!shm::unchanged(root, entered)) {
      ++seen.rejected;
      return false;
    }
    ++seen.validated;
    const std::uint64_t tenant = witness.tenant_of_epoch[shm::epoch_of(entered)];
    for (const std::uint64_t word : got)
      RL_ASSERT(word >> 1 == tenant);
    RL_ASSERT(picked_state == tenant);
    RL_ASSERT(picked_endpoint == tenant);
    return true;
  }
};

template <Sabotage kSabotage>
using Small = GenerationModel<kSabotage, 1, 1, 1, 2, 1>;
template <Sabotage kSabotage>
using Large = GenerationModel<kSabotage, 2, 2, 2, 3, 2>;

constexpr std::uint64_t kIterations = 1'000'000;

template <Sabotage kSabotage>
void must_be_caught() {
  const Explored random = explore<Large<kSabotage>>(kIterations);
  CHECK_MESSAGE(random.result == rl::test_result_user_assert_failed, name_of(kSabotage));
  const Explored full = explore<Small<kSabotage>>(0);
  CHECK_MESSAGE(full.result == rl::test_result_user_assert_failed, name_of(kSabotage));
}

}  // namespace

TEST_CASE("a pick that passes its check saw one generation and its tenant") {
  using Model = Large<Sabotage::none>;
  const Explored explored = explore<Model>(kIterations);
  CHECK_MESSAGE(explored.result == rl::test_result_success, explored.report);
  // Not idle: picks passed, picks were refused, checkers were killed.
  CHECK(Model::seen.validated > kIterations);
  CHECK(Model::seen.rejected > kIterations / 10);
  CHECK(Model::seen.killed > kIterations / 10);
}

TEST_CASE("every schedule of one writer and one reader") {
  const Explored explored = explore<Small<Sabotage::none>>(0);
  CHECK_MESSAGE(explored.result == rl::test_result_success, explored.report);
  CHECK(Small<Sabotage::none>::seen.validated > 0);
  CHECK(Small<Sabotage::none>::seen.rejected > 0);
}

TEST_CASE("sabotage is caught") {
  must_be_caught<Sabotage::root_before_words>();
  must_be_caught<Sabotage::live_buffer_reused>();
  must_be_caught<Sabotage::words_relaxed>();
  must_be_caught<Sabotage::root_relaxed>();
  must_be_caught<Sabotage::words_loaded_relaxed>();
  must_be_caught<Sabotage::root_loaded_relaxed>();
  must_be_caught<Sabotage::slot_reused_at_once>();
}

}  // namespace ballast::model
