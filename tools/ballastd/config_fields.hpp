// Keys as data: how each is spelt, its limits, and where its value goes. The lists in
// config_keys.cpp are read by what judges a configuration, by the spelling check and by `ballastd
// --defaults`, so that the three cannot disagree.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include "engine/checker/settings.hpp"
#include "tools/ballastd/config_walk.hpp"

namespace ballast::tools {

// How a value is written in TOML, and what the number that stands for it counts.
enum class Form : std::uint8_t {
  number,      // 5
  percent,     // "10%"
  tenths,      // 1.9 is 19
  hundredths,  // 1.25 is 125
  duration,    // "2s" is 2000
  flag,        // true is 1
  choice,      // one of a set of words
  candidates,  // 3, or "all", which is 0
  outcomes,    // ["timeout", "reset"]: bit n for outcome n of ballast.h
};

struct Choice {
  std::string_view word;
  std::uint32_t number;
};

struct FieldInfo {
  std::string_view key;
  Form form = Form::number;
  checker::Limits limits{0, 1};
  std::string_view zero{};            // what 0 means, where it is allowed besides the limits
  std::span<const Choice> choices{};  // of a choice
};

template <class Settings>
struct Field {
  FieldInfo info;
  std::uint64_t (*get)(const Settings&);
  void (*set)(Settings&, std::uint64_t);
};

namespace detail {
template <class T>
std::uint64_t to_number(const T& value) {
  if constexpr (std::is_same_v<T, checker::Milliseconds>) {
    return static_cast<std::uint64_t>(value.count());
  } else {
    return static_cast<std::uint64_t>(value);
  }
}
template <class T>
void from_number(T& value, std::uint64_t number) {
  if constexpr (std::is_same_v<T, checker::Milliseconds>) {
    value = checker::Milliseconds(static_cast<std::int64_t>(number));
  } else {
    value = static_cast<T>(number);
  }
}
}  // namespace detail

// A field of `Type` whose value is `member`. The rest is its FieldInfo, after the key.
#define BALLAST_FIELD(Type, key, member, ...)                                              \
  Field<Type> {                                                                            \
    FieldInfo{key, __VA_ARGS__},                                                           \
        [](const Type& from) { return ::ballast::tools::detail::to_number(from.member); }, \
        [](Type& to, std::uint64_t number) {                                               \
          ::ballast::tools::detail::from_number(to.member, number);                        \
        }                                                                                  \
  }

// The value of `key` in `table` as a number; nothing if it is missing or (after a complaint) wrong.
std::optional<std::uint64_t> read_field(ConfigWalk& walk, const ConfigValue& table,
                                        const FieldInfo& field);

// Reads every field that `table` has.
template <class Settings>
void read_fields(ConfigWalk& walk, const ConfigValue& table,
                 std::span<const Field<Settings>> fields, Settings& out) {
  for (const Field<Settings>& field : fields) {
    if (const auto number = read_field(walk, table, field.info)) field.set(out, *number);
  }
}

// A value as it would be written, and what may be written, for people.
[[nodiscard]] std::string value_text(const FieldInfo& field, std::uint64_t number);
[[nodiscard]] std::string limits_text(const FieldInfo& field);

// "250ms", "2s", "5m", "1h": in the largest unit that leaves a whole number.
[[nodiscard]] std::string duration_text(std::uint64_t milliseconds);

// The outcomes that may be named, by their number in ballast.h.
[[nodiscard]] std::span<const Choice> outcome_choices();

}  // namespace ballast::tools
