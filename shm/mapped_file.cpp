// Opening, creating and mapping the files of a segment.
#include "shm/mapped_file.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/interprocess/exceptions.hpp>
#include <boost/interprocess/file_mapping.hpp>
#include <boost/interprocess/mapped_region.hpp>
#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include "shm/layout.hpp"

namespace ballast::shm {

namespace bip = boost::interprocess;

struct MappedFile::Region {
  bip::mapped_region region;
};

namespace {

constexpr int kMaxAllocateAttempts = 100;

int native_error(const bip::interprocess_exception& e) {
  return e.get_native_error() != 0 ? e.get_native_error() : EIO;
}

// What whoever reads the error can do: files belong to ballastd, and workers are let in by a group.
std::string advice(int code) {
  return code == EACCES ? "be in the group that ballastd's setting workers_group names" : "";
}

bip::mapped_region map_whole(const std::string& path, MappedFile::Access access, bool populate) {
  const bip::mode_t mode =
      access == MappedFile::Access::read_write ? bip::read_write : bip::read_only;
  const bip::file_mapping mapping(path.c_str(), mode);
  return bip::mapped_region(mapping, mode, 0, 0, nullptr, populate ? MAP_POPULATE : 0);
}

}  // namespace

int allocate(int fd, std::uint64_t offset, std::uint64_t bytes) noexcept {
  int code = EINTR;  // a signal interrupts tmpfs, which then takes back what it had allocated
  for (int attempt = 0; code == EINTR && attempt < kMaxAllocateAttempts; ++attempt)
    code = ::posix_fallocate(fd, static_cast<off_t>(offset), static_cast<off_t>(bytes));
  return code;
}

MappedFile::MappedFile(std::string path, std::unique_ptr<Region> region) noexcept
    : path_(std::move(path)), region_(std::move(region)) {
  bytes_ = {static_cast<std::byte*>(region_->region.get_address()), region_->region.get_size()};
}
MappedFile::MappedFile() noexcept = default;
MappedFile::MappedFile(MappedFile&&) noexcept = default;
MappedFile& MappedFile::operator=(MappedFile&&) noexcept = default;
MappedFile::~MappedFile() = default;

Result<MappedFile> MappedFile::open(const std::string& path, Access access, bool populate) {
  struct stat info{};
  if (::stat(path.c_str(), &info) != 0) {
    const int code = errno;
    return system_error(code, "open", path, advice(code));
  }
  if (!S_ISREG(info.st_mode)) {
    return Error{ErrorKind::corrupt, 0, "open", path,
                 "not a regular file; remove it and start ballastd again"};
  }
  const auto bytes = static_cast<std::uint64_t>(info.st_size);
  if (bytes < sizeof(FilePreamble) || bytes > kMaxFileBytes) {
    return Error{ErrorKind::corrupt, 0, "open", path,
                 std::to_string(bytes) +
                     " bytes cannot be a Ballast file; remove it and start "
                     "ballastd again"};
  }
  try {
    return MappedFile(path, std::unique_ptr<Region>(new Region{map_whole(path, access, populate)}));
  } catch (const bip::interprocess_exception& e) {
    const int code = native_error(e);
    return system_error(code, "map", path, advice(code));
  }
}

Result<MappedFile> MappedFile::create(const std::string& path, std::uint64_t bytes,
                                      std::uint64_t allocate_bytes, unsigned mode,
                                      bool keep_existing,
                                      const std::function<Status(std::span<std::byte>)>& fill) {
  // Not the pid: two containers that share a directory may both be process 1.
  std::string temporary = path + ".new.XXXXXX";
  const int fd = ::mkostemp(temporary.data(), O_CLOEXEC);
  if (fd < 0) return system_error(errno, "create", temporary);
  const auto fail = [&](Error error) {
    ::unlink(temporary.c_str());
    return error;
  };
  int code = allocate(fd, 0, allocate_bytes);
  if (code == 0 && ::ftruncate(fd, static_cast<off_t>(bytes)) != 0) code = errno;
  if (code == 0 && ::fchmod(fd, mode) != 0) code = errno;
  ::close(fd);
  if (code != 0) {
    return fail(
        system_error(code, "allocate", temporary,
                     std::to_string(allocate_bytes) +
                         " bytes are needed; make room, or set `directory` to a larger file "
                         "system"));
  }
  try {
    auto region = std::unique_ptr<Region>(
        new Region{map_whole(temporary, Access::read_write, /*populate=*/false)});
    MappedFile file(path, std::move(region));
    if (const Status status = fill(file.bytes()); !status) return fail(status.error());
    // link() refuses an existing name where rename() would replace it.
    const int moved = keep_existing ? ::link(temporary.c_str(), path.c_str())
                                    : ::rename(temporary.c_str(), path.c_str());
    if (moved != 0) return fail(system_error(errno, "rename to", path));
    if (keep_existing) ::unlink(temporary.c_str());
    return file;
  } catch (const bip::interprocess_exception& e) {
    return fail(system_error(native_error(e), "map", temporary));
  }
}

}  // namespace ballast::shm
