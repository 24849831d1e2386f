// The weighted rendezvous table: each entry belongs to the member with the highest score in it
// (engine/rendezvous_score.hpp), and next to it stands the runner-up, which is the winner if the
// first were gone. So a member that joins takes entries and moves nothing between others, one that
// leaves moves its own, and neither order nor history matters. Looked up as Maglev's table is. The
// checker keeps one of these for each service that asks for it and updates it in place; it is
// private memory, written and read by the checker alone, and built anew by a successor.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/member.hpp"
#include "engine/rendezvous_score.hpp"

namespace ballast::engine {

class RendezvousTable {
 public:
  RendezvousTable();

  // From nothing. Members of weight 0 are left out; slots must differ. A pure function of the set
  // of (text, weight): scores that are equal to the last bit go to the lower text. About 2 ms,
  // however many members.
  void build(std::span<const Member> members);

  // The same table as build(members), from what it is now: by the entries that can have changed, or
  // anew where that is quicker. A join asks for one score an entry at most (with many members, for
  // the few entries where it can be first or second); a leave for those entries where the member
  // was first or second; a weight that rises is like a join, one that falls like a leave.
  void update(std::span<const Member> members);

  // kRendezvousSize slots each. kNoSlot everywhere without members, and in `seconds` with only one.
  [[nodiscard]] std::span<const std::uint16_t> lookup() const noexcept { return lookup_; }
  [[nodiscard]] std::span<const std::uint16_t> seconds() const noexcept { return seconds_; }
  [[nodiscard]] std::size_t members() const noexcept { return members_.size(); }

  // Of the last build or update: how many scores it looked at, and whether it began from nothing.
  // For tests and for people.
  [[nodiscard]] std::uint64_t scores() const noexcept { return scores_; }
  [[nodiscard]] bool rebuilt() const noexcept { return rebuilt_; }

 private:
  // No second's length / weight is above rank_lengths()[rank] / weight. Weight 0: any may be.
  struct Bound {
    std::uint32_t rank = kRankCount;
    std::uint32_t weight = 0;
  };

  void clear();
  void fill_equal();
  void fill_weighted();
  void add(const Member& member);
  void remove(std::size_t place);
  void leave(std::size_t place);
  void lower(std::size_t place, std::uint32_t weight);
  void offer(std::size_t place);
  void consider(std::uint32_t entry, std::size_t place, std::uint16_t rank);
  void find_top_two(std::uint32_t entry);
  void store(std::uint32_t entry, std::size_t first, std::size_t second, std::uint16_t rank);
  void raise_horizon(std::uint16_t rank, std::uint32_t weight);
  void measure_horizon();
  [[nodiscard]] std::uint32_t ranks_within_horizon(std::uint32_t weight) const;
  [[nodiscard]] bool wins(std::uint32_t entry, std::size_t a, std::size_t b) const;
  [[nodiscard]] bool beats(std::size_t a, std::uint64_t draw_a, std::size_t b,
                           std::uint64_t draw_b) const;
  [[nodiscard]] bool surely_loses(std::uint16_t rank, std::uint32_t weight,
                                  std::uint16_t other_rank, std::uint32_t other_weight) const;
  [[nodiscard]] std::vector<std::uint32_t> entries_of(std::uint16_t slot) const;

  // By place, an order without meaning.
  std::vector<Member> members_;
  std::vector<ScoreKey> keys_;
  std::vector<std::uint32_t> weights_;
  // What rank_of takes of each key, one array a parameter, so that one entry's rank is computed for
  // several members at once.
  std::array<std::vector<std::uint16_t>, 6> columns_;
  std::vector<std::uint16_t> place_of_slot_;

  std::vector<std::uint16_t> lookup_;
  std::vector<std::uint16_t> seconds_;
  std::vector<std::uint16_t> second_ranks_;
  Bound horizon_;
  std::uint64_t scores_ = 0;
  bool rebuilt_ = false;
};

}  // namespace ballast::engine
