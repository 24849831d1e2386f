// What every strategy's pick and report are measured against: the same choice over private, plain
// arrays in the memory of one process, which nobody else writes. The same hash, draws and
// comparisons, the same loads (lookup, state, load word, address, how many breakers are open, the
// breaker and the window of a success), the same pick filled in and known again by its report, the
// same counts and journal entries; but no atomics, no look at root, no beat of a checker, no bounds
// of slots, and nothing shared. Nobody can do less and still choose, and be told, like that; but
// round robin divides for each turn, as it is usually written, where the handle does once a block.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <vector>

#include "bench/support/keys.hpp"
#include "engine/ballast.h"
#include "engine/breaker_word.hpp"
#include "engine/hash.hpp"
#include "engine/ketama.hpp"
#include "engine/load_score.hpp"
#include "engine/load_word.hpp"
#include "engine/policy.hpp"
#include "engine/random.hpp"
#include "engine/service_view.hpp"
#include "shm/layout.hpp"
#include "shm/state_word.hpp"

namespace ballast::bench {

class StrategyFloor {
 public:
  StrategyFloor(const engine::ServiceView& view, std::uint64_t seed)
      : policy_(view.policy), flags_(view.flags), random_(seed) {
    const engine::GenerationView& group = view.first();
    copy(group.lookup, group.lookup_count, lookup_);
    copy(group.members, group.member_count, members_);
    copy(group.states, group.slot_count, states_);
    copy(view.loads, group.slot_count, loads_);
    breakers_.resize(group.slot_count);
    windows_.resize(group.slot_count);
    if (group.kind == shm::LookupKind::ring) {
      copy(group.points, group.lookup_count, points_);
      copy(group.index, group.index_count, index_);
    }
    for (std::uint64_t slot = 0; slot < group.slot_count; ++slot) {
      std::array<std::uint64_t, 16>& record = instances_.emplace_back();
      for (std::size_t w = 0; w < 3; ++w)
        record[w] = shm::get(view.instances[slot].endpoint[w]);
    }
    counters_.resize(group.slot_count);
    in_flight_.resize(group.slot_count);
    rule_ = {policy_.strategy, policy_.hot_cold != 0, 0};
    total_ = view.load->in_flight.load(std::memory_order_relaxed);
    weights_ = view.load->weight_sum.load(std::memory_order_relaxed);
  }

  [[gnu::always_inline]] inline void pick(const Key& key, ballast_pick_t& out) noexcept {
    const std::uint32_t slot = choose(key);
    const std::array<std::uint64_t, 16>& record = instances_[slot];
    out.port = static_cast<std::uint16_t>(record[0]);
    out.family = static_cast<std::uint8_t>(record[0] >> 16);
    std::memcpy(out.address, &record[1], sizeof out.address);
    out.slot = slot;
    out.incarnation = shm::incarnation_of(states_[slot]);
    out.row = row_;
    out.row_incarnation = row_incarnation_;
    out.reason = 0;
    out.segment = segment_;
    out.epoch = epoch_;
    out.attempts = 1;
    out.reported = 0;
    out.flags = flags_;
    out.permit = 0;
    ++counters_[slot][shm::kStarted];
    if (keeps_journal()) {
      ++in_flight_[slot];
      append(slot);
    }
  }
  [[gnu::always_inline]] inline void report(ballast_pick_t& pick, ballast_outcome_t outcome,
                                            std::uint64_t latency_us) noexcept {
    if (pick.reported != 0 || pick.slot >= counters_.size() || pick.segment != segment_ ||
        pick.row != row_ || pick.row_incarnation != row_incarnation_) {
      return;
    }
    pick.reported = 1;
    auto& counters = counters_[pick.slot];
    counters[shm::kLatencySumUs] += latency_us;
    ++counters[shm::kLatencyCount];
    ++counters[outcome];
    // As the handle: a healthy instance's success is told to nobody, in branches that are foreseen.
    if (engine::may_reset(breakers_[pick.slot]) || windows_[pick.slot] != 0) [[unlikely]]
      told_ += breakers_[pick.slot];
    if (keeps_journal()) {
      --in_flight_[pick.slot];
      append(pick.slot);
    }
  }

 private:
  template <class Word, class Value>
  static void copy(const Word* from, std::uint64_t count, std::vector<Value>& to) {
    for (std::uint64_t i = 0; i < count; ++i)
      to.push_back(shm::get(from[i]));
  }

  [[nodiscard]] bool keeps_journal() const noexcept {
    return (flags_ & engine::pick_flags::kJournals) != 0;
  }
  void append(std::uint32_t slot) noexcept {
    journal_[head_ % shm::kJournalEntries] = static_cast<std::uint16_t>(slot);
    ++head_;
  }

