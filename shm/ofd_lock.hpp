// A kernel lock on one byte of a file, owned by an open file description (fcntl F_OFD_SETLK). It is
// the only thing in Ballast that says who lives: held through SIGSTOP, freed by the kernel when its
// process dies, blind to pids and pid namespaces.
//
// The lock goes with the *last* reference to the open file description, and both a forked child's
// descriptor and a memory mapping are such references. So a lock's descriptor is opened for the
// lock alone and never mapped, is O_CLOEXEC, and a forked child closes its copy with `forget()`.
#pragma once

#include <cstdint>
#include <string>

#include "shm/result.hpp"

namespace ballast::shm {

class LockFile {
 public:
  enum class Holder { nobody, somebody, unknown };

  // `writable` is needed to take locks; without it only `holder` works.
  static Result<LockFile> open(const std::string& path, bool writable);

  LockFile(LockFile&& other) noexcept;
  LockFile& operator=(LockFile&& other) noexcept;
  ~LockFile();

  // Takes the lock if nobody has it. `busy` if somebody has.
  Status try_lock(std::uint64_t byte) const;
  // Waits for it. A signal ends the wait with EINTR.
  Status lock(std::uint64_t byte) const;
  void unlock(std::uint64_t byte) const noexcept;
  // Whether another open file description holds the byte. Never blocks; needs no write permission.
  [[nodiscard]] Holder holder(std::uint64_t byte) const noexcept;
  // Whether `path` names the very file that this locks. False when it names another or none; a path
  // that cannot be looked at for any other reason (no memory, no permission) proves nothing, and
  // gives true.
  [[nodiscard]] bool is_at(const std::string& path) const noexcept;
  // In a forked child: closes this copy of the descriptor and leaves the parent's lock alone.
  void forget() noexcept;

 private:
  LockFile(int fd, std::string path) noexcept : fd_(fd), path_(std::move(path)) {}

  int fd_ = -1;
  std::string path_;
};

}  // namespace ballast::shm
