// Keys found by looking back from their values, and toml11's messages taken apart.
#include "tools/ballastd/toml_text.hpp"

#include <charconv>
#include <vector>

namespace ballast::tools {
namespace {

bool is_bare(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '-';
}
bool is_blank(char c) {
  return c == ' ' || c == '\t';
}

// The last place in `path` ("[a.b]" or "a.b") where a component is spelt `key`.
Span find_component(std::string_view text, Span path, std::string_view key) {
  Span best = path;
  const std::size_t end = path.offset + path.length;
  for (std::size_t i = path.offset; i < end;) {
    const char c = text[i];
    if (c == '"' || c == '\'') {
      const std::size_t close = text.find(c, i + 1);
      if (close == std::string_view::npos || close >= end) break;
      if (text.substr(i + 1, close - i - 1) == key) best = {i, close + 1 - i};
      i = close + 1;
    } else if (is_bare(c)) {
      std::size_t stop = i;
      while (stop < end && is_bare(text[stop]))
        ++stop;
      if (text.substr(i, stop - i) == key) best = {i, stop - i};
      i = stop;
    } else {
      ++i;
    }
  }
  return best;
}

// The key that ends just before the `=` which precedes `offset`.
Span key_before(std::string_view text, std::size_t offset) {
  std::size_t i = offset;
  while (i > 0 && is_blank(text[i - 1]))
    --i;
  if (i == 0 || text[i - 1] != '=') return {offset, 0};
  --i;
  while (i > 0 && is_blank(text[i - 1]))
    --i;
  if (i == 0) return {offset, 0};
  const std::size_t end = i;
  const char last = text[i - 1];
  if (last == '"' || last == '\'') {
    const std::size_t open = i < 2 ? std::string_view::npos : text.rfind(last, i - 2);
    return open == std::string_view::npos ? Span{offset, 0} : Span{open, end - open};
  }
  while (i > 0 && is_bare(text[i - 1]))
    --i;
  return {i, end - i};
}

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const auto end = text.find('\n');
    lines.push_back(text.substr(0, end));
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  return lines;
}

}  // namespace

Span find_key(std::string_view text, Span value, std::string_view key) {
  const Span before = key_before(text, value.offset);
  if (before.length > 0) return before;
  const Span component = find_component(text, value, key);
  return component.length == 0 ? Span{value.offset, 1} : component;
}

// The message is a headline, then for each place its line behind "NN | " and, in the line below,
// an underline of '^' or '~' and a comment, both cut after the same gutter.
Diagnostic diagnose_toml_error(const SourceText& source, const TomlLines& parsed,
                               std::string_view message) {
  const SourceText told(source.name(), parsed.text());
  const auto lines = lines_of(message);
  std::string headline(lines.empty() ? std::string_view("syntax error") : lines.front());
  if (headline.starts_with("[error] ")) headline.erase(0, 8);
  if (headline.starts_with("toml::")) {
    const auto colon = headline.find(": ");
    if (colon != std::string::npos) headline.erase(0, colon + 2);
  }
  while (!headline.empty() && (headline.back() == '.' || headline.back() == ' ')) {
    headline.pop_back();
  }

  std::vector<SourceText::Note> notes;
  std::string advice;
  for (std::size_t i = 1; i + 1 < lines.size(); ++i) {
    const auto gutter = lines[i].find(" | ");
    const auto digit = lines[i].find_first_not_of(' ');
    if (gutter == std::string_view::npos || digit >= gutter) continue;
    std::size_t number = 0;
    const char* end = lines[i].data() + gutter;
    const auto [stop, error] = std::from_chars(lines[i].data() + digit, end, number);
    if (error != std::errc{} || stop != end || lines[i + 1].size() < gutter + 3) continue;
    const std::string_view under = lines[i + 1].substr(gutter + 3);
    const auto mark = under.find_first_of("^~");
    if (mark == std::string_view::npos) continue;
    auto after = mark;
    while (after < under.size() && under[after] == '~')
      ++after;
    const std::size_t length = after > mark ? after - mark : 1;
    const auto comment = under.find_first_not_of("^~- ", mark);
    notes.push_back({{parsed.original(told.offset_of(number, mark + 1)), length},
                     comment == std::string_view::npos ? "" : std::string(under.substr(comment))});
    ++i;
  }
  for (const std::string_view line : lines) {
    if (!line.starts_with("Hint: ") || !advice.empty()) continue;
    for (const char c : line.substr(6)) {  // toml11 aligns its hints with runs of spaces
      if (c != ' ' || (!advice.empty() && advice.back() != ' ')) advice += c;
    }
  }
  if (notes.empty()) return diagnose_file(source.name(), headline, "check the TOML syntax");
  // Of two places the later is the mistake; toml11 puts what it belongs to first.
  if (notes.size() > 1) std::swap(notes.front(), notes.back());
  if (headline.ends_with("already exists")) advice = "remove one of them";
  if (advice.empty()) advice = notes.front().text;
  if (advice.empty()) advice = "check the TOML syntax";
  return source.diagnose(headline, advice, notes);
}

}  // namespace ballast::tools
