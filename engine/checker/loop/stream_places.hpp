// The places of a loop's streams: an index that is used again, with a generation that tells its
// tenants apart. Used by the two backends and by what encrypts over them; `Stream` has the members
// `generation` (at first 1), `used` and `left`. One thread, nothing shared.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

#include "engine/checker/loop/loop.hpp"

namespace ballast::checker {

// What a place that is free still has from its last tenant, and its next one can use.
enum class Left : std::uint8_t { nothing = 0, ipv4_socket = 1, ipv6_socket = 2 };

template <class Stream>
class StreamPlaces {
 public:
  // A free place, one that has what is `wanted` if there is one; `limit` places at most, of which
  // one must be free. What the place has: `left`.
  StreamId claim(Left wanted, std::size_t limit) {
    std::uint32_t index = 0;
    if (auto* const free = free_with(wanted, limit)) {
      index = free->back();
      free->pop_back();
    } else {
      index = static_cast<std::uint32_t>(streams_.size());
      streams_.emplace_back();
    }
    streams_[index].used = true;
    return {index, streams_[index].generation};
  }

  // The place is as new, for a tenant of the next generation; 0 is none.
  void release(std::uint32_t index, Left left = Left::nothing) {
    const std::uint32_t next = streams_[index].generation + 1;
    streams_[index] = Stream();
    streams_[index].generation = next == 0 ? 1 : next;
    streams_[index].left = left;
    free_[static_cast<std::size_t>(left)].push_back(index);
  }

  // Free places that have something.
  [[nodiscard]] std::size_t furnished() const noexcept { return free_[1].size() + free_[2].size(); }

  // Null if the id is stale. Addresses stay as they are: the kernel may read a stream's members.
  [[nodiscard]] Stream* find(StreamId id) {
    if (id.index >= streams_.size()) return nullptr;
    Stream& stream = streams_[id.index];
    return stream.used && stream.generation == id.generation ? &stream : nullptr;
  }

  void fetch(std::size_t index) const noexcept {
    if (index < streams_.size()) __builtin_prefetch(&streams_[index], 1);
  }

  [[nodiscard]] std::size_t size() const { return streams_.size(); }
  [[nodiscard]] Stream& operator[](std::size_t index) { return streams_[index]; }
  [[nodiscard]] auto begin() const { return streams_.begin(); }
  [[nodiscard]] auto end() const { return streams_.end(); }

 private:
  std::vector<std::uint32_t>* free_with(Left wanted, std::size_t limit) {
    auto& best = free_[static_cast<std::size_t>(wanted)];
    if (!best.empty()) return &best;
    if (!free_[0].empty()) return &free_[0];
    if (streams_.size() < limit) return nullptr;
    return free_[1].empty() ? &free_[2] : &free_[1];
  }

  std::deque<Stream> streams_;
  std::array<std::vector<std::uint32_t>, 3> free_;
};

}  // namespace ballast::checker
