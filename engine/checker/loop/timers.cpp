// The wheel has a bucket for each of the next 4096 milliseconds and one for all that lies beyond,
// from which timers come over while the wheel turns. A bucket is a list of chunks; all but the
// first are full, so that a timer leaves its bucket by changing places with one that came late, of
// which the lines are most likely still at hand.
#include "engine/checker/loop/timers.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <unordered_map>
#include <utility>
#include <vector>

namespace ballast::checker {

namespace {

using std::chrono::milliseconds;
using TimePoint = Timers::TimePoint;
using Id = Timers::Id;

constexpr TimePoint kNever = TimePoint::max();
constexpr std::uint32_t kNone = ~std::uint32_t{0};
constexpr std::uint64_t kNoTick = ~std::uint64_t{0};
constexpr std::uint32_t kBuckets = 4096;  // a power of two
constexpr std::uint32_t kFar = kBuckets;  // the bucket of all that lies beyond
constexpr std::uint32_t kWordBits = 64;
// How far ahead of a timer its handler is told.
constexpr std::size_t kSoon = 8;
constexpr std::size_t kNext = 4;

// A time's millisecond; those before the clock's begin are all its first.
std::uint64_t tick_of(TimePoint when) {
  const auto ms = std::chrono::duration_cast<milliseconds>(when.time_since_epoch()).count();
  return ms < 0 ? 0 : static_cast<std::uint64_t>(ms);
}

TimePoint begin_of(std::uint64_t tick) {
  return TimePoint(milliseconds(tick));
}

struct Item {
  TimePoint when;
  Id id;
};

struct Chunk {
  static constexpr std::uint32_t kItems = 7;
  std::array<Item, kItems> items;
  std::uint32_t used = 0;
  std::uint32_t next = kNone;
};
static_assert(sizeof(Chunk) <= 128);

struct Entry {
  TimerHandler* handler = nullptr;  // null: a callback's
  std::uint64_t user = 0;
  std::uint32_t chunk = kNone;  // where its item is; none: it is not armed
  std::uint16_t item = 0;
  std::uint16_t bucket = 0;
  bool alive = false;
  bool due = false;  // about to fire
};

// A timer that is about to fire, with what is needed for it.
struct Due {
  TimePoint when;
  Id id;
  std::uint64_t user;
  TimerHandler* handler;
};

}  // namespace

struct Timers::Impl {
  std::vector<Entry> entries;
  std::vector<Id> free;
  std::unordered_map<Id, std::shared_ptr<Callback>> callbacks;
  std::vector<Due> due;
  std::vector<Item> taken;

  std::vector<Chunk> chunks;
  std::vector<std::uint32_t> free_chunks;
  std::array<std::uint32_t, kBuckets + 1> first;  // chunk of a bucket
  std::array<std::uint64_t, kBuckets / kWordBits> filled{};
  // The wheel stands here; its buckets are those of the next kBuckets ticks, and all that is armed
  // for an earlier one lies in the first.
  std::uint64_t tick = 0;
  std::uint64_t far_from = kNoTick;  // no timer beyond is due before this tick

  Impl() {
    first.fill(kNone);
    tick = tick_of(std::chrono::steady_clock::now());
  }

  Id create(TimerHandler* handler, std::uint64_t user) {
    Id id = static_cast<Id>(entries.size());
    if (free.empty()) {
      entries.emplace_back();
    } else {
      id = free.back();
      free.pop_back();
    }
    Entry& entry = entries[id];
    entry.handler = handler;
    entry.user = user;
    entry.alive = true;
    return id;
  }

