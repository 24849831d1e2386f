// Adding up differences, and working out what follows from them.
#include "engine/checker/loads/load_board.hpp"

#include <algorithm>
#include <cmath>
#include <unordered_map>
#include <utility>

#include "shm/journal.hpp"
#include "shm/totals.hpp"

namespace ballast::checker {

namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;  // lone words: nothing is published with them

// The median and the threshold of a service are worked out at most after this time for each of its
// instances, so that they never cost more than some per cent of a processor.
constexpr std::uint64_t kOrderNsPerInstance = 200;

constexpr double kWellErrorShare = 0.5;

std::uint32_t low(std::uint64_t value) noexcept {
  return static_cast<std::uint32_t>(value);
}
std::int64_t as_signed(std::uint32_t modulo) noexcept {
  return static_cast<std::int32_t>(modulo);
}

std::uint64_t to_whole(double value, double most) noexcept {
  return static_cast<std::uint64_t>(std::llround(std::clamp(value, 0.0, most)));
}

}  // namespace

const LoadEstimate& LoadBoard::Slot::estimate() const noexcept {
  static const LoadEstimate untried;
  return life == nullptr ? untried : life->estimate;
}

LoadBoard::Life& LoadBoard::Slot::begin_life() {
  if (life == nullptr) life = std::make_unique<Life>();
  return *life;
}

LoadBoard::Record LoadBoard::read(const shm::CounterRecord& record) noexcept {
  const shm::Totals totals = shm::read_record(record);
  std::uint64_t failures = 0;
  for (unsigned i = shm::kConnectFailure; i <= shm::kOverload; ++i)
    failures += totals.values[i];
  return {low(totals.values[shm::kStarted] - totals.finished()),
          low(totals.finished()),
          low(totals.values[shm::kSuccess]),
          low(failures),
          low(totals.values[shm::kLatencyCount]),
          totals.values[shm::kLatencySumUs]};
}

// Null if nothing was ever seen there and nothing is to be made.
LoadBoard::Record* LoadBoard::find(Row& row, std::size_t slot, bool make) {
  const std::size_t page = slot / kPageSlots;
  if (page >= row.pages.size()) {
    if (!make) return nullptr;
    row.pages.resize(page + 1);
  }
  if (!row.pages[page]) {
    if (!make) return nullptr;
    row.pages[page] = std::make_unique<Page>();
  }
  return &(*row.pages[page])[slot % kPageSlots];
}

void LoadBoard::touch(std::size_t slot) {
  if (slots_[slot].touched) return;
  slots_[slot].touched = true;
  touched_.push_back(static_cast<std::uint16_t>(slot));
}

// Adds what the row counted for a member since it was last looked at. False: nothing.
bool LoadBoard::look_at(Row& row, const shm::CounterRecord& record, std::size_t slot) {
  const Record now = read(record);
  Record* last = find(row, slot, /*make=*/false);
  if (last == nullptr) {
    if (now == Record{}) return false;
    last = find(row, slot, /*make=*/true);
  }
  if (now == *last) return false;
  Slot& s = slots_[slot];
  Service& service = services_[s.service];
  const std::uint32_t started = now.in_flight - last->in_flight;
  s.in_flight += started;
  service.in_flight += started;
  service.changed = true;
  const Traffic passed{now.finished - last->finished, now.successes - last->successes,
                       now.failures - last->failures, now.timed - last->timed,
                       now.latency_sum_us - last->latency_sum_us};
  Life& life = s.begin_life();
  life.delta += passed;
  life.total += passed;
  *last = now;
  touch(slot);
  return true;
}

bool LoadBoard::look_at_whole(Row& row, std::span<const shm::CounterRecord> counters,
                              LookReport& report) {
  bool moved = false;
  for (const LoadMember& member : members_) {
    if (member.slot >= counters.size()) continue;
    moved |= look_at(row, counters[member.slot], member.slot);
    ++report.records;
  }
  ++report.whole_rows;
  return moved;
}

// The sum over all rows becomes the slot's total, and all that was counted so far is nobody's
// traffic.
void LoadBoard::recount(std::size_t slot, const shm::WorkersWriter& workers,
                        std::span<const shm::CounterRecord> carried) {
  std::uint32_t in_flight = 0;
  const auto see = [&](Row& row, const shm::CounterRecord& record) {
    const Record now = read(record);
    in_flight += now.in_flight;
    if (Record* last = find(row, slot, /*make=*/now != Record{})) *last = now;
  };
  if (slot < carried.size()) see(carried_, carried[slot]);
  for (std::size_t i = 0; i < workers.directory.size(); ++i) {
    if (slot < workers.instance_count && workers.ever_claimed(i))
      see(rows_[i], workers.row(i)[slot]);
  }
  slots_[slot].in_flight = in_flight;
}

