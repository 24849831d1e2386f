// A directory of a test's own, removed with all it holds when the test ends.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>

namespace ballast::tests {

class TempDir {
 public:
  TempDir() {
    // Where segments live in production, so that tests meet the same file system.
    std::string name = std::filesystem::is_directory("/dev/shm") ? "/dev/shm/ballast-test-XXXXXX"
                                                                 : "/tmp/ballast-test-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp " + name);
    path_ = name;
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  [[nodiscard]] const std::string& path() const noexcept { return path_; }

 private:
  std::string path_;
};

}  // namespace ballast::tests
