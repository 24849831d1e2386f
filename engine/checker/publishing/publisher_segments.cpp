// Finding the active segment or making the first one, growing into another, and leaving the one
// before.
#include <grp.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "engine/checker/publishing/publisher_state.hpp"
#include "shm/crash_point.hpp"
#include "shm/paths.hpp"

namespace ballast::checker {

namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;  // the only writer reads its own words

shm::Result<shm::FileModes> modes_for(const Settings& settings) {
  shm::FileModes modes;
  if (settings.workers_gid) {
    modes.workers_group = *settings.workers_gid;
  } else if (!settings.workers_group.empty()) {
    const group* entry = ::getgrnam(settings.workers_group.c_str());
    if (entry == nullptr) {
      return shm::Error{shm::ErrorKind::invalid, 0, "look up the group", settings.workers_group,
                        "there is no such group; create it or change workers_group"};
    }
    modes.workers_group = entry->gr_gid;
  }
  return modes;
}

// Ids are milliseconds of the clock where nothing forbids it, so that a directory that was removed
// and made again does not give an id twice: workers may still have the former one's files mapped.
std::uint64_t next_segment_id(const std::string& directory) {
  const auto ids = shm::list_segments(directory);
  const std::uint64_t now_ms = shm::realtime_ns() / 1'000'000U;
  return ids.empty() ? now_ms : std::max(now_ms, ids.back() + 1);
}

// Whether a file is not what it was, instead of merely out of reach for the moment.
bool is_damage(const shm::Error& error) {
  return error.kind == shm::ErrorKind::corrupt || error.kind == shm::ErrorKind::incompatible ||
         error.kind == shm::ErrorKind::not_found;
}

// Says in a new or adopted table who writes it now.
void sign(const shm::CheckerSegment& segment, const shm::Lease& lease) {
  shm::FileHeader& header = *segment.table.header;
  header.checker_pid.store(static_cast<std::uint64_t>(::getpid()), kRelaxed);
  header.checker_since_ns.store(lease.since_ns(), kRelaxed);
  header.heartbeat_ns.store(shm::realtime_ns(), kRelaxed);
  header.checker_term.store(lease.term(), std::memory_order_release);  // [mm:lease]
}

}  // namespace

shm::Result<Publisher> Publisher::open(shm::Lease lease, const Settings& settings) {
  const std::string directory = lease.directory();
  shm::remove_unfinished(directory);
  const std::uint64_t active = lease.active_segment();
  std::optional<shm::CheckerSegment> segment;
  std::optional<shm::Error> lost_workers;
  if (active != 0) {
    auto opened = shm::CheckerSegment::open(directory, active);
    if (!opened && is_damage(opened.error())) {
      lost_workers = opened.error();
      opened = shm::CheckerSegment::open_table(directory, active);
    }
    if (!opened) return opened.error();
    segment = std::move(*opened);
  } else {
    const auto modes = modes_for(settings);
    if (!modes) return modes.error();
    auto created = shm::CheckerSegment::create(directory, next_segment_id(directory),
                                               plan_geometry(settings, nullptr), *modes);
    if (!created) return created.error();
    segment = std::move(*created);
  }
  std::optional<shm::LockFile> lock;
  if (!lost_workers) {
    auto opened = shm::LockFile::open(segment->workers_file.path(), /*writable=*/true);
    if (!opened) return opened.error();
    lock = std::move(*opened);
  }
  auto state = std::make_unique<State>(State{std::move(lease),
                                             std::move(*segment),
                                             std::move(lock),
                                             {},
                                             {},
                                             {},
                                             {},
                                             active != 0,
                                             std::move(lost_workers),
                                             0,
                                             LoadWatch(),
                                             {},
                                             Steering(shm::realtime_ns()),
                                             {}});
  sign(state->segment, state->lease);
  state->recorder = Recorder(state->lease.term());
  state->recorder.follow(state->segment);
  state->recorder.clean();
  BALLAST_POINT("takeover.signed");
  const std::uint64_t previous = state->segment.table.header->previous_segment.load(kRelaxed);
  if (previous != 0 && previous != state->segment.id) state->start_draining(previous);
  const auto& previous_segment = state->previous;
  const std::uint64_t draining =
      previous_segment.has_value() ? previous_segment->segment.id : std::uint64_t{0};
  // Whatever else lies there was replaced by a checker that died before it could say so, or was
  // never published at all.
  for (const std::uint64_t id : shm::list_segments(directory)) {
    if (id == state->segment.id || id == draining) continue;
    if (auto stale = shm::CheckerSegment::open_table(directory, id)) {
      supersede_segment(*stale, state->segment.id);
    }
    shm::remove_segment(directory, id);
  }
  BALLAST_POINT("takeover.adopted");
  return Publisher(std::move(state));
}

