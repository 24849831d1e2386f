// Sums of what rows hold, word by word.
#include "engine/checker/loads/token_counter.hpp"

#include <algorithm>
#include <span>
#include <vector>

#include "shm/crash_point.hpp"
#include "shm/tokens.hpp"

namespace ballast::checker {

namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;

using shm::TokenKind;
using shm::TokenName;

std::uint32_t held_in(const shm::WorkersWriter& workers, TokenKind kind,
                      std::span<const std::uint16_t> slots) {
  std::uint32_t held = 0;
  for (std::size_t row = 0; row < workers.directory.size(); ++row) {
    if (!workers.ever_claimed(row)) continue;
    const auto counters = workers.row(row);
    for (const std::uint16_t slot : slots) {
      // [mm:tokens] acquire: who sees what a row holds also sees the swap before it.
      const std::uint64_t word =
          counters[slot].values[shm::kHeldTokens].load(std::memory_order_acquire);
      held += shm::held_of(word, kind);
    }
  }
  return held;
}

// Words that a count of everything reads.
std::uint64_t records_in(const shm::CheckerSegment& segment) {
  std::uint64_t rows = 0;
  for (std::size_t row = 0; row < segment.workers.directory.size(); ++row)
    rows += segment.workers.ever_claimed(row) ? 1 : 0;
  std::uint64_t slots = 0;
  for (const shm::InstanceRecord& record : segment.table.instances)
    slots += record.identity.load(kRelaxed) != 0 ? 1 : 0;
  return rows * slots;
}

bool is_pending(const shm::WorkersWriter& workers, TokenName name) {
  for (std::size_t row = 0; row < workers.directory.size(); ++row) {
    if (!workers.ever_claimed(row)) continue;
    // [mm:tokens] acquire: who sees that nothing is pending sees what the row holds.
    if (workers.journal(row).pending.load(std::memory_order_acquire) == pack(name)) return true;
  }
  return false;
}

// The slots of each service, whatever their phase: a retired instance may have requests in flight.
std::vector<std::vector<std::uint16_t>> slots_by_service(const shm::CheckerSegment& segment) {
  std::vector<std::vector<std::uint16_t>> slots(segment.table.services.size());
  const std::size_t count =
      std::min<std::size_t>(segment.table.instances.size(), segment.workers.instance_count);
  for (std::size_t i = 0; i < count; ++i) {
    const shm::InstanceRecord& record = segment.table.instances[i];
    if (record.identity.load(kRelaxed) == 0) continue;
    const std::uint64_t service = record.service.load(kRelaxed);
    if (service < slots.size()) slots[service].push_back(static_cast<std::uint16_t>(i));
  }
  return slots;
}

// Those of them whose tenant is the same in the segment before.
std::vector<std::uint16_t> still_there(std::span<const std::uint16_t> slots,
                                       const shm::CheckerSegment& segment,
                                       const shm::CheckerSegment& previous) {
  std::vector<std::uint16_t> same;
  const std::size_t count =
      std::min<std::size_t>(previous.table.instances.size(), previous.workers.instance_count);
  const auto tenant = [](const shm::InstanceRecord& record) {
    return shm::unpack_identity(record.identity.load(kRelaxed)).incarnation;
  };
  for (const std::uint16_t slot : slots) {
    if (slot < count &&
        tenant(segment.table.instances[slot]) == tenant(previous.table.instances[slot])) {
      same.push_back(slot);
    }
  }
  return same;
}

}  // namespace

TokensCounted TokenCounter::count(const shm::CheckerSegment& segment,
                                  const shm::CheckerSegment* previous, bool may_take_long) {
  TokensCounted counted;
  if (segment.workers.header == nullptr) return counted;  // the workers file is lost
  if (segment.id != segment_) {
    segment_ = segment.id;
    unfinished_ = true;
  }
  // [mm:tokens] acquire: what was dropped before this count is seen as dropped.
  const std::uint64_t dirty = segment.workers.header->tokens_dirty.load(std::memory_order_acquire);
  if (dirty == handled_ && !unfinished_ && previous == nullptr) return counted;
  if (!may_take_long &&
      records_in(segment) + (previous != nullptr ? records_in(*previous) : 0) > kHeldPerTick) {
    return counted;
  }
  const auto count_word = [&](shm::Word64& word, TokenName name,
                              std::span<const std::uint16_t> slots) {
    if (word.load(kRelaxed) == 0) return;  // never taken
    const auto done = shm::reconcile_tokens(
        word, [&] { return is_pending(segment.workers, name); },
        [&] {
          std::uint32_t held = held_in(segment.workers, name.kind, slots);
          if (previous != nullptr) {
            held += held_in(previous->workers, name.kind, still_there(slots, segment, *previous));
          }
          return held;
        });
    BALLAST_POINT("tokens.counted");
    switch (done) {
      case shm::Reconciled::exact:
        ++counted.exact;
        break;
      case shm::Reconciled::changed:
        ++counted.changed;
        break;
      case shm::Reconciled::busy:
        ++counted.busy;
        break;
    }
  };
  const auto by_service = slots_by_service(segment);
  for (std::size_t s = 0; s < by_service.size() && s < segment.workers.services.size(); ++s) {
    shm::SharedServiceRecord& shared = segment.workers.services[s];
    const auto index = static_cast<std::uint32_t>(s);
    count_word(shared.tokens, {TokenKind::service, index}, by_service[s]);
    count_word(shared.retry_tokens, {TokenKind::retry, index}, by_service[s]);
    for (const std::uint16_t slot : by_service[s]) {
      count_word(segment.workers.instances[slot].tokens, {TokenKind::instance, slot},
                 std::span(&slot, 1));
    }
  }
  handled_ = dirty;
  // Once more when the segment before is gone.
  unfinished_ = counted.busy != 0 || previous != nullptr;
  return counted;
}

void carry_tokens(const shm::CheckerSegment& from, const shm::CheckerSegment& to) {
  const auto carry = [](const shm::Word64& word, shm::Word64& fresh) {
    const std::uint32_t used = shm::unpack_tokens(word.load(kRelaxed)).used;
    // Nobody has the new segment yet. A version of its own, so that 0 stays "never taken".
    if (used != 0) fresh.store(shm::pack(shm::Tokens{1, used}), kRelaxed);
  };
  const auto services = std::min(from.workers.services.size(), to.workers.services.size());
  for (std::size_t i = 0; i < services; ++i) {
    carry(from.workers.services[i].tokens, to.workers.services[i].tokens);
    carry(from.workers.services[i].retry_tokens, to.workers.services[i].retry_tokens);
  }
  const auto instances = std::min(from.workers.instances.size(), to.workers.instances.size());
  for (std::size_t i = 0; i < instances; ++i)
    carry(from.workers.instances[i].tokens, to.workers.instances[i].tokens);
}

}  // namespace ballast::checker