void LoadBoard::set_members(std::span<const LoadMember> members, const shm::WorkersWriter& workers,
                            std::span<const shm::CounterRecord> carried, std::uint64_t now_ns,
                            const shm::TableWriter* published) {
  rows_.resize(workers.directory.size());
  members_.assign(members.begin(), members.end());
  std::erase_if(members_, [&](const LoadMember& m) { return m.slot >= workers.instance_count; });
  std::size_t slots = 0;
  for (const LoadMember& member : members_)
    slots = std::max<std::size_t>(slots, member.slot + std::size_t{1});
  std::vector<Slot> before(slots);
  before.swap(slots_);
  const std::vector<Service> services_before = std::exchange(services_, {});
  touched_.clear();
  std::unordered_map<std::uint32_t, std::uint32_t> index_of;
  for (const LoadMember& member : members_) {
    const auto [found, is_new] =
        index_of.emplace(member.service, static_cast<std::uint32_t>(services_.size()));
    if (is_new) {
      services_.emplace_back().record = member.service;
      const Service* const known = find_service(services_before, member.service);
      if (known != nullptr) services_.back().median_us = known->median_us;
    }
    Service& service = services_[found->second];
    service.slots.push_back(member.slot);
    service.changed = true;
    Slot& s = slots_[member.slot];
    const bool stays = member.slot < before.size() && before[member.slot].is_member &&
                       before[member.slot].incarnation == member.incarnation;
    if (stays) s = std::move(before[member.slot]);
    s.is_member = true;
    s.touched = false;
    s.incarnation = member.incarnation;
    s.service = found->second;
    s.rule = member.rule;
    if (!stays) {
      recount(member.slot, workers, carried);
      s.read_in = 0;
      if (published != nullptr && member.slot < published->loads.size()) {
        const engine::Load load = engine::unpack_load(published->loads[member.slot].load(kRelaxed));
        const shm::LoadRecord& details = published->load_details[member.slot];
        const std::uint64_t latency_us = details.latency_us.load(kRelaxed);
        const std::uint64_t qps_milli = details.qps_milli.load(kRelaxed);
        if (load.cost_us != 0 || load.errors != 0 || latency_us != 0 || qps_milli != 0) {
          s.begin_life().estimate =
              LoadEstimate::adopt(load.cost_us, load.errors, latency_us, qps_milli, now_ns, rules_);
        }
      }
    }
    service.in_flight += s.in_flight;
    touch(member.slot);
  }
  if (last_look_ns_ == 0) last_look_ns_ = now_ns;
  for (Service& service : services_)
    order(service, now_ns);
}

LookReport LoadBoard::look(const shm::WorkersWriter& workers, std::uint64_t now_ns) {
  LookReport report;
  const std::uint64_t elapsed_ns = now_ns > last_look_ns_ ? now_ns - last_look_ns_ : 0;
  last_look_ns_ = std::max(last_look_ns_, now_ns);
  const std::size_t rows = std::min(rows_.size(), workers.directory.size());
  for (std::size_t i = 0; i < rows; ++i) {
    Row& row = rows_[i];
    // [mm:journal] acquire: who sees the claim of a reaped row sees its final counts.
    const std::uint64_t claim = workers.directory[i].claim.load(std::memory_order_acquire);
    const shm::Identity identity = shm::unpack_identity(claim);
    if (identity.incarnation == 0) continue;  // never claimed: there is no memory behind it
    const bool same = claim == row.claim;
    if (same && identity.phase != shm::Phase::live) continue;  // nobody counts there
    row.claim = claim;
    const std::uint64_t this_row = ++looks_;
    const std::span<const shm::CounterRecord> counters = workers.row(i);
    const bool complete =
        shm::read_journal(workers.journal(i), row.position, [&](std::uint16_t slot) {
          if (!same || slot >= counters.size() || slot >= slots_.size()) return;
          Slot& s = slots_[slot];
          if (!s.is_member || s.read_in == this_row) return;
          s.read_in = this_row;
          ++report.records;
          report.moved |= look_at(row, counters[slot], slot);
        });
    if (!same || !complete) report.moved |= look_at_whole(row, counters, report);
  }
  rescan(workers, elapsed_ns, report);
  rest_some(now_ns, elapsed_ns);
  bring_up_to_date(now_ns);
  return report;
}

