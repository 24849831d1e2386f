// Events name a watch descriptor, which the kernel shares between all who watch the same file: this
// counts who does.
#include "engine/checker/discovery/path_watch.hpp"

#include <sys/inotify.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <utility>

namespace ballast::checker {
namespace {

// One set for all, since a second one for the same file would replace the first.
constexpr std::uint32_t kEvents = IN_MODIFY | IN_CLOSE_WRITE | IN_ATTRIB | IN_CREATE | IN_DELETE |
                                  IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF;
constexpr std::size_t kEventBytes = 64 * 1024;
constexpr int kReadsAtOnce = 4;  // what comes faster than that waits for the loop's next turn

}  // namespace

PathWatch::PathWatch(Loop& loop) : loop_(loop), inotify_(inotify_init1(IN_NONBLOCK | IN_CLOEXEC)) {
  if (inotify_ >= 0) loop_.watch(inotify_, [this] { drain(); });
}

PathWatch::~PathWatch() {
  if (inotify_ < 0) return;
  loop_.unwatch(inotify_);
  close(inotify_);
}

PathWatch::Id PathWatch::add(const std::string& path, OnEvent on_event) {
  if (inotify_ < 0) return 0;
  const int descriptor = inotify_add_watch(inotify_, path.c_str(), kEvents);
  if (descriptor < 0) return 0;
  ++users_[descriptor];
  const Id id = next_++;
  watchers_[id] = Watcher{descriptor, std::make_shared<OnEvent>(std::move(on_event))};
  return id;
}

PathWatch::Id PathWatch::follow(Id id, const std::string& path) {
  const auto found = watchers_.find(id);
  if (found == watchers_.end()) return 0;
  const int descriptor = inotify_add_watch(inotify_, path.c_str(), kEvents);
  if (descriptor < 0) {
    remove(id);
    return 0;
  }
  if (descriptor == found->second.descriptor) return id;
  ++users_[descriptor];
  release(std::exchange(found->second.descriptor, descriptor));
  return id;
}

void PathWatch::remove(Id id) {
  const auto found = watchers_.find(id);
  if (found == watchers_.end()) return;
  const int descriptor = found->second.descriptor;
  watchers_.erase(found);
  release(descriptor);
}

void PathWatch::release(int descriptor) {
  const auto used = users_.find(descriptor);
  if (used == users_.end() || --used->second > 0) return;
  users_.erase(used);
  inotify_rm_watch(inotify_, descriptor);  // fails if the file is gone: then so is the watch
}

void PathWatch::drain() {
  alignas(inotify_event) std::array<char, kEventBytes> buffer;  // NOLINT: filled by the kernel
  for (int n = 0; n < kReadsAtOnce; ++n) {
    const ssize_t bytes = read(inotify_, buffer.data(), buffer.size());
    if (bytes <= 0) return;
    for (std::size_t at = 0; at < static_cast<std::size_t>(bytes);) {
      inotify_event event{};
      std::memcpy(&event, buffer.data() + at, sizeof event);
      const char* const name = buffer.data() + at + sizeof event;
      tell(event.wd, event.mask,
           event.len == 0 ? std::string_view() : std::string_view(name, strnlen(name, event.len)));
      at += sizeof event + event.len;
    }
  }
}

void PathWatch::tell(int descriptor, std::uint32_t mask, std::string_view name) {
  const bool everybody = (mask & IN_Q_OVERFLOW) != 0;
  std::vector<std::pair<Id, std::shared_ptr<OnEvent>>> whom;
  for (auto& [id, watcher] : watchers_) {
    if (!everybody && watcher.descriptor != descriptor) continue;
    whom.emplace_back(id, watcher.on_event);
    // The kernel may give the number again, to another file.
    if ((mask & IN_IGNORED) != 0) watcher.descriptor = -1;
  }
  if ((mask & IN_IGNORED) != 0) users_.erase(descriptor);
  for (const auto& [id, on_event] : whom) {
    if (watchers_.contains(id)) (*on_event)(mask, name);  // one may have removed another
  }
}

}  // namespace ballast::checker
