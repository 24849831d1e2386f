// Row claiming and reaping with OFD locks.
#include "shm/rows.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "shm/host.hpp"
#include "shm/row_protocol.hpp"
#include "shm/tokens.hpp"

namespace ballast::shm {

namespace {

void describe_owner(RowRecord& record) {
  constexpr auto relaxed = std::memory_order_relaxed;  // for people; the lock orders owners
  record.pid.store(static_cast<std::uint64_t>(::getpid()), relaxed);
  record.tid.store(static_cast<std::uint64_t>(::gettid()), relaxed);
  record.start_ticks.store(process_start_ticks(), relaxed);
  record.claimed_ns.store(realtime_ns(), relaxed);
  const auto command = command_words();
  record.command[0].store(command[0], relaxed);
  record.command[1].store(command[1], relaxed);
}

Word64& held_tokens(CounterRecord& record) noexcept {
  return record.values[kHeldTokens];
}

// Whether a row has anything to do with tokens: most have not.
bool holds_tokens(const JournalRecord& journal, std::span<CounterRecord> counters) noexcept {
  constexpr auto relaxed = std::memory_order_relaxed;  // by the owner, or under the row's lock
  return journal.pending.load(relaxed) != 0 ||
         std::any_of(counters.begin(), counters.end(),
                     [](CounterRecord& record) { return held_tokens(record).load(relaxed) != 0; });
}

// Gives the row's range of the sparse file real memory.
Status allocate_row(const WorkersWriter& workers, const std::string& path, std::uint64_t index) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0) return system_error(errno, "open", path);
  const int code =
      allocate(fd, workers.rows_offset + index * workers.row_stride, workers.row_stride);
  ::close(fd);
  if (code != 0) {
    return system_error(code, "allocate a row in", path,
                        std::to_string(workers.row_stride) + " bytes are needed; make room");
  }
  return Done{};
}

// Locks a row that nobody has. Those whose word says free come first, since the kernel walks all
// locks of the file for every try; a live word may belong to a dead owner, so then come all.
Result<std::uint64_t> lock_any_row(const WorkersWriter& workers, const LockFile& lock,
                                   const std::string& path) {
  for (const bool only_free : {true, false}) {
    for (std::uint64_t i = 0; i < workers.directory.size(); ++i) {
      // [mm:row-claim] relaxed: only the order of trying hangs on it, the lock decides.
      const std::uint64_t claim = workers.directory[i].claim.load(std::memory_order_relaxed);
      if (only_free && unpack_identity(claim).phase == Phase::live) continue;
      const Status locked = lock.try_lock(i);
      if (locked) return i;
      if (locked.error().kind != ErrorKind::busy) return locked.error();
    }
  }
  return Error{ErrorKind::busy, 0, "claim a row in", path,
               "all " + std::to_string(workers.directory.size()) +
                   " rows are taken; raise max_workers and reload ballastd"};
}

}  // namespace