// Whole rows in turn, as many as are due.
void LoadBoard::rescan(const shm::WorkersWriter& workers, std::uint64_t elapsed_ns,
                       LookReport& report) {
  const std::size_t rows = std::min(rows_.size(), workers.directory.size());
  const auto elapsed = static_cast<double>(elapsed_ns);
  const auto rate = static_cast<double>(kRescanRecordsPerSecond);
  const auto each = std::min(static_cast<double>(members_.size()), rate);
  rows_due_ = std::min(static_cast<double>(rows),
                       rows_due_ + static_cast<double>(rows) * elapsed / kRescanNs);
  records_due_ = std::min(rate, records_due_ + rate * elapsed * 1e-9);
  while (rows_due_ >= 1 && records_due_ >= each) {
    const std::size_t i = next_row_++ % rows;
    rows_due_ -= 1;
    const shm::Identity identity = shm::unpack_identity(rows_[i].claim);
    if (identity.phase != shm::Phase::live) continue;
    records_due_ -= each;
    report.moved |= look_at_whole(rows_[i], workers.row(i), report);
  }
}

void LoadBoard::look_at_carried(std::span<const shm::CounterRecord> carried) {
  LookReport report;
  static_cast<void>(look_at_whole(carried_, carried, report));
}

void LoadBoard::forget(std::uint16_t slot) noexcept {
  if (slot >= slots_.size() || !slots_[slot].is_member) return;
  if (Life* const life = slots_[slot].life.get()) {
    life->estimate = {};
    life->delta = {};
  }
  services_[slots_[slot].service].changed = true;
  touch(slot);
}

// What nobody touches fades, too; a part of it at each look.
void LoadBoard::rest_some(std::uint64_t now_ns, std::uint64_t elapsed_ns) {
  const auto size = static_cast<double>(members_.size());
  rests_due_ = std::min(size, rests_due_ + size * static_cast<double>(elapsed_ns) / kRestNs);
  for (; rests_due_ >= 1; rests_due_ -= 1) {
    const std::uint16_t slot = members_[next_rest_++ % members_.size()].slot;
    Slot& s = slots_[slot];
    if (s.life == nullptr) continue;           // nothing to fade
    if (s.life->delta != Traffic{}) continue;  // is brought up to date anyway
    if (s.in_flight == 0) {
      s.life->estimate.rest(now_ns, services_[s.service].median_us, s.rule, rules_);
      services_[s.service].changed = true;
    } else {
      s.life->estimate.add({}, now_ns, s.rule, rules_);
    }
    touch(slot);
  }
}

void LoadBoard::bring_up_to_date(std::uint64_t now_ns) {
  for (const std::uint16_t slot : touched_) {
    Slot& s = slots_[slot];
    if (s.life == nullptr || s.life->delta == Traffic{}) continue;
    s.life->estimate.add(s.life->delta, now_ns, s.rule, rules_);
    s.life->delta = {};
  }
  for (Service& service : services_) {
    const std::uint64_t pause_ns = service.slots.size() * kOrderNsPerInstance;
    if (service.changed && now_ns >= service.ordered_ns + pause_ns) order(service, now_ns);
  }
}

// The service's median cost, of those that were tried and are well, and the number in flight that
// most are not above.
void LoadBoard::order(Service& service, std::uint64_t now_ns) {
  service.changed = false;
  service.ordered_ns = now_ns;
  counts_.clear();
  costs_.clear();
  for (const std::uint16_t slot : service.slots) {
    const Slot& s = slots_[slot];
    counts_.push_back(
        static_cast<std::uint64_t>(std::max<std::int64_t>(as_signed(s.in_flight), 0)));
    // What mostly fails says nothing about what a request costs, and may do so very quickly.
    const LoadEstimate& estimate = s.estimate();
    const bool is_well = estimate.error_share() <= kWellErrorShare;
    if (estimate.tried() && is_well) costs_.push_back(estimate.cost_us());
  }
  const auto rank = std::clamp<std::size_t>(
      static_cast<std::size_t>(
          std::ceil(rules_.hot_quantile * static_cast<double>(counts_.size()))),
      1, counts_.size());
  const auto at = counts_.begin() + static_cast<std::ptrdiff_t>(rank - 1);
  std::nth_element(counts_.begin(), at, counts_.end());
  service.hot_threshold = *at;
  const double before = service.median_us;
  if (!costs_.empty()) {  // else it stays: at least it was once so
    const auto middle = costs_.begin() + static_cast<std::ptrdiff_t>((costs_.size() - 1) / 2);
    std::nth_element(costs_.begin(), middle, costs_.end());
    service.median_us = *middle;
  }
  if (service.median_us == before) return;
  for (const std::uint16_t slot : service.slots) {
    // The costs that are capped follow when they are next touched.
    if (!slots_[slot].estimate().tried()) touch(slot);
  }
}

