// Named points at which the crash tests stop or kill a process. In a normal build a point is
// nothing at all; the crash tests compile the same sources with BALLAST_CRASH_POINTS and set the
// hook.
#pragma once

#ifdef BALLAST_CRASH_POINTS
namespace ballast::shm {
inline void (*crash_point_hook)(const char* name) = nullptr;
}  // namespace ballast::shm
#define BALLAST_POINT(name)                            \
  do {                                                 \
    if (::ballast::shm::crash_point_hook != nullptr) { \
      ::ballast::shm::crash_point_hook(name);          \
    }                                                  \
  } while (false)
#else
#define BALLAST_POINT(name) static_cast<void>(0)
#endif
