// The checks that follow each death.
#include "tests/crash/world.hpp"

#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <set>

#include "engine/generation_writer.hpp"
#include "engine/load_word.hpp"
#include "engine/service_name.hpp"
#include "shm/generation.hpp"
#include "shm/host.hpp"
#include "shm/paths.hpp"
#include "shm/rows.hpp"
#include "shm/tokens.hpp"
#include "shm/totals.hpp"
#include "tests/crash/points.hpp"

namespace ballast::crash {

namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;  // nobody writes while the test looks

shm::Identity identity_of(const shm::Word64& word) {
  return shm::unpack_identity(word.load(kRelaxed));
}

// Which service's address this is; -1 if it is nobody's.
template <class Address>
int owner_of_address(const Address& address) {
  const int service = address[1] - 1;
  const bool known = address[0] == 127 && service >= 0 && service < kServices && address[2] == 0 &&
                     address[3] >= 1 && address[3] <= kInstances;
  return known ? service : -1;
}

std::int64_t as_signed(std::uint64_t value) {
  return static_cast<std::int64_t>(value);
}

}  // namespace

std::string name_of(int service) {
  return "service" + std::to_string(service);
}

shm::Endpoint address_of(int service, int instance) {
  return *shm::parse_endpoint("127." + std::to_string(service + 1) + ".0." +
                              std::to_string(instance + 1) + ":80");
}

checker::Settings Membership::settings() const {
  checker::Settings settings;
  settings.max_workers = max_workers;
  const engine::Strategy strategies[kServices] = {
      engine::Strategy::ketama, engine::Strategy::maglev, engine::Strategy::round_robin,
      engine::Strategy::ketama};
  for (int s = 0; s < kServices; ++s) {
    checker::ServiceSettings service;
    service.name = name_of(s);
    service.policy.strategy = strategies[s];
    service.check.first_check = checker::FirstCheck::up;
    if (s == kLimitedService) {
      // Far off, so that no pick is refused; but tokens are taken.
      service.policy.max_in_flight = 100;
      service.policy.service_max_in_flight = 200;
    }
    for (int i = 0; i < kInstances; ++i) {
      if ((members[s] >> i & 1) == 0) continue;
      const shm::Endpoint endpoint = address_of(s, i);
      service.instances.push_back({endpoint, endpoint.to_text(), 1});
    }
    settings.services.push_back(std::move(service));
  }
  if (guest) {
    checker::ServiceSettings service;
    service.name = "guest";
    service.check.first_check = checker::FirstCheck::up;
    const shm::Endpoint endpoint = address_of(kServices, 0);
    service.instances.push_back({endpoint, endpoint.to_text(), 1});
    settings.services.push_back(std::move(service));
  }
  return settings;
}

Membership random_membership(std::mt19937_64& random, std::uint32_t max_workers) {
  Membership membership;
  membership.max_workers = max_workers;
  for (std::uint32_t& members : membership.members)
    members = static_cast<std::uint32_t>(1 + random() % ((1U << kInstances) - 1));
  membership.guest = random() % 3 == 0;
  return membership;
}

World::World() {
  ledger() = {};
}

World::~World() {
  ballast_detach(handle_);
}

void World::attach() {
  if (handle_ != nullptr) return;
  ballast_options_t options = BALLAST_OPTIONS_INIT;
  options.directory = directory().c_str();
  REQUIRE_MESSAGE(ballast_attach(&options, &handle_) == BALLAST_OK, ballast_last_error());
  for (int s = 0; s < kServices; ++s) {
    REQUIRE(ballast_find_service(handle_, name_of(s).c_str(), &services_[s]) == BALLAST_OK);
  }
}

