// Entering services, and every pick that does not go straight.
#include "engine/handle.hpp"

#include <array>
#include <mutex>
#include <new>

#include "engine/breaker_events.hpp"
#include "engine/fork_watch.hpp"
#include "engine/ketama.hpp"

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

}  // namespace

shm::Result<std::unique_ptr<Handle>> Handle::attach(std::string directory) {
  std::unique_ptr<Handle> handle(new Handle(std::move(directory)));
  watch_forks(*handle);
  const shm::Status entered = handle->attachment_.enter_active_segment();
  if (!entered) return entered.error();
  return handle;
}

Handle::~Handle() {
  unwatch_forks(*this);
}

void Handle::after_fork_in_child() noexcept {
  forget_generations();  // and tickets, which the parent will use
  attachment_.after_fork_in_child();
}

// Before a segment is left, into which they point, and after a change of what they may be used for.
void Handle::forget_generations() noexcept {
  for (Service& service : services_) {
    service.view.poison();
    service.view.tickets.drop();
  }
}

// What a handle that is not in order does about it, now and then.
void Handle::recover() {
  if (!attachment_.due_to_mend()) return;
  forget_generations();
  attachment_.mend();
}

// Moves to the segment that replaced this one. False: it cannot be opened yet, go on with this one,
// all services the long way, which tries again.
bool Handle::note_superseded() {
  if (attachment_.frozen()) return false;
  forget_generations();
  return attachment_.move_on();
}

// The record that holds the service's name, first where it was last seen; null if there is none.
const shm::ServiceRecord* Handle::locate(Service& service) const {
  const auto records = attachment_.segment().table.services;
  const auto matches = [&](const shm::ServiceRecord& record) {
    return is_live(record) && has_name(record, service.name);
  };
  if (service.index < records.size() && matches(records[service.index]))
    return &records[service.index];
  for (std::size_t i = 0; i < records.size(); ++i) {
    if (!matches(records[i])) continue;
    service.index = static_cast<std::uint32_t>(i);
    service.view.tickets.drop();
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
      const bool superseded = shm::get(attachment_.segment().table.header->superseded_by) != 0;
      if (superseded && note_superseded()) continue;
      return BALLAST_SERVICE_UNKNOWN;
    }
    const std::uint64_t entered = shm::enter(record->root);
    // Looked at again behind root: another tenant of this record would have moved root first.
    if (!is_live(*record) || !has_name(*record, service.name)) continue;
    if (shm::is_superseded(entered) && note_superseded()) continue;
    if (attachment_.frozen() && !shm::is_superseded(entered)) {
      // Published again where it was: its directory had only been away.
      attachment_.thaw();
      forget_generations();
    }
    const bool readable = read_service(attachment_.segment().table, attachment_.segment().workers,
                                       service.index, entered, service.view);
    if (!shm::unchanged(record->root, entered)) continue;
    if (!readable) {
      service.view.poison();
      return BALLAST_CORRUPT;
    }
    if (!attachment_.note_seen(service.index, record->root, entered)) continue;
    if (attachment_.in_order()) service.view.arm();
    return BALLAST_OK;
  }
  service.view.poison();
  return BALLAST_STALE;
}

