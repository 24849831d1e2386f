// Lines, columns and carets; and the two checks that protect the parser.
#include "tools/ballastd/source_text.hpp"

#include <algorithm>

namespace ballast::tools {
namespace {

constexpr std::size_t kWindowColumns = 100;

bool continues_character(char c) {
  return (static_cast<unsigned char>(c) & 0xC0) == 0x80;
}

std::size_t columns(std::string_view bytes) {
  return static_cast<std::size_t>(
      std::count_if(bytes.begin(), bytes.end(), [](char c) { return !continues_character(c); }));
}

// The length of the valid UTF-8 sequence that starts `bytes`, 0 if there is none (RFC 3629: no
// overlong forms, no surrogates, nothing above U+10FFFF).
std::size_t utf8_length(std::string_view bytes) {
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(bytes[i]); };
  const unsigned char lead = at(0);
  if (lead < 0x80) return 1;
  const std::size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || bytes.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if (!continues_character(bytes[i])) return 0;
  }
  if (lead == 0xE0 && at(1) < 0xA0) return 0;
  if (lead == 0xED && at(1) > 0x9F) return 0;
  if (lead == 0xF0 && at(1) < 0x90) return 0;
  if (lead == 0xF4 && at(1) > 0x8F) return 0;
  return length;
}

}  // namespace

SourceText::SourceText(std::string name, std::string text)
    : name_(std::move(name)), text_(std::move(text)), line_starts_{0} {
  for (std::size_t i = 0; i < text_.size(); ++i) {
    if (text_[i] == '\n') line_starts_.push_back(i + 1);
  }
}

std::size_t SourceText::line_of(std::size_t offset) const {
  const auto after = std::upper_bound(line_starts_.begin(), line_starts_.end(), offset);
  return static_cast<std::size_t>(after - line_starts_.begin());
}

std::size_t SourceText::offset_of(std::size_t line, std::size_t column) const {
  if (line < 1) return 0;
  if (line > line_starts_.size()) return text_.size();
  return std::min(text_.size(), line_starts_[line - 1] + (column < 1 ? 0 : column - 1));
}

std::size_t SourceText::column_of(std::size_t offset) const {
  const std::size_t start = line_starts_[line_of(offset) - 1];
  return columns(std::string_view(text_).substr(start, offset - start)) + 1;
}

SourceText::Shown SourceText::show(Span span) const {
  const std::size_t start = line_starts_[line_of(span.offset) - 1];
  std::size_t end = text_.find('\n', start);
  if (end == std::string::npos) end = text_.size();
  if (end > start && text_[end - 1] == '\r') --end;

  std::size_t from = start;
  const bool too_long = end - start > kWindowColumns;
  if (too_long && span.offset - start > kWindowColumns / 2) {
    from = span.offset - kWindowColumns / 2;
  }
  while (from > start && from < end && continues_character(text_[from]))
    --from;
  std::size_t to = std::min(end, from + kWindowColumns);
  while (to < end && continues_character(text_[to]))
    ++to;
  const std::string_view before = from > start ? "..." : "";
  const std::string_view after = to < end ? "..." : "";

  Shown shown;
  // Control characters would spoil the terminal; tabs are kept, since the padding repeats them.
  for (const char c : text_.substr(from, to - from)) {
    const bool control = static_cast<unsigned char>(c) < 0x20 || c == 0x7F;
    shown.line += control && c != '\t' ? '?' : c;
  }
  shown.line.insert(0, before).append(after);
  shown.padding.assign(before.size(), ' ');
  for (std::size_t i = from; i < span.offset && i < to; ++i) {
    if (!continues_character(text_[i])) shown.padding += text_[i] == '\t' ? '\t' : ' ';
  }
  const std::size_t last = std::min(to, span.offset + span.length);
  shown.width = 1;
  if (last > span.offset) {
    const std::string_view under(text_.data() + span.offset, last - span.offset);
    shown.width = std::max<std::size_t>(1, columns(under));
  }
  return shown;
}

Diagnostic SourceText::diagnose(const std::string& message, const std::string& advice,
                                const std::vector<Note>& notes) const {
  const Span first = notes.empty() ? Span{} : notes.front().span;
  Diagnostic out;
  out.line_number = line_of(first.offset);
  out.column = column_of(first.offset);
  out.line = name_ + ":" + std::to_string(out.line_number) + ":" + std::to_string(out.column) +
             ": " + message;
  if (!advice.empty()) out.line += ": " + advice;
  out.text = out.line;

  std::size_t width = 1;
  for (const Note& note : notes) {
    width = std::max(width, std::to_string(line_of(note.span.offset)).size());
  }
  const std::string gutter(width + 1, ' ');
  std::size_t previous_line = 0;
  for (const Note& note : notes) {
    const std::string number = std::to_string(line_of(note.span.offset));
    const Shown shown = show(note.span);
    out.text += previous_line == 0 ? "\n" + gutter + " |" : "\n" + gutter + "...";
    previous_line = line_of(note.span.offset);
    out.text += "\n " + std::string(width - number.size(), ' ') + number + " | " + shown.line;
    out.text += "\n" + gutter + " | " + shown.padding + "^" + std::string(shown.width - 1, '~');
    if (!note.text.empty()) out.text += " " + note.text;
  }
  return out;
}

std::optional<std::size_t> SourceText::first_bad_utf8() const {
  const std::string_view all(text_);
  for (std::size_t i = 0; i < all.size();) {
    const std::size_t length = utf8_length(all.substr(i));
    if (length == 0) return i;
    i += length;
  }
  return std::nullopt;
}

std::size_t last_of_opaque(std::string_view text, std::size_t at) {
  const char c = text[at];
  if (c == '#') return std::min(text.find('\n', at), text.size());
  if (c != '"' && c != '\'') return at;
  const bool basic = c == '"';
  const bool multi_line = text.compare(at, 3, std::string(3, c)) == 0;
  const std::string close(multi_line ? 3 : 1, c);
  for (at += close.size(); at < text.size(); ++at) {
    if (basic && text[at] == '\\') {
      ++at;
    } else if (text.compare(at, close.size(), close) == 0) {
      return at + close.size() - 1;
    } else if (!multi_line && text[at] == '\n') {
      return at;  // the parser will complain about it
    }
  }
  return at;
}

std::optional<std::size_t> SourceText::first_too_deep() const {
  std::size_t depth = 0;
  for (std::size_t i = 0; i < text_.size(); ++i) {
    i = last_of_opaque(text_, i);
    if (i >= text_.size()) break;
    const char c = text_[i];
    if (c == '[' || c == '{') {
      if (++depth > kMaxNesting) return i;
    } else if ((c == ']' || c == '}') && depth > 0) {
      --depth;
    }
  }
  return std::nullopt;
}

std::optional<Diagnostic> SourceText::check_text() const {
  if (const auto bad = first_bad_utf8()) {
    return diagnose("this byte is not UTF-8", "save the file as UTF-8", {{{*bad, 1}, "here"}});
  }
  if (const auto deep = first_too_deep()) {
    return diagnose("brackets are nested deeper than " + std::to_string(kMaxNesting),
                    "close the ones before it", {{{*deep, 1}, "here"}});
  }
  return std::nullopt;
}

Diagnostic diagnose_file(const std::string& name, const std::string& message,
                         const std::string& advice) {
  Diagnostic out;
  out.line = name + ": " + message;
  if (!advice.empty()) out.line += ": " + advice;
  out.text = out.line;
  return out;
}

}  // namespace ballast::tools
