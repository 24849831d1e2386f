// When to look, and reading.
#include "engine/checker/discovery/file_source.hpp"

#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <utility>

#include "engine/checker/discovery/file_targets.hpp"
#include "engine/hash.hpp"

namespace ballast::checker {
namespace {

constexpr std::size_t kReadBytes = 64 * 1024;
// Times of files are as coarse as the kernel's tick: what was changed so lately may change again
// without looking it.
constexpr std::int64_t kTooFreshNs = 100'000'000;

std::int64_t to_ns(const timespec& time) {
  return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

std::int64_t realtime_ns() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return to_ns(now);
}

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  [[nodiscard]] int get() const { return fd_; }

 private:
  int fd_;
};

}  // namespace

FileSource::FileSource(Loop& loop, PathWatch& watch, std::string path)
    : loop_(loop), watch_(watch), path_(std::move(path)) {
  const auto slash = path_.rfind('/');
  directory_ = slash == std::string::npos ? "." : path_.substr(0, std::max<std::size_t>(slash, 1));
  name_ = path_.substr(slash + 1);  // npos + 1 is 0
}

FileSource::~FileSource() {
  watch_.remove(directory_watch_);
  watch_.remove(file_watch_);
  if (timer_) loop_.timers().destroy(*timer_);
}

void FileSource::start(OnDiscovered on_discovered) {
  on_discovered_ = std::move(on_discovered);
  timer_ = loop_.timers().create([this] { look(); });
  due_ = Clock::now();
  loop_.timers().arm(*timer_, due_);
}

void FileSource::refresh() {
  must_read_ = true;
  must_report_ = true;
  look_by(Clock::now());
}

void FileSource::on_event(std::uint32_t mask, std::string_view name, bool of_directory) {
  const auto now = Clock::now();
  const bool about_file = !of_directory || name == name_;
  if (!about_file) {
    // Another name may be a link on the way to ours; a look that finds nothing new costs little.
    look_by(now + kQuiet);
    return;
  }
  must_read_ = true;
  if ((mask & (IN_MOVED_TO | IN_CLOSE_WRITE)) != 0) {
    restless_since_.reset();
    look_by(now);
  } else {
    put_off(now);
  }
}

void FileSource::look_by(Clock::time_point when) {
  when = std::max(when, not_before_);
  if (!timer_ || due_ <= when) return;
  due_ = when;
  loop_.timers().arm(*timer_, due_);
}

void FileSource::put_off(Clock::time_point now) {
  if (!restless_since_) restless_since_ = now;
  due_ = std::max(std::min(now + kQuiet, *restless_since_ + kPatience), not_before_);
  loop_.timers().arm(*timer_, due_);
}

// Asked for at every look: what a path names may have changed on any level above, unseen.
void FileSource::follow_paths() {
  const auto follow = [&](PathWatch::Id& id, const std::string& path, bool of_directory) {
    if (id != 0) id = watch_.follow(id, path);
    if (id != 0) return;
    id = watch_.add(path, [this, of_directory](std::uint32_t mask, std::string_view name) {
      on_event(mask, name, of_directory);
    });
  };
  follow(directory_watch_, directory_, true);
  follow(file_watch_, path_, false);
}

void FileSource::look() {
  const auto from = Clock::now();
  // For what asks again while it is looked.
  not_before_ = from + kMinGap;
  look_and_report();
  const auto now = Clock::now();
  not_before_ = now + std::max<Clock::duration>(kMinGap, kPauseFactor * (now - from));
  if (due_ >= not_before_) return;
  due_ = not_before_;
  loop_.timers().arm(*timer_, due_);
}

void FileSource::look_and_report() {
  due_ = Clock::now() + kPoll;
  loop_.timers().arm(*timer_, due_);
  follow_paths();  // before reading, so that nothing happens unseen in between
  auto bytes = read_file();
  if (!bytes) return;
  if (bytes->unsettled) {
    const auto now = Clock::now();
    if (!restless_since_ || now < *restless_since_ + kPatience) {
      must_read_ = true;
      put_off(now);
      return;
    }
    restless_since_.reset();
    bytes->error = path_ + ": it is written to faster than it can be read";
  }
  restless_since_.reset();
  if (!bytes->error.empty()) {
    must_read_ = true;  // the next look may find it well, with the same signature
    report({{}, std::move(bytes->error), {}});
    return;
  }
  const std::uint64_t content = engine::key_hash(bytes->text);
  if (reported_ == content && !must_report_) return;
  Discovered found = parse_file_targets(path_, bytes->text);
  const bool good = found.error.empty();
  report(std::move(found));
  if (good) reported_ = content;
}

void FileSource::report(Discovered found) {
  must_report_ = false;
  if (!found.error.empty()) reported_.reset();  // being well again is news
  on_discovered_(std::move(found));
}

std::optional<FileSource::Bytes> FileSource::read_file() {
  Bytes bytes;
  const auto fail = [&](const std::string& what) {
    bytes.error = path_ + ": " + what;
    return bytes;
  };
  // A FIFO would make a blocking open wait for a writer.
  const Descriptor file(open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (file.get() < 0) return fail(std::strerror(errno));
  struct stat before{};
  if (fstat(file.get(), &before) != 0) return fail(std::strerror(errno));
  if (S_ISDIR(before.st_mode)) return fail("a directory, not a file");
  if (!S_ISREG(before.st_mode)) return fail("not a regular file");
  const auto too_large = [&] {
    return fail("more than " + std::to_string(kMaxTargetFileBytes >> 20) + " MiB");
  };
  const auto signature_of = [](const struct stat& s) {
    return Signature{s.st_dev, s.st_ino, s.st_size, to_ns(s.st_mtim), to_ns(s.st_ctim)};
  };
  const Signature signature = signature_of(before);
  if (seen_ == signature && !must_read_) return std::nullopt;
  seen_.reset();
  if (before.st_size > static_cast<off_t>(kMaxTargetFileBytes)) return too_large();
  bytes.text.reserve(static_cast<std::size_t>(before.st_size) + 1);
  std::array<char, kReadBytes> buffer;  // NOLINT: filled by the kernel
  for (;;) {
    const ssize_t n = read(file.get(), buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(std::strerror(errno));
    if (n == 0) break;
    bytes.text.append(buffer.data(), static_cast<std::size_t>(n));
    if (bytes.text.size() > kMaxTargetFileBytes) return too_large();
  }
  struct stat after{};
  if (fstat(file.get(), &after) != 0) return fail(std::strerror(errno));
  bytes.unsettled = signature_of(after) != signature;
  must_read_ = false;
  const std::int64_t newest = std::max(signature.modified_ns, signature.changed_ns);
  if (realtime_ns() - newest > kTooFreshNs) seen_ = signature;
  return bytes;
}

}  // namespace ballast::checker
