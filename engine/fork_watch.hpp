// All handles of this process, so that a forked child's handles forget their parent's rows before
// the child does anything. Whatever moves or frees what Handle::after_fork_in_child touches holds
// the mutex, which fork() takes too, so a child never starts with half of it. Never on a pick's
// path.
#pragma once

#include <mutex>

namespace ballast::engine {

class Handle;

[[nodiscard]] std::mutex& fork_mutex();

// Tells the handle of every fork, from now until `unwatch_forks`. Both take the mutex.
void watch_forks(Handle& handle);
void unwatch_forks(Handle& handle);

}  // namespace ballast::engine
