// Opening segments and putting their rings together.
#include "engine/inspect/event_log.hpp"

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

#include "engine/hash.hpp"
#include "shm/event_ring.hpp"
#include "shm/mapped_file.hpp"
#include "shm/paths.hpp"
#include "shm/views.hpp"

namespace ballast::inspect {
namespace {

using shm::MappedFile;

constexpr std::size_t kMostKnown = shm::kMaxEvents + 4 * shm::kWorkerEvents;

// 0: nobody says.
std::uint64_t active_segment(const std::string& directory) {
  const auto file = MappedFile::open(shm::locator_path(directory), MappedFile::Access::read_only,
                                     /*populate=*/false);
  if (file) {
    if (const auto locator = shm::open_locator(*file, shm::BootCheck::skipped)) {
      // [mm:growth] acquire: the segment that it names is whole. Pairs with set_active_segment().
      const std::uint64_t id = (*locator)->active_segment.load(std::memory_order_acquire);
      if (id != 0) return id;
    }
  }
  const auto ids = shm::list_segments(directory);
  return ids.empty() ? 0 : ids.back();
}

// A ring of a workers file, as long as the file is mapped.
struct WorkersRing {
  MappedFile file;
  shm::EventReader reader;

  static shm::Result<WorkersRing> open(const std::string& directory, std::uint64_t id) {
    auto file = MappedFile::open(shm::workers_path(directory, id), MappedFile::Access::read_only,
                                 /*populate=*/false);
    if (!file) return file.error();
    const auto workers = shm::Workers::open(*file, shm::BootCheck::skipped);
    if (!workers) return workers.error();
    shm::EventReader reader(shm::event_ring_of(*workers));
    return WorkersRing{std::move(*file), std::move(reader)};
  }
};

}  // namespace

struct EventLog::Segment {
  std::uint64_t id = 0;
  MappedFile table_file;
  shm::EventReader table;
  std::optional<WorkersRing> workers;
  std::optional<WorkersRing> previous;  // whose workers have not all left when it was opened
};

EventLog::EventLog(std::string directory) : directory_(std::move(directory)) {}
EventLog::EventLog(EventLog&&) noexcept = default;
EventLog& EventLog::operator=(EventLog&&) noexcept = default;
EventLog::~EventLog() = default;

shm::Result<EventLog> EventLog::open(const std::string& directory) {
  const std::uint64_t id = active_segment(directory);
  EventLog log(directory);
  if (const auto opened = log.open_segment(id); !opened) return opened.error();
  return log;
}

shm::Status EventLog::open_segment(std::uint64_t id) {
  auto file = MappedFile::open(shm::table_path(directory_, id), MappedFile::Access::read_only,
                               /*populate=*/false);
  if (!file) return file.error();
  const auto table = shm::Table::open(*file, shm::BootCheck::skipped);
  if (!table) return table.error();
  auto fresh = std::make_unique<Segment>();
  fresh->id = id;
  fresh->table = shm::EventReader(shm::event_ring_of(*table));
  // The workers file may be closed to us, or left out of a copy; the rest is worth showing.
  warning_.clear();
  if (auto workers = WorkersRing::open(directory_, id)) {
    fresh->workers = std::move(*workers);
  } else {
    warning_ = "events of workers are not shown: " + workers.error().to_text();
  }
  // Relaxed: a hint of where else to look.
  const std::uint64_t previous = table->header->previous_segment.load(std::memory_order_relaxed);
  if (previous != 0 && previous != id) {
    if (auto workers = WorkersRing::open(directory_, previous))
      fresh->previous = std::move(*workers);
  }
  fresh->table_file = std::move(*file);
  if (active_ != nullptr) missed_before_ = missed();
  active_ = std::move(fresh);
  return shm::Done{};
}

void EventLog::take(Segment& segment, std::vector<shm::Event>& found) {
  const auto read = [&](shm::EventReader& reader) {
    for (const shm::EventWords& words : reader.look()) {
      const std::string_view bytes(reinterpret_cast<const char*>(words.data()), sizeof(words));
      const std::uint64_t hash = engine::key_hash(bytes);
      if (!known_.insert(hash).second) continue;
      known_order_.push_back(hash);
      if (known_order_.size() > kMostKnown) {
        known_.erase(known_order_.front());
        known_order_.pop_front();
      }
      found.push_back(shm::unpack_event(words));
    }
  };
  read(segment.table);
  if (segment.workers) read(segment.workers->reader);
  if (segment.previous) read(segment.previous->reader);
}

std::vector<shm::Event> EventLog::look() {
  std::vector<shm::Event> found;
  take(*active_, found);
  const std::uint64_t id = active_segment(directory_);
  // What cannot be opened now (it is being made, or was damaged) is tried again at the next look.
  if (id != 0 && id != active_->id && open_segment(id)) take(*active_, found);
  // By time; what has the same, in the order of the rings.
  std::vector<std::pair<std::uint64_t, std::size_t>> order;
  order.reserve(found.size());
  for (std::size_t i = 0; i < found.size(); ++i)
    order.emplace_back(found[i].time_ns, i);
  std::sort(order.begin(), order.end());
  std::vector<shm::Event> sorted;
  sorted.reserve(found.size());
  for (const auto& [time_ns, i] : order)
    sorted.push_back(std::move(found[i]));
  return sorted;
}

std::uint64_t EventLog::missed() const noexcept {
  if (active_ == nullptr) return missed_before_;
  return missed_before_ + active_->table.missed() +
         (active_->workers ? active_->workers->reader.missed() : 0);
}

}  // namespace ballast::inspect
