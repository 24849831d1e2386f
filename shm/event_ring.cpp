// Reading and writing the rings of a segment.
#include "shm/event_ring.hpp"

namespace ballast::shm {
namespace {

// The words of a record after the commit word, one by one.
template <class Record, class Visit>
void for_each_word(Record& record, Visit&& visit) noexcept {
  std::size_t i = 0;
  visit(i++, record.time_ns);
  visit(i++, record.what);
  visit(i++, record.detail);
  visit(i++, record.value);
  for (auto& word : record.endpoint)
    visit(i++, word);
  for (auto& word : record.service_name)
    visit(i++, word);
}

void store_words(EventRecord& record, const EventWords& words) noexcept {
  for_each_word(record, [&](std::size_t i, Word64& word) { put_event_word(word, words[i]); });
}

EventRead read_words(const EventRing& ring, std::uint64_t ticket, EventWords& words) noexcept {
  return read_event(ring.records, ticket, [&](const EventRecord& record) {
    for_each_word(record,
                  [&](std::size_t i, const Word64& word) { words[i] = get_event_word(word); });
  });
}

}  // namespace

bool write_event(const EventRingWriter& ring, EventWriter writer,
                 const EventWords& words) noexcept {
  if (ring.next == nullptr) return false;
  return write_event(*ring.next, ring.records, writer,
                     [&](EventRecord& record) { store_words(record, words); });
}

std::vector<EventWords> EventReader::look() {
  std::vector<EventWords> found;
  if (ring_.next == nullptr || ring_.records.empty()) return found;
  EventWords words{};
  std::erase_if(unfinished_, [&](Unfinished& one) {
    const EventRead read = read_words(ring_, one.ticket, words);
    if (read == EventRead::whole) found.push_back(words);
    if (read == EventRead::gone) ++missed_;
    if (read != EventRead::pending) return true;
    if (++one.looks < kPatience) return false;
    ++given_up_;
    return true;
  });
  // Relaxed: a hint of how far to look. One that went back is damage: look at the whole ring.
  const std::uint64_t head = ring_.next->load(std::memory_order_relaxed);
  const std::uint64_t size = ring_.records.size();
  const std::uint64_t oldest = head < size ? 0 : head - size;
  if (head < position_) position_ = oldest;
  if (position_ < oldest) {
    if (started_) missed_ += oldest - position_;
    position_ = oldest;
  }
  started_ = true;
  for (; position_ < head; ++position_) {
    const EventRead read = read_words(ring_, position_, words);
    if (read == EventRead::whole) found.push_back(words);
    if (read == EventRead::gone) ++missed_;
    if (read != EventRead::pending) continue;
    if (unfinished_.size() < size) {
      unfinished_.push_back({position_, 0});
    } else {
      ++given_up_;
    }
  }
  return found;
}

}  // namespace ballast::shm