ballast_status_t Handle::find_service(std::string_view name, ballast_service_t& out) {
  if (attachment_.forked()) recover();
  for (std::size_t i = 0; i < services_.size(); ++i) {
    if (services_[i].name != name) continue;
    out = static_cast<ballast_service_t>(i);
    return services_[i].view.first().entered == kNeverEntered ? refresh(services_[i]) : BALLAST_OK;
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

bool Handle::find_by_address(const Service& service, const ballast_pick_t& pick,
                             Excluded& out) const noexcept {
  for (std::uint32_t g = 0; g < service.view.group_count; ++g) {
    const GenerationView& group = service.view.groups[g];
    for (std::uint64_t i = 0; i < group.member_count; ++i) {
      const std::uint32_t slot = shm::get(group.members[i]);
      if (slot >= group.slot_count) continue;
      ballast_pick_t here{};
      read_address(slot, here);
      if (here.port != pick.port || here.family != pick.family ||
          std::memcmp(here.address, pick.address, sizeof here.address) != 0) {
        continue;
      }
      out = {slot, shm::incarnation_of(shm::get(group.states[slot]))};
      return true;
    }
  }
  return false;
}

// Picks of a segment that this handle has left name slots of that one: those are found here by
// address.
std::size_t Handle::resolve_excluded(const Service& service,
                                     std::span<const ballast_pick_t* const> tried,
                                     std::span<Excluded> out) const noexcept {
  std::size_t count = 0;
  for (const ballast_pick_t* pick : tried) {
    if (pick->segment == attachment_.segment_id()) {
      out[count++] = {pick->slot, pick->incarnation};
    } else if (find_by_address(service, *pick, out[count])) {
      ++count;
    }
  }
  return count;
}

ballast_status_t Handle::pick_wishing(ballast_service_t service, const void* key,
                                      std::size_t length, const Wishes& wishes,
                                      ballast_pick_t& out) noexcept {
  if (service >= services_.size()) return BALLAST_INVALID_ARGUMENT;
  return pick_slow(services_[service], key, length, wishes, out);
}

// The straight paths that are not in the header.
ballast_status_t Handle::pick_otherwise(Service& service, const void* key, std::size_t length,
                                        ballast_pick_t& out) noexcept {
  if (!attachment_.in_order()) return pick_slow(service, key, length, {}, out);
  ServiceView& view = service.view;
  const GenerationView& group = view.first();
  Picker& me = attachment_.picker();
  const auto also = [&](std::uint32_t slot) { read_address(slot, out); };
  Choice choice;
  switch (view.path) {
    case Path::ring:
      choice = pick_ring(group, ketama_hash({static_cast<const char*>(key), length}), also);
      break;
    case Path::turns:
      choice = pick_turn(group, view.shared->next_ticket, view.tickets, also);
      break;
    case Path::random:
      choice = pick_random(group, me.random, also);
      break;
    case Path::least:
      choice = pick_least(view, me, also);
      break;
    case Path::bounded:
      choice = pick_bounded(view, me, key_hash(key, length), also);
      break;
    case Path::table:  // whose shorter keys have been tried
      if (length > kShortKey) choice = pick_straight(group, key_hash(key, length), also);
      break;
    case Path::long_way:
      break;
  }
  if (choice.result == PickResult::ok) [[likely]]
    return take(choice, group, out);
  return pick_slow(service, key, length, {}, out);
}

ballast_status_t Handle::pick_slow(Service& service, const void* key, std::size_t length,
                                   const Wishes& wishes, ballast_pick_t& out) noexcept try {
  const auto fail = [&out](ballast_status_t status) {
    out.reported = 1;
    out.family = 0;  // what an unconfirmed look may have left there
    return status;
  };
  if (!attachment_.in_order()) recover();
  ServiceView& view = service.view;
  for (unsigned attempt = 0; attempt < kMaxRefreshes; ++attempt) {
    if (view.first().kind == shm::LookupKind::none) {
      if (const ballast_status_t status = refresh(service); status != BALLAST_OK)
        return fail(status);
    }
    std::array<Excluded, BALLAST_MAX_TRIED> excluded;  // filled only as far as it is used
    Request request;
    request.is_retry = !wishes.tried.empty();
    if (request.is_retry) {
      request.excluded = std::span<const Excluded>(
          excluded.data(), resolve_excluded(service, wishes.tried, excluded));
    }
    if (!wishes.sticky.empty()) request.preferred = find_named(service, wishes.sticky);
    if (is_keyed(view.policy.strategy)) {
      request.hash = view.first().kind == shm::LookupKind::ring
                         ? ketama_hash({static_cast<const char*>(key), length})
                         : key_hash(key, length);
    }
    Choice choice = choose(view, attachment_.picker(), request,
                           [&](std::uint32_t slot) { read_address(slot, out); });
    // A trial stays one: that it tries the instance is what the caller may want to act on.
    if (!wishes.sticky.empty() && choice.because != Because::trial) {
      choice.because =
          choice.slot == request.preferred.slot ? Because::sticky : Because::sticky_lost;
    }
    if (choice.result == PickResult::ok && (choice.flags & pick_flags::kPermit) != 0) {
      record_breaker(attachment_.segment(), attachment_.picker(), choice.slot,
                     shm::incarnation_of(choice.state), shm::EventKind::breaker_half_open,
                     BreakerState::open, 0);
    }
    switch (choice.result) {
      case PickResult::ok:
        if (attachment_.counters() != nullptr) return take(choice, view.first(), out);
        fill(choice, view.first(), out);
        return BALLAST_OK;
      case PickResult::no_instance:
        return fail(BALLAST_NO_INSTANCE);
      case PickResult::limited:
        return fail(BALLAST_LIMITED);
      case PickResult::retry_budget:
        return fail(BALLAST_RETRY_BUDGET);
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

void Handle::count_report(shm::CounterRecord& record, const shm::InstanceRecord& instance,
                          std::span<shm::RowServiceRecord> services, const ballast_pick_t& pick,
                          ballast_outcome_t outcome, std::uint64_t latency_us) noexcept {
  BALLAST_POINT("report.begin");
  // How long it took until somebody said no tells nothing about how long work takes: a host that
  // refuses at once would look quick. A timeout's does, and so does that of one who is overloaded.
  constexpr unsigned kTelling =
      1U << BALLAST_SUCCESS | 1U << BALLAST_TIMEOUT | 1U << BALLAST_OVERLOAD;
  if (latency_us != BALLAST_NO_LATENCY && (kTelling >> outcome & 1) != 0) {
    // Good as long as the pick is in flight: its slot gets no new tenant before.
    const std::uint64_t service = (pick.flags & pick_flags::kPermit) != 0
                                      ? instance.service.load(std::memory_order_relaxed)
                                      : pick.permit;
    count_latency(record, services, service,
                  static_cast<std::uint32_t>(std::min<std::uint64_t>(latency_us, UINT32_MAX)));
  }
  shm::count_outcome(record.values[outcome]);
  BALLAST_POINT("report.counted");
}

ballast_status_t Handle::report_otherwise(ballast_pick_t& pick, ballast_outcome_t outcome,
                                          std::uint64_t latency_us,
                                          std::uint64_t retry_after_ms) noexcept {
  if (static_cast<unsigned>(outcome) - shm::kFirstOutcome > shm::kLastOutcome - shm::kFirstOutcome)
    return BALLAST_INVALID_ARGUMENT;
  if (pick.reported != 0) return BALLAST_ALREADY_REPORTED;
  if (!is_mine(pick)) return report_slow(pick, outcome, latency_us);
  pick.reported = 1;
  const OwnRow& row = attachment_.picker().row;
  count_report(row.counters[pick.slot], attachment_.instances()[pick.slot],
               {row.services, static_cast<std::size_t>(row.service_count)}, pick, outcome,
               latency_us);
  const unsigned duties = pick.flags & ~unsigned{pick_flags::kWatched};  // of any outcome
  if (duties != 0 || outcome != BALLAST_SUCCESS) finish_report(pick, outcome, retry_after_ms);
  return BALLAST_OK;
}

// What a report does besides counting, as the pick's flags say.
void Handle::finish_report(const ballast_pick_t& pick, ballast_outcome_t outcome,
                           std::uint64_t retry_after_ms) noexcept {
  const OwnRow& row = attachment_.picker().row;
  if ((pick.flags & pick_flags::kJournals) != 0) note_ended(pick.slot);
  if ((pick.flags & pick_flags::kAllTokens) != 0)
    give_tokens_back(attachment_.segment(), row, pick);
  const bool is_trial = (pick.flags & pick_flags::kPermit) != 0;
  if ((pick.flags & pick_flags::kFeedsBreaker) == 0 && !is_trial) {
    if (outcome != BALLAST_SUCCESS && (pick.flags & pick_flags::kWatched) != 0)
      note_unfed_failure(attachment_.segment(), pick, outcome);
    return;
  }
  if (outcome == BALLAST_SUCCESS && !is_trial) {
    if (success_tells(row.breakers[pick.slot], row.instances[pick.slot].window)) tell_success(pick);
  } else {
    const Noted noted = feed_breaker(attachment_.segment(), pick, outcome, retry_after_ms,
                                     attachment_.picker().clock_ms);
    if (noted != Noted::opened && noted != Noted::closed) return;
    record_breaker(
        attachment_.segment(), attachment_.picker(), pick.slot, pick.incarnation,
        noted == Noted::opened ? shm::EventKind::breaker_opened : shm::EventKind::breaker_closed,
        is_trial ? BreakerState::half_open : BreakerState::closed, outcome);
  }
}

// `row` lies in `segment`. A record that a damaged file names wrongly gets nothing back.
void Handle::give_tokens_back(const shm::WorkerSegment& segment, const OwnRow& row,
                              const ballast_pick_t& pick) noexcept {
  if (pick.slot >= segment.workers.instances.size() ||
      pick.slot >= segment.table.instances.size()) {
    return;
  }
  // Good as long as the pick is in flight: its slot gets no new tenant before.
  const std::uint64_t service =
      segment.table.instances[pick.slot].service.load(std::memory_order_relaxed);
  if (service >= segment.workers.services.size()) return;
  Eligibility::give_tokens(row, segment.workers.instances[pick.slot].tokens,
                           segment.workers.services[service], pick.slot,
                           static_cast<std::uint32_t>(service), pick.flags);
}

ballast_status_t Handle::report_slow(ballast_pick_t& pick, ballast_outcome_t outcome,
                                     std::uint64_t latency_us) noexcept {
  if (pick.row == BALLAST_NO_ROW) {  // made while there was no row: counted nowhere
    pick.reported = 1;
    return BALLAST_OK;
  }
  Attachment::Retired* const retired = attachment_.find_retired(pick);
  if (retired == nullptr) return BALLAST_WRONG_HANDLE;
  pick.reported = 1;
  count_report(retired->row.counters()[pick.slot], retired->segment.table.instances[pick.slot],
               retired->row.services(), pick, outcome, latency_us);
  if ((pick.flags & pick_flags::kAllTokens) != 0) {
    OwnRow row;
    row.counters = retired->row.counters().data();
    row.journal = &retired->segment.workers.journal(retired->row.index());
    give_tokens_back(retired->segment, row, pick);
  }
  attachment_.release(retired);
  return BALLAST_OK;
}

std::uint64_t Handle::epoch(ballast_service_t service) {
  if (service >= services_.size()) return 0;
  const shm::ServiceRecord* record = locate(services_[service]);
  return record == nullptr ? 0 : shm::epoch_of(shm::enter(record->root));
}

}  // namespace ballast::engine
