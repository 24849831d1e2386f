// Consistent hashing that places every key where nginx's `upstream { hash $key consistent; }`
// places it, so that a site can move over without moving a key. The checker builds the ring for
// each rebuild; workers look keys up in it, also while an instance is unusable, as nginx does. The
// lookups are templates over the arrays: plain ones in tests, atomic ones in the mapped table,
// which are loaded as [mm:publish-and-pick] demands. docs/placement.md has the formulas and what
// differs.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

#include "engine/crc32.hpp"
#include "engine/member.hpp"
#include "shm/generation.hpp"

namespace ballast::engine {

inline constexpr std::uint32_t kKetamaPointsPerWeight = 160;  // nginx
// Of one ring; that is a total weight of 104857 and about 170 MB for the two buffers.
inline constexpr std::size_t kMaxKetamaPoints = std::size_t{1} << 24;

struct KetamaRing {
  std::vector<std::uint32_t> points;  // ascending, no two equal
  std::vector<std::uint16_t> slots;   // of the same length: whose point it is
  // Of 2^b entries: entry i is the index of the first point that is at least i << (32 - b).
  std::vector<std::uint32_t> index;
};

// The ring of `members`. Their order matters only where points of two members coincide (of 160,000
// points about three do): the first of them keeps the point, as with nginx on glibc. A weight of 0
// has no points. Empty arrays if there are none; nothing if there would be more than
// kMaxKetamaPoints. Thread-safe; allocates.
[[nodiscard]] std::optional<KetamaRing> build_ketama(std::span<const Member> members);

// The CRC register over HOST, '\0', PORT, from which a member's points start. The port is the run
// of digits (also an empty one) after the last colon, if nothing else follows that colon; without
// it the whole text is the host. "unix:" in front, in any case, is left out, and what follows is
// host.
[[nodiscard]] std::uint32_t ketama_base(std::string_view text) noexcept;

[[nodiscard]] constexpr std::uint32_t ketama_hash(std::string_view key) noexcept {
  return crc32(key);
}

namespace detail {

template <class Entry>
[[nodiscard]] auto load_entry(const Entry& entry) noexcept {
  if constexpr (std::is_integral_v<Entry>) {
    return entry;
  } else {
    return shm::get(entry);
  }
}

}  // namespace detail

// Index of the first point at or after `hash`, going round; 0 for an empty ring. If that point's
// instance may not be used, the next points follow, going round, as with nginx. The arrays are
// input: whatever they hold, the result is below points.size() (or 0), and the search ends.
template <class Points, class Index>
[[nodiscard]] std::size_t find_ketama(const Points& points, const Index& index,
                                      std::uint32_t hash) noexcept {
  const std::size_t size = points.size();
  const std::size_t buckets = index.size();
  if (size == 0 || buckets == 0) return 0;
  const auto bits = static_cast<unsigned>(std::bit_width(buckets) - 1);
  const std::size_t bucket = std::uint64_t{hash} << bits >> 32;
  std::size_t at = detail::load_entry(index[bucket]);
  while (at < size && detail::load_entry(points[at]) < hash)
    ++at;
  return at < size ? at : 0;
}

}  // namespace ballast::engine
