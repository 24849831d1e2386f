// A number and its unit; see duration.hpp.
#include "tools/ballast/duration.hpp"

#include <charconv>
#include <cstdint>
#include <string_view>
#include <system_error>

namespace ballast::tools {

using std::chrono::milliseconds;

std::optional<milliseconds> parse_duration(const std::string& text) {
  std::uint64_t value = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc{} || stop == text.data() || value > 86'400'000) return std::nullopt;
  const std::string_view unit(stop, static_cast<std::size_t>(end - stop));
  const std::uint64_t factor = unit == "ms"  ? 1
                               : unit == "s" ? 1'000
                               : unit == "m" ? 60'000
                               : unit == "h" ? 3'600'000
                                             : 0;
  if (factor == 0 && !(value == 0 && unit.empty())) return std::nullopt;
  return milliseconds(value * factor);
}

}  // namespace ballast::tools
