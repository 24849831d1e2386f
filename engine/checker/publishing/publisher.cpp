// Adopting, applying, growing and the periodic work of the one writer of the table.
#include "engine/checker/publishing/publisher.hpp"

#include <grp.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>

#include "engine/agent_word.hpp"
#include "engine/breaker_word.hpp"
#include "engine/checker/loads/load_watch.hpp"
#include "engine/checker/loads/token_counter.hpp"
#include "engine/checker/publishing/changes.hpp"
#include "engine/checker/publishing/growth.hpp"
#include "engine/checker/publishing/instance_use.hpp"
#include "engine/checker/publishing/plan.hpp"
#include "engine/checker/steering/breaker_watch.hpp"
#include "engine/checker/steering/steering.hpp"
#include "engine/ejection_budget.hpp"
#include "shm/crash_point.hpp"
#include "shm/generation.hpp"
#include "shm/host.hpp"
#include "shm/paths.hpp"
#include "shm/rows.hpp"
#include "shm/totals.hpp"

namespace ballast::checker {

namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;  // the only writer reads its own words
constexpr std::uint64_t kSlowTicks = 10;              // what need not be looked at at every tick
constexpr std::uint64_t kReapedPerTick = 256;         // rows looked at; see shm::reap_dead_rows
// Counter records that every tick may add up, some milliseconds; more wait for the slow ones.
constexpr std::uint64_t kCarriedPerTick = std::uint64_t{1} << 16;

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

// Of a clock that never goes back.
std::uint64_t monotonic_ns() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(now).count());
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

struct Publisher::State {
  shm::Lease lease;
  shm::CheckerSegment segment;
  std::optional<shm::LockFile> lock;  // of the active workers file, for reaping; none if it is lost
  std::optional<DrainingSegment> previous;
  Settings settings;
  std::vector<PublishedInstance> instances;
  // By slot: where in `instances`; kNobody: nowhere. Only for the settings last applied.
  static constexpr std::uint16_t kNobody = 0xFFFF;
  static_assert(kMaxInstances < kNobody);
  std::vector<std::uint16_t> by_slot;
  bool adopted = false;
  std::optional<shm::Error> lost_workers;
  std::uint64_t ticks = 0;
  LoadWatch loads;
  TokenCounter tokens;
  Steering steering;
  BreakerWatch breakers;
  Recorder recorder{};
  KeptTables kept{};
  bool ever_applied = false;  // `settings` are what the table says

  shm::Status grow(const Settings& wanted, const StickySecrets& sticky, std::uint64_t now_ms);
  void remember(const Settings& wanted, const Plan& plan, std::uint64_t now_ms);
  void follow_loads(const Plan& plan);
  // Nothing is known any more of the load of whoever came (back) into use.
  void forget_loads() {
    for (const std::uint16_t arrived : steering.take_arrivals())
      loads.forget(arrived);
  }
  void follow_breakers(const Plan& plan);
  // What carrying out `plan` changes of `table`; nothing for a namespace that has just been made.
  [[nodiscard]] std::vector<Transition> changes_by(const shm::TableWriter& table, const Plan& plan,
                                                   const Settings& wanted) const {
    if (!ever_applied && !adopted) return {};
    return find_changes(table, plan, wanted, ever_applied ? &settings : nullptr);
  }
  void record_reaped(const shm::Reaped& reaped) const;
  void record_breakers();
  void start_draining(std::uint64_t id);
  std::uint64_t free_cooled_slots();
  [[nodiscard]] PublishedInstance* find(std::uint16_t slot, std::uint32_t incarnation);
  // What the table says of it to everybody, an agent's word included.
  [[nodiscard]] shm::Health shown_health(std::uint16_t slot) const {
    return shm::unpack(segment.table.states[slot].load(kRelaxed)).health;
  }
  void count_flip(std::uint16_t slot, shm::Health before) {
    if (shown_health(slot) == before) return;
    shm::InstanceRecord& record = segment.table.instances[slot];
    record.changed_ns.store(shm::realtime_ns(), kRelaxed);
    record.flips.store(record.flips.load(kRelaxed) + 1, kRelaxed);
  }
};

