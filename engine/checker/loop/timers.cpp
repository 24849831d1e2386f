// Boost.Heap's mutable d-ary heap with one node a timer; a timer that is not armed stays in the
// heap at the end of time.
#include "engine/checker/loop/timers.hpp"

#include <boost/heap/d_ary_heap.hpp>
#include <utility>
#include <vector>

namespace ballast::checker {

namespace {

constexpr Timers::TimePoint kNever = Timers::TimePoint::max();

struct Node {
  Timers::TimePoint when;
  Timers::Id id;
};

struct Later {
  bool operator()(const Node& a, const Node& b) const noexcept { return a.when > b.when; }
};

using Heap = boost::heap::d_ary_heap<Node, boost::heap::arity<4>, boost::heap::mutable_<true>,
                                     boost::heap::compare<Later>>;

struct Entry {
  Heap::handle_type handle;
  Timers::Callback callback;
  std::uint32_t generation = 0;
  bool alive = false;
};

}  // namespace

struct Timers::Impl {
  Heap heap;
  std::vector<Entry> entries;
  std::vector<Id> free;
  std::vector<Id> due;
};

Timers::Timers() : impl_(std::make_unique<Impl>()) {}
Timers::~Timers() = default;

Timers::Id Timers::create(Callback callback) {
  Id id = static_cast<Id>(impl_->entries.size());
  if (impl_->free.empty()) {
    impl_->entries.emplace_back();
  } else {
    id = impl_->free.back();
    impl_->free.pop_back();
  }
  Entry& entry = impl_->entries[id];
  entry.callback = std::move(callback);
  entry.alive = true;
  entry.handle = impl_->heap.push(Node{kNever, id});
  return id;
}

void Timers::destroy(Id id) {
  Entry& entry = impl_->entries[id];
  impl_->heap.erase(entry.handle);
  entry.callback = nullptr;
  entry.alive = false;
  ++entry.generation;
  impl_->free.push_back(id);
}

void Timers::arm(Id id, TimePoint when) {
  impl_->heap.update(impl_->entries[id].handle, Node{when, id});
}

void Timers::disarm(Id id) {
  arm(id, kNever);
}

std::optional<Timers::TimePoint> Timers::next() const {
  if (impl_->heap.empty() || impl_->heap.top().when == kNever) return std::nullopt;
  return impl_->heap.top().when;
}

void Timers::run_due(TimePoint now) {
  // Set aside what is due, so that nothing armed from a callback can fire in this call; a timer
  // that another callback disarms or moves meanwhile is told apart by its time.
  std::vector<Id> due = std::move(impl_->due);
  due.clear();
  while (!impl_->heap.empty() && impl_->heap.top().when <= now) {
    due.push_back(impl_->heap.top().id);
    // The end of the clock's past: due, and out of the way of the timers not yet looked at.
    arm(due.back(), kNever - std::chrono::nanoseconds(1));
  }
  for (const Id id : due) {
    Entry& entry = impl_->entries[id];
    if (!entry.alive || (*entry.handle).when != kNever - std::chrono::nanoseconds(1)) continue;
    disarm(id);
    // Out of the table while it runs: it may destroy itself, or create timers and move the table.
    Callback callback = std::move(entry.callback);
    const std::uint32_t generation = entry.generation;
    callback();
    Entry& after = impl_->entries[id];
    if (after.alive && after.generation == generation) after.callback = std::move(callback);
  }
  impl_->due = std::move(due);
}

}  // namespace ballast::checker