void World::hold(std::size_t picks) {
  while (held_.size() > picks) {
    CHECK(ballast_report(handle_, &held_.back(), BALLAST_SUCCESS, 1) == BALLAST_OK);
    held_.pop_back();
  }
  while (held_.size() < picks) {
    const auto service = services_[held_.size() % kServices];
    ballast_pick_t pick = BALLAST_PICK_INIT;
    ++next_key_;
    REQUIRE(ballast_pick(handle_, service, &next_key_, sizeof next_key_, nullptr, &pick) ==
            BALLAST_OK);
    held_.push_back(pick);
  }
}

checker::Publisher World::take_over() const {
  auto lease = shm::Lease::acquire(directory(), shm::Lease::Wait::no);
  REQUIRE_MESSAGE(lease, lease.error().to_text());
  auto publisher = checker::Publisher::open(std::move(*lease), now_.settings());
  REQUIRE_MESSAGE(publisher, publisher.error().to_text());
  const shm::Status applied = publisher->apply(now_.settings());
  REQUIRE_MESSAGE(applied, applied.error().to_text());
  return std::move(*publisher);
}

void World::look() {
  check_published();
  if (handle_ != nullptr) check_picks();
}

void World::inspect() {
  look();
  checker::Publisher publisher = take_over();
  publisher.tick();
  check_table(publisher);
  check_files(publisher);
  if (handle_ != nullptr) {
    check_picks();
    publisher.tick();  // the witness may have moved to another segment just now
  }
  check_counts(publisher);
  check_loads(publisher);
  publisher.leave();
}

// What the dead checker left, before anybody repairs anything.
void World::check_published() const {
  const auto file = shm::MappedFile::open(shm::locator_path(directory()),
                                          shm::MappedFile::Access::read_only, false);
  if (!file) return;  // killed before there was a locator
  const auto locator = shm::open_locator(*file, shm::BootCheck::required);
  REQUIRE_MESSAGE(locator, locator.error().to_text());
  const std::uint64_t active = (*locator)->active_segment.load(kRelaxed);
  if (active == 0) return;
  const auto segment = shm::CheckerSegment::open(directory(), active);
  REQUIRE_MESSAGE(segment, segment.error().to_text());
  for (std::size_t i = 0; i < segment->table.services.size(); ++i) {
    const shm::ServiceRecord& record = segment->table.services[i];
    if (identity_of(record.identity).phase != shm::Phase::live) continue;
    CHECK_MESSAGE(engine::is_whole(segment->table, i), engine::service_name(record));
    CHECK_FALSE(shm::is_superseded(record.root.load(kRelaxed)));
    for (int s = 0; s < kServices; ++s) {
      if (engine::service_name(record) == name_of(s)) check_members(segment->table, record, s);
    }
  }
}

void World::check_members(const shm::TableWriter& table, const shm::ServiceRecord& record,
                          int service) {
  const auto& g = record.generations[shm::buffer_of(record.root.load(kRelaxed))][0];
  for (const auto& member :
       table.array<shm::Word16>(g.member_offset.load(kRelaxed), g.member_count.load(kRelaxed))) {
    const auto& words = table.instances[member.load(kRelaxed)].endpoint;
    const auto endpoint = shm::Endpoint::from_words(
        {words[0].load(kRelaxed), words[1].load(kRelaxed), words[2].load(kRelaxed)});
    CHECK(owner_of_address(endpoint.address) == service);
  }
}

void World::check_picks() {
  for (int s = 0; s < kServices; ++s) {
    for (int i = 0; i < 4; ++i) {
      ballast_pick_t pick = BALLAST_PICK_INIT;
      ++next_key_;
      const auto status =
          ballast_pick(handle_, services_[s], &next_key_, sizeof next_key_, nullptr, &pick);
      REQUIRE_MESSAGE(status == BALLAST_OK, ballast_status_text(status));
      CHECK(owner_of_address(pick.address) == s);
      REQUIRE(ballast_report(handle_, &pick, BALLAST_SUCCESS, 1) == BALLAST_OK);
    }
  }
}

