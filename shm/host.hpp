// The few facts that shm asks of the host: which boot this is, what time it is for people, and how
// to describe the calling thread in a row. Setup only; never on the pick path.
#pragma once

#include <array>
#include <cstdint>
#include <string>

namespace ballast::shm {

// The kernel's random id of this boot; zeroes if /proc cannot say.
[[nodiscard]] std::array<std::uint8_t, 16> boot_id();

// CLOCK_REALTIME in nanoseconds: for people to read, never to decide by.
[[nodiscard]] std::uint64_t realtime_ns() noexcept;

// Start time of the calling process in clock ticks since boot (/proc/self/stat); 0 if unknown.
[[nodiscard]] std::uint64_t process_start_ticks();

// The calling process's name, cut to 15 bytes, as two words.
[[nodiscard]] std::array<std::uint64_t, 2> command_words();
[[nodiscard]] std::string command_text(std::uint64_t first, std::uint64_t second);

}  // namespace ballast::shm
