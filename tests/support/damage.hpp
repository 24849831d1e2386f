// Damage done to a mapped file on purpose, and undone: a writable mapping beside those under test,
// with the file as it was in memory. Only while nobody else writes the file.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/support/sanitized.hpp"

namespace ballast::tests {

class Damage {
 public:
  // Sweeps take every byte. Of races there is nothing to be found in what one thread reads.
  static constexpr std::size_t kStep = kThreadSanitized ? 13 : 1;

  explicit Damage(const std::string& path) {
    const int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
    struct stat info{};
    if (fd < 0 || ::fstat(fd, &info) != 0) throw std::runtime_error("open " + path);
    size_ = static_cast<std::size_t>(info.st_size);
    void* at = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    ::close(fd);
    if (at == MAP_FAILED) throw std::runtime_error("map " + path);
    bytes_ = static_cast<unsigned char*>(at);
    original_.assign(bytes_, bytes_ + size_);
  }
  Damage(const Damage&) = delete;
  Damage& operator=(const Damage&) = delete;
  ~Damage() {
    if (!kept_) undo();
    ::munmap(bytes_, size_);
  }

  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] unsigned char* bytes() noexcept { return bytes_; }
  [[nodiscard]] const std::vector<unsigned char>& original() const noexcept { return original_; }

  template <class T>
  void put(std::size_t offset, const T& value) noexcept {
    std::memcpy(bytes_ + offset, &value, sizeof value);
  }
  // Leaves the file as it is from now on.
  Damage& keep() noexcept {
    kept_ = true;
    return *this;
  }
  // Also what others wrote since. Compares first, so as not to allocate the holes of a sparse file.
  void undo() noexcept {
    constexpr std::size_t kPart = 4096;
    for (std::size_t at = 0; at < size_; at += kPart) {
      const std::size_t n = size_ - at < kPart ? size_ - at : kPart;
      if (std::memcmp(bytes_ + at, original_.data() + at, n) != 0) {
        std::memcpy(bytes_ + at, original_.data() + at, n);
      }
    }
  }

  // Every value that the sweep puts into a byte: each bit turned, all turned, all off, all on.
  [[nodiscard]] static std::array<unsigned char, 11> variants(unsigned char byte) noexcept {
    std::array<unsigned char, 11> values{};
    for (unsigned bit = 0; bit < 8; ++bit)
      values[bit] = static_cast<unsigned char>(byte ^ (1U << bit));
    values[8] = static_cast<unsigned char>(byte ^ 0xff);
    values[9] = 0;
    values[10] = 0xff;
    return values;
  }

 private:
  unsigned char* bytes_ = nullptr;
  std::size_t size_ = 0;
  bool kept_ = false;
  std::vector<unsigned char> original_;
};

}  // namespace ballast::tests
