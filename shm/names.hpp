// Which names there may be: of namespaces, services and zones. The checker's configuration, the C
// API and `ballast` ask here, so that a name is one component of a path everywhere, and cannot lead
// out of /dev/shm/ballast. Pure functions.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace ballast::shm {

inline constexpr std::size_t kMaxNameBytes = 63;

enum class NameFault : std::uint8_t { none, empty, too_long, bad_character, leading_dot };

[[nodiscard]] constexpr NameFault judge_name(std::string_view name) noexcept {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  };
  if (name.empty()) return NameFault::empty;
  if (name.size() > kMaxNameBytes) return NameFault::too_long;
  if (!std::all_of(name.begin(), name.end(), allowed)) return NameFault::bad_character;
  return name.front() == '.' ? NameFault::leading_dot : NameFault::none;
}

// The rule, for whoever broke it.
inline constexpr std::string_view kNameRule =
    "1 to 63 letters, digits, '.', '_' and '-', and no dot in front";

}  // namespace ballast::shm
