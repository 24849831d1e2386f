// Updating a table in place. engine/rendezvous_fill.cpp builds one from nothing.
#include "engine/rendezvous.hpp"

#include <algorithm>
#include <limits>

namespace ballast::engine {

namespace {

__extension__ using Wide = unsigned __int128;

constexpr std::size_t kNobody = std::numeric_limits<std::size_t>::max();
constexpr std::size_t kBlock = 256;  // ranks or entries computed at once, by vector instructions

}  // namespace

RendezvousTable::RendezvousTable() {
  clear();
}

void RendezvousTable::clear() {
  members_.clear();
  keys_.clear();
  weights_.clear();
  for (auto& column : columns_)
    column.clear();
  place_of_slot_.clear();
  lookup_.assign(kRendezvousSize, kNoSlot);
  seconds_.assign(kRendezvousSize, kNoSlot);
  second_ranks_.assign(kRendezvousSize, 0xffff);
  horizon_ = {};
}

void RendezvousTable::add(const Member& member) {
  if (place_of_slot_.size() <= member.slot) place_of_slot_.resize(member.slot + std::size_t{1});
  place_of_slot_[member.slot] = static_cast<std::uint16_t>(members_.size());
  members_.push_back(member);
  weights_.push_back(member.weight);
  const ScoreKey key = score_key(member.text);
  keys_.push_back(key);
  const std::array<std::uint16_t, 6> values = {key.flip,      key.factor[0], key.add[0],
                                               key.factor[1], key.add[1],    key.factor[2]};
  for (std::size_t c = 0; c < columns_.size(); ++c)
    columns_[c].push_back(values[c]);
}

void RendezvousTable::remove(std::size_t place) {
  place_of_slot_[members_.back().slot] = static_cast<std::uint16_t>(place);
  const auto drop = [place](auto& all) {
    all[place] = std::move(all.back());
    all.pop_back();
  };
  if (place + 1 != members_.size()) {
    members_[place] = std::move(members_.back());
  }
  members_.pop_back();
  drop(keys_);
  drop(weights_);
  for (auto& column : columns_)
    drop(column);
}

bool RendezvousTable::wins(std::uint32_t entry, std::size_t a, std::size_t b) const {
  return beats(a, draw_of(keys_[a], entry), b, draw_of(keys_[b], entry));
}

// By the draws of both in the same entry.
bool RendezvousTable::beats(std::size_t a, std::uint64_t draw_a, std::size_t b,
                            std::uint64_t draw_b) const {
  if (weights_[a] == weights_[b]) {
    if (draw_a != draw_b) return draw_a < draw_b;
  } else {
    const Wide length_a = Wide{length_of(rank_lengths(), draw_a)} * weights_[b];
    const Wide length_b = Wide{length_of(rank_lengths(), draw_b)} * weights_[a];
    if (length_a != length_b) return length_a < length_b;
  }
  const int compared = members_[a].text.compare(members_[b].text);
  return compared != 0 ? compared < 0 : members_[a].slot < members_[b].slot;
}

bool RendezvousTable::surely_loses(std::uint16_t rank, std::uint32_t weight,
                                   std::uint16_t other_rank, std::uint32_t other_weight) const {
  if (weight == other_weight) return rank > other_rank;
  const auto lengths = rank_lengths();
  return Wide{lengths[rank]} * other_weight > Wide{lengths[other_rank + std::size_t{1}]} * weight;
}

void RendezvousTable::raise_horizon(std::uint16_t rank, std::uint32_t weight) {
  const Bound bound{rank + 1U, weight};
  if (horizon_.weight == 0) return;
  if (bound.weight == horizon_.weight) {
    horizon_.rank = std::max(horizon_.rank, bound.rank);
  } else if (Wide{rank_lengths()[bound.rank]} * horizon_.weight >
             Wide{rank_lengths()[horizon_.rank]} * bound.weight) {
    horizon_ = bound;
  }
}

void RendezvousTable::measure_horizon() {
  horizon_ = {0, weights_[0]};
  for (std::uint32_t entry = 0; entry < kRendezvousSize; ++entry) {
    raise_horizon(second_ranks_[entry], weights_[place_of_slot_[seconds_[entry]]]);
  }
}

// How many ranks a member of this weight has that can still be second somewhere.
std::uint32_t RendezvousTable::ranks_within_horizon(std::uint32_t weight) const {
  if (horizon_.weight == 0) return kRankCount;
  if (horizon_.weight == weight) return horizon_.rank;
  const auto lengths = rank_lengths();
  const Wide limit = Wide{lengths[horizon_.rank]} * weight;
  const auto ranks = lengths.first<kRankCount>();
  return static_cast<std::uint32_t>(std::upper_bound(ranks.begin(), ranks.end(), limit,
                                                     [this](Wide most, std::uint64_t length) {
                                                       return most < Wide{length} * horizon_.weight;
                                                     }) -
                                    ranks.begin());
}

void RendezvousTable::store(std::uint32_t entry, std::size_t first, std::size_t second,
                            std::uint16_t rank) {
  lookup_[entry] = members_[first].slot;
  seconds_[entry] = members_[second].slot;
  second_ranks_[entry] = rank;
  raise_horizon(rank, weights_[second]);
}

// Asks everybody.
void RendezvousTable::find_top_two(std::uint32_t entry) {
  scores_ += members_.size();
  struct Candidate {
    std::size_t place = kNobody;
    std::uint64_t draw = 0;
  };
  Candidate first;
  Candidate second;
  const auto better = [this](const Candidate& a, const Candidate& b) {
    return b.place == kNobody || beats(a.place, a.draw, b.place, b.draw);
  };
  std::array<std::uint16_t, kBlock> ranks;
  for (std::size_t from = 0; from < members_.size(); from += kBlock) {
    const std::size_t count = std::min(kBlock, members_.size() - from);
    if (entry < kRankCount) {
      const auto at = [&](std::size_t column) { return columns_[column].data() + from; };
      const std::uint16_t *flip = at(0), *factor0 = at(1), *add0 = at(2), *factor1 = at(3),
                          *add1 = at(4), *factor2 = at(5);
      for (std::size_t i = 0; i < count; ++i) {
        ranks[i] = rank_of(static_cast<std::uint16_t>(entry), flip[i], factor0[i], add0[i],
                           factor1[i], add1[i], factor2[i]);
      }
    } else {
      for (std::size_t i = 0; i < count; ++i)
        ranks[i] = static_cast<std::uint16_t>(draw_of(keys_[from + i], entry) >> 32);
    }
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t place = from + i;
      if (second.place != kNobody &&
          surely_loses(ranks[i], weights_[place], static_cast<std::uint16_t>(second.draw >> 32),
                       weights_[second.place])) {
        continue;
      }
      const Candidate next{place, draw_of(keys_[place], entry, ranks[i])};
      if (better(next, first)) {
        second = first;
        first = next;
      } else if (better(next, second)) {
        second = next;
      }
    }
  }
  store(entry, first.place, second.place, static_cast<std::uint16_t>(second.draw >> 32));
}

