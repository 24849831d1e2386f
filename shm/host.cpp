// Reads of /proc and the clock.
#include "shm/host.hpp"

#include <cstring>
#include <ctime>
#include <fstream>
#include <iterator>
#include <sstream>

namespace ballast::shm {

namespace {

int hex_digit(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

}  // namespace

std::array<std::uint8_t, 16> boot_id() {
  std::array<std::uint8_t, 16> id{};
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string text;
  file >> text;
  std::size_t nibble = 0;
  for (const char c : text) {
    const int digit = hex_digit(c);
    if (digit < 0) continue;
    if (nibble == 32) break;
    id[nibble / 2] = static_cast<std::uint8_t>(id[nibble / 2] << 4 | digit);
    ++nibble;
  }
  return id;
}

std::uint64_t realtime_ns() noexcept {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000U +
         static_cast<std::uint64_t>(now.tv_nsec);
}

std::uint64_t process_start_ticks() {
  std::ifstream file("/proc/self/stat");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const auto paren = text.rfind(')');  // the command may hold spaces and parentheses
  if (paren == std::string::npos) return 0;
  std::istringstream fields(text.substr(paren + 1));
  std::string field;
  for (int i = 3; i <= 22 && fields >> field; ++i) {
    if (i == 22) return std::strtoull(field.c_str(), nullptr, 10);
  }
  return 0;
}

std::array<std::uint64_t, 2> command_words() {
  std::array<std::uint64_t, 2> words{};
  std::memcpy(words.data(), program_invocation_short_name,
              std::min<std::size_t>(std::strlen(program_invocation_short_name), 15));
  return words;
}

std::string command_text(std::uint64_t first, std::uint64_t second) {
  char text[17] = {};
  std::memcpy(text, &first, 8);
  std::memcpy(text + 8, &second, 8);
  std::string clean;
  for (const char* c = text; *c != '\0'; ++c)
    clean += *c >= ' ' && *c <= '~' ? *c : '?';
  return clean;
}

}  // namespace ballast::shm
