// Where a namespace's files are. Everyone finds them by these names and nothing else.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "shm/result.hpp"

namespace ballast::shm {

inline constexpr const char* kDefaultNamespace = "default";

// /dev/shm/ballast/<name_space>.
[[nodiscard]] std::string default_directory(const std::string& name_space);
[[nodiscard]] std::string locator_path(const std::string& directory);
[[nodiscard]] std::string table_path(const std::string& directory, std::uint64_t segment);
[[nodiscard]] std::string workers_path(const std::string& directory, std::uint64_t segment);

// Makes the directory and its parents (0755) if they are missing.
Status make_directory(const std::string& directory);

// Segment ids of all `table.<id>` files there, in ascending order.
[[nodiscard]] std::vector<std::uint64_t> list_segments(const std::string& directory);

// Removes what a creator or remover left half done: files under temporary names, and workers files
// without their table. Only the lease holder may call it.
void remove_unfinished(const std::string& directory);

}  // namespace ballast::shm
