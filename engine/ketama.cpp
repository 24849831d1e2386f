// Building the ring: a counting sort into the buckets of the index, then each bucket by itself.
#include "engine/ketama.hpp"

#include <algorithm>

namespace ballast::engine {

namespace {

// One number that sorts by hash, then by the member's place in the list.
constexpr std::uint64_t pack_point(std::uint32_t hash, std::size_t place,
                                   std::uint16_t slot) noexcept {
  return std::uint64_t{hash} << 32 | std::uint64_t{place & 0xffff} << 16 | slot;
}

bool starts_with_unix(std::string_view text) noexcept {
  constexpr std::string_view kPrefix = "unix:";
  if (text.size() < kPrefix.size()) return false;
  return std::equal(kPrefix.begin(), kPrefix.end(), text.begin(), [](char lower, char c) {
    return lower == (c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c);
  });
}

std::vector<std::uint64_t> all_points(std::span<const Member> members, std::size_t count) {
  std::vector<std::uint64_t> out;
  out.reserve(count);
  for (std::size_t place = 0; place < members.size(); ++place) {
    const Member& member = members[place];
    const std::uint32_t base = ketama_base(member.text);
    std::uint32_t hash = 0;
    for (std::uint64_t n = std::uint64_t{member.weight} * kKetamaPointsPerWeight; n > 0; --n) {
      hash = ~crc32_update(base, hash);
      out.push_back(pack_point(hash, place, member.slot));
    }
  }
  return out;
}

}  // namespace

std::uint32_t ketama_base(std::string_view text) noexcept {
  std::string_view host = text;
  std::string_view port;
  if (starts_with_unix(text)) {
    host.remove_prefix(5);
  } else if (const auto colon = text.find_last_not_of("0123456789");
             colon != std::string_view::npos && text[colon] == ':') {
    host = text.substr(0, colon);
    port = text.substr(colon + 1);
  }
  std::uint32_t crc = crc32_update(kCrc32Start, host);
  crc = crc32_update(crc, std::string_view("\0", 1));
  return crc32_update(crc, port);
}

std::optional<KetamaRing> build_ketama(std::span<const Member> members) {
  std::uint64_t count = 0;
  for (const Member& member : members) {
    count += std::uint64_t{member.weight} * kKetamaPointsPerWeight;
    if (count > kMaxKetamaPoints) return std::nullopt;
  }
  KetamaRing ring;
  if (count == 0) return ring;

  // About one point a bucket.
  const auto bits = static_cast<unsigned>(std::bit_width(count - 1));
  const auto bucket_of = [bits](std::uint64_t point) { return point >> 32 << bits >> 32; };
  const std::vector<std::uint64_t> unsorted = all_points(members, count);
  std::vector<std::uint32_t> start((std::size_t{1} << bits) + 1);
  for (std::uint64_t point : unsorted)
    ++start[bucket_of(point) + 1];
  for (std::size_t i = 1; i < start.size(); ++i)
    start[i] += start[i - 1];
  std::vector<std::uint64_t> sorted(count);
  std::vector<std::uint32_t> end(start.begin(), start.end() - 1);
  for (std::uint64_t point : unsorted)
    sorted[end[bucket_of(point)]++] = point;

  ring.points.reserve(count);
  ring.slots.reserve(count);
  ring.index.reserve(end.size());
  for (std::size_t bucket = 0; bucket < end.size(); ++bucket) {
    ring.index.push_back(static_cast<std::uint32_t>(ring.points.size()));
    std::sort(sorted.begin() + start[bucket], sorted.begin() + end[bucket]);
    for (std::size_t i = start[bucket]; i < end[bucket]; ++i) {
      const auto hash = static_cast<std::uint32_t>(sorted[i] >> 32);
      if (!ring.points.empty() && ring.points.back() == hash) continue;
      ring.points.push_back(hash);
      ring.slots.push_back(static_cast<std::uint16_t>(sorted[i]));
    }
  }
  return ring;
}

}  // namespace ballast::engine
