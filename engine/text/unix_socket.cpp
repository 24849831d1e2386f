// A deep directory is opened, and the socket reached through its descriptor.
#include "engine/text/unix_socket.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace ballast::engine {
namespace {

class Address {
 public:
  // 0, or an errno.
  int set(const std::string& path) {
    address_.sun_family = AF_UNIX;
    if (path.empty()) return ENOENT;
    if (path.size() < sizeof address_.sun_path) return put(path);
    const auto slash = path.rfind('/');
    if (slash == std::string::npos) return ENAMETOOLONG;
    directory_ = ::open(path.substr(0, slash + 1).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (directory_ < 0) return errno;
    return put("/proc/self/fd/" + std::to_string(directory_) + path.substr(slash));
  }
  Address() = default;
  ~Address() {
    if (directory_ >= 0) ::close(directory_);
  }
  Address(const Address&) = delete;
  Address& operator=(const Address&) = delete;

  [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&address_); }
  [[nodiscard]] const char* path() const { return address_.sun_path; }

 private:
  int put(const std::string& path) {
    if (path.size() >= sizeof address_.sun_path) return ENAMETOOLONG;
    std::memcpy(address_.sun_path, path.c_str(), path.size() + 1);
    return 0;
  }

  sockaddr_un address_{};
  int directory_ = -1;
};

}  // namespace

shm::Result<int> listen_unix(const std::string& path, unsigned mode, long group, int backlog) {
  constexpr const char* kListen = "listen at";
  Address address;
  if (const int code = address.set(path); code != 0) return shm::system_error(code, kListen, path);
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return shm::system_error(errno, kListen, path);
  const auto fail = [&](const char* what, bool made) {
    const int code = errno;
    ::close(fd);
    if (made) ::unlink(path.c_str());
    return shm::system_error(code, what, path);
  };
  // The file that bind() makes takes its mode from here, less the umask; chmod makes that good.
  if (::fchmod(fd, mode) != 0) return fail(kListen, false);
  if (::bind(fd, address.get(), sizeof(sockaddr_un)) != 0) return fail(kListen, false);
  if (group >= 0 && ::chown(address.path(), static_cast<uid_t>(-1), static_cast<gid_t>(group)) != 0)
    return fail("give the group the socket", true);
  if (::chmod(address.path(), mode) != 0) return fail("set the mode of", true);
  if (::listen(fd, backlog) != 0) return fail(kListen, true);
  return fd;
}

bool is_listened_at(const std::string& path) {
  Address address;
  if (address.set(path) != 0) return false;
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return false;
  // EAGAIN: its queue is full.
  const bool listened = ::connect(fd, address.get(), sizeof(sockaddr_un)) == 0 || errno == EAGAIN;
  ::close(fd);
  return listened;
}

shm::Result<int> connect_unix(const std::string& path) {
  constexpr const char* kConnect = "connect to";
  Address address;
  if (const int code = address.set(path); code != 0) return shm::system_error(code, kConnect, path);
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return shm::system_error(errno, kConnect, path);
  while (::connect(fd, address.get(), sizeof(sockaddr_un)) != 0) {
    if (errno == EINTR) continue;
    const int code = errno;
    ::close(fd);
    return shm::system_error(code, kConnect, path);
  }
  return fd;
}

}  // namespace ballast::engine