// The member in `place`, new or heavier than before, may be first or second where it was not.
void RendezvousTable::consider(std::uint32_t entry, std::size_t place, std::uint16_t rank) {
  const std::uint16_t slot = members_[place].slot;
  if (lookup_[entry] == slot) return;
  const bool was_second = seconds_[entry] == slot;
  const std::size_t second = place_of_slot_[seconds_[entry]];
  if (!was_second && surely_loses(rank, weights_[place], second_ranks_[entry], weights_[second])) {
    return;
  }
  const std::uint64_t draw = draw_of(keys_[place], entry, rank);
  if (!was_second && !beats(place, draw, second, draw_of(keys_[second], entry))) return;
  const std::size_t first = place_of_slot_[lookup_[entry]];
  const std::uint64_t first_draw = draw_of(keys_[first], entry);
  if (beats(place, draw, first, first_draw)) {
    seconds_[entry] = lookup_[entry];
    second_ranks_[entry] = static_cast<std::uint16_t>(first_draw >> 32);
    lookup_[entry] = slot;
  } else if (!was_second) {
    seconds_[entry] = slot;
    second_ranks_[entry] = rank;
  }
}

void RendezvousTable::offer(std::size_t place) {
  const ScoreKey key = keys_[place];
  const std::uint32_t ranks = ranks_within_horizon(weights_[place]);
  // Entries in their order are read so much faster that a third of them by rank takes as long.
  const bool all = ranks > kRankCount / 3;
  const std::uint32_t count = all ? kRankCount : ranks;
  std::array<std::uint16_t, kBlock> found;
  for (std::uint32_t from = 0; from < count; from += kBlock) {
    for (std::uint32_t i = 0; i < kBlock; ++i) {
      const auto at = static_cast<std::uint16_t>(from + i);
      found[i] = all ? rank_of(key, at) : entry_of(key, at);
    }
    const std::uint32_t here = std::min<std::uint32_t>(kBlock, count - from);
    for (std::uint32_t i = 0; i < here; ++i) {
      const auto at = static_cast<std::uint16_t>(from + i);
      consider(all ? at : found[i], place, all ? found[i] : at);
    }
  }
  consider(kRankCount, place, static_cast<std::uint16_t>(draw_of(key, kRankCount) >> 32));
  scores_ += count + 1;
  if (all) measure_horizon();
}