std::uint64_t steady_ms() noexcept {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return static_cast<std::uint64_t>(std::chrono::duration_cast<Milliseconds>(now).count());
}

Publisher::Publisher(std::unique_ptr<State> state) noexcept : state_(std::move(state)) {}
Publisher::Publisher(Publisher&&) noexcept = default;
Publisher& Publisher::operator=(Publisher&&) noexcept = default;
Publisher::~Publisher() = default;

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

shm::Status Publisher::apply(const Settings& settings, std::uint64_t now_ms) {
  State& s = *state_;
  // Growing would put files into a directory that is another checker's by now.
  if (!s.lease.still_in_place()) {
    return shm::Error{shm::ErrorKind::not_found, 0, "publish into", s.lease.directory(),
                      "the directory was removed or replaced; start ballastd again"};
  }
  const auto sticky = read_sticky_key_file(settings.sticky_key_file);
  if (!sticky) return sticky.error();
  // A generation that a damaged table or a crash left unusable is built again, and so is one that
  // was marked superseded by a checker whose directory was gone, and has come back.
  for (std::size_t i = 0; i < s.segment.table.services.size(); ++i) {
    shm::ServiceRecord& record = s.segment.table.services[i];
    if (shm::is_superseded(record.root.load(kRelaxed)) || !engine::is_whole(s.segment.table, i)) {
      record.settings_hash.store(0, kRelaxed);
    }
  }
  auto plan = make_plan(s.segment.table, settings, s.kept);
  if (!plan && plan.error().kind != shm::ErrorKind::full) return plan.error();
  const bool rows_fit = settings.max_workers <= s.segment.workers.directory.size();
  if (!plan || !rows_fit || !s.lock) return s.grow(settings, *sticky, now_ms);
  std::vector<Transition> changes = s.changes_by(s.segment.table, *plan, settings);
  carry_out(*plan, settings, *sticky, s.segment.table, s.segment.workers);
  // Only now is a first segment named: workers that still pick from the files of a directory that
  // was removed would find no service in an empty one.
  if (s.lease.active_segment() != s.segment.id) s.lease.set_active_segment(s.segment.id);
  s.remember(settings, *plan, now_ms);
  for (Transition& change : changes)
    s.recorder.record(std::move(change));
  s.record_breakers();
  return shm::Done{};
}

