// The file in which operators' changes outlive the checker: JSON with a version, replaced as a
// whole by a rename, so that whoever reads it, and a machine that fails at any moment, finds the
// old text or the new one. Written by the one checker in charge, read by the next. A file that
// cannot be understood is an error that says where, and is never written over.
//
//   {"version": 1, "services": {"web": {"strategy": "ketama", "instances": {
//     "10.0.0.1:80": {"admin": "drain", "weight": 5},
//     "10.0.0.2:80": {"removed": true},
//     "10.0.0.3:80": {"added": {"text": "backend3:80", "weight": 1, "tier": 0, "zone": "b"}}}}}}
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "engine/checker/control/roster.hpp"
#include "shm/result.hpp"

namespace ballast::checker {

inline constexpr std::uint64_t kChangesVersion = 1;
inline constexpr std::size_t kMaxChangesBytes = std::size_t{32} << 20;

[[nodiscard]] std::string changes_to_text(const RuntimeChanges& changes);
// `path` is for the error, which is `incompatible` for a newer version and `corrupt` else.
[[nodiscard]] shm::Result<RuntimeChanges> changes_from_text(const std::string& path,
                                                            std::string_view text);

// No changes if there is no such file.
[[nodiscard]] shm::Result<RuntimeChanges> read_changes_file(const std::string& path);
// Has reached the disk when it returns; on error the file is as it was. May take as long as the
// disk likes.
[[nodiscard]] shm::Status write_changes_file(const std::string& path, std::string_view text);

}  // namespace ballast::checker