engine::Load LoadBoard::load_of(std::uint16_t slot) const noexcept {
  if (slot >= slots_.size() || !slots_[slot].is_member) return {};
  const Slot& s = slots_[slot];
  const double median = services_[s.service].median_us;
  const LoadEstimate& estimate = s.estimate();
  const double known = estimate.tried() ? estimate.cost_us() : rules_.untried_factor * median;
  double cost = known / estimate.guard(rules_);
  if (median > 0) cost = std::min(cost, rules_.most_factor * median);
  engine::Load load;
  load.cost_us = static_cast<std::uint32_t>(to_whole(cost, UINT32_MAX));
  // Known, if of less than half a microsecond.
  if (load.cost_us == 0 && cost > 0) load.cost_us = 1;
  load.in_flight = static_cast<std::uint32_t>(
      std::clamp<std::int64_t>(as_signed(s.in_flight), 0, engine::kMaxInFlight));
  load.errors = static_cast<std::uint8_t>(to_whole(255 * estimate.error_share(), 255));
  return load;
}

void LoadBoard::publish(const shm::TableWriter& table) {
  const auto store = [](shm::Word64& word, std::uint64_t value) {
    // A store that changes nothing would still take the line away from the workers that read it.
    if (word.load(kRelaxed) != value) word.store(value, kRelaxed);
  };
  std::erase_if(touched_, [&](std::uint16_t slot) {
    Slot& s = slots_[slot];
    if (slot < table.loads.size() && slot < table.load_details.size()) {
      store(table.loads[slot], engine::pack(load_of(slot)));
      shm::LoadRecord& details = table.load_details[slot];
      store(details.latency_us, to_whole(s.estimate().latency_us(), UINT32_MAX));
      store(details.qps_milli, to_whole(s.estimate().per_second() * 1000, UINT32_MAX));
    }
    // Carried counters may have been looked at since the averages were last brought up to date.
    s.touched = s.life != nullptr && s.life->delta != Traffic{};
    return !s.touched;
  });
  for (const Service& service : services_) {
    if (service.record >= table.service_loads.size()) continue;
    shm::ServiceLoadRecord& record = table.service_loads[service.record];
    store(record.in_flight,
          static_cast<std::uint64_t>(std::max<std::int64_t>(as_signed(service.in_flight), 0)));
    store(record.hot_threshold, service.hot_threshold);
  }
}

std::int64_t LoadBoard::in_flight(std::uint16_t slot) const noexcept {
  return slot < slots_.size() && slots_[slot].is_member ? as_signed(slots_[slot].in_flight) : 0;
}

const LoadBoard::Service* LoadBoard::find_service(std::span<const Service> services,
                                                  std::uint32_t record) noexcept {
  const auto found = std::find_if(services.begin(), services.end(),
                                  [&](const Service& service) { return service.record == record; });
  return found == services.end() ? nullptr : &*found;
}

std::int64_t LoadBoard::service_in_flight(std::uint32_t service) const noexcept {
  const Service* found = find_service(services_, service);
  return found == nullptr ? 0 : as_signed(found->in_flight);
}

std::uint64_t LoadBoard::hot_threshold(std::uint32_t service) const noexcept {
  const Service* found = find_service(services_, service);
  return found == nullptr ? 0 : found->hot_threshold;
}

Traffic LoadBoard::traffic(std::uint16_t slot) const noexcept {
  const bool known = slot < slots_.size() && slots_[slot].is_member && slots_[slot].life != nullptr;
  return known ? slots_[slot].life->total : Traffic{};
}

const LoadEstimate* LoadBoard::estimate(std::uint16_t slot) const noexcept {
  return slot < slots_.size() && slots_[slot].is_member ? &slots_[slot].estimate() : nullptr;
}

}  // namespace ballast::checker
