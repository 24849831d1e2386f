// How a service chooses among its instances. The numbers are stored in the table.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace ballast::engine {

enum class Strategy : std::uint8_t {
  maglev = 1,               // consistent hashing by a Maglev table
  ketama = 2,               // consistent hashing, key for key as nginx's `hash ... consistent`
  round_robin = 3,          // one smooth order by weight for the whole host
  rendezvous = 4,           // consistent hashing by a table of weighted rendezvous winners
  random = 5,               // by weight
  least_connections = 6,    // fewest requests in flight for its weight, of some or all
  least_response_time = 7,  // lowest peak EWMA of latency times requests in flight
  adaptive = 8,             // latency, requests in flight and errors together
};

struct StrategyName {
  Strategy strategy;
  const char* text;
};
inline constexpr std::array<StrategyName, 8> kStrategies{{
    {Strategy::maglev, "maglev"},
    {Strategy::ketama, "ketama"},
    {Strategy::round_robin, "round_robin"},
    {Strategy::rendezvous, "rendezvous"},
    {Strategy::random, "random"},
    {Strategy::least_connections, "least_connections"},
    {Strategy::least_response_time, "least_response_time"},
    {Strategy::adaptive, "adaptive"},
}};

[[nodiscard]] constexpr const char* to_text(Strategy strategy) noexcept {
  for (const StrategyName& name : kStrategies) {
    if (name.strategy == strategy) return name.text;
  }
  return "unknown";
}

// What a number in a table stands for; nothing for one that a checker of this build never stores.
[[nodiscard]] constexpr std::optional<Strategy> strategy_of(std::uint64_t number) noexcept {
  for (const StrategyName& name : kStrategies) {
    if (number == static_cast<std::uint64_t>(name.strategy)) return name.strategy;
  }
  return std::nullopt;
}

// Whether a key always goes to the same instance.
[[nodiscard]] constexpr bool is_keyed(Strategy strategy) noexcept {
  return strategy == Strategy::maglev || strategy == Strategy::ketama ||
         strategy == Strategy::rendezvous;
}

// Whether picks compare the load of candidates.
[[nodiscard]] constexpr bool compares_load(Strategy strategy) noexcept {
  return strategy == Strategy::least_connections || strategy == Strategy::least_response_time ||
         strategy == Strategy::adaptive;
}

}  // namespace ballast::engine
