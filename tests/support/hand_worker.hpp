// A worker that a test moves by hand, on a real row of a published namespace: it counts, journals,
// takes and gives, and can die at any point without the kernel's knowledge of a process.
#pragma once

#include <doctest/doctest.h>

#include <cstdint>
#include <string>

#include "shm/journal.hpp"
#include "shm/row_protocol.hpp"
#include "shm/rows.hpp"
#include "shm/segment.hpp"
#include "shm/tokens.hpp"

namespace ballast::tests {

class HandWorker {
 public:
  explicit HandWorker(const shm::CheckerSegment& segment)
      : workers(segment.workers), row(claim(segment)) {}

  void start(std::uint16_t slot) {
    shm::count_started(row.counters()[slot].values[shm::kStarted]);
    shm::append_journal(row.journal(), slot);
  }
  void finish(std::uint16_t slot, shm::CounterIndex outcome = shm::kSuccess) {
    shm::count_outcome(row.counters()[slot].values[outcome]);
    shm::append_journal(row.journal(), slot);
  }
  // A token for a request to `slot`; `name` says of which word.
  [[nodiscard]] bool take(shm::TokenName name, std::uint16_t slot, std::uint32_t limit) {
    return shm::take_token(word(name), row.journal().pending, held(slot), name, limit);
  }
  void give(shm::TokenName name, std::uint16_t slot) {
    shm::give_token(word(name), row.journal().pending, held(slot), name);
  }
  // As by SIGKILL: the lock is free, the row is as it was.
  void die() { row.forget(); }

  [[nodiscard]] shm::Word64& held(std::uint16_t slot) {
    return row.counters()[slot].values[shm::kHeldTokens];
  }
  [[nodiscard]] shm::Word64& word(shm::TokenName name) const {
    switch (name.kind) {
      case shm::TokenKind::service:
        return workers.services[name.index].tokens;
      case shm::TokenKind::retry:
        return workers.services[name.index].retry_tokens;
      case shm::TokenKind::instance:
        break;
    }
    return workers.instances[name.index].tokens;
  }
  [[nodiscard]] std::uint32_t used(shm::TokenName name) const {
    return shm::unpack_tokens(word(name).load(std::memory_order_relaxed)).used;
  }

  shm::WorkersWriter workers;
  shm::Row row;

 private:
  static shm::Row claim(const shm::CheckerSegment& segment) {
    auto row = shm::Row::claim(segment.workers, segment.workers_file.path());
    REQUIRE_MESSAGE(row, row.error().to_text());
    return std::move(*row);
  }
};

}  // namespace ballast::tests