std::vector<std::uint32_t> RendezvousTable::entries_of(std::uint16_t slot) const {
  std::vector<std::uint32_t> entries;
  for (std::uint32_t from = 0; from < kRendezvousSize; from += kBlock) {
    const std::uint32_t end = std::min<std::uint32_t>(from + kBlock, kRendezvousSize);
    unsigned any = 0;
    for (std::uint32_t entry = from; entry < end; ++entry)
      any |= lookup_[entry] == slot || seconds_[entry] == slot ? 1U : 0U;
    if (any == 0) continue;
    for (std::uint32_t entry = from; entry < end; ++entry) {
      if (lookup_[entry] == slot || seconds_[entry] == slot) entries.push_back(entry);
    }
  }
  return entries;
}

void RendezvousTable::leave(std::size_t place) {
  const std::uint16_t slot = members_[place].slot;
  remove(place);
  for (const std::uint32_t entry : entries_of(slot))
    find_top_two(entry);
}

void RendezvousTable::lower(std::size_t place, std::uint32_t weight) {
  const std::uint16_t slot = members_[place].slot;
  members_[place].weight = weights_[place] = weight;
  for (const std::uint32_t entry : entries_of(slot)) {
    if (lookup_[entry] == slot) {
      ++scores_;
      if (wins(entry, place, place_of_slot_[seconds_[entry]])) continue;
    }
    find_top_two(entry);
  }
}

void RendezvousTable::update(std::span<const Member> members) {
  std::vector<const Member*> joining, raised, lowered;
  std::vector<bool> stays(members_.size());
  std::size_t kept = 0;
  for (const Member& member : members) {
    if (member.weight == 0) continue;
    const std::size_t place =
        member.slot < place_of_slot_.size() ? place_of_slot_[member.slot] : kNobody;
    const bool known = place < members_.size() && members_[place].slot == member.slot &&
                       members_[place].text == member.text;
    if (!known) {
      joining.push_back(&member);
      continue;
    }
    ++kept;
    stays[place] = true;
    if (member.weight > weights_[place]) raised.push_back(&member);
    if (member.weight < weights_[place]) lowered.push_back(&member);
  }
  const std::size_t leaving = members_.size() - kept;
  // What each kind of change costs, in scores, against building anew.
  const std::uint64_t expected =
      (leaving + lowered.size()) * 2 * kRendezvousSize / 4 +
      (joining.size() + raised.size()) *
          std::min<std::uint64_t>(kRendezvousSize, 14 * kRendezvousSize / (kept + 1));
  // In place there are always two at least, so that every entry has a second.
  if (kept < 2 || expected > 8 * kRendezvousSize) return build(members);

  scores_ = 0;
  rebuilt_ = false;
  std::vector<std::uint16_t> gone;
  for (std::size_t place = 0; place < stays.size(); ++place) {
    if (!stays[place]) gone.push_back(members_[place].slot);
  }
  for (const std::uint16_t slot : gone)
    leave(place_of_slot_[slot]);
  for (const Member* member : lowered)
    lower(place_of_slot_[member->slot], member->weight);
  for (const Member* member : raised) {
    const std::size_t place = place_of_slot_[member->slot];
    members_[place].weight = weights_[place] = member->weight;
    offer(place);
  }
  for (const Member* member : joining) {
    add(*member);
    offer(members_.size() - 1);
  }
}

}  // namespace ballast::engine
