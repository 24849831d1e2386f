// How a service chooses among its instances. The numbers are stored in the table for tools to show.
#pragma once

#include <cstdint>
#include <optional>

namespace ballast::engine {

enum class Strategy : std::uint8_t {
  maglev = 1,       // consistent hashing by a Maglev table
  ketama = 2,       // consistent hashing, key for key as nginx's `hash ... consistent`
  round_robin = 3,  // one weighted order for the whole host
};

[[nodiscard]] constexpr const char* to_text(Strategy strategy) noexcept {
  switch (strategy) {
    case Strategy::maglev:
      return "maglev";
    case Strategy::ketama:
      return "ketama";
    case Strategy::round_robin:
      return "round_robin";
  }
  return "unknown";
}

// What a number in a table stands for; nothing for one that a checker of this build never stores.
[[nodiscard]] constexpr std::optional<Strategy> strategy_of(std::uint64_t number) noexcept {
  for (const Strategy s : {Strategy::maglev, Strategy::ketama, Strategy::round_robin}) {
    if (number == static_cast<std::uint64_t>(s)) return s;
  }
  return std::nullopt;
}

}  // namespace ballast::engine
