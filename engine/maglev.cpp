// The fill of a Maglev table, made fast. The plain algorithm (kept as the reference in
// tests/engine/maglev_test.cpp) makes M * ln M probes; three things make this one quicker, and
// docs/placement.md has what each of them is worth:
// - A position is a 64-bit fraction of the table instead of an index, so that a step is one
// addition
//   which wraps round by itself, and positions of one preference list do not wait for each other.
// - Whether an entry is taken is asked of a bitmap that stays in the first-level cache, several
//   positions at a time without a branch, more of them the fuller the table is.
// - The last entries, which cost most (M / k probes with k entries left), are found from the other
//   side: for each free entry its rank in the list is (entry - offset) / skip modulo M.
#include "engine/maglev.hpp"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <vector>

namespace ballast::engine {
namespace {

// Below this many free entries, looking at all of them is cheaper than probing.
constexpr std::uint32_t kTail = 192;

__extension__ using Wide = unsigned __int128;

struct Cursor {
  std::uint64_t position;  // of the next probe, as a fraction of the table: entry / M * 2^64
  std::uint64_t step;      // skip / M * 2^64
  std::uint32_t skip;
  std::uint16_t slot;
};

// Turns in the order in which they are taken. With equal weights that is round and round.
struct CyclicTurns {
  std::size_t members;
  std::size_t at = 0;
  std::size_t next() noexcept {
    const std::size_t turn = at;
    at = at + 1 == members ? 0 : at + 1;
    return turn;
  }
};

struct ListedTurns {
  const std::uint32_t* at;
  std::size_t next() noexcept { return *at++; }
};

// The least fraction that lies in entry x of M, plus at most 2 units. A list makes at most M steps,
// so an error stays below 2 * (M + 1) units, while a fraction is at least 2^64 / M / 2^bits units
// away from where it would be taken for another bucket or entry: enough for M <= 2^20.
struct Fractions {
  Wide scale;  // 2^96 / M, rounded up
  explicit Fractions(std::uint32_t size) : scale(((Wide{1} << 96) + size - 1) / size) {}
  std::uint64_t of(std::uint32_t x) const noexcept {
    return static_cast<std::uint64_t>((scale * x) >> 32) + 1;
  }
};

class Fill {
 public:
  Fill(std::vector<Cursor>& cursors, std::span<std::uint16_t> table)
      : cursors_(cursors),
        table_(table),
        size_(static_cast<std::uint32_t>(table.size())),
        shift_(64 - std::bit_width(size_)),
        taken_(std::max<std::size_t>(1, (std::size_t{1} << std::bit_width(size_)) / 64)),
        left_(size_) {}

  template <class Turns>
  void run(Turns turns) {
    // The widths follow the number of probes that a turn needs on average, size / left.
    probe_until<1>(share(85), turns);
    probe_until<2>(share(50), turns);
    probe_until<4>(share(25), turns);
    probe_until<8>(share(8), turns);
    probe_until<16>(0, turns);
    finish(turns);
  }

 private:
  std::uint32_t share(std::uint32_t percent) const noexcept {
    return static_cast<std::uint32_t>(std::uint64_t{size_} * percent / 100);
  }

  template <unsigned kWidth, class Turns>
  void probe_until(std::uint32_t left, Turns& turns) {
    left = std::max(left, std::min(kTail, size_));
    while (left_ > left) {
      Cursor& cursor = cursors_[turns.next()];
      const std::uint64_t position = first_free<kWidth>(cursor);
      const std::uint64_t bucket = position >> shift_;
      taken_[bucket / 64] |= std::uint64_t{1} << (bucket % 64);
      table_[reduce(position, size_)] = cursor.slot;
      cursor.position = position + cursor.step;
      --left_;
    }
  }

  template <unsigned kWidth>
  std::uint64_t first_free(const Cursor& cursor) const noexcept {
    constexpr std::uint32_t kAll = (std::uint32_t{1} << kWidth) - 1;
    for (std::uint64_t position = cursor.position;;) {
      std::uint32_t taken = 0;
      std::uint64_t probe = position;
      for (unsigned i = 0; i < kWidth; ++i, probe += cursor.step) {
        const std::uint64_t bucket = probe >> shift_;
        taken |= static_cast<std::uint32_t>((taken_[bucket / 64] >> (bucket % 64)) & 1) << i;
      }
      if (taken != kAll) return position + std::countr_one(taken) * cursor.step;
      position = probe;
    }
  }