// As the new checker: every instance of the settings is where the publisher says, and nobody else
// is.
void World::check_table(checker::Publisher& publisher) const {
  const auto& table = publisher.segment().table;
  std::set<std::uint16_t> named;
  const checker::Settings settings = now_.settings();
  for (const auto& p : publisher.instances()) {
    const auto& wanted = settings.services[p.service].instances[p.instance];
    const shm::InstanceRecord& record = table.instances[p.slot];
    const auto endpoint = shm::Endpoint::from_words({record.endpoint[0].load(kRelaxed),
                                                     record.endpoint[1].load(kRelaxed),
                                                     record.endpoint[2].load(kRelaxed)});
    CHECK(endpoint == wanted.endpoint);
    CHECK(identity_of(record.identity).phase == shm::Phase::live);
    CHECK(identity_of(record.identity).incarnation == p.incarnation);
    CHECK(shm::incarnation_of(table.states[p.slot].load(kRelaxed)) == p.incarnation);
    CHECK(named.insert(p.slot).second);
  }
  CHECK(named.size() == publisher.instances().size());
  for (std::size_t slot = 0; slot < table.instances.size(); ++slot) {
    shm::InstanceRecord& record = table.instances[slot];
    const shm::Phase phase = identity_of(record.identity).phase;
    if (phase == shm::Phase::live) {
      CHECK_MESSAGE(named.contains(static_cast<std::uint16_t>(slot)), "slot ", slot, " is lost");
    }
    // Tenants must not change on a slow machine: their counts are compared with the ledger.
    if (phase == shm::Phase::cooling) record.cooling_since_ns.store(shm::realtime_ns(), kRelaxed);
  }
  for (std::size_t i = 0; i < table.services.size(); ++i) {
    if (identity_of(table.services[i].identity).phase != shm::Phase::live) continue;
    CHECK(engine::is_whole(table, i));
    const auto& g =
        table.services[i].generations[shm::buffer_of(table.services[i].root.load(kRelaxed))][0];
    for (const auto& member :
         table.array<shm::Word16>(g.member_offset.load(kRelaxed), g.member_count.load(kRelaxed))) {
      CHECK(named.contains(member.load(kRelaxed)));
    }
  }
  // Only the living have rows: the witness, at most one here and one where it moved from.
  std::size_t live = 0;
  for (const shm::RowRecord& row : publisher.segment().workers.directory)
    live += identity_of(row.claim).phase == shm::Phase::live ? 1 : 0;
  CHECK(live <= (handle_ != nullptr ? 1U : 0U));
}

World::Counts World::count(const checker::Publisher& publisher) {
  const auto& segment = publisher.segment();
  Counts counts;
  for (std::size_t slot = 0; slot < segment.table.instances.size(); ++slot) {
    shm::Totals totals = shm::read_record(segment.table.carried[slot]);
    totals += shm::sum_rows(segment.workers, slot);
    counts.started += totals.values[shm::kStarted];
    counts.abandoned += totals.values[shm::kAbandoned];
    counts.reported += totals.finished() - totals.values[shm::kAbandoned];
    counts.in_flight.push_back(totals.in_flight());
  }
  return counts;
}

void World::check_counts(const checker::Publisher& publisher) const {
  const Counts counts = count(publisher);
  std::vector<std::int64_t> expected(counts.in_flight.size(), 0);
  for (const ballast_pick_t& pick : held_)
    ++expected[pick.slot];
  CHECK(counts.in_flight == expected);
  CHECK(as_signed(counts.started) == as_signed(ledger().started));
  CHECK(as_signed(counts.reported) == as_signed(ledger().reported));
  CHECK(as_signed(counts.abandoned) ==
        as_signed(ledger().started - ledger().reported - held_.size()));
}

