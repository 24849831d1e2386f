// Opening the active segment, moving to another one, claiming a row, and trying again.
#include "engine/attachment.hpp"

#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <mutex>
#include <utility>

#include "engine/fork_watch.hpp"
#include "shm/crash_point.hpp"
#include "shm/mapped_file.hpp"
#include "shm/paths.hpp"
#include "shm/row_protocol.hpp"
#include "shm/views.hpp"

namespace ballast::engine {

namespace {

// How often the locator is asked again when what it names cannot be opened.
constexpr unsigned kMaxLooks = 64;

std::uint64_t in_flight(const shm::Row& row) noexcept {
  std::uint64_t sum = 0;
  for (const shm::CounterRecord& record : row.counters())
    sum += static_cast<std::uint64_t>(shm::read_in_flight(record.values));
  return sum;
}

// No system call: the C library reads it from memory.
std::int64_t coarse_seconds() noexcept {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return now.tv_sec;
}

// Another one for every thread and process. Not a secret.
std::uint64_t fresh_seed() noexcept {
  std::uint64_t seed = 0;
  if (::getrandom(&seed, sizeof seed, GRND_NONBLOCK) == static_cast<ssize_t>(sizeof seed))
    return seed;
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_nsec) << 32 ^ static_cast<std::uint64_t>(now.tv_sec) ^
         static_cast<std::uint64_t>(::getpid()) << 16 ^ reinterpret_cast<std::uintptr_t>(&seed);
}

// Which segment the locator names now.
shm::Result<std::uint64_t> active_segment(const std::string& directory) {
  const auto file = shm::MappedFile::open(shm::locator_path(directory),
                                          shm::MappedFile::Access::read_only, false);
  if (!file) {
    shm::Error error = file.error();
    if (error.kind == shm::ErrorKind::not_found)
      error.detail = "no checker has run here; start ballastd, or set the directory it uses";
    return error;
  }
  const auto locator = shm::open_locator(*file, shm::BootCheck::required);
  if (!locator) return locator.error();
  // [mm:growth] pairs with Lease::set_active_segment: what is named is whole.
  const std::uint64_t id = (*locator)->active_segment.load(std::memory_order_acquire);
  if (id == 0) {
    return shm::Error{shm::ErrorKind::not_found, 0, "attach to", directory,
                      "the checker has not published yet; start ballastd, or try again"};
  }
  return id;
}

}  // namespace

Attachment::Attachment(std::string directory) noexcept : directory_(std::move(directory)) {
  picker_.random = Random(fresh_seed());
}

shm::Status Attachment::enter_active_segment() {
  auto id = active_segment(directory_);
  for (unsigned attempt = 0; id; ++attempt) {
    if (segment_ && *id == segment_id_) {
      return shm::Error{shm::ErrorKind::not_found, 0, "leave segment", std::to_string(*id),
                        "it is superseded, but the locator names no other yet"};
    }
    auto opened = shm::WorkerSegment::open(directory_, *id);
    if (opened) {
      BALLAST_POINT("attach.opened");
      const std::lock_guard lock(fork_mutex());
      retire_row();
      BALLAST_POINT("attach.retired");
      adopt(std::move(*opened));
      BALLAST_POINT("attach.adopted");
      return shm::Done{};
    }
    // The table may have grown again in between, and the segment be gone for that reason.
    const std::uint64_t failed = *id;
    id = active_segment(directory_);
    if (id && (*id == failed || attempt == kMaxLooks)) return opened.error();
  }
  return id.error();
}

void Attachment::adopt(shm::WorkerSegment segment) {
  segment_.emplace(std::move(segment));
  segment_id_ = segment_->id;
  instances_ = segment_->table.instances.data();
  thaw();
  try_claim();
}

// Keeps the segment that is being left if picks are in flight in it, else gives its row back.
void Attachment::retire_row() {
  if (!row_) return;
  const std::uint64_t count = in_flight(*row_);
  if (count != 0) {
    for (shm::RowServiceRecord& service : row_->services()) {
      // Relaxed: the owner's own word. Most services are never used.
      if (service.seen_epoch.load(std::memory_order_relaxed) != 0)
        shm::forget_seen(service.seen_epoch);
    }
    retired_.reserve(kMaxRetired);
    if (retired_.size() == kMaxRetired) retired_.erase(retired_.begin());
    retired_.push_back(
        std::make_unique<Retired>(Retired{std::move(*segment_), std::move(*row_), count}));
  }
  set_row(std::nullopt);
}

