// Any text may be asked for as an endpoint, and any three words may be found in a mapped table:
// neither may do more than be refused. What is accepted must survive being written and read again.
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "shm/endpoint.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using ballast::shm::Endpoint;
  const auto parsed =
      ballast::shm::parse_endpoint(std::string_view(reinterpret_cast<const char*>(data), size));
  if (parsed && ballast::shm::parse_endpoint(parsed->to_text()) != parsed) std::abort();

  std::array<std::uint64_t, 3> words{};
  std::memcpy(words.data(), data, size < sizeof words ? size : sizeof words);
  const Endpoint read = Endpoint::from_words(words);
  sockaddr_storage storage;
  if ((read.to_sockaddr(storage) == 0) != (read.family == ballast::shm::Family::none)) std::abort();
  return 0;
}