  [[gnu::always_inline]] inline std::uint32_t choose(const Key& key) noexcept {
    switch (policy_.strategy) {
      case engine::Strategy::maglev:
      case engine::Strategy::rendezvous:
        return by_key(engine::key_hash(key.bytes, key.size));
      case engine::Strategy::ketama: {
        const std::uint32_t hash = engine::ketama_hash({key.bytes, key.size});
        return usable(lookup_[engine::find_ketama(points_, index_, hash)]);
      }
      case engine::Strategy::round_robin: {
        const std::uint64_t turn = next_++;
        return usable(lookup_[turn % lookup_.size()]);
      }
      case engine::Strategy::random:
        return usable(lookup_[random_.below(lookup_.size())]);
      case engine::Strategy::least_connections:
      case engine::Strategy::least_response_time:
      case engine::Strategy::adaptive:
        return policy_.choices == 0 ? scan() : draw();
    }
    return 0;
  }

  [[nodiscard]] std::uint32_t usable(std::uint32_t slot) const noexcept {
    return shm::is_plain(states_[slot]) && open_breakers_ == 0 ? slot : 0;
  }
  [[nodiscard]] std::uint32_t by_key(std::uint64_t hash) const noexcept {
    std::uint32_t slot = 0;
    for (std::uint32_t attempt = 0; attempt < 24; ++attempt) {
      slot = lookup_[engine::reduce(engine::attempt_hash(hash, attempt), lookup_.size())];
      const std::uint64_t state = states_[slot];
      if (!shm::is_plain(state) || open_breakers_ != 0) continue;
      if (policy_.hash_bound_percent == 0) break;
      const std::uint64_t in_flight = load(slot).in_flight;
      if (in_flight * 100 * weights_ <
          policy_.hash_bound_percent * (total_ + 1) * shm::weight_of(state)) {
        break;
      }
    }
    return slot;
  }
  [[nodiscard]] engine::Load load(std::uint32_t slot) const noexcept {
    engine::Load load = engine::unpack_load(loads_[slot]);
    load.in_flight = std::max(load.in_flight, in_flight_[slot]);
    return load;
  }
  [[nodiscard]] std::uint32_t draw() noexcept {
    std::array<std::uint32_t, 8> drawn;
    std::uint32_t count = 0;
    std::uint32_t best = 0;
    engine::LoadScore best_score;
    while (count < policy_.choices) {
      const std::uint32_t slot = lookup_[random_.below(lookup_.size())];
      bool again = !shm::is_plain(states_[slot]);
      for (std::uint32_t i = 0; i < count; ++i)
        again |= drawn[i] == slot;
      if (again) continue;
      drawn[count++] = slot;
      const engine::LoadScore score =
          engine::load_score(load(slot), shm::weight_of(states_[slot]), rule_);
      if (count == 1 || engine::compare(score, best_score) == engine::Better::first) {
        best = slot;
        best_score = score;
      }
    }
    return best;
  }
  [[nodiscard]] std::uint32_t scan() noexcept {
    std::uint32_t best = 0;
    std::uint32_t equals = 0;
    engine::LoadScore best_score;
    std::uint64_t place = random_.below(members_.size());
    for (std::size_t i = 0; i < members_.size(); ++i) {
      const std::uint32_t slot = members_[place];
      place = place + 1 == members_.size() ? 0 : place + 1;
      if (!shm::is_plain(states_[slot])) continue;
      const engine::LoadScore score =
          engine::load_score(load(slot), shm::weight_of(states_[slot]), rule_);
      const engine::Better better =
          equals == 0 ? engine::Better::second : engine::compare(best_score, score);
      if (better == engine::Better::first) continue;
      if (better == engine::Better::neither) {
        if (random_.below(++equals) != 0) continue;
      } else {
        equals = 1;
      }
      best = slot;
      best_score = score;
    }
    return best;
  }

  engine::Policy policy_;
  std::uint8_t flags_;
  engine::Random random_;
  engine::LoadRule rule_;
  std::uint64_t total_ = 0;
  std::uint64_t weights_ = 0;
  std::uint64_t next_ = 0;
  std::uint64_t segment_ = 1;
  std::uint64_t epoch_ = 1;
  std::uint32_t row_ = 0;
  std::uint32_t row_incarnation_ = 1;
  std::uint32_t open_breakers_ = 0;
  std::uint64_t told_ = 0;
  std::vector<std::uint16_t> lookup_, members_;
  std::vector<std::uint32_t> points_, index_;
  std::vector<std::uint64_t> states_, loads_, breakers_, windows_;
  std::vector<std::array<std::uint64_t, 16>> instances_;
  std::vector<std::array<std::uint64_t, 16>> counters_;
  std::vector<std::uint32_t> in_flight_;
  std::array<std::uint16_t, shm::kJournalEntries> journal_{};
  std::uint64_t head_ = 0;
};

}  // namespace ballast::bench
