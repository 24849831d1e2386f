// Reads a file of targets in the JSON format of Prometheus's file_sd:
//
//   [ {"targets": ["10.0.0.1:80", "[::1]:80"], "labels": {"weight": "5", "zone": "b"}}, ... ]
//
// Pure. The bytes are input: whatever they are, reading ends, keeps no more than the targets, and
// either accepts all of it or says what is wrong in which line.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "engine/checker/discovery/source.hpp"

namespace ballast::checker {

inline constexpr std::size_t kMaxTargetFileBytes = std::size_t{16} << 20;

// `path` is for errors. Of a target that is named twice the first counts.
[[nodiscard]] Discovered parse_file_targets(const std::string& path, std::string_view text);

}  // namespace ballast::checker
