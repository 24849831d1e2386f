// The places of a loop's streams: an index that is used again, with a generation that tells its
// tenants apart. Internal to the two backends; `Stream` has the members `generation` (at first 1)
// and `used`. One thread, nothing shared.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

#include "engine/checker/loop/loop.hpp"

namespace ballast::checker {

template <class Stream>
class StreamPlaces {
 public:
  StreamId claim() {
    auto index = static_cast<std::uint32_t>(streams_.size());
    if (free_.empty()) {
      streams_.emplace_back();
    } else {
      index = free_.back();
      free_.pop_back();
    }
    streams_[index].used = true;
    return {index, streams_[index].generation};
  }

  // The place is as new, for a tenant of the next generation; 0 is none.
  void release(std::uint32_t index) {
    const std::uint32_t next = streams_[index].generation + 1;
    streams_[index] = Stream();
    streams_[index].generation = next == 0 ? 1 : next;
    free_.push_back(index);
  }

  // Null if the id is stale. Addresses stay as they are: the kernel may read a stream's members.
  [[nodiscard]] Stream* find(StreamId id) {
    if (id.index >= streams_.size()) return nullptr;
    Stream& stream = streams_[id.index];
    return stream.used && stream.generation == id.generation ? &stream : nullptr;
  }

  [[nodiscard]] Stream& operator[](std::size_t index) { return streams_[index]; }
  [[nodiscard]] auto begin() const { return streams_.begin(); }
  [[nodiscard]] auto end() const { return streams_.end(); }

 private:
  std::deque<Stream> streams_;
  std::vector<std::uint32_t> free_;
};

}  // namespace ballast::checker
