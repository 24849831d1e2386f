// A client may send anything as its token. Opening it must end, and only what was made with the key
// may open: neither the input as it comes nor a token with the input laid over it.
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "engine/sticky.hpp"

namespace {

using namespace ballast::engine;

void require(bool condition) {
  if (!condition) std::abort();
}

constexpr StickyKeys kKeys{{1, 2}, {3, 4}};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const StickyOpened as_it_is = decode_sticky(kKeys, input);
  require((as_it_is.verdict == StickyVerdict::not_ours) || size == kStickyText);

  StickyBody body;
  for (std::size_t i = 0; i < size; ++i) {
    body.slot = static_cast<std::uint16_t>(body.slot * 31 + data[i]);
    body.incarnation = body.incarnation * 31 + data[i];
    body.fingerprint = body.fingerprint * 31 + data[i];
  }
  for (const bool previous : {false, true}) {
    std::array<char, kStickyText> made{};
    encode_sticky(previous ? kKeys.previous : kKeys.current, body, made);
    const std::string text(made.begin(), made.end());
    const StickyOpened opened = decode_sticky(kKeys, text);
    require(opened.verdict == StickyVerdict::opened && opened.by_previous == previous &&
            opened.body == body);
    std::string laid_over = text;
    for (std::size_t i = 0; i < size; ++i)
      laid_over[i % laid_over.size()] =
          static_cast<char>(laid_over[i % laid_over.size()] ^ data[i]);
    require(laid_over == text || decode_sticky(kKeys, laid_over).verdict != StickyVerdict::opened);
  }
  // What opens is what would be made of it again.
  if (as_it_is.verdict == StickyVerdict::opened) {
    std::array<char, kStickyText> again{};
    encode_sticky(as_it_is.by_previous ? kKeys.previous : kKeys.current, as_it_is.body, again);
    require(input == std::string_view(again.data(), again.size()));
  }
  return 0;
}
