// What a configuration needs of the system, compared with what the system gives, before anything is
// begun: too little is an error that names the setting to raise. Used by the daemon at start and at
// a reload; plain arithmetic but for the limit that it is told.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "engine/checker/settings.hpp"
#include "shm/result.hpp"

namespace ballast::tools {

// Descriptors that checking these settings takes: one for every connection that is kept, so many
// more that kept ones stay three quarters of all, some for checks under way, and the program's own.
[[nodiscard]] std::size_t descriptors_needed(const checker::Settings& settings);

// Why these settings cannot be run with so many descriptors; nothing if they can.
[[nodiscard]] std::optional<std::string> exceeded_limit(const checker::Settings& settings,
                                                        std::size_t descriptors);
// What it takes of memory: the least that it will come to, so that nobody is refused who could run.
struct MemoryNeeded {
  std::uint64_t process = 0;  // of its own, and what it touches of the files
  std::uint64_t files = 0;    // that a new segment claims in the file system
  std::uint64_t mapped = 0;   // address space for the files, holes included
};
[[nodiscard]] MemoryNeeded memory_needed(const checker::Settings& settings);

// What the system gives; nothing: no limit, or none that can be found out.
struct MemoryLimits {
  std::optional<std::uint64_t> address_space;  // RLIMIT_AS
  std::optional<std::uint64_t> cgroup;         // the least memory.max on the way up
  std::optional<std::uint64_t> free_space;     // of the directory's file system, if it has no files
};
[[nodiscard]] MemoryLimits memory_limits(const std::string& directory);
// The least limit of a cgroup of version 2 and those that it is in. `root`: of the file system.
[[nodiscard]] std::optional<std::uint64_t> cgroup_limit(const std::string& root,
                                                        const std::string& own);
[[nodiscard]] std::optional<std::string> exceeded_memory(const checker::Settings& settings,
                                                         const MemoryLimits& limits,
                                                         const std::string& directory);

// Descriptors, with the limit that this process has.
[[nodiscard]] std::optional<std::string> exceeded_limit(const checker::Settings& settings);

// An error's text, with what to do where a directory has no room for the files.
[[nodiscard]] std::string with_advice(const shm::Error& error);

}  // namespace ballast::tools
