// One value, read and written in each of its forms.
#include "tools/ballastd/config_fields.hpp"

#include <array>
#include <cmath>

#include "tools/ballastd/peer_words.hpp"

namespace ballast::tools {
namespace {

using Type = ConfigValue::Type;
using Number = std::optional<std::uint64_t>;

// What counts as a failure of an instance. Success is not among them.
constexpr std::array<Choice, 7> kOutcomes{{{"connect_failure", 2},
                                           {"timeout", 3},
                                           {"reset", 4},
                                           {"server_error", 5},
                                           {"overload", 6},
                                           {"cancelled", 7},
                                           {"abandoned", 8}}};

std::vector<std::string_view> words_of(std::span<const Choice> choices) {
  std::vector<std::string_view> words;
  for (const Choice& choice : choices)
    words.push_back(choice.word);
  return words;
}

std::string decimal_text(std::uint64_t number, std::uint64_t unit) {
  std::string text = std::to_string(number / unit);
  std::string rest = std::to_string(number % unit + unit).substr(1);
  while (!rest.empty() && rest.back() == '0')
    rest.pop_back();
  return rest.empty() ? text : text + "." + rest;
}

std::uint64_t unit_of(Form form) {
  return form == Form::tenths ? 10 : 100;
}

std::string range_text(const FieldInfo& field) {
  std::string text =
      value_text(field, field.limits.low) + " to " + value_text(field, field.limits.high);
  if (!field.zero.empty() && field.limits.low > 0) {
    text += ", or " + value_text(field, 0) + " for " + std::string(field.zero);
  }
  return text;
}

bool within(const FieldInfo& field, std::uint64_t number) {
  if (number == 0 && !field.zero.empty()) return true;
  return number >= field.limits.low && number <= field.limits.high;
}

// The number if it is within the limits; else complains about it as `spelt`.
Number judged(ConfigWalk& walk, const ConfigValue& value, const FieldInfo& field,
              std::uint64_t number, const std::string& spelt) {
  if (within(field, number)) return number;
  walk.complain(value, {std::string(field.key) + " " + spelt + " is out of range",
                        "use " + range_text(field)});
  return std::nullopt;
}

Number read_number(ConfigWalk& walk, const ConfigValue& value, const FieldInfo& field) {
  const std::string key(field.key);
  if (!value.is(Type::integer)) {
    const std::string also = field.form == Form::candidates ? " or \"all\"" : "";
    walk.wrong_type(
        value, key,
        "a whole number, such as " + key + " = " + (also.empty() ? "1" : "3, or \"all\""));
    return std::nullopt;
  }
  // As written: what overflows has been clamped.
  const std::uint64_t number =
      value.integer < 0 ? UINT64_MAX : static_cast<std::uint64_t>(value.integer);
  return judged(walk, value, field, number, walk.spelling(value));
}

Number read_candidates(ConfigWalk& walk, const ConfigValue& value, const FieldInfo& field) {
  if (value.is(Type::string) && value.string == "all") return 0;
  if (value.is(Type::integer) && value.integer >= field.limits.low &&
      value.integer <= field.limits.high) {
    return static_cast<std::uint64_t>(value.integer);
  }
  if (!value.is(Type::integer) && !value.is(Type::string)) return read_number(walk, value, field);
  walk.complain(value,
                {std::string(field.key) + " " +
                     (value.is(Type::string) ? in_quotes(value.string) : walk.spelling(value)) +
                     " is out of range",
                 "use " + range_text(field) + ", or \"all\""});
  return std::nullopt;
}

Number read_decimal(ConfigWalk& walk, const ConfigValue& value, const FieldInfo& field) {
  const std::string key(field.key);
  const auto unit = static_cast<double>(unit_of(field.form));
  if (!value.is(Type::integer) && !value.is(Type::floating)) {
    walk.wrong_type(
        value, key,
        "a number, such as " + key + " = " + value_text(field, unit_of(field.form) * 3 / 2));
    return std::nullopt;
  }
  const double scaled =
      unit * (value.is(Type::integer) ? static_cast<double>(value.integer) : value.floating);
  if (!(scaled >= 0 && scaled <= 1e15)) {  // not a number, too
    return judged(walk, value, field, UINT64_MAX, walk.spelling(value));
  }
  const double rounded = std::round(scaled);
  if (std::abs(scaled - rounded) > 1e-6) {
    walk.complain(value, {key + " " + walk.spelling(value) + " is finer than " +
                              decimal_text(1, unit_of(field.form)),
                          "round it"});
    return std::nullopt;
  }
  return judged(walk, value, field, static_cast<std::uint64_t>(rounded), walk.spelling(value));
}

Number read_percentage(ConfigWalk& walk, const ConfigValue& value, const FieldInfo& field) {
  if (!value.is(Type::string)) {
    walk.wrong_type(value, field.key, "a string, such as \"10%\"");
    return std::nullopt;
  }
  const auto parsed = parse_percent(value.string);
  if (!parsed.ok()) {
    walk.complain(value, parsed.complaint());
    return std::nullopt;
  }
  return judged(walk, value, field, parsed.value(), in_quotes(value.string));
}

Number read_time(ConfigWalk& walk, const ConfigValue& value, const FieldInfo& field) {
  if (!value.is(Type::string)) {
    walk.wrong_type(value, field.key, "a string with a unit, such as \"2s\"");
    return std::nullopt;
  }
  const auto parsed = parse_duration(value.string);
  if (!parsed.ok()) {
    walk.complain(value, parsed.complaint());
    return std::nullopt;
  }
  const auto number = static_cast<std::uint64_t>(parsed.value().count());
  if (within(field, number)) return number;
  walk.complain(value, {std::string(field.key) + " " + in_quotes(value.string) + " is out of range",
                        "use " + duration_text(field.limits.low) + " to " +
                            duration_text(field.limits.high)});
  return std::nullopt;
}

Number read_word(ConfigWalk& walk, const ConfigValue& value, std::string_view what,
                 std::span<const Choice> choices) {
  for (const Choice& choice : choices) {
    if (choice.word == value.string) return choice.number;
  }
  const auto words = words_of(choices);
  const std::string_view nearest = meant_word(value.string, words);
  walk.complain(value, {"unknown " + std::string(what) + " " + in_quotes(value.string),
                        nearest.empty() ? "use one of " + listed(words)
                                        : "did you mean " + in_quotes(nearest) + "?"});
  return std::nullopt;
}

Number read_outcomes(ConfigWalk& walk, const ConfigValue& value, const FieldInfo& field) {
  if (!value.is(Type::array)) {
    walk.wrong_type(value, field.key, "an array of outcomes: [\"timeout\", \"reset\"]");
    return std::nullopt;
  }
  std::uint64_t mask = 0;
  bool right = true;
  for (const ConfigValue& item : value.items) {
    Number number;
    if (item.is(Type::string)) {
      number = read_word(walk, item, "outcome", kOutcomes);
    } else {
      walk.wrong_type(item, "an outcome", "a string, such as \"timeout\"");
    }
    right = right && number.has_value();
    if (number) mask |= std::uint64_t{1} << *number;
  }
  if (value.items.empty()) {
    walk.complain(value, {std::string(field.key) + " is empty",
                          "name what counts as a failure, or set enabled = false"});
    right = false;
  }
  return right ? Number(mask) : std::nullopt;
}

}  // namespace

std::span<const Choice> outcome_choices() {
  return kOutcomes;
}

Number read_field(ConfigWalk& walk, const ConfigValue& table, const FieldInfo& field) {
  const ConfigValue* value = table.find(field.key);
  if (value == nullptr) return std::nullopt;
  switch (field.form) {
    case Form::number:
      return read_number(walk, *value, field);
    case Form::percent:
      return read_percentage(walk, *value, field);
    case Form::tenths:
    case Form::hundredths:
      return read_decimal(walk, *value, field);
    case Form::duration:
      return read_time(walk, *value, field);
    case Form::flag:
      if (value->is(Type::boolean)) return value->boolean ? 1 : 0;
      walk.wrong_type(*value, field.key, "true or false");
      return std::nullopt;
    case Form::choice:
      if (value->is(Type::string)) return read_word(walk, *value, field.key, field.choices);
      walk.wrong_type(*value, field.key, "a string");
      return std::nullopt;
    case Form::candidates:
      return read_candidates(walk, *value, field);
    case Form::outcomes:
      break;
  }
  return read_outcomes(walk, *value, field);
}

std::string duration_text(std::uint64_t milliseconds) {
  struct Unit {
    std::uint64_t milliseconds;
    const char* name;
  };
  constexpr std::array<Unit, 3> kUnits{{{3'600'000, "h"}, {60'000, "m"}, {1'000, "s"}}};
  for (const Unit& unit : kUnits) {
    if (milliseconds != 0 && milliseconds % unit.milliseconds == 0) {
      return std::to_string(milliseconds / unit.milliseconds) + unit.name;
    }
  }
  return milliseconds == 0 ? "0s" : std::to_string(milliseconds) + "ms";
}

std::string value_text(const FieldInfo& field, std::uint64_t number) {
  switch (field.form) {
    case Form::number:
      return std::to_string(number);
    case Form::percent:
      return "\"" + std::to_string(number) + "%\"";
    case Form::tenths:
    case Form::hundredths:
      return decimal_text(number, unit_of(field.form));
    case Form::duration:
      return "\"" + duration_text(number) + "\"";
    case Form::flag:
      return number != 0 ? "true" : "false";
    case Form::choice:
      for (const Choice& choice : field.choices) {
        if (choice.number == number) return "\"" + std::string(choice.word) + "\"";
      }
      return "?";
    case Form::candidates:
      return number == 0 ? "\"all\"" : std::to_string(number);
    case Form::outcomes:
      break;
  }
  std::string text;
  for (const Choice& outcome : kOutcomes) {
    if ((number >> outcome.number & 1) == 0) continue;
    text += (text.empty() ? "\"" : ", \"") + std::string(outcome.word) + "\"";
  }
  return "[" + text + "]";
}

std::string limits_text(const FieldInfo& field) {
  switch (field.form) {
    case Form::flag:
      return "true, false";
    case Form::choice:
      return listed(words_of(field.choices));
    case Form::outcomes:
      return listed(words_of(kOutcomes));
    case Form::candidates:
      return range_text(field) + ", or \"all\"";
    default:
      break;
  }
  std::string text =
      value_text(field, field.limits.low) + " to " + value_text(field, field.limits.high);
  if (!field.zero.empty()) {
    text += "; " + value_text(field, 0) + ": " + std::string(field.zero);
  }
  return text;
}

}  // namespace ballast::tools
