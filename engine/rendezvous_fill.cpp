// Filling a rendezvous table from nothing without asking every member about every entry (65.5
// million scores for 1000 members). Each member lists its entries from its lowest rank on, as far
// as its share of kDepth goes, where kDepth is how many members an entry then meets on average;
// each entry keeps the best two it meets. What a member did not list is worse than all that was
// listed, so an entry that met two is done, and the few others (M * (1 + kDepth) * exp(-kDepth))
// ask everybody.
#include <algorithm>
#include <bit>

#include "engine/rendezvous.hpp"

namespace ballast::engine {

namespace {

__extension__ using Wide = unsigned __int128;

constexpr std::size_t kBlock = 256;

// How many members an entry should meet: with more, listing takes longer; with fewer, more entries
// are left, each of which asks everybody.
std::uint64_t depth_for(std::size_t members) noexcept {
  return 3 + static_cast<std::uint64_t>(std::bit_width(members)) / 2;
}

// 2^16 * (1 - exp(-depth * weight / sum)), or a little more: the series' first three terms.
std::uint32_t ranks_to_list(std::uint64_t depth, std::uint64_t weight, std::uint64_t sum) noexcept {
  constexpr std::uint64_t kOne = std::uint64_t{1} << 32;
  const Wide share = Wide{depth * kOne} * weight / sum;
  if (share >= 2 * kOne) return kRankCount;
  const auto x = static_cast<std::uint64_t>(share);
  const std::uint64_t square = static_cast<std::uint64_t>((Wide{x} * x) >> 32);
  const std::uint64_t cube = static_cast<std::uint64_t>((Wide{square} * x) >> 32);
  const std::uint64_t listed = ((x - square / 2 + cube / 6) >> 16) + 1;
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(listed, kRankCount));
}

// The best two of an entry, each as (what is compared, place of the member). `Packed` has the place
// in its low 16 bits; numbers that differ above them are in the order of the scores.
template <class Packed>
struct BestTwo {
  static constexpr Packed kNone = static_cast<Packed>(~Packed{0});
  Packed first = kNone;
  Packed second = kNone;

  static constexpr std::size_t place_of(Packed packed) noexcept { return packed & 0xffff; }

  // `beats(a, b)` decides between two places whose numbers are alike.
  template <class Beats>
  void meet(Packed next, Beats&& beats) noexcept {
    if ((first ^ next) < 0x10000 || (second ^ next) < 0x10000) [[unlikely]] {
      const auto wins = [&](Packed other) {
        if (other == kNone) return true;
        if ((other ^ next) >= 0x10000) return next < other;
        return beats(place_of(next), place_of(other));
      };
      if (wins(first)) {
        second = first;
        first = next;
      } else if (wins(second)) {
        second = next;
      }
      return;
    }
    // Not the middle of the three numbers: the order of two that are alike is the other way round
    // where the higher place won.
    second = next < first ? first : std::min(second, next);
    first = std::min(first, next);
  }
};

template <class Visit>
void for_each_listed(const ScoreKey& key, std::uint32_t ranks, Visit&& visit) {
  std::uint16_t entries[kBlock];
  for (std::uint32_t from = 0; from < ranks; from += kBlock) {
    for (std::uint32_t i = 0; i < kBlock; ++i)
      entries[i] = entry_of(key, static_cast<std::uint16_t>(from + i));
    const std::uint32_t here = std::min<std::uint32_t>(kBlock, ranks - from);
    for (std::uint32_t i = 0; i < here; ++i)
      visit(entries[i], static_cast<std::uint16_t>(from + i));
  }
}

}  // namespace

