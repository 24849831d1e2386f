// Tells at once when something happens to a path: one inotify instance for all the sources of a
// process, since the system gives a user few of them. Without one (none is left, a file system that
// tells nothing) nobody is told anything: whoever watches must also look now and then. Owned and
// called by the loop's thread; the kernel forgets it all when the process dies.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/checker/loop/loop.hpp"

namespace ballast::checker {

class PathWatch {
 public:
  using Id = std::uint64_t;  // 0: none
  // What happened: IN_* of <sys/inotify.h>, and, within a directory, to whom. IN_Q_OVERFLOW, with
  // no name: anything may have happened. IN_IGNORED: it is watched no longer.
  using OnEvent = std::function<void(std::uint32_t mask, std::string_view name)>;

  explicit PathWatch(Loop& loop);
  ~PathWatch();
  PathWatch(const PathWatch&) = delete;
  PathWatch& operator=(const PathWatch&) = delete;

  // Watches what `path` names now (links are followed), if that is possible. Several may watch the
  // same.
  [[nodiscard]] Id add(const std::string& path, OnEvent on_event);
  // Makes `id` watch what `path` names by now, which may be something else than before; returns it,
  // or 0 when there is nothing to watch (then `id` is gone).
  [[nodiscard]] Id follow(Id id, const std::string& path);
  // No event follows.
  void remove(Id id);

 private:
  struct Watcher {
    int descriptor = -1;  // inotify's
    std::shared_ptr<OnEvent> on_event;
  };

  void drain();
  void tell(int descriptor, std::uint32_t mask, std::string_view name);
  void release(int descriptor);

  Loop& loop_;
  int inotify_ = -1;
  std::map<Id, Watcher> watchers_;
  std::map<int, std::size_t> users_;  // of a descriptor
  Id next_ = 1;
};

}  // namespace ballast::checker
