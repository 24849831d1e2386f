// What toml11 does not tell about a file, worked out from its text: where the key of a value
// stands, and which line a syntax error means. Knows TOML's spelling, not its library.
#pragma once

#include <string>
#include <string_view>

#include "tools/ballastd/source_text.hpp"
#include "tools/ballastd/toml_lines.hpp"

namespace ballast::tools {

// Where `key` is written, given where its value is. The value may be a literal ("key = value", the
// key on the same line), or a table whose span is its header ("[a.key]") or a dotted key. Falls
// back to the value itself.
[[nodiscard]] Span find_key(std::string_view text, Span value, std::string_view key);

// Turns the message of a toml11 3.x syntax error, which is about `lines`, into a Diagnostic of our
// own form.
[[nodiscard]] Diagnostic diagnose_toml_error(const SourceText& source, const TomlLines& lines,
                                             std::string_view message);

}  // namespace ballast::tools
