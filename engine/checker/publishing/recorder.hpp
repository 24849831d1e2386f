// The checker's pen in the flight recorder: writes transitions into the ring of the table, and
// tells them to whoever writes the log, in one step. It also keeps house in both rings: what
// writers claimed who died is made free, and what the segment before a growth has recorded goes
// over to the new one. If the checker dies, all that was recorded stays; a record that it was in
// the middle of is given up by its successor.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "engine/checker/publishing/transition.hpp"
#include "shm/event_ring.hpp"
#include "shm/segment.hpp"

namespace ballast::checker {

using TransitionSink = std::function<void(const Transition&)>;

class Recorder {
 public:
  Recorder() = default;
  explicit Recorder(std::uint64_t term)
      : me_{shm::kCheckerWriter, static_cast<std::uint32_t>(term)} {}

  // Where to write from now on: the active segment, or one that is about to be. Called again
  // whenever it moves.
  void follow(const shm::CheckerSegment& segment);
  void set_sink(TransitionSink sink) { sink_ = std::move(sink); }

  // Into the ring and to the sink. Without a segment, to the sink alone.
  void record(Transition transition) const;

  // Copies what `old` has recorded into the fresh segment, which this must follow already, and
  // remembers how far that went.
  void carry(const shm::CheckerSegment& old);
  // What workers have recorded in the old segment since then.
  void carry_more();
  // For a successor, who does not know how far that went. Takes over what is not there yet.
  void carry_again(const shm::CheckerSegment& old);
  void forget_old() { old_workers_.reset(); }

  // Frees what the dead had claimed, and places that nobody can have written in earnest. The first
  // time everywhere, then in a part of the workers' ring, which has its turn as a whole within
  // kWorkerEvents / kCleanedPerTurn calls. To be called about once a second.
  void clean() noexcept;
  static constexpr std::size_t kCleanedPerTurn = 256;

 private:
  shm::EventWriter me_{};
  shm::EventRingWriter table_;
  shm::EventRingWriter workers_;
  std::span<shm::RowRecord> rows_;
  std::optional<shm::EventReader> old_workers_;
  static constexpr std::size_t kAtOnce = ~std::size_t{0};
  std::size_t turn_ = kAtOnce;  // the first place of the workers' ring to be cleaned next
  TransitionSink sink_;
};

}  // namespace ballast::checker