// `in_flight_` has been made for the new row, if there is one.
void Attachment::set_row(std::optional<shm::Row> row) noexcept {
  row_ = std::move(row);
  picker_.row = {};
  if (!row_) return;
  const auto counters = row_->counters();
  picker_.row = {.counters = counters.data(),
                 .journal = &segment_->workers.journal(row_->index()),
                 .in_flight = in_flight_.data(),
                 .slots = std::min(counters.size(), segment_->table.instances.size()),
                 .services = row_->services().data(),
                 .service_count = row_->services().size(),
                 .breakers = segment_->workers.breakers.data(),
                 .instances = segment_->workers.instances.data(),
                 .index = row_->index(),
                 .incarnation = row_->incarnation()};
}

// Picks without a row work but are counted nowhere.
void Attachment::try_claim() {
  wait_to_retry();
  auto row = shm::Row::claim(segment_->workers, segment_->workers_file.path());
  if (row) {
    in_flight_.assign(row->counters().size(), 0);
    set_row(std::move(*row));
    row_warning_.clear();
  } else {
    set_row(std::nullopt);
    row_warning_ = "picks are not counted: " + row.error().to_text();
  }
}

void Attachment::wait_to_retry() noexcept {
  retry_in_ = kRetryEveryPicks;
  retry_at_s_ = coarse_seconds() + kRetryAfterSeconds;
}

bool Attachment::move_on() {
  const shm::Status moved = enter_active_segment();
  if (moved) return true;
  if (!frozen_) wait_to_retry();
  frozen_ = true;
  segment_warning_ = "picking from a superseded table: " + moved.error().to_text();
  return false;
}

void Attachment::thaw() noexcept {
  frozen_ = false;
  segment_warning_.clear();
}

bool Attachment::due_to_mend() noexcept {
  if (forked_) return true;
  if (in_order()) return false;
  if (retry_in_ > 0 && coarse_seconds() < retry_at_s_) {
    --retry_in_;
    return false;
  }
  wait_to_retry();
  return true;
}

void Attachment::mend() {
  if (frozen_ && !forked_) {
    move_on();
    return;
  }
  const std::lock_guard lock(fork_mutex());
  if (forked_) retired_.clear();  // their rows are the parent's
  forked_ = false;
  try_claim();
}

Attachment::Retired* Attachment::find_retired(const ballast_pick_t& pick) noexcept {
  for (const auto& retired : retired_) {
    if (pick.segment == retired->segment.id && pick.row == retired->row.index() &&
        pick.row_incarnation == retired->row.incarnation() &&
        pick.slot < retired->row.counters().size() &&
        pick.slot < retired->segment.table.instances.size()) {
      return retired.get();
    }
  }
  return nullptr;
}

void Attachment::release(Retired* retired) noexcept {
  if (--retired->in_flight != 0) return;
  const std::lock_guard lock(fork_mutex());
  std::erase_if(retired_, [&](const auto& one) { return one.get() == retired; });
}

void Attachment::describe(ballast_info_t& out) const noexcept {
  constexpr auto relaxed = std::memory_order_relaxed;  // for people
  const shm::FileHeader& header = *segment_->table.header;
  out.segment = segment_id_;
  out.row = picker_.row.index;
  out.superseded = frozen_ ? 1 : 0;
  out.heartbeat = header.heartbeat.load(relaxed);
  out.heartbeat_ns = header.heartbeat_ns.load(relaxed);
  out.checker_pid = header.checker_pid.load(relaxed);
  out.checker_term = header.checker_term.load(relaxed);
}

const char* Attachment::warning() const noexcept {
  if (!segment_warning_.empty()) return segment_warning_.c_str();
  return row_warning_.empty() ? nullptr : row_warning_.c_str();
}

void Attachment::after_fork_in_child() noexcept {
  if (row_) row_->forget();
  for (const auto& retired : retired_)
    retired->row.forget();
  picker_.row = {};
  picker_.random = Random(fresh_seed());
  forked_ = true;
}

}  // namespace ballast::engine
