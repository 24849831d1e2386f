// A file of a segment, mapped whole. Boost.Interprocess does the mapping; this adds what it leaves
// out: only regular files are opened (a FIFO would block), the length is checked, and failures are
// results instead of exceptions. Move-only; unmaps when it goes. Mapping has its own open file
// description, which is why row and lease locks are taken on other descriptors (see
// `shm/ofd_lock.hpp`).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "shm/result.hpp"

namespace ballast::shm {

// posix_fallocate(3), again when a signal interrupts it. Returns 0 or an errno.
[[nodiscard]] int allocate(int fd, std::uint64_t offset, std::uint64_t bytes) noexcept;

class MappedFile {
 public:
  enum class Access { read_only, read_write };

  // Maps an existing file. `populate` reads all pages in at once, so that a pick never faults.
  static Result<MappedFile> open(const std::string& path, Access access, bool populate);

  // Makes a file of `bytes` so that nobody ever sees half of it: a temporary name, all of the first
  // `allocate_bytes` really allocated (a sparse file on a full tmpfs kills with SIGBUS later),
  // `fill` run on the zeroed mapping, then renamed to `path`. On failure nothing is left behind.
  // With `keep_existing` a file that somebody else made first is kept, and the error is EEXIST.
  static Result<MappedFile> create(const std::string& path, std::uint64_t bytes,
                                   std::uint64_t allocate_bytes, unsigned mode, bool keep_existing,
                                   const std::function<Status(std::span<std::byte>)>& fill);

  // Nothing mapped, no path.
  MappedFile() noexcept;
  MappedFile(MappedFile&&) noexcept;
  MappedFile& operator=(MappedFile&&) noexcept;
  ~MappedFile();

  [[nodiscard]] std::span<std::byte> bytes() const noexcept { return bytes_; }
  [[nodiscard]] const std::string& path() const noexcept { return path_; }

 private:
  struct Region;
  MappedFile(std::string path, std::unique_ptr<Region> region) noexcept;

  std::string path_;
  std::unique_ptr<Region> region_;
  std::span<std::byte> bytes_;
};

}  // namespace ballast::shm