Result<Row> Row::claim(const WorkersWriter& workers, const std::string& path) {
  auto lock = LockFile::open(path, /*writable=*/true);
  if (!lock) return lock.error();
  const auto locked = lock_any_row(workers, *lock, path);
  if (!locked) return locked.error();
  const std::uint64_t i = *locked;
  BALLAST_POINT("claim.locked");
  if (const Status allocated = allocate_row(workers, path, i); !allocated) {
    return allocated.error();  // the lock goes with `lock`
  }
  RowRecord& record = workers.directory[i];
  const std::span<CounterRecord> counters = workers.row(i);
  JournalRecord& journal = workers.journal(i);
  // Faults the row in now instead of in the first picks. Only a hint: an old kernel refuses it.
  ::madvise(&journal, workers.row_stride, MADV_POPULATE_WRITE);
  if (unpack_identity(record.claim.load(std::memory_order_relaxed)).phase == Phase::live) {
    record.reaps.store(record.reaps.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    drop_tokens(workers.header->tokens_dirty, journal.pending, counters, held_tokens);
  }
  // [mm:seen-epoch] of a former owner: before the row is live again, under its lock.
  for (RowServiceRecord& service : workers.row_services(i))
    service.seen_epoch.store(0, std::memory_order_relaxed);
  const std::uint32_t incarnation = take(record.claim, counters);
  describe_owner(record);
  return Row(std::move(*lock), static_cast<std::uint32_t>(i), incarnation, workers, &record);
}

Row::Row(Row&& other) noexcept
    : lock_(std::move(other.lock_)),
      index_(other.index_),
      incarnation_(other.incarnation_),
      record_(std::exchange(other.record_, nullptr)),
      counters_(std::exchange(other.counters_, {})),
      services_(std::exchange(other.services_, {})),
      journal_(other.journal_),
      header_(other.header_) {}

Row& Row::operator=(Row&& other) noexcept {
  if (this != &other) {
    leave();
    lock_ = std::move(other.lock_);
    index_ = other.index_;
    incarnation_ = other.incarnation_;
    record_ = std::exchange(other.record_, nullptr);
    counters_ = std::exchange(other.counters_, {});
    services_ = std::exchange(other.services_, {});
    journal_ = other.journal_;
    header_ = other.header_;
  }
  return *this;
}

Row::~Row() {
  leave();
}

void Row::leave() noexcept {
  if (record_ == nullptr) return;
  // The dead are dropped without this question, for who died half way through dropping holds
  // nothing and yet has not said so.
  if (holds_tokens(*journal_, counters_)) {
    drop_tokens(header_->tokens_dirty, journal_->pending, counters_, held_tokens);
  }
  static_cast<void>(reap(record_->claim, counters_));
  BALLAST_POINT("leave.free");
  // Explicitly, because a child forked a moment ago may still have the descriptor.
  lock_.unlock(index_);
  forget();
}

void Row::forget() noexcept {
  record_ = nullptr;
  counters_ = {};
  services_ = {};
  lock_.forget();
}

Reaped reap_dead_rows(const WorkersWriter& workers, const LockFile& lock, std::uint64_t first,
                      std::uint64_t count) {
  Reaped reaped;
  const std::uint64_t rows = workers.directory.size();
  const std::uint64_t end = first < rows ? first + std::min(count, rows - first) : first;
  for (std::uint64_t i = first; i < end; ++i) {
    RowRecord& record = workers.directory[i];
    const auto is_live = [&record] {
      // [mm:row-claim] pairs with the stores of take() and reap().
      return unpack_identity(record.claim.load(std::memory_order_acquire)).phase == Phase::live;
    };
    if (!is_live() || !lock.try_lock(i)) continue;
    // Its owner may have left between the look and the lock.
    if (is_live()) {
      BALLAST_POINT("reap.locked");
      // Before the row is free: until then whoever dies here is reaped again.
      drop_tokens(workers.header->tokens_dirty, workers.journal(i).pending, workers.row(i),
                  held_tokens);
      const std::uint64_t abandoned = reap(record.claim, workers.row(i));
      reaped.abandoned += abandoned;
      reaped.owners.push_back({i, record.pid.load(std::memory_order_relaxed), abandoned});
      record.reaps.store(record.reaps.load(std::memory_order_relaxed) + 1,
                         std::memory_order_relaxed);
      ++reaped.rows;
    }
    lock.unlock(i);
  }
  return reaped;
}

Owner owner_of(const Workers& workers, const LockFile* lock, std::uint64_t index) {
  // [mm:row-claim] pairs with the stores of take() and reap().
  const Identity claim =
      unpack_identity(workers.directory[index].claim.load(std::memory_order_acquire));
  if (claim.phase != Phase::live) return Owner::none;
  if (lock == nullptr) return Owner::unknown;
  switch (lock->holder(index)) {
    case LockFile::Holder::nobody:
      return Owner::dead;
    case LockFile::Holder::somebody:
      return Owner::alive;
    case LockFile::Holder::unknown:
      break;
  }
  return Owner::unknown;
}

}  // namespace ballast::shm
