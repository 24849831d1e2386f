// A configuration file as a tree of plain values, each with its place in the text. Made by
// toml_tree.cpp, the only unit that sees toml11, which is slow to compile; read by the config_*
// units, which know nothing of it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tools/ballastd/source_text.hpp"

namespace ballast::tools {

struct ConfigEntry;

struct ConfigValue {
  enum class Type : std::uint8_t { boolean, integer, floating, string, array, table, date };

  Type type = Type::table;
  Span span;  // of the value; of a table: its header or its braces
  bool boolean = false;
  std::int64_t integer = 0;  // what overflows is clamped
  double floating = 0;
  std::string string;
  std::vector<ConfigValue> items;    // of an array
  std::vector<ConfigEntry> entries;  // of a table, in the order of the text

  [[nodiscard]] bool is(Type wanted) const noexcept { return type == wanted; }
  [[nodiscard]] const ConfigValue* find(std::string_view key) const;
};

struct ConfigEntry {
  std::string key;
  ConfigValue value;
};

// "a string", "a table": for messages.
[[nodiscard]] const char* type_name(ConfigValue::Type type) noexcept;

struct ConfigTree {
  std::optional<ConfigValue> root;
  std::optional<Diagnostic> error;  // set exactly when there is no root
};

// Parses TOML. `source.check_text()` must have passed.
[[nodiscard]] ConfigTree parse_toml(const SourceText& source);

}  // namespace ballast::tools