  // The first tick from here on whose bucket is not empty; kBuckets beyond if there is none.
  [[nodiscard]] std::uint64_t first_filled() const {
    const std::uint32_t start = static_cast<std::uint32_t>(tick % kBuckets);
    // Once around, and the beginning of the first word again.
    for (std::uint32_t i = 0; i <= kBuckets / kWordBits; ++i) {
      const std::uint32_t word = (start / kWordBits + i) % (kBuckets / kWordBits);
      std::uint64_t bits = filled[word];
      const std::uint32_t skipped = start % kWordBits;
      if (i == 0) bits &= ~std::uint64_t{0} << skipped;
      if (i == kBuckets / kWordBits) bits &= ~(~std::uint64_t{0} << skipped);
      if (bits == 0) continue;
      const std::uint32_t bucket =
          word * kWordBits + static_cast<std::uint32_t>(std::countr_zero(bits));
      return tick + (bucket - start) % kBuckets;
    }
    return tick + kBuckets;
  }

  // Lets the wheel stand at the present, if nothing is in the way, so that what is near by is not
  // taken for far.
  void catch_up() {
    const std::uint64_t now = tick_of(std::chrono::steady_clock::now());
    if (now > tick) tick = std::max(tick, std::min(now, first_filled()));
  }

  void insert(Id id, TimePoint when) {
    std::uint64_t at = std::max(tick_of(when), tick);
    if (at >= tick + kBuckets) {
      catch_up();
      at = std::max(at, tick);
    }
    std::uint32_t bucket = static_cast<std::uint32_t>(at % kBuckets);
    if (at >= tick + kBuckets) {
      bucket = kFar;
      far_from = std::min(far_from, at);
    } else {
      filled[bucket / kWordBits] |= std::uint64_t{1} << bucket % kWordBits;
    }
    std::uint32_t chunk = first[bucket];
    if (chunk == kNone || chunks[chunk].used == Chunk::kItems) {
      const std::uint32_t full = chunk;
      chunk = claim_chunk();
      chunks[chunk].next = full;
      first[bucket] = chunk;
    }
    Entry& entry = entries[id];
    entry.chunk = chunk;
    entry.item = static_cast<std::uint16_t>(chunks[chunk].used);
    entry.bucket = static_cast<std::uint16_t>(bucket);
    chunks[chunk].items[chunks[chunk].used++] = {when, id};
  }

  void remove(Id id) {
    Entry& entry = entries[id];
    entry.due = false;
    if (entry.chunk == kNone) return;
    const std::uint32_t head = first[entry.bucket];
    const Item last = chunks[head].items[--chunks[head].used];
    if (last.id != id) {
      chunks[entry.chunk].items[entry.item] = last;
      entries[last.id].chunk = entry.chunk;
      entries[last.id].item = entry.item;
    }
    if (chunks[head].used == 0) drop_chunk(entry.bucket);
    entry.chunk = kNone;
  }

  std::uint32_t claim_chunk() {
    if (free_chunks.empty()) {
      chunks.emplace_back();
      return static_cast<std::uint32_t>(chunks.size() - 1);
    }
    const std::uint32_t chunk = free_chunks.back();
    free_chunks.pop_back();
    return chunk;
  }

  // The first chunk of a bucket is empty.
  void drop_chunk(std::uint32_t bucket) {
    const std::uint32_t chunk = first[bucket];
    first[bucket] = chunks[chunk].next;
    free_chunks.push_back(chunk);
    if (first[bucket] != kNone) return;
    if (bucket == kFar) {
      far_from = kNoTick;
    } else {
      filled[bucket / kWordBits] &= ~(std::uint64_t{1} << bucket % kWordBits);
    }
  }

  // Takes all items out of a bucket; they are good until the next call.
  const std::vector<Item>& empty(std::uint32_t bucket) {
    taken.clear();
    while (first[bucket] != kNone) {
      Chunk& chunk = chunks[first[bucket]];
      taken.insert(taken.end(), chunk.items.begin(), chunk.items.begin() + chunk.used);
      chunk.used = 0;
      drop_chunk(bucket);
    }
    for (const Item& item : taken)
      entries[item.id].chunk = kNone;
    return taken;
  }

  // What lies beyond and has come within the wheel's reach comes over.
  void bring_near() {
    if (far_from >= tick + kBuckets) return;
    for (const Item& item : empty(kFar))
      insert(item.id, item.when);
  }