// With equal weights ranks are in the order of scores, and the rest of a draw decides between
// equal ranks.
void RendezvousTable::fill_equal() {
  const std::uint32_t ranks = ranks_to_list(depth_for(members_.size()), 1, members_.size());
  std::vector<BestTwo<std::uint32_t>> best(kRankCount);
  for (std::size_t place = 0; place < members_.size(); ++place) {
    for_each_listed(keys_[place], ranks, [&](std::uint16_t entry, std::uint16_t rank) {
      best[entry].meet(std::uint32_t{rank} << 16 | static_cast<std::uint32_t>(place),
                       [&](std::size_t a, std::size_t b) { return wins(entry, a, b); });
    });
  }
  scores_ += std::uint64_t{ranks} * members_.size();
  horizon_ = {ranks, weights_[0]};
  for (std::uint32_t entry = 0; entry < kRankCount; ++entry) {
    const auto& [first, second] = best[entry];
    if (second == best[entry].kNone) {
      find_top_two(entry);
      continue;
    }
    lookup_[entry] = members_[best[entry].place_of(first)].slot;
    seconds_[entry] = members_[best[entry].place_of(second)].slot;
    second_ranks_[entry] = static_cast<std::uint16_t>(second >> 16);
  }
}

// With any weights the whole part of length / weight, of which the highest 48 bits that matter, is
// in the order of scores.
void RendezvousTable::fill_weighted() {
  const auto lengths = rank_lengths();
  std::uint64_t sum = 0;
  for (const std::uint32_t weight : weights_)
    sum += weight;
  const std::uint64_t depth = depth_for(members_.size());
  std::vector<std::uint32_t> ranks;
  std::uint64_t bound = lengths[kRankCount] + 1;  // nothing below it was left unlisted
  Bound horizon{0, 1};
  for (const std::uint32_t weight : weights_) {
    ranks.push_back(ranks_to_list(depth, weight, sum));
    if (ranks.back() == kRankCount) continue;
    if (lengths[ranks.back()] / weight < bound) {
      bound = lengths[ranks.back()] / weight;
      horizon = {ranks.back(), weight};
    }
  }
  if (horizon.rank == 0) horizon = {};
  const int shift = std::max(0, static_cast<int>(std::bit_width(bound)) - 47);
  const std::uint64_t limit = bound >> shift;

  std::vector<BestTwo<std::uint64_t>> best(kRankCount);
  for (std::size_t place = 0; place < members_.size(); ++place) {
    const ScoreKey& key = keys_[place];
    const std::uint64_t weight = weights_[place];
    const std::uint64_t reciprocal = ~std::uint64_t{0} / weight;
    for_each_listed(key, ranks[place], [&](std::uint16_t entry, std::uint16_t rank) {
      const std::uint64_t length = length_of(lengths, draw_of(key, entry, rank));
      std::uint64_t quotient = static_cast<std::uint64_t>((Wide{length} * reciprocal) >> 64);
      quotient += length - quotient * weight >= weight ? 1 : 0;  // it was at most 1 too small
      quotient >>= shift;
      if (quotient >= limit) return;
      best[entry].meet(quotient << 16 | place,
                       [&](std::size_t a, std::size_t b) { return wins(entry, a, b); });
    });
    scores_ += ranks[place];
  }
  horizon_ = horizon;
  for (std::uint32_t entry = 0; entry < kRankCount; ++entry) {
    const auto& [first, second] = best[entry];
    if (second == best[entry].kNone) {
      find_top_two(entry);
      continue;
    }
    const std::size_t place = best[entry].place_of(second);
    lookup_[entry] = members_[best[entry].place_of(first)].slot;
    seconds_[entry] = members_[place].slot;
    second_ranks_[entry] = rank_of(keys_[place], static_cast<std::uint16_t>(entry));
  }
}

void RendezvousTable::build(std::span<const Member> members) {
  clear();
  scores_ = 0;
  rebuilt_ = true;
  for (const Member& member : members) {
    if (member.weight != 0) add(member);
  }
  if (members_.empty()) return;
  if (members_.size() == 1) {
    std::fill(lookup_.begin(), lookup_.end(), members_[0].slot);
    return;
  }
  const bool equal = std::all_of(weights_.begin(), weights_.end(),
                                 [this](std::uint32_t weight) { return weight == weights_[0]; });
  equal ? fill_equal() : fill_weighted();
  find_top_two(kRankCount);
}

}  // namespace ballast::engine