void Publisher::State::start_draining(std::uint64_t id) {
  if (auto old = open_draining(lease.directory(), id)) {
    supersede_segment(old->segment, segment.id);
    recorder.carry_again(old->segment);
    previous = std::move(*old);
  } else {
    segment.table.header->previous_segment.store(0, kRelaxed);
  }
}

shm::Status Publisher::State::grow(const Settings& wanted, const StickySecrets& sticky,
                                   std::uint64_t now_ms) {
  const std::string directory = lease.directory();
  // No segment can hold more, so none is made to find that out.
  if (auto fits = check_size(wanted); !fits) return fits;
  const auto modes = modes_for(wanted);
  if (!modes) return modes.error();
  const std::uint64_t old_id = segment.id;
  const std::uint64_t id = next_segment_id(directory);
  auto created =
      shm::CheckerSegment::create(directory, id, plan_geometry(wanted, &segment), *modes);
  const auto give_up = [&](const shm::Error& error) {
    shm::remove_segment(directory, id);
    return error;
  };
  if (!created) return give_up(created.error());
  auto fresh_lock = shm::LockFile::open(created->workers_file.path(), /*writable=*/true);
  if (!fresh_lock) return give_up(fresh_lock.error());
  replicate(segment, *created);
  carry_tokens(segment, *created);
  BALLAST_POINT("growth.replicated");
  const auto plan = make_plan(created->table, wanted, kept);
  if (!plan) return give_up(plan.error());
  std::vector<Transition> changes = changes_by(created->table, *plan, wanted);
  carry_out(*plan, wanted, sticky, created->table, created->workers);
  Recorder fresh_recorder = recorder;
  fresh_recorder.follow(*created);
  if (previous) fresh_recorder.carry_more();
  fresh_recorder.carry(segment);
  shm::FileHeader& header = *created->table.header;
  header.heartbeat.store(segment.table.header->heartbeat.load(kRelaxed), kRelaxed);
  // Without a workers file nobody is waited for: what they hold there cannot be read.
  header.previous_segment.store(lock ? segment.id : 0, kRelaxed);
  sign(*created, lease);
  BALLAST_POINT("growth.filled");
  if (previous) {
    // Growing again while workers are still in the segment before: they were told long ago.
    cut_off(*previous, segment);
    shm::remove_segment(directory, previous->segment.id);
    previous.reset();
  }
  BALLAST_POINT("growth.before_locator");
  lease.set_active_segment(id);
  BALLAST_POINT("growth.located");
  supersede_segment(segment, id);
  BALLAST_POINT("growth.superseded");
  if (lock) {
    previous.emplace(DrainingSegment{std::move(segment), std::move(*lock)});
    recompute_carried(previous->segment, *created);
  } else {
    shm::remove_segment(directory, segment.id);
  }
  Transition grown = about({}, shm::EventKind::segment_grown, shm::EventBy::checker);
  grown.event.id = old_id;
  grown.event.value = id;
  segment = std::move(*created);
  lock = std::move(*fresh_lock);
  recorder = std::move(fresh_recorder);
  remember(wanted, *plan, now_ms);
  recorder.record(std::move(grown));
  for (Transition& change : changes)
    recorder.record(std::move(change));
  record_breakers();
  return shm::Done{};
}

}  // namespace ballast::checker