  // Sets aside what is due in the wheel's first bucket, and leaves the rest.
  void collect_first(TimePoint now) {
    const auto bucket = static_cast<std::uint32_t>(tick % kBuckets);
    for (const Item& item : empty(bucket)) {
      if (item.when > now) {
        insert(item.id, item.when);
        continue;
      }
      Entry& entry = entries[item.id];
      entry.due = true;
      due.push_back({item.when, item.id, entry.user, entry.handler});
    }
  }

  void collect(TimePoint now) {
    const std::uint64_t end = tick_of(now);
    while (true) {
      tick = std::max(tick, std::min({end, first_filled(), far_from}));
      bring_near();
      collect_first(now);
      if (tick >= end) return;
    }
  }

  void fire(const Due& one) {
    Entry& entry = entries[one.id];
    if (!std::exchange(entry.due, false)) return;  // moved, disarmed or destroyed meanwhile
    if (one.handler != nullptr) return one.handler->on_time(one.user);
    const std::shared_ptr<Callback> callback = callbacks.at(one.id);  // it may destroy its timer
    (*callback)();
  }
};

Timers::Timers() : impl_(std::make_unique<Impl>()) {}
Timers::~Timers() = default;

Timers::Id Timers::create(Callback callback) {
  const Id id = impl_->create(nullptr, 0);
  impl_->callbacks[id] = std::make_shared<Callback>(std::move(callback));
  return id;
}

Timers::Id Timers::create(TimerHandler& handler, std::uint64_t user) {
  return impl_->create(&handler, user);
}

void Timers::destroy(Id id) {
  impl_->remove(id);
  Entry& entry = impl_->entries[id];
  if (entry.handler == nullptr) impl_->callbacks.erase(id);
  entry = {};
  impl_->free.push_back(id);
}

void Timers::arm(Id id, TimePoint when) {
  impl_->remove(id);
  if (when != kNever) impl_->insert(id, when);
}

void Timers::disarm(Id id) {
  impl_->remove(id);
}

std::optional<Timers::TimePoint> Timers::next() const {
  const std::uint64_t filled = impl_->first_filled();
  std::optional<TimePoint> next;
  if (filled < impl_->tick + kBuckets) {
    TimePoint earliest = kNever;
    for (std::uint32_t i = impl_->first[filled % kBuckets]; i != kNone; i = impl_->chunks[i].next) {
      const Chunk& chunk = impl_->chunks[i];
      for (std::uint32_t j = 0; j < chunk.used; ++j)
        earliest = std::min(earliest, chunk.items[j].when);
    }
    next = earliest;
  }
  if (impl_->far_from != kNoTick) {
    const TimePoint far = begin_of(impl_->far_from);
    if (!next || far < *next) next = far;
  }
  return next;
}

void Timers::run_due(TimePoint now) {
  // Set aside what is due, so that nothing armed from a callback can fire in this call; a timer
  // that another callback disarms or moves meanwhile is no longer marked.
  impl_->due.clear();
  impl_->collect(now);
  std::vector<Due> due = std::move(impl_->due);
  std::sort(due.begin(), due.end(), [](const Due& a, const Due& b) { return a.when < b.when; });
  const auto ahead = [&](std::size_t i) -> const Due* {
    const bool fires = i < due.size() && due[i].handler != nullptr && impl_->entries[due[i].id].due;
    return fires ? &due[i] : nullptr;
  };
  for (std::size_t i = 0; i < kSoon; ++i) {
    if (const Due* const one = ahead(i)) one->handler->fires_soon(one->user);
  }
  for (std::size_t i = 0; i < due.size(); ++i) {
    if (const Due* const one = ahead(i + kSoon)) one->handler->fires_soon(one->user);
    if (const Due* const one = ahead(i + kNext)) one->handler->fires_next(one->user);
    impl_->fire(due[i]);
  }
  impl_->due = std::move(due);
}

}  // namespace ballast::checker
