// Limits one step at a time: what each word says after a take, a refusal, a give, a drop and a
// count. Interleavings are explored in tests/model/tokens_model_test.cpp.
#include "shm/tokens.hpp"

#include <doctest/doctest.h>

#include <array>

#include "shm/layout.hpp"

namespace ballast::shm {
namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;  // one thread

struct Row {
  Word64 pending{0};
  std::array<Word64, 3> held{};
};

struct Limits {
  Word64 instance{0};
  Word64 service{0};
  Word64 retry{0};
  Word64 dirty{0};
  std::array<Row, 2> rows{};

  [[nodiscard]] static std::uint32_t used(const Word64& word) {
    return unpack_tokens(word.load(kRelaxed)).used;
  }
  [[nodiscard]] std::uint32_t held(TokenKind kind) const {
    std::uint32_t sum = 0;
    for (const Row& row : rows) {
      for (const Word64& word : row.held)
        sum += held_of(word.load(kRelaxed), kind);
    }
    return sum;
  }
  Reconciled reconcile(Word64& word, TokenName name) {
    return reconcile_tokens(
        word,
        [&] {
          for (const Row& row : rows) {
            if (row.pending.load(kRelaxed) == pack(name)) return true;
          }
          return false;
        },
        [&] { return held(name.kind); });
  }
  void drop(Row& row) {
    drop_tokens(dirty, row.pending, row.held, [](Word64& word) -> Word64& { return word; });
  }
};

constexpr TokenName kInstance{TokenKind::instance, 1};
constexpr TokenName kService{TokenKind::service, 0};
constexpr TokenName kRetry{TokenKind::retry, 0};

}  // namespace

TEST_CASE("up to the limit, and not one more, whichever rows take") {
  Limits limits;
  for (int i = 0; i < 3; ++i) {
    Row& row = limits.rows[static_cast<std::size_t>(i % 2)];
    CHECK(take_token(limits.instance, row.pending, row.held[1], kInstance, 3));
  }
  for (Row& row : limits.rows) {
    CHECK_FALSE(take_token(limits.instance, row.pending, row.held[1], kInstance, 3));
    CHECK(row.pending.load(kRelaxed) == 0);
  }
  CHECK(Limits::used(limits.instance) == 3);
  CHECK(limits.held(TokenKind::instance) == 3);
  Row& row = limits.rows[0];
  give_token(limits.instance, row.pending, row.held[1], kInstance);
  CHECK(row.pending.load(kRelaxed) == 0);
  CHECK(Limits::used(limits.instance) == 2);
  CHECK(take_token(limits.instance, row.pending, row.held[1], kInstance, 3));
  // Lowered: nobody is taken away, and nobody comes in before there is room.
  give_token(limits.instance, row.pending, row.held[1], kInstance);
  CHECK_FALSE(take_token(limits.instance, row.pending, row.held[1], kInstance, 2));
  CHECK_FALSE(take_token(limits.instance, row.pending, row.held[1], kInstance, 0));
}

TEST_CASE("one row word holds the three kinds apart") {
  Limits limits;
  Row& row = limits.rows[0];
  REQUIRE(take_token(limits.instance, row.pending, row.held[2], kInstance, 9));
  REQUIRE(take_token(limits.service, row.pending, row.held[2], kService, 9));
  REQUIRE(take_token(limits.service, row.pending, row.held[2], kService, 9));
  REQUIRE(take_token(limits.retry, row.pending, row.held[2], kRetry, 9));
  CHECK(limits.held(TokenKind::instance) == 1);
  CHECK(limits.held(TokenKind::service) == 2);
  CHECK(limits.held(TokenKind::retry) == 1);
  give_token(limits.service, row.pending, row.held[2], kService);
  give_token(limits.retry, row.pending, row.held[2], kRetry);
  CHECK(limits.held(TokenKind::instance) == 1);
  CHECK(limits.held(TokenKind::service) == 1);
  CHECK(limits.held(TokenKind::retry) == 0);
  CHECK(Limits::used(limits.retry) == 0);
}

TEST_CASE("a row's count never runs into its neighbour's") {
  Limits limits;
  Row& row = limits.rows[0];
  row.held[0].store(kMaxHeld, kRelaxed);
  CHECK_FALSE(take_token(limits.instance, row.pending, row.held[0], kInstance, UINT32_MAX));
  CHECK(Limits::used(limits.instance) == 0);
  // Nothing held, nothing given: neither the row nor the word goes below zero.
  row.held[0].store(0, kRelaxed);
  give_token(limits.instance, row.pending, row.held[0], kInstance);
  CHECK(row.held[0].load(kRelaxed) == 0);
  CHECK(limits.instance.load(kRelaxed) == 0);
  row.held[0].store(1, kRelaxed);
  give_token(limits.instance, row.pending, row.held[0], kInstance);  // a word that was spoilt
  CHECK(Limits::used(limits.instance) == 0);
}

TEST_CASE("what the dead held comes back when it was dropped and counted") {
  Limits limits;
  for (Row& row : limits.rows) {
    REQUIRE(take_token(limits.instance, row.pending, row.held[1], kInstance, 8));
    REQUIRE(take_token(limits.instance, row.pending, row.held[0], kInstance, 8));
  }
  Row& dead = limits.rows[1];
  SUBCASE("at rest") {}
  SUBCASE("with its swap made and not yet counted in the row") {
    dead.pending.store(pack(kInstance), kRelaxed);
    limits.instance.store(pack(Tokens{5, 5}), kRelaxed);
    CHECK(limits.reconcile(limits.instance, kInstance) == Reconciled::busy);
  }
  SUBCASE("with its token given and not yet in the row") {
    dead.pending.store(pack(kInstance), kRelaxed);
    limits.instance.store(pack(Tokens{5, 3}), kRelaxed);
    CHECK(limits.reconcile(limits.instance, kInstance) == Reconciled::busy);
  }
  limits.drop(dead);
  CHECK(limits.dirty.load(kRelaxed) == 1);
  CHECK(limits.reconcile(limits.instance, kInstance) == Reconciled::changed);
  CHECK(Limits::used(limits.instance) == 2);
  CHECK(limits.reconcile(limits.instance, kInstance) == Reconciled::exact);
  limits.drop(dead);  // again, by one who does not know
  CHECK(limits.dirty.load(kRelaxed) == 2);
  CHECK(limits.reconcile(limits.instance, kInstance) == Reconciled::exact);
}

TEST_CASE("a count that somebody takes or gives under is given up") {
  Limits limits;
  Row& row = limits.rows[0];
  limits.instance.store(pack(Tokens{9, 7}), kRelaxed);  // wrong by seven
  const auto nobody = [] { return false; };
  const auto disturbed = [&]() -> std::uint32_t {
    CHECK(take_token(limits.instance, row.pending, row.held[1], kInstance, 100));
    give_token(limits.instance, row.pending, row.held[1], kInstance);
    return 0;
  };
  CHECK(reconcile_tokens(limits.instance, nobody, disturbed) == Reconciled::busy);
  CHECK(Limits::used(limits.instance) == 7);
  limits.instance.store(pack(Tokens{9, 0}), kRelaxed);
  CHECK(reconcile_tokens(limits.instance, nobody, disturbed) == Reconciled::busy);
  // Another word's business is no disturbance.
  row.pending.store(pack(kService), kRelaxed);
  limits.instance.store(pack(Tokens{9, 7}), kRelaxed);
  CHECK(limits.reconcile(limits.instance, kInstance) == Reconciled::changed);
  CHECK(limits.reconcile(limits.service, kService) == Reconciled::busy);
}

}  // namespace ballast::shm
