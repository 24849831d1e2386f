// The draws behind a rendezvous table: permutations that can be undone, evenly spread and
// independent of each other, logarithms that are right, and numbers that never change.
#include "engine/rendezvous_score.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <vector>

#include "tests/support/fleet.hpp"

using namespace ballast::engine;
using ballast::tests::fleet;

TEST_CASE("a member has every rank once, and ranks and entries undo each other") {
  for (const Member& member : fleet(20)) {
    const ScoreKey key = score_key(member.text);
    std::vector<bool> seen(kRankCount);
    bool undone = true;
    for (std::uint32_t e = 0; e < kRankCount; ++e) {
      const auto entry = static_cast<std::uint16_t>(e);
      const std::uint16_t rank = rank_of(key, entry);
      undone &= !seen[rank] && entry_of(key, rank) == entry;
      seen[rank] = true;
    }
    CHECK(undone);
  }
}

TEST_CASE("the lengths are the logarithms") {
  const auto lengths = rank_lengths();
  double worst = 0;
  bool ascending = true;
  for (std::uint32_t rank = 0; rank < kRankCount; ++rank) {
    const double exact = -std::log1p(-static_cast<double>(rank) / 65536);
    worst = std::max(worst, std::abs(static_cast<double>(lengths[rank]) * 0x1p-56 - exact));
    ascending &= lengths[rank] < lengths[rank + 1];
  }
  CHECK(worst < 1e-10);
  CHECK(ascending);

  // Between the ranks, and strictly: two draws that differ never have one length.
  worst = 0;
  for (std::uint64_t draw = 1; draw < std::uint64_t{65000} << 32; draw += draw / 100 + 1) {
    const double exact = -std::log1p(-static_cast<double>(draw) * 0x1p-48);
    const double length = static_cast<double>(length_of(lengths, draw)) * 0x1p-56;
    worst = std::max(worst, std::abs(length / exact - 1));
    ascending &= length_of(lengths, draw) < length_of(lengths, draw + 1);
  }
  CHECK(ascending);
  CHECK(worst < 0.01);  // the first few of 2^48 are short of digits
  CHECK(length_of(lengths, (std::uint64_t{1} << 48) - 1) < std::uint64_t{1} << 60);
}

TEST_CASE("two members' draws have nothing to do with each other") {
  // For each pair the 65536 pairs of ranks, in 16 x 16 fields: chi-square has 225 degrees of
  // freedom, since rows and columns are full by construction. The mean of 190 of them has a
  // standard deviation of sqrt(2 * 225 / 190) = 1.5, the highest is below 225 + 5 * 21.
  std::vector<ScoreKey> keys;
  for (const Member& member : fleet(20))
    keys.push_back(score_key(member.text));
  double sum = 0;
  double highest = 0;
  for (std::size_t a = 0; a < keys.size(); ++a) {
    for (std::size_t b = 0; b < a; ++b) {
      std::vector<int> fields(256);
      for (std::uint32_t e = 0; e < kRankCount; ++e) {
        const auto entry = static_cast<std::uint16_t>(e);
        const int row = rank_of(keys[a], entry) >> 12;
        const int column = rank_of(keys[b], entry) >> 12;
        ++fields[static_cast<std::size_t>(16 * row + column)];
      }
      double chi = 0;
      for (const int count : fields)
        chi += (count - 256.0) * (count - 256.0) / 256;
      sum += chi;
      highest = std::max(highest, chi);
    }
  }
  CHECK(sum / 190 == doctest::Approx(225).epsilon(0.03));
  CHECK(highest < 330);
}

TEST_CASE("draws are what they always were") {
  // Fixed for ever: hosts of unlike releases must agree where a key lives.
  const ScoreKey key = score_key("10.0.0.1:80");
  CHECK(draw_of(key, 0) == 0xb80488863f0bU);
  CHECK(draw_of(key, 1) == 0x1434cf5eeeaeU);
  CHECK(draw_of(key, 65535) == 0x73e945ec1992U);
  CHECK(draw_of(key, 65536) == 0xd12921b7b044U);
  CHECK(length_of(rank_lengths(), draw_of(key, 0)) == 0x144cd47540fc3daU);
}
