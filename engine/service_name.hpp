// A service's name as it lies in its record: 64 bytes in eight words, NUL at the end. Workers read
// it to find a service, so it is read as input: always closed, whatever the words say.
#pragma once

#include <cstring>
#include <string>
#include <string_view>

#include "shm/generation.hpp"
#include "shm/layout.hpp"

namespace ballast::engine {

[[nodiscard]] inline std::string service_name(const shm::ServiceRecord& record) {
  char text[shm::kServiceNameBytes];
  for (std::size_t i = 0; i < shm::kServiceNameBytes / 8; ++i) {
    const std::uint64_t word = shm::get(record.name[i]);
    std::memcpy(text + 8 * i, &word, 8);
  }
  return {text, ::strnlen(text, shm::kServiceNameBytes - 1)};
}

// `name` must be at most 63 bytes long.
inline void store_service_name(shm::ServiceRecord& record, std::string_view name) {
  char text[shm::kServiceNameBytes] = {};
  name.copy(text, shm::kServiceNameBytes - 1);
  for (std::size_t i = 0; i < shm::kServiceNameBytes / 8; ++i) {
    std::uint64_t word = 0;
    std::memcpy(&word, text + 8 * i, 8);
    shm::put(record.name[i], word);
  }
}

}  // namespace ballast::engine
