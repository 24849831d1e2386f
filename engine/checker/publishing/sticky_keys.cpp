// Reading a key file, with distrust of its mode and its bytes.
#include "engine/checker/publishing/sticky_keys.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <utility>

#include "engine/sticky_keys.hpp"

namespace ballast::checker {

namespace {

using engine::StickySecret;

constexpr std::size_t kMaxFileBytes = 256;  // two lines with their ends, and some to spare
constexpr const char* kHowToMake =
    "make one with: (umask 077; openssl rand -hex 32 > FILE), the same on every host";

shm::Error wrong(const std::string& path, std::string detail) {
  return shm::Error{shm::ErrorKind::invalid, 0, "read the sticky key file", path,
                    std::move(detail)};
}

class Descriptor {
 public:
  explicit Descriptor(const std::string& path)
      // Not to wait for a writer, should it be a pipe.
      : fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  [[nodiscard]] int get() const noexcept { return fd_; }

 private:
  int fd_;
};

// At most one byte more than a key file may have.
shm::Result<std::string> read_whole(const std::string& path) {
  const Descriptor file(path);
  if (file.get() < 0) {
    return shm::system_error(errno, "read the sticky key file", path,
                             errno == ENOENT ? kHowToMake : "let the checker's user read it");
  }
  struct stat status{};
  if (::fstat(file.get(), &status) != 0) {
    return shm::system_error(errno, "read the sticky key file", path);
  }
  if (!S_ISREG(status.st_mode)) return wrong(path, "it is no regular file");
  if ((status.st_mode & 0066) != 0) {
    std::array<char, 8> mode{};
    std::snprintf(mode.data(), mode.size(), "%04o", static_cast<unsigned>(status.st_mode & 07777));
    return wrong(path, "its mode is " + std::string(mode.data()) +
                           ", so others than its owner may read or write it: chmod 600 it, and if "
                           "others may have read it, make another key");
  }
  std::string bytes(kMaxFileBytes + 1, '\0');
  std::size_t filled = 0;
  while (filled < bytes.size()) {
    const ssize_t n = ::read(file.get(), bytes.data() + filled, bytes.size() - filled);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return shm::system_error(errno, "read the sticky key file", path);
    if (n == 0) break;
    filled += static_cast<std::size_t>(n);
  }
  bytes.resize(filled);
  return bytes;
}

int digit_of(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::optional<StickySecret> from_hex(std::string_view line) noexcept {
  StickySecret secret{};
  if (line.size() != 2 * secret.size()) return std::nullopt;
  for (std::size_t i = 0; i < secret.size(); ++i) {
    const int high = digit_of(line[2 * i]);
    const int low = digit_of(line[2 * i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    secret[i] = static_cast<std::uint8_t>(16 * high + low);
  }
  return secret;
}

// 32 bytes of /dev/urandom have fewer than eight different values once in 10^36 files.
bool is_plainly_weak(const StickySecret& secret) {
  StickySecret sorted = secret;
  std::sort(sorted.begin(), sorted.end());
  return std::unique(sorted.begin(), sorted.end()) - sorted.begin() < 8;
}

shm::Result<StickySecrets> parse(const std::string& path, std::string_view bytes) {
  StickySecrets secrets;
  if (bytes.size() == sizeof(StickySecret)) {
    secrets.current.emplace();
    std::copy(bytes.begin(), bytes.end(), secrets.current->begin());
    return secrets;
  }
  std::string_view rest = bytes;
  for (unsigned line_number = 1; !rest.empty(); ++line_number) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ' || line.back() == '\t'))
      line.remove_suffix(1);
    if (line.empty()) continue;
    const auto secret = from_hex(line);
    if (!secret || secrets.previous) {
      const std::string where = "line " + std::to_string(line_number);
      return wrong(path, where +
                             (secrets.previous
                                  ? " is one too many: there are the present key and the one "
                                    "before, no more"
                                  : " is not 64 hexadecimal digits, nor is the file 32 bytes; ") +
                             (secrets.previous ? "" : kHowToMake));
    }
    (secrets.current ? secrets.previous : secrets.current) = secret;
  }
  if (!secrets.current) return wrong(path, std::string("it is empty; ") + kHowToMake);
  return secrets;
}

}  // namespace

shm::Result<StickySecrets> read_sticky_key_file(const std::string& path) {
  if (path.empty()) return StickySecrets{};
  const auto bytes = read_whole(path);
  if (!bytes) return bytes.error();
  auto secrets = parse(path, *bytes);
  if (!secrets) return secrets;
  for (const auto& secret : {secrets->current, secrets->previous}) {
    if (secret && is_plainly_weak(*secret)) {
      return wrong(path, std::string("that key is easily guessed; ") + kHowToMake);
    }
  }
  return secrets;
}

void publish_sticky_keys(shm::SharedServiceRecord& record, const StickySecrets& secrets,
                         std::string_view service) noexcept {
  engine::StickyKeys keys;
  if (secrets.current) keys.current = engine::derive_sticky_key(*secrets.current, service);
  if (secrets.previous) keys.previous = engine::derive_sticky_key(*secrets.previous, service);
  engine::store_sticky_keys(record, keys);
}

}  // namespace ballast::checker
