// Escaping and number formats; see exposition.hpp.
#include "engine/checker/metrics/exposition.hpp"

#include <array>
#include <charconv>
#include <cmath>

namespace ballast::checker {
namespace {

constexpr std::string_view kReplacement = "\xef\xbf\xbd";

// The bytes of the UTF-8 character at the front, 0 if there is none: too long a form, a surrogate
// or a number beyond the last is none either.
std::size_t character_at(std::string_view text) {
  const auto at = [&](std::size_t i) {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U;
  };
  const unsigned first = at(0);
  if (first < 0x80) return 1;
  const std::size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((at(i) & 0xc0) != 0x80) return 0;
  }
  if ((first == 0xe0 && at(1) < 0xa0) || (first == 0xed && at(1) > 0x9f)) return 0;
  if ((first == 0xf0 && at(1) < 0x90) || (first == 0xf4 && at(1) > 0x8f)) return 0;
  return length;
}

template <class Number>
void append_number(std::string& out, Number number) {
  std::array<char, 32> digits;
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number);
  out.append(digits.data(), end.ptr);
}

}  // namespace

void append_label(std::string& labels, std::string_view name, std::string_view value) {
  if (!labels.empty()) labels += ',';
  labels.append(name).append("=\"");
  while (!value.empty()) {
    const std::size_t length = character_at(value);
    if (length == 0) {
      labels += kReplacement;
      value.remove_prefix(1);
      continue;
    }
    switch (value.front()) {
      case '\\':
        labels += "\\\\";
        break;
      case '"':
        labels += "\\\"";
        break;
      case '\n':
        labels += "\\n";
        break;
      default:
        labels.append(value.substr(0, length));
    }
    value.remove_prefix(length);
  }
  labels += '"';
}

std::string bound_text(std::uint64_t us) {
  std::string text = std::to_string(static_cast<double>(us) / 1e6);
  text.erase(text.find_last_not_of('0') + 1);
  if (text.ends_with('.')) text += '0';
  return text;
}

void Exposition::family(std::string_view name, MetricType type, std::string_view help) {
  constexpr std::array<std::string_view, 3> kTypes{"counter", "gauge", "histogram"};
  out_.append("# HELP ").append(name).append(" ").append(help).append("\n# TYPE ").append(name);
  out_.append(" ").append(kTypes[static_cast<std::size_t>(type)]).append("\n");
}

void Exposition::begin(std::string_view name, std::string_view labels) {
  out_ += name;
  if (!labels.empty()) out_.append("{").append(labels).append("}");
  out_ += ' ';
}

void Exposition::sample(std::string_view name, std::string_view labels, std::uint64_t value) {
  begin(name, labels);
  append_number(out_, value);
  out_ += '\n';
}

void Exposition::sample(std::string_view name, std::string_view labels, std::int64_t value) {
  begin(name, labels);
  append_number(out_, value);
  out_ += '\n';
}

void Exposition::sample(std::string_view name, std::string_view labels, double value) {
  begin(name, labels);
  if (std::isnan(value)) {
    out_ += "NaN";
  } else if (std::isinf(value)) {
    out_ += value > 0 ? "+Inf" : "-Inf";
  } else {
    append_number(out_, value);
  }
  out_ += '\n';
}

}  // namespace ballast::checker
