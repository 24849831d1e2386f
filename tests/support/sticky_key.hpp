// A sticky key file of a test's own, and settings that name it.
#pragma once

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <fstream>
#include <string>
#include <utility>

#include "engine/checker/settings.hpp"
#include "tests/support/temp_dir.hpp"

namespace ballast::tests {

class StickyKeyFile {
 public:
  // `digits`: two different ones make a key, and another pair another key.
  explicit StickyKeyFile(const std::string& digits = "1a") { write(key_of(digits)); }

  static std::string key_of(const std::string& digits) {
    // Enough different bytes to be taken for a key.
    std::string hex;
    for (int i = 0; i < 31; ++i) {
      hex += "0123456789abcdef"[i / 2];
      hex += "0123456789abcdef"[i % 16];
    }
    return hex + digits;
  }
  void write(const std::string& lines) const {
    std::ofstream(path()) << lines;
    REQUIRE(chmod(path().c_str(), 0600) == 0);
  }
  [[nodiscard]] std::string path() const { return dir_.path() + "/sticky.key"; }

 private:
  TempDir dir_;
};

inline checker::Settings with_sticky_keys(checker::Settings settings, const StickyKeyFile& file) {
  settings.sticky_key_file = file.path();
  return settings;
}

}  // namespace ballast::tests
