// The mailbox between the checker's loop and the metrics thread
// (engine/checker/metrics/mailbox.hpp), explored by Relacy: one writer, one reader. What is taken
// must be whole and never older than what was taken before, and the last that was posted must be
// found. Both sabotaged variants must be caught. Guards docs/memory-model.md#mailbox.
#include <doctest/doctest.h>

#include "engine/checker/metrics/mailbox.hpp"
#include "tests/model/relacy_word.hpp"

namespace ballast::model {
namespace {

template <Orders kOrders>
struct StartedWord : Word<kOrders> {
  explicit StartedWord(std::uint64_t value) { this->preset(value); }
};

// Of plain words, which only the mailbox's exchanges put in order.
struct Letter {
  Letter() {
    for (auto& word : words)
      word.preset(0);
  }
  Word<> words[2];
};

constexpr std::uint64_t kLetters = 3;

template <Orders kOrders>
struct MailboxModel : rl::test_suite<MailboxModel<kOrders>, 2> {
  static inline std::uint64_t news = 0;  // letters that the reader found while both ran
  static std::string name() {
    switch (kOrders) {
      case Orders::as_written:
        return "mailbox";
      case Orders::relaxed_stores:
        return "mailbox, posted and taken without release";
      case Orders::relaxed_loads:
        return "mailbox, posted and taken without acquire";
    }
    return "?";
  }

  checker::Mailbox<Letter, StartedWord<kOrders>> box;
  std::uint64_t seen = 0;

  void before() { mortality.reset(); }

  void thread(unsigned index) {
    if (index == 0) {
      for (std::uint64_t i = 1; i <= kLetters; ++i) {
        Letter& draft = box.draft();
        for (auto& word : draft.words)
          word.store(i, std::memory_order_relaxed);
        box.post();
      }
    } else {
      for (std::uint64_t i = 0; i < kLetters; ++i) {
        const std::uint64_t before_it = seen;
        read();
        news += seen != before_it ? 1 : 0;
      }
    }
  }

  void after() {
    read();
    RL_ASSERT(seen == kLetters);
  }

 private:
  void read() {
    const Letter& letter = box.take();
    const std::uint64_t first = letter.words[0].load(std::memory_order_relaxed);
    const std::uint64_t second = letter.words[1].load(std::memory_order_relaxed);
    RL_ASSERT(first == second);
    RL_ASSERT(first >= seen);
    seen = first;
  }
};

constexpr std::uint64_t kIterations = 300'000;

}  // namespace

TEST_CASE("what is taken is whole, and the newest") {
  using Model = MailboxModel<Orders::as_written>;
  must_hold<Model>(kIterations);
  CHECK(Model::news > kIterations / 10);
}

TEST_CASE("sabotage is caught") {
  must_be_caught<MailboxModel<Orders::relaxed_stores>>(kIterations);
  must_be_caught<MailboxModel<Orders::relaxed_loads>>(kIterations);
}

}  // namespace ballast::model
