// What is taken from a mailbox is whole, never older than what was taken before, and in the end the
// last that was posted, however the two threads run.
#include "engine/checker/metrics/mailbox.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cstdint>
#include <thread>

using ballast::checker::Mailbox;

namespace {

using Letter = std::array<std::uint64_t, 64>;

}  // namespace

TEST_CASE("before the first post there is a default value") {
  Mailbox<Letter> box;
  CHECK(box.take()[0] == 0);
}

TEST_CASE("only the newest counts, and it stays") {
  Mailbox<Letter> box;
  for (std::uint64_t i = 1; i <= 5; ++i) {
    box.draft().fill(i);
    box.post();
  }
  CHECK(box.take()[0] == 5);
  CHECK(box.take()[0] == 5);
  box.draft().fill(6);
  CHECK(box.take()[0] == 5);
  box.post();
  CHECK(box.take()[0] == 6);
}

TEST_CASE("a writer and a reader at once") {
  constexpr std::uint64_t kLast = 200'000;
  Mailbox<Letter> box;
  std::thread writer([&] {
    for (std::uint64_t i = 1; i <= kLast; ++i) {
      box.draft().fill(i);
      box.post();
    }
  });
  std::uint64_t seen = 0;
  bool whole = true;
  bool forward = true;
  while (seen != kLast) {
    const Letter& letter = box.take();
    for (const std::uint64_t word : letter)
      whole &= word == letter[0];
    forward &= letter[0] >= seen;
    seen = letter[0];
    if (!whole || !forward) break;
  }
  writer.join();
  CHECK(whole);
  CHECK(forward);
  CHECK(box.take()[0] == kLast);
}
