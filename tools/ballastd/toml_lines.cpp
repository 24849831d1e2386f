// One pass over the text; see toml_lines.hpp.
#include "tools/ballastd/toml_lines.hpp"

#include <algorithm>

#include "tools/ballastd/source_text.hpp"

namespace ballast::tools {

TomlLines::TomlLines(std::string_view original) {
  text_.reserve(original.size() + original.size() / kLongLine + 1);
  std::string open;  // the brackets that are
  std::size_t line = 0;
  for (std::size_t i = 0; i < original.size(); ++i) {
    const std::size_t last = std::min(last_of_opaque(original, i), original.size() - 1);
    const char end = original[last];
    text_.append(original.substr(i, last - i + 1));
    const bool opaque = last != i;
    i = last;
    if (end == '\n') line = text_.size();
    if (opaque) continue;
    if (end == '[' || end == '{') {
      open += end;
    } else if ((end == ']' || end == '}') && !open.empty()) {
      open.pop_back();
    } else if (end == ',' && open.ends_with('[') && text_.size() - line > kLongLine) {
      added_.push_back(text_.size());
      text_ += '\n';
      line = text_.size();
    }
  }
}

std::size_t TomlLines::original(std::size_t offset) const {
  const auto before = std::lower_bound(added_.begin(), added_.end(), offset) - added_.begin();
  return offset - static_cast<std::size_t>(before);
}

}  // namespace ballast::tools
