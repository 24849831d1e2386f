// A TOML text with its long lines broken, for toml11: for every value it looks at the whole line
// around it, so that six thousand instances on one line took it a minute. It means the same, since
// lines are broken between the elements of arrays only, and places in it lead back to the original.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace ballast::tools {

class TomlLines {
 public:
  // Lines are broken at the first comma of an array beyond so many bytes. What has no array in it
  // stays as it is, however long.
  static constexpr std::size_t kLongLine = 200;

  explicit TomlLines(std::string_view original);

  [[nodiscard]] const std::string& text() const noexcept { return text_; }
  // The offset in the original of what is at `offset` of the text.
  [[nodiscard]] std::size_t original(std::size_t offset) const;

 private:
  std::string text_;
  std::vector<std::size_t>
      added_;  // the offsets in the text of newlines that are not the original's
};

}  // namespace ballast::tools
