// Attaching, moving to another segment, and every pick that does not go straight.
#include "engine/handle.hpp"

#include <array>
#include <ctime>
#include <mutex>
#include <new>

#include "engine/fork_watch.hpp"
#include "engine/ketama.hpp"
#include "shm/mapped_file.hpp"
#include "shm/paths.hpp"
#include "shm/views.hpp"

namespace ballast::engine {

namespace {

bool has_name(const shm::ServiceRecord& record, std::string_view name) noexcept {
  char text[shm::kServiceNameBytes] = {};
  name.copy(text, sizeof text - 1);
  for (std::size_t i = 0; i < shm::kServiceNameBytes / 8; ++i) {
    std::uint64_t word = 0;
    std::memcpy(&word, text + 8 * i, 8);
    if (shm::get(record.name[i]) != word) return false;
  }
  return true;
}

bool is_live(const shm::ServiceRecord& record) noexcept {
  return shm::unpack_identity(shm::get(record.identity)).phase == shm::Phase::live;
}

std::uint64_t in_flight(const shm::Row& row) noexcept {
  std::uint64_t sum = 0;
  for (const shm::CounterRecord& record : row.counters())
    sum += static_cast<std::uint64_t>(shm::read_in_flight(record.values));
  return sum;
}

}  // namespace

shm::Result<std::unique_ptr<Handle>> Handle::attach(std::string directory) {
  std::unique_ptr<Handle> handle(new Handle(std::move(directory)));
  watch_forks(*handle);
  if (const shm::Status entered = handle->enter_active_segment(); !entered) return entered.error();
  return handle;
}

Handle::~Handle() {
  unwatch_forks(*this);
}

void Handle::after_fork_in_child() noexcept {
  for (Service& service : services_) {
    service.view.poison();
    service.tickets.drop();  // the parent will use them
  }
  if (row_) row_->forget();
  for (const auto& retired : retired_)
    retired->row.forget();
  counters_ = nullptr;
  counted_slots_ = 0;
  row_index_ = BALLAST_NO_ROW;
  row_incarnation_ = 0;
  forked_ = true;
}

namespace {

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

// Opens whatever segment the locator names, and leaves the one before, or keeps it while picks are
// in flight there.
shm::Status Handle::enter_active_segment() {
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
    if (id && (*id == failed || attempt == kMaxRefreshes)) return opened.error();
  }
  return id.error();
}

void Handle::adopt(shm::WorkerSegment segment) {
  forget_generations();  // first: they point into what goes now, and try_claim() may throw
  segment_.emplace(std::move(segment));
  segment_id_ = segment_->id;
  instances_ = segment_->table.instances.data();
  frozen_ = false;
  segment_warning_.clear();
  for (Service& service : services_)
    service.tickets.drop();
  try_claim();
}

// Keeps the segment that is being left if picks are in flight in it, else gives its row back.
void Handle::retire_row() {
  if (!row_) return;
  const std::uint64_t count = in_flight(*row_);
  if (count != 0) {
    retired_.reserve(kMaxRetired);
    if (retired_.size() == kMaxRetired) retired_.erase(retired_.begin());
    retired_.push_back(
        std::make_unique<Retired>(Retired{std::move(*segment_), std::move(*row_), count}));
  }
  set_row(std::nullopt);
}

void Handle::set_row(std::optional<shm::Row> row) noexcept {
  row_ = std::move(row);
  counters_ = row_ ? row_->counters().data() : nullptr;
  counted_slots_ = row_ ? std::min(row_->counters().size(), segment_->table.instances.size()) : 0;
  row_index_ = row_ ? row_->index() : BALLAST_NO_ROW;
  row_incarnation_ = row_ ? row_->incarnation() : 0;
}

// Picks without a row work but are counted nowhere.
void Handle::try_claim() {
  wait_to_retry();
  auto row = shm::Row::claim(segment_->workers, segment_->workers_file.path());
  if (row) {
    set_row(std::move(*row));
    row_warning_.clear();
  } else {
    set_row(std::nullopt);
    row_warning_ = "picks are not counted: " + row.error().to_text();
  }
}

void Handle::forget_generations() noexcept {
  for (Service& service : services_)
    service.view.poison();
}

namespace {

// No system call: the C library reads it from memory.
std::int64_t coarse_seconds() noexcept {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return now.tv_sec;
}

}  // namespace

void Handle::wait_to_retry() noexcept {
  retry_in_ = kRetryEveryPicks;
  retry_at_s_ = coarse_seconds() + kRetryAfterSeconds;
}

// What a handle that is not in order does about it, now and then.
void Handle::recover() {
  if (forked_) {
    const std::lock_guard lock(fork_mutex());
    forked_ = false;
    retired_.clear();  // their rows are the parent's
    try_claim();
    forget_generations();
    return;
  }
  if (counters_ != nullptr && !frozen_) return;
  if (retry_in_ > 0 && coarse_seconds() < retry_at_s_) {
    --retry_in_;
    return;
  }
  wait_to_retry();
  if (frozen_) {
    if (const shm::Status moved = enter_active_segment(); !moved)
      segment_warning_ = "picking from a superseded table: " + moved.error().to_text();
  } else {
    const std::lock_guard lock(fork_mutex());
    try_claim();
    forget_generations();
  }
}

// Moves to the segment that replaced this one. False: it cannot be opened yet, go on with this one.
bool Handle::note_superseded() {
  if (frozen_) return false;
  if (const shm::Status moved = enter_active_segment(); !moved) {
    frozen_ = true;
    wait_to_retry();
    segment_warning_ = "picking from a superseded table: " + moved.error().to_text();
    forget_generations();  // so that all services go the long way, which tries again
    return false;
  }
  return true;
}

// The record that holds the service's name, first where it was last seen; null if there is none.
const shm::ServiceRecord* Handle::locate(Service& service) const {
  const auto records = segment_->table.services;
  const auto matches = [&](const shm::ServiceRecord& record) {
    return is_live(record) && has_name(record, service.name);
  };
  if (service.index < records.size() && matches(records[service.index]))
    return &records[service.index];
  for (std::size_t i = 0; i < records.size(); ++i) {
    if (!matches(records[i])) continue;
    service.index = static_cast<std::uint32_t>(i);
    service.tickets.drop();
    return &records[i];
  }
  return nullptr;
}

ballast_status_t Handle::refresh(Service& service) {
  for (unsigned attempt = 0; attempt < kMaxRefreshes; ++attempt) {
    service.view.poison();
    const shm::ServiceRecord* record = locate(service);
    if (record == nullptr) {
      // It may be in the segment that replaced this one.
      const bool superseded = shm::get(segment_->table.header->superseded_by) != 0;
      if (superseded && note_superseded()) continue;
      return BALLAST_SERVICE_UNKNOWN;
    }
    const std::uint64_t entered = shm::enter(record->root);
    // Looked at again behind root: another tenant of this record would have moved root first.
    if (!is_live(*record) || !has_name(*record, service.name)) continue;
    if (shm::is_superseded(entered) && note_superseded()) continue;
    if (frozen_ && !shm::is_superseded(entered)) {
      // Published again where it was: its directory had only been away.
      frozen_ = false;
      segment_warning_.clear();
      forget_generations();
    }
    const bool readable = read_generation(segment_->table, *record, entered, service.view);
    if (!shm::unchanged(record->root, entered)) continue;
    if (!readable || service.index >= segment_->workers.tickets.size()) {
      service.view.poison();
      return BALLAST_CORRUPT;
    }
    if (counters_ != nullptr && !frozen_) service.view.arm();
    return BALLAST_OK;
  }
  service.view.poison();
  return BALLAST_STALE;
}

ballast_status_t Handle::find_service(std::string_view name, ballast_service_t& out) {
  if (forked_) recover();
  for (std::size_t i = 0; i < services_.size(); ++i) {
    if (services_[i].name != name) continue;
    out = static_cast<ballast_service_t>(i);
    return services_[i].view.entered == kNeverEntered ? refresh(services_[i]) : BALLAST_OK;
  }
  if (services_.size() == kMaxServicesPerHandle) return BALLAST_INVALID_ARGUMENT;
  {
    const std::lock_guard lock(fork_mutex());
    services_.emplace_back();
    services_.back().name = name;
    service_data_ = services_.data();
    service_count_ = services_.size();
  }
  out = static_cast<ballast_service_t>(services_.size() - 1);
  return refresh(services_.back());
}

// Picks of a segment that this handle has left name slots of that one: those are found here by
// address.
std::size_t Handle::resolve_excluded(const Service& service,
                                     std::span<const ballast_pick_t* const> tried,
                                     std::span<Excluded> out) const noexcept {
  std::size_t count = 0;
  const GenerationView& view = service.view;
  for (const ballast_pick_t* pick : tried) {
    if (pick->segment == segment_id_) {
      out[count++] = {pick->slot, pick->incarnation};
      continue;
    }
    for (std::uint64_t i = 0; i < view.member_count; ++i) {
      const std::uint32_t slot = shm::get(view.members[i]);
      if (slot >= view.slot_count) continue;
      ballast_pick_t here{};
      read_address(slot, here);
      if (here.port != pick->port || here.family != pick->family ||
          std::memcmp(here.address, pick->address, sizeof here.address) != 0) {
        continue;
      }
      out[count++] = {slot, shm::incarnation_of(shm::get(view.states[slot]))};
      break;
    }
  }
  return count;
}

ballast_status_t Handle::pick_excluding(ballast_service_t service, const void* key,
                                        std::size_t length,
                                        std::span<const ballast_pick_t* const> tried,
                                        ballast_pick_t& out) noexcept {
  if (service >= services_.size()) return BALLAST_INVALID_ARGUMENT;
  return pick_slow(services_[service], key, length, tried, out);
}

// The straight path of rings and schedules, for a handle in order.
ballast_status_t Handle::pick_otherwise(Service& service, const void* key, std::size_t length,
                                        ballast_pick_t& out) noexcept {
  const GenerationView& view = service.view;
  const auto also = [&](std::uint32_t slot) { read_address(slot, out); };
  const Choice choice =
      view.kind == shm::LookupKind::ring
          ? pick_ring(view, ketama_hash({static_cast<const char*>(key), length}), also)
          : pick_turn(view, segment_->workers.tickets[service.index].next, service.tickets, also);
  if (choice.result == PickResult::ok) [[likely]]
    return take(choice, view, out);
  return pick_slow(service, key, length, {}, out);
}

ballast_status_t Handle::pick_slow(Service& service, const void* key, std::size_t length,
                                   std::span<const ballast_pick_t* const> tried,
                                   ballast_pick_t& out) noexcept try {
  const auto fail = [&out](ballast_status_t status) {
    out.reported = 1;
    out.family = 0;  // what an unconfirmed look may have left there
    return status;
  };
  if (forked_ || frozen_ || counters_ == nullptr) recover();
  GenerationView& view = service.view;
  for (unsigned attempt = 0; attempt < kMaxRefreshes; ++attempt) {
    if (view.kind == shm::LookupKind::none) {
      if (const ballast_status_t status = refresh(service); status != BALLAST_OK)
        return fail(status);
    }
    std::array<Excluded, BALLAST_MAX_TRIED> excluded;  // filled only as far as it is used
    const std::size_t excluded_count =
        tried.empty() ? 0 : resolve_excluded(service, tried, excluded);
    const std::uint64_t hash = view.kind == shm::LookupKind::ring
                                   ? ketama_hash({static_cast<const char*>(key), length})
                                   : key_hash(key, length);
    const Choice choice =
        choose(view, hash, &segment_->workers.tickets[service.index].next, service.tickets,
               std::span<const Excluded>(excluded.data(), excluded_count),
               [&](std::uint32_t slot) { read_address(slot, out); });
    switch (choice.result) {
      case PickResult::ok:
        if (counters_ != nullptr) return take(choice, view, out);
        fill(choice, view, out);
        return BALLAST_OK;
      case PickResult::no_instance:
        return fail(BALLAST_NO_INSTANCE);
      case PickResult::changed:
      case PickResult::long_way:
        view.poison();
        break;
    }
  }
  return fail(BALLAST_STALE);
} catch (...) {  // out of memory while opening another segment or taking a row
  out.reported = 1;
  out.family = 0;
  return BALLAST_SYSTEM_ERROR;
}

ballast_status_t Handle::report_slow(ballast_pick_t& pick, ballast_outcome_t outcome,
                                     std::uint64_t latency_us) noexcept {
  if (pick.row == BALLAST_NO_ROW) {  // made while there was no row: counted nowhere
    pick.reported = 1;
    return BALLAST_OK;
  }
  for (auto it = retired_.begin(); it != retired_.end(); ++it) {
    Retired& retired = **it;
    const auto counters = retired.row.counters();
    if (pick.segment != retired.segment.id || pick.row != retired.row.index() ||
        pick.row_incarnation != retired.row.incarnation() || pick.slot >= counters.size()) {
      continue;
    }
    pick.reported = 1;
    count_report(counters[pick.slot], outcome, latency_us);
    if (--retired.in_flight == 0) {
      const std::lock_guard lock(fork_mutex());
      retired_.erase(it);
    }
    return BALLAST_OK;
  }
  return BALLAST_WRONG_HANDLE;
}

std::uint64_t Handle::epoch(ballast_service_t service) {
  if (service >= services_.size()) return 0;
  const shm::ServiceRecord* record = locate(services_[service]);
  return record == nullptr ? 0 : shm::epoch_of(shm::enter(record->root));
}

void Handle::describe(ballast_info_t& out) const noexcept {
  constexpr auto relaxed = std::memory_order_relaxed;  // for people
  const shm::FileHeader& header = *segment_->table.header;
  out.segment = segment_id_;
  out.row = row_index_;
  out.superseded = frozen_ ? 1 : 0;
  out.heartbeat = header.heartbeat.load(relaxed);
  out.heartbeat_ns = header.heartbeat_ns.load(relaxed);
  out.checker_pid = header.checker_pid.load(relaxed);
  out.checker_term = header.checker_term.load(relaxed);
}

const char* Handle::warning() const noexcept {
  if (!segment_warning_.empty()) return segment_warning_.c_str();
  return row_warning_.empty() ? nullptr : row_warning_.c_str();
}

}  // namespace ballast::engine
