// Claiming a row, leaving it, and reaping the rows of the dead: the row protocol together with the
// kernel lock that decides who may write. A worker thread claims one row for its handle; the
// checker reaps. If a worker dies its lock goes with it; if the checker dies, the next claimer of
// the row, or the next checker, reaps instead.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "shm/layout.hpp"
#include "shm/ofd_lock.hpp"
#include "shm/result.hpp"
#include "shm/views.hpp"

namespace ballast::shm {

// A row that the calling handle owns. Move-only; leaving gives the row back and counts what is
// still in flight as abandoned. Not thread-safe: one thread at a time. After fork() the child must
// call `forget()` before anything else, and never `leave()`.
class Row {
 public:
  // Takes the first free row, or if there is none the first of a dead owner. `path` is the workers
  // file, opened again for its locks. Errors: `busy` when all rows are taken (raise max_workers),
  // `full` when there is no memory for the row.
  static Result<Row> claim(const WorkersWriter& workers, const std::string& path);

  Row(Row&& other) noexcept;
  Row& operator=(Row&& other) noexcept;
  ~Row();

  [[nodiscard]] std::uint32_t index() const noexcept { return index_; }
  [[nodiscard]] std::uint32_t incarnation() const noexcept { return incarnation_; }
  [[nodiscard]] std::span<CounterRecord> counters() const noexcept { return counters_; }
  [[nodiscard]] std::span<RowServiceRecord> services() const noexcept { return services_; }
  // Only while the row is owned.
  [[nodiscard]] JournalRecord& journal() const noexcept { return *journal_; }

  void leave() noexcept;
  void forget() noexcept;

 private:
  Row(LockFile lock, std::uint32_t index, std::uint32_t incarnation, const WorkersWriter& workers,
      RowRecord* record) noexcept
      : lock_(std::move(lock)),
        index_(index),
        incarnation_(incarnation),
        record_(record),
        counters_(workers.row(index)),
        services_(workers.row_services(index)),
        journal_(&workers.journal(index)),
        header_(workers.header) {}

  LockFile lock_;
  std::uint32_t index_;
  std::uint32_t incarnation_;
  RowRecord* record_;  // null: left, moved from or forgotten
  std::span<CounterRecord> counters_;
  std::span<RowServiceRecord> services_;
  JournalRecord* journal_;
  FileHeader* header_;
};

// A row that was reaped, as its dead owner had described itself.
struct ReapedRow {
  std::uint64_t row = 0;
  std::uint64_t pid = 0;
  std::uint64_t abandoned = 0;
};

struct Reaped {
  std::uint64_t rows = 0;
  std::uint64_t abandoned = 0;      // requests that the dead had in flight
  std::vector<ReapedRow> owners{};  // each of the rows
};

// Frees every live row whose lock nobody holds, of `count` rows from `first` on. Any process that
// may write the workers file can call it; two at once are kept apart by the row's lock. Asks the
// kernel once for each live row, and each time it walks all locks of the file: 0.2 ms for 256
// living owners, but 100 ms for 4096.
Reaped reap_dead_rows(const WorkersWriter& workers, const LockFile& lock, std::uint64_t first = 0,
                      std::uint64_t count = kMaxRows);

enum class Owner { none, alive, dead, unknown };
// Who owns a row: `dead` when it is live but unlocked, `unknown` when locks mean nothing (a copy).
[[nodiscard]] Owner owner_of(const Workers& workers, const LockFile* lock, std::uint64_t index);

}  // namespace ballast::shm
