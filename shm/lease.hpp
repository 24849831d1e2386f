// The right to be the one checker of a namespace: a kernel lock on the first byte of its locator.
// It is held through SIGSTOP, so a paused checker is not replaced by a second writer, and freed by
// death, whatever the pid namespace. Everything that writes a table asks for a Lease, and there is
// no other way to get one than `acquire`. Not for use across fork(): a child must not keep it
// (O_CLOEXEC covers exec).
#pragma once

#include <cstdint>
#include <string>

#include "shm/layout.hpp"
#include "shm/mapped_file.hpp"
#include "shm/ofd_lock.hpp"
#include "shm/result.hpp"

namespace ballast::shm {

class Lease {
 public:
  enum class Wait { no, yes };

  // Opens the directory's locator, making both if they are missing, and takes the lease. Without
  // waiting, `busy` says who holds it and since when. Waiting ends with EINTR on a signal.
  static Result<Lease> acquire(const std::string& directory, Wait wait);

  // Asks whoever holds the directory's lease now to leave it. The holder sees it at its next look
  // at `handover_requested`; one that is stopped or stuck never does, so the caller waits with a
  // limit. Returns the term that was asked to end.
  static Result<std::uint64_t> request_handover(const std::string& directory);
  // Takes a request back, unless it has been followed by now.
  static void withdraw_handover(const std::string& directory, std::uint64_t term);

  [[nodiscard]] bool handover_requested() const noexcept;

  [[nodiscard]] const std::string& directory() const noexcept { return directory_; }
  [[nodiscard]] std::uint64_t term() const noexcept { return term_; }
  [[nodiscard]] std::uint64_t since_ns() const noexcept { return since_ns_; }

  [[nodiscard]] std::uint64_t active_segment() const noexcept;
  // Sends everyone who attaches from now on to this segment.
  void set_active_segment(std::uint64_t id) noexcept;

  // Whether the locator is still the file that workers find by its name. False after somebody
  // removed the directory: then another checker may already serve the name, and this one must stop.
  [[nodiscard]] bool still_in_place() const;

  // Leaves in order: says that nobody holds it, then frees it.
  void leave() noexcept;

 private:
  Lease(std::string directory, MappedFile file, LockFile lock, Locator* locator);
  void begin_term();

  std::string directory_;
  MappedFile file_;
  LockFile lock_;
  Locator* locator_;
  std::uint64_t term_ = 0;
  std::uint64_t since_ns_ = 0;
};

}  // namespace ballast::shm
