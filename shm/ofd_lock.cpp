// OFD locks by fcntl(2).
#include "shm/ofd_lock.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace ballast::shm {

namespace {

struct flock one_byte(short type, std::uint64_t byte) noexcept {
  struct flock lock{};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = static_cast<off_t>(byte);
  lock.l_len = 1;
  return lock;
}

}  // namespace

Result<LockFile> LockFile::open(const std::string& path, bool writable) {
  const int fd = ::open(path.c_str(), (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return system_error(errno, "open", path);
  return LockFile(fd, path);
}

LockFile::LockFile(LockFile&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), path_(std::move(other.path_)) {}

LockFile& LockFile::operator=(LockFile&& other) noexcept {
  if (this != &other) {
    forget();
    fd_ = std::exchange(other.fd_, -1);
    path_ = std::move(other.path_);
  }
  return *this;
}

LockFile::~LockFile() {
  forget();
}

Status LockFile::try_lock(std::uint64_t byte) const {
  struct flock lock = one_byte(F_WRLCK, byte);
  if (::fcntl(fd_, F_OFD_SETLK, &lock) == 0) return Done{};
  if (errno == EAGAIN || errno == EACCES) return Error{ErrorKind::busy, 0, "lock", path_, "held"};
  return system_error(errno, "lock", path_);
}

Status LockFile::lock(std::uint64_t byte) const {
  struct flock lock = one_byte(F_WRLCK, byte);
  if (::fcntl(fd_, F_OFD_SETLKW, &lock) == 0) return Done{};
  return system_error(errno, "wait for the lock on", path_);
}

void LockFile::unlock(std::uint64_t byte) const noexcept {
  struct flock lock = one_byte(F_UNLCK, byte);
  ::fcntl(fd_, F_OFD_SETLK, &lock);
}

LockFile::Holder LockFile::holder(std::uint64_t byte) const noexcept {
  struct flock lock = one_byte(F_WRLCK, byte);
  if (::fcntl(fd_, F_OFD_GETLK, &lock) != 0) return Holder::unknown;
  return lock.l_type == F_UNLCK ? Holder::nobody : Holder::somebody;
}

bool LockFile::is_at(const std::string& path) const noexcept {
  struct stat named{};
  struct stat mine{};
  if (::stat(path.c_str(), &named) != 0) return errno != ENOENT && errno != ENOTDIR;
  return ::fstat(fd_, &mine) == 0 && named.st_dev == mine.st_dev && named.st_ino == mine.st_ino;
}

void LockFile::forget() noexcept {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

}  // namespace ballast::shm