  template <class Turns>
  void finish(Turns& turns) {
    std::vector<std::uint32_t> free = list_free();
    std::vector<std::uint32_t> takers(free.size());
    for (std::uint32_t& taker : takers)
      taker = static_cast<std::uint32_t>(turns.next());
    const std::vector<std::uint32_t> inverses = inverse_skips(takers);

    for (std::size_t turn = 0; turn < takers.size(); ++turn) {
      Cursor& cursor = cursors_[takers[turn]];
      const auto next = static_cast<std::uint32_t>(reduce(cursor.position, size_));
      const std::size_t found = lowest_rank(free, next, inverses[turn]);
      table_[free[found]] = cursor.slot;
      free[found] = free.back();
      free.pop_back();
    }
  }

  std::vector<std::uint32_t> list_free() const {
    std::vector<std::uint32_t> free;
    free.reserve(left_);
    constexpr std::size_t kBlock = 64;  // most have none, which the compiler finds out quickly
    for (std::size_t from = 0; from < size_; from += kBlock) {
      const auto block = table_.subspan(from, std::min<std::size_t>(kBlock, size_ - from));
      unsigned any = 0;
      for (std::uint16_t slot : block)
        any |= slot == kNoSlot ? 1U : 0U;
      if (any == 0) continue;
      for (std::size_t i = 0; i < block.size(); ++i) {
        if (block[i] == kNoSlot) free.push_back(static_cast<std::uint32_t>(from + i));
      }
    }
    return free;
  }

  // Index in `free` of the entry that comes first in the list that goes on at entry `next`. The
  // rank is distance * inverse modulo M by Shoup's method: the quotient, estimated with a scaled
  // inverse, is at most 1 too small.
  std::size_t lowest_rank(const std::vector<std::uint32_t>& free, std::uint32_t next,
                          std::uint32_t inverse) const noexcept {
    const auto scaled = static_cast<std::uint32_t>((std::uint64_t{inverse} << 32) / size_);
    std::uint64_t best = ~std::uint64_t{0};
    for (std::size_t i = 0; i < free.size(); ++i) {
      std::uint32_t distance = free[i] - next;
      distance = std::min(distance, distance + size_);  // below zero is above 2^31
      const auto quotient = static_cast<std::uint32_t>((std::uint64_t{distance} * scaled) >> 32);
      std::uint32_t rank = distance * inverse - quotient * size_;
      rank = std::min(rank, rank - size_);
      best = std::min(best, (std::uint64_t{rank} << 32) | i);
    }
    return static_cast<std::uint32_t>(best);
  }

  // 1 / skip modulo M for each of the turns, with one power in all (Montgomery's trick).
  std::vector<std::uint32_t> inverse_skips(const std::vector<std::uint32_t>& takers) const {
    std::vector<std::uint32_t> out(takers.size());
    std::uint64_t product = 1;
    for (std::size_t i = 0; i < takers.size(); ++i) {
      out[i] = static_cast<std::uint32_t>(product);
      product = product * cursors_[takers[i]].skip % size_;
    }
    std::uint64_t inverse = 1;  // of the product: its (M - 2)th power, by Fermat
    for (std::uint32_t power = size_ - 2; power != 0; power /= 2) {
      if (power % 2 != 0) inverse = inverse * product % size_;
      product = product * product % size_;
    }
    for (std::size_t i = takers.size(); i-- > 0;) {
      out[i] = static_cast<std::uint32_t>(inverse * out[i] % size_);
      inverse = inverse * cursors_[takers[i]].skip % size_;
    }
    return out;
  }