shm::Status check_size(const Settings& settings) {
  std::size_t instances = 0;
  for (const ServiceSettings& service : settings.services)
    instances += service.instances.size();
  if (settings.services.size() <= kMaxServices && instances <= kMaxInstances) return shm::Done{};
  return shm::Error{shm::ErrorKind::full,
                    0,
                    "publish the settings",
                    {},
                    std::to_string(settings.services.size()) + " services with " +
                        std::to_string(instances) + " instances are more than " +
                        std::to_string(kMaxServices) + " and " + std::to_string(kMaxInstances) +
                        "; split them over several namespaces"};
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

void Publisher::State::remember(const Settings& wanted, const Plan& plan, std::uint64_t now_ms) {
  settings = wanted;
  ever_applied = true;
  kept.keep_only(settings);
  instances.clear();
  by_slot.assign(segment.table.instances.size(), kNobody);
  for (std::size_t s = 0; s < plan.services.size(); ++s) {
    for (std::size_t i = 0; i < plan.services[s].instances.size(); ++i) {
      const InstancePlan& p = plan.services[s].instances[i];
      const shm::State state = shm::unpack(segment.table.states[p.slot].load(kRelaxed));
      by_slot[p.slot] = static_cast<std::uint16_t>(instances.size());
      instances.push_back(
          {p.slot, p.incarnation, s, i, p.is_new || p.returns,
           engine::checked(state, segment.table.load_details[p.slot].agent.load(kRelaxed)).health});
    }
  }
  follow_loads(plan);
  follow_breakers(plan);
  steering.follow(segment, settings, instances, now_ms);
  forget_loads();
}

void Publisher::State::follow_breakers(const Plan& plan) {
  std::vector<WatchedService> services;
  for (std::size_t s = 0; s < plan.services.size(); ++s) {
    const ServicePlan& service = plan.services[s];
    const engine::Policy& policy = settings.services[s].policy;
    WatchedService& watched = services.emplace_back();
    watched.record = service.record;
    watched.has_breaker = engine::has_breaker(policy);
    watched.cap = engine::ejection_cap(policy.max_ejected_percent, service.instances.size());
    for (const InstancePlan& p : service.instances)
      watched.instances.push_back({p.slot, p.incarnation});
  }
  breakers.follow(segment, std::move(services));
}

void Publisher::State::follow_loads(const Plan& plan) {
  std::vector<LoadMember> members;
  bool needed = false;
  for (std::size_t s = 0; s < plan.services.size(); ++s) {
    const engine::Policy& policy = settings.services[s].policy;
    needed |= engine::needs_load(policy);
    const CostRule rule = policy.strategy == Strategy::adaptive ? CostRule::smooth : CostRule::peak;
    for (const InstancePlan& p : plan.services[s].instances) {
      members.push_back(
          {p.slot, p.incarnation, static_cast<std::uint32_t>(plan.services[s].record), rule});
    }
  }
  loads.follow(segment, members, settings.load_interval, needed, monotonic_ns());
}

PublishedInstance* Publisher::State::find(std::uint16_t slot, std::uint32_t incarnation) {
  if (slot >= by_slot.size() || by_slot[slot] == kNobody) return nullptr;
  PublishedInstance& instance = instances[by_slot[slot]];
  return instance.incarnation == incarnation ? &instance : nullptr;
}

void Publisher::State::record_reaped(const shm::Reaped& reaped) const {
  for (const shm::ReapedRow& row : reaped.owners) {
    Transition gone = about({}, shm::EventKind::row_reaped, shm::EventBy::checker);
    gone.level = Level::warning;
    gone.event.id = shm::pack_event_pair(row.pid, row.row);
    gone.event.value = row.abandoned;
    recorder.record(std::move(gone));
  }
}

void Publisher::State::record_breakers() {
  for (const BreakerChange& change : breakers.take_changes()) {
    const PublishedInstance* instance = find(change.slot, change.incarnation);
    if (instance == nullptr) continue;
    const ServiceSettings& service = settings.services[instance->service];
    Transition changed =
        about(service.name, service.instances[instance->instance],
              change.closed ? shm::EventKind::breaker_closed : shm::EventKind::breaker_opened,
              change.closed ? shm::EventBy::config : shm::EventBy::checker);
    changed.event.from = static_cast<std::uint8_t>(change.closed ? engine::BreakerState::open
                                                                 : engine::BreakerState::half_open);
    changed.event.to = static_cast<std::uint8_t>(change.closed ? engine::BreakerState::closed
                                                               : engine::BreakerState::open);
    recorder.record(std::move(changed));
  }
}

void Publisher::record(Transition transition) {
  state_->recorder.record(std::move(transition));
}
void Publisher::set_transition_sink(TransitionSink sink) {
  state_->recorder.set_sink(std::move(sink));
}

const Settings& Publisher::settings() const noexcept {
  return state_->settings;
}

std::uint64_t Publisher::placements_built() const noexcept {
  return state_->kept.builds();
}

const std::vector<PublishedInstance>& Publisher::instances() const noexcept {
  return state_->instances;
}

bool Publisher::set_health(std::uint16_t slot, std::uint32_t incarnation, shm::Health health,
                           shm::Reason reason, std::uint64_t now_ms) {
  State& s = *state_;
  PublishedInstance* instance = s.find(slot, incarnation);
  if (instance == nullptr) return false;
  const shm::Health before = s.shown_health(slot);
  const bool is_news = s.steering.set_health(s.segment, slot, health, reason, now_ms);
  instance->health = health;
  s.count_flip(slot, before);
  if (is_news) s.forget_loads();
  return is_news;
}

bool Publisher::set_agent(std::uint16_t slot, std::uint32_t incarnation,
                          const engine::AgentReport& report, std::uint64_t now_ms) {
  State& s = *state_;
  if (s.find(slot, incarnation) == nullptr) return false;
  const shm::Health before = s.shown_health(slot);
  if (!s.steering.set_agent(s.segment, slot, report, now_ms)) return false;
  s.count_flip(slot, before);
  s.forget_loads();
  return true;
}

engine::AgentReport Publisher::agent(std::uint16_t slot, std::uint32_t incarnation) const {
  if (state_->find(slot, incarnation) == nullptr) return {};
  return state_->steering.agent(slot);
}

shm::Status Publisher::eject(std::uint16_t slot, std::uint32_t incarnation, Milliseconds duration,
                             std::uint64_t now_ms) {
  State& s = *state_;
  const PublishedInstance* const instance = s.find(slot, incarnation);
  const auto for_ms = static_cast<std::uint64_t>(std::max<Milliseconds::rep>(0, duration.count()));
  const auto done = instance == nullptr ? Steering::Ejected::unknown_slot
                                        : s.steering.eject(s.segment, slot, for_ms, now_ms);
  if (done == Steering::Ejected::done) {
    // For who waits until nobody picks it any more.
    const std::uint64_t record = s.segment.table.instances[slot].service.load(kRelaxed);
    if (record < s.segment.table.services.size())
      shm::restate(s.segment.table.services[record].root);
    s.forget_loads();
    return shm::Done{};
  }
  if (done == Steering::Ejected::unknown_slot) {
    return shm::Error{shm::ErrorKind::not_found, 0, "eject", {}, "there is no such instance"};
  }
  const ServiceSettings& service = s.settings.services[instance->service];
  return shm::Error{shm::ErrorKind::full, 0, "eject", service.instances[instance->instance].text,
                    "as many instances of " + service.name +
                        " as max_ejected allows are out already; drain it instead"};
}

void Publisher::record_check(std::uint16_t slot, std::uint32_t incarnation, bool passed,
                             std::uint32_t latency_us) {
  if (state_->find(slot, incarnation) == nullptr) return;
  shm::InstanceRecord& record = state_->segment.table.instances[slot];
  record.checked_ns.store(shm::realtime_ns(), kRelaxed);
  record.check_us.store(latency_us, kRelaxed);
  record.checks.store(record.checks.load(kRelaxed) + 1, kRelaxed);
  state_->steering.on_check(slot, passed);
  if (!passed) record.check_failures.store(record.check_failures.load(kRelaxed) + 1, kRelaxed);
}

namespace {

// A worker may have stopped between taking tokens for a pick and counting it. They are given back
// to the service that the slot is then of, so it must not be another.
bool holds_tokens(const shm::WorkersWriter& workers, std::size_t slot) {
  for (std::size_t row = 0; slot < workers.instance_count && row < workers.directory.size();
       ++row) {
    if (!workers.ever_claimed(row)) continue;
    // [mm:tokens] acquire: as the counting of tokens does.
    if (workers.row(row)[slot].values[shm::kHeldTokens].load(std::memory_order_acquire) != 0)
      return true;
  }
  return false;
}

}  // namespace

std::uint64_t Publisher::State::free_cooled_slots() {
  std::uint64_t freed = 0;
  const std::uint64_t now = shm::realtime_ns();
  for (std::size_t i = 0; i < segment.table.instances.size(); ++i) {
    shm::InstanceRecord& record = segment.table.instances[i];
    const auto id = shm::unpack_identity(record.identity.load(kRelaxed));
    if (id.phase != shm::Phase::cooling) continue;
    const std::uint64_t since = record.cooling_since_ns.load(kRelaxed);
    if (now < since) record.cooling_since_ns.store(now, kRelaxed);  // the clock was set back
    if (now < since + kCoolDownNs) continue;
    shm::Totals totals = shm::read_record(segment.table.carried[i]);
    totals += shm::sum_rows(segment.workers, i);
    if (totals.in_flight() != 0 || holds_tokens(segment.workers, i)) continue;
    shm::put(record.identity, shm::pack(shm::Identity{id.incarnation, shm::Phase::free}));
    ++freed;
  }
  return freed;
}

TickReport Publisher::tick(std::uint64_t now_ms) {
  State& s = *state_;
  TickReport report;
  shm::FileHeader& header = *s.segment.table.header;
  header.heartbeat_ns.store(shm::realtime_ns(), kRelaxed);
  // [mm:heartbeat] pairs with nothing: readers only compare two looks.
  header.heartbeat.store(header.heartbeat.load(kRelaxed) + 1, kRelaxed);
  // Which rows are looked at this time: each has its turn within kMaxRows / kReapedPerTick ticks.
  const auto turn = [&](const shm::CheckerSegment& segment) {
    const std::uint64_t turns =
        (segment.workers.directory.size() + kReapedPerTick - 1) / kReapedPerTick;
    return turns == 0 ? 0 : s.ticks % turns * kReapedPerTick;
  };
  const bool slow = s.ticks % kSlowTicks == 0;
  const shm::Reaped reaped =
      s.lock ? shm::reap_dead_rows(s.segment.workers, *s.lock, turn(s.segment), kReapedPerTick)
             : shm::Reaped{};
  report.reaped_rows = reaped.rows;
  report.abandoned = reaped.abandoned;
  s.record_reaped(reaped);
  const auto is_small = [](const shm::CheckerSegment& segment) {
    // A service's record of a row is as large as two of instances.
    return (segment.table.instances.size() + 2 * segment.table.services.size()) *
               segment.workers.directory.size() <=
           kCarriedPerTick;
  };
  const bool carried_moved = s.previous.has_value();
  shm::Reaped reaped_before;
  const bool is_drained =
      s.previous && drain(*s.previous, s.segment, turn(s.previous->segment), kReapedPerTick,
                          slow || is_small(s.previous->segment), &reaped_before);
  s.record_reaped(reaped_before);
  s.recorder.carry_more();
  if (is_drained) {
    const std::uint64_t id = s.previous->segment.id;
    s.recorder.forget_old();
    header.previous_segment.store(0, kRelaxed);
    BALLAST_POINT("growth.drained");
    shm::remove_segment(s.lease.directory(), id);
    s.previous.reset();
    report.drained_previous = true;
    Transition drained = about({}, shm::EventKind::segment_drained, shm::EventBy::checker);
    drained.event.value = id;
    s.recorder.record(std::move(drained));
  }
  if (carried_moved) s.loads.carried_changed(s.segment);
  report.tokens_corrected =
      s.tokens.count(s.segment, s.previous ? &s.previous->segment : nullptr, slow).changed;
  const BreakerLook look = s.lock ? s.breakers.look(s.segment, slow) : BreakerLook{};
  s.record_breakers();
  report.permits_freed = look.permits_freed;
  report.budgets_corrected = look.budgets_corrected;
  report.handover_requested = s.lease.handover_requested();
  ++s.ticks;
  s.steering.tick(s.segment, now_ms);
  s.forget_loads();
  report.notices = s.steering.take_notices();
  if (slow) {
    report.freed_slots = s.free_cooled_slots();
    s.recorder.clean();
    report.directory_gone = !s.lease.still_in_place();
    // The last act: workers that have these files mapped look for the new ones by name, and go on
    // picking from here until there are any.
    if (report.directory_gone) supersede_segment(s.segment, 0);
  }
  return report;
}

std::vector<Notice> Publisher::take_notices() {
  return state_->steering.take_notices();
}

std::chrono::nanoseconds Publisher::look_at_loads() {
  return state_->loads.look(state_->segment, monotonic_ns());
}
const LoadBoard& Publisher::loads() const noexcept {
  return state_->loads.board();
}

std::uint64_t Publisher::segment_id() const noexcept {
  return state_->segment.id;
}
std::uint64_t Publisher::term() const noexcept {
  return state_->lease.term();
}
bool Publisher::adopted() const noexcept {
  return state_->adopted;
}
const shm::CheckerSegment& Publisher::segment() const noexcept {
  return state_->segment;
}
const shm::CheckerSegment* Publisher::draining() const noexcept {
  return state_->previous ? &state_->previous->segment : nullptr;
}
const std::optional<shm::Error>& Publisher::lost_workers() const noexcept {
  return state_->lost_workers;
}

void Publisher::leave() noexcept {
  state_->segment.table.header->checker_pid.store(0, kRelaxed);
  state_->lease.leave();
}

}  // namespace ballast::checker
