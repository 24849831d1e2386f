// Turns what toml11 parses into a tree of our own.
#include <algorithm>
#include <sstream>
#include <toml.hpp>
#include <unordered_map>

#include "tools/ballastd/config_tree.hpp"
#include "tools/ballastd/toml_lines.hpp"
#include "tools/ballastd/toml_text.hpp"

namespace ballast::tools {
namespace {

using Value = toml::basic_value<toml::discard_comments, std::unordered_map, std::vector>;
using Type = ConfigValue::Type;

// Where toml11 found a value. Its public location() counts lines from the start of the file each
// time; the region behind it gives the offset for nothing.
Span span_of(const Value& value, const TomlLines& lines) {
  const auto* region = dynamic_cast<const toml::detail::region*>(toml::detail::get_region(value));
  if (region == nullptr) return {0, 1};
  const auto line_end = std::find(region->first(), region->last(), '\n');
  const auto place = [&](const auto& at) {
    return lines.original(static_cast<std::size_t>(at - region->begin()));
  };
  const std::size_t first = place(region->first());
  return {first, place(line_end) - first};
}

// Recursive, to a depth that check_text() has bounded.
ConfigValue converted(const Value& from, const TomlLines& lines) {
  ConfigValue to;
  to.span = span_of(from, lines);
  switch (from.type()) {
    case toml::value_t::boolean:
      to.type = Type::boolean;
      to.boolean = from.as_boolean();
      break;
    case toml::value_t::integer:
      to.type = Type::integer;
      to.integer = from.as_integer();
      break;
    case toml::value_t::floating:
      to.type = Type::floating;
      to.floating = from.as_floating();
      break;
    case toml::value_t::string:
      to.type = Type::string;
      to.string = from.as_string().str;
      break;
    case toml::value_t::array:
      to.type = Type::array;
      to.items.reserve(from.as_array().size());
      for (const Value& item : from.as_array())
        to.items.push_back(converted(item, lines));
      break;
    case toml::value_t::table:
      to.type = Type::table;
      to.entries.reserve(from.as_table().size());
      for (const auto& [key, value] : from.as_table())
        to.entries.push_back({key, converted(value, lines)});
      std::sort(to.entries.begin(), to.entries.end(), [](const auto& a, const auto& b) {
        return a.value.span.offset < b.value.span.offset;
      });
      break;
    default:
      to.type = Type::date;
  }
  return to;
}

}  // namespace

ConfigTree parse_toml(const SourceText& source) {
  const TomlLines lines(source.text());
  try {
    std::istringstream stream(lines.text());
    return {converted(toml::parse<toml::discard_comments, std::unordered_map, std::vector>(
                          stream, source.name()),
                      lines),
            std::nullopt};
  } catch (const toml::exception& error) {
    return {std::nullopt, diagnose_toml_error(source, lines, error.what())};
  } catch (const std::exception& error) {
    return {std::nullopt,
            diagnose_file(source.name(), std::string("cannot be parsed: ") + error.what(),
                          "check the TOML syntax")};
  }
}

}  // namespace ballast::tools