  std::vector<Cursor>& cursors_;
  std::span<std::uint16_t> table_;
  std::uint32_t size_;
  int shift_;
  // One bit a bucket. No two entries share one, since there are more buckets than entries; those
  // without an entry stay 0 and are never asked for.
  std::vector<std::uint64_t> taken_;
  std::uint32_t left_;
};

// The turns of members of unequal weight until `size` of them are taken. A member's t-th turn (from
// 0) is in round ceil(t * heaviest / weight), which is when a credit that starts at heaviest -
// weight and grows by weight a round reaches `heaviest` again.
std::vector<std::uint32_t> list_turns(const std::vector<const Member*>& order,
                                      std::uint64_t heaviest, std::uint32_t size) {
  const auto turns_in = [&](std::uint64_t rounds) {
    std::uint64_t sum = 0;
    for (const Member* member : order)
      sum += 1 + (rounds - 1) * member->weight / heaviest;
    return sum;
  };
  std::uint64_t low = 1;
  std::uint64_t high = size;  // the heaviest takes a turn in every round
  while (low < high) {
    const std::uint64_t middle = (low + high) / 2;
    if (turns_in(middle) >= size) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  const std::uint64_t rounds = low;

  const auto for_each_turn = [&](auto&& visit) {
    for (std::uint32_t i = 0; i < order.size(); ++i) {
      const std::uint64_t weight = order[i]->weight;
      const std::uint64_t stride = heaviest / weight;
      const std::uint64_t rest = heaviest % weight;
      std::uint64_t ahead = 0;  // round * weight - t * heaviest, what rounding up has added
      for (std::uint64_t round = 0; round < rounds;) {
        visit(round, i);
        const bool carry = ahead < rest;
        round += stride + (carry ? 1 : 0);
        ahead += (carry ? weight : 0) - rest;
      }
    }
  };
  // A counting sort by round; members come in order, and it keeps that order within a round.
  std::vector<std::uint32_t> start(rounds + 1);
  for_each_turn([&](std::uint64_t round, std::uint32_t) { ++start[round + 1]; });
  for (std::uint64_t round = 0; round < rounds; ++round)
    start[round + 1] += start[round];
  std::vector<std::uint32_t> turns(start[rounds]);
  for_each_turn([&](std::uint64_t round, std::uint32_t i) { turns[start[round]++] = i; });
  return turns;
}

}  // namespace

bool is_prime(std::uint32_t n) noexcept {
  if (n < 4) return n >= 2;
  if (n % 2 == 0) return false;
  for (std::uint32_t d = 3; std::uint64_t{d} * d <= n; d += 2) {
    if (n % d == 0) return false;
  }
  return true;
}

bool maglev_fill(std::span<const Member> members, std::span<std::uint16_t> table) {
  if (table.size() > kMaxMaglevSize || !is_prime(static_cast<std::uint32_t>(table.size()))) {
    return false;
  }
  const auto size = static_cast<std::uint32_t>(table.size());
  std::fill(table.begin(), table.end(), kNoSlot);

  std::vector<const Member*> order;
  order.reserve(members.size());
  std::uint32_t heaviest = 0;
  std::uint32_t lightest = ~std::uint32_t{0};
  for (const Member& member : members) {
    if (member.weight == 0) continue;
    order.push_back(&member);
    heaviest = std::max(heaviest, member.weight);
    lightest = std::min(lightest, member.weight);
  }
  if (order.empty()) return true;
  std::sort(order.begin(), order.end(), [](const Member* a, const Member* b) {
    const int compared = a->text.compare(b->text);
    return compared != 0 ? compared < 0 : a->slot < b->slot;
  });

  const Fractions fractions(size);
  std::vector<Cursor> cursors;
  cursors.reserve(order.size());
  for (const Member* member : order) {
    const std::uint64_t hash = key_hash(member->text);
    const auto offset = static_cast<std::uint32_t>(reduce(hash, size));
    const auto skip = static_cast<std::uint32_t>(reduce(attempt_hash(hash, 1), size - 1) + 1);
    cursors.push_back({fractions.of(offset), fractions.of(skip), skip, member->slot});
  }

  Fill fill(cursors, table);
  if (heaviest == lightest) {
    fill.run(CyclicTurns{cursors.size()});
  } else {
    const std::vector<std::uint32_t> turns = list_turns(order, heaviest, size);
    fill.run(ListedTurns{turns.data()});
  }
  return true;
}

}  // namespace ballast::engine