// What the board makes of the rows, and what is taken of limits: exactly what the living hold.
void World::check_loads(checker::Publisher& publisher) const {
  static_cast<void>(publisher.look_at_loads());
  const auto& segment = publisher.segment();
  std::uint32_t limited = 0;
  for (const auto& p : publisher.instances()) {
    const auto held = static_cast<std::uint32_t>(
        std::count_if(held_.begin(), held_.end(),
                      [&](const ballast_pick_t& pick) { return pick.slot == p.slot; }));
    CHECK(publisher.loads().in_flight(p.slot) == held);
    CHECK(engine::unpack_load(segment.table.loads[p.slot].load(kRelaxed)).in_flight == held);
    const auto& tokens = segment.workers.instances[p.slot].tokens;
    const bool is_limited = p.service == static_cast<std::size_t>(kLimitedService);
    CHECK(shm::unpack_tokens(tokens.load(kRelaxed)).used == (is_limited ? held : 0));
  }
  for (const ballast_pick_t& pick : held_)
    limited += owner_of_address(pick.address) == kLimitedService ? 1 : 0;
  std::uint32_t taken = 0;
  for (const shm::SharedServiceRecord& shared : segment.workers.services)
    taken += shm::unpack_tokens(shared.tokens.load(kRelaxed)).used;
  CHECK(taken == limited);
}

// Nothing half made and nothing forgotten: the locator, the active segment, and one being drained.
void World::check_files(const checker::Publisher& publisher) const {
  std::set<std::string> expected{shm::locator_path(directory())};
  const std::uint64_t draining = publisher.segment().table.header->previous_segment.load(kRelaxed);
  for (const std::uint64_t id : {publisher.segment_id(), draining}) {
    if (id == 0) continue;
    expected.insert(shm::table_path(directory(), id));
    expected.insert(shm::workers_path(directory(), id));
  }
  std::set<std::string> found;
  for (const auto& entry : std::filesystem::directory_iterator(directory()))
    found.insert(entry.path().string());
  CHECK(found == expected);
}

void World::wind_up() {
  if (handle_ != nullptr) hold(0);
  checker::Publisher publisher = take_over();
  // A worker that has nothing in flight leaves an old segment with its next pick.
  if (handle_ != nullptr) check_picks();
  publisher.tick();
  check_counts(publisher);
  CHECK(publisher.segment().table.header->previous_segment.load(kRelaxed) == 0);
  const auto& table = publisher.segment().table;
  for (shm::InstanceRecord& record : table.instances)
    record.cooling_since_ns.store(1, kRelaxed);
  for (int i = 0; i < 20; ++i)
    publisher.tick();
  std::size_t live = 0;
  for (const shm::InstanceRecord& record : table.instances) {
    const shm::Phase phase = identity_of(record.identity).phase;
    CHECK(phase != shm::Phase::cooling);
    live += phase == shm::Phase::live ? 1 : 0;
  }
  CHECK(live == publisher.instances().size());
  publisher.leave();
}

void work(const std::string& directory, unsigned requests, unsigned kept, bool leave) {
  ballast_options_t options = BALLAST_OPTIONS_INIT;
  options.directory = directory.c_str();
  ballast_t* handle = nullptr;
  if (ballast_attach(&options, &handle) != BALLAST_OK) give_up(ballast_last_error());
  std::vector<ballast_pick_t> open;
  for (unsigned i = 0; i < requests; ++i) {
    ballast_service_t service = 0;
    const std::string name = name_of(static_cast<int>(i % kServices));
    if (ballast_find_service(handle, name.c_str(), &service) != BALLAST_OK)
      give_up("no service " + name);
    ballast_pick_t pick = BALLAST_PICK_INIT;
    const auto status = ballast_pick(handle, service, &i, sizeof i, nullptr, &pick);
    if (status != BALLAST_OK) give_up(ballast_status_text(status));
    if (owner_of_address(pick.address) != static_cast<int>(i % kServices))
      give_up("a wrong tenant");
    open.push_back(pick);
    if (open.size() <= kept) continue;
    if (ballast_report(handle, &open.front(), BALLAST_SUCCESS, 1) != BALLAST_OK)
      give_up("a report was refused");
    open.erase(open.begin());
  }
  if (leave) ballast_detach(handle);
}

}  // namespace ballast::crash
