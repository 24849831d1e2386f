// The fork handlers, by pthread_atfork(3).
#include "engine/fork_watch.hpp"

#include <pthread.h>

#include <vector>

#include "engine/handle.hpp"

namespace ballast::engine {

namespace {

struct Registry {
  std::mutex mutex;
  std::vector<Handle*> handles;
};

Registry& registry() {
  static auto* const all = new Registry;  // never freed: threads may outlive static destructors
  return *all;
}

void before_fork() {
  registry().mutex.lock();
}
void after_fork_in_parent() {
  registry().mutex.unlock();
}
void after_fork_in_child() {
  for (Handle* handle : registry().handles)
    handle->after_fork_in_child();
  registry().mutex.unlock();
}

}  // namespace

std::mutex& fork_mutex() {
  return registry().mutex;
}

void watch_forks(Handle& handle) {
  static std::once_flag once;
  std::call_once(once, [] {
    static_cast<void>(registry());
    ::pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
  });
  const std::lock_guard lock(registry().mutex);
  registry().handles.push_back(&handle);
}

void unwatch_forks(Handle& handle) {
  const std::lock_guard lock(registry().mutex);
  std::erase(registry().handles, &handle);
}

}  // namespace ballast::engine
