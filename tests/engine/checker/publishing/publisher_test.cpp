// The publisher on real files: what it publishes, what a successor adopts, how it grows, and what
// happens to slots and counts on the way.
#include "engine/checker/publishing/publisher.hpp"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <set>

#include "engine/generation_writer.hpp"
#include "engine/service_name.hpp"
#include "shm/generation.hpp"
#include "shm/paths.hpp"
#include "shm/row_protocol.hpp"
#include "shm/rows.hpp"
#include "shm/tokens.hpp"
#include "shm/totals.hpp"
#include "tests/support/temp_dir.hpp"

using namespace ballast;
using checker::Publisher;
using checker::ServiceSettings;
using checker::Settings;

namespace {

ServiceSettings service_of(const std::string& name, int first, int count) {
  ServiceSettings service;
  service.name = name;
  for (int i = 0; i < count; ++i) {
    const int n = first + i;
    const std::string text =
        "127.1." + std::to_string(n / 250) + "." + std::to_string(1 + n % 250) + ":80";
    service.instances.push_back({*shm::parse_endpoint(text), text, 1});
  }
  return service;
}

Settings settings_of(std::vector<ServiceSettings> services) {
  Settings settings;
  settings.max_workers = 8;
  settings.services = std::move(services);
  return settings;
}

Publisher open_publisher(const std::string& directory, const Settings& settings) {
  auto lease = shm::Lease::acquire(directory, shm::Lease::Wait::no);
  REQUIRE_MESSAGE(lease, lease.error().to_text());
  auto publisher = Publisher::open(std::move(*lease), settings);
  REQUIRE_MESSAGE(publisher, publisher.error().to_text());
  return std::move(*publisher);
}

std::set<std::uint16_t> slots_in_use(const Publisher& publisher, std::size_t service) {
  const auto& table = publisher.segment().table;
  const auto& record = table.services[service];
  const auto& g = record.generations[shm::buffer_of(record.root.load())][0];
  std::set<std::uint16_t> slots;
  for (const auto& word : table.array<shm::Word16>(g.lookup_offset.load(), g.lookup_count.load())) {
    slots.insert(word.load());
  }
  return slots;
}

}  // namespace

TEST_CASE("what the settings say is published, and saying it again changes nothing") {
  const tests::TempDir dir;
  const Settings settings = settings_of({service_of("a", 0, 3), service_of("b", 10, 2)});
  Publisher publisher = open_publisher(dir.path(), settings);
  CHECK_FALSE(publisher.adopted());
  REQUIRE(publisher.apply(settings));
  const auto& table = publisher.segment().table;
  CHECK(engine::service_name(table.services[0]) == "a");
  CHECK(engine::service_name(table.services[1]) == "b");
  CHECK(slots_in_use(publisher, 0) == std::set<std::uint16_t>{0, 1, 2});
  CHECK(slots_in_use(publisher, 1) == std::set<std::uint16_t>{3, 4});
  CHECK(publisher.instances().size() == 5);
  CHECK(engine::is_whole(table, 0));
  REQUIRE(publisher.apply(settings));
  CHECK(table.services[0].root.load() == 1);
}

TEST_CASE(
    "an instance that stays keeps its slot; one that leaves cools; a newcomer gets a fresh slot") {
  const tests::TempDir dir;
  Publisher publisher = open_publisher(dir.path(), settings_of({service_of("a", 0, 3)}));
  REQUIRE(publisher.apply(settings_of({service_of("a", 0, 3)})));
  REQUIRE(publisher.apply(settings_of({service_of("a", 1, 3)})));
  const auto& table = publisher.segment().table;
  CHECK(slots_in_use(publisher, 0) == std::set<std::uint16_t>{1, 2, 3});
  CHECK(table.services[0].root.load() == 2);
  CHECK(shm::unpack_identity(table.instances[0].identity.load()).phase == shm::Phase::cooling);
  // Back while it still cools: the same tenant.
  REQUIRE(publisher.apply(settings_of({service_of("a", 0, 3)})));
  CHECK(slots_in_use(publisher, 0) == std::set<std::uint16_t>{0, 1, 2});
  CHECK(shm::unpack_identity(table.instances[0].identity.load()).incarnation == 1);
}

TEST_CASE("a cooled slot gets a new tenant only when nobody holds a request on it") {
  const tests::TempDir dir;
  Publisher publisher = open_publisher(dir.path(), settings_of({service_of("a", 0, 2)}));
  REQUIRE(publisher.apply(settings_of({service_of("a", 0, 2)})));
  const auto& segment = publisher.segment();
  auto row = shm::Row::claim(segment.workers, segment.workers_file.path());
  REQUIRE(row);
  shm::count_started(row->counters()[0].values[shm::kStarted]);
  REQUIRE(publisher.apply(settings_of({service_of("a", 1, 1)})));
  segment.table.instances[0].cooling_since_ns.store(1);
  const auto tick_until_slow = [&] {
    std::uint64_t freed = 0;
    for (int i = 0; i < 10; ++i)
      freed += publisher.tick().freed_slots;
    return freed;
  };
  CHECK(tick_until_slow() == 0);
  shm::count_outcome(row->counters()[0].values[shm::kSuccess]);
  CHECK(tick_until_slow() == 1);
  REQUIRE(publisher.apply(settings_of({service_of("a", 1, 2)})));
  CHECK(slots_in_use(publisher, 0) == std::set<std::uint16_t>{0, 1});
  CHECK(shm::unpack_identity(segment.table.instances[0].identity.load()).incarnation == 2);
  // The new tenant's totals start from zero although the row's counters go on.
  shm::Totals totals = shm::read_record(segment.table.carried[0]);
  totals += shm::sum_rows(segment.workers, 0);
  CHECK(totals.values[shm::kStarted] == 0);
  CHECK(totals.values[shm::kSuccess] == 0);
}

TEST_CASE("a cooled slot gets a new tenant only when nobody holds tokens by it") {
  // Another tenant might be of another service, which would get back what it never gave.
  const tests::TempDir dir;
  Publisher publisher = open_publisher(dir.path(), settings_of({service_of("a", 0, 2)}));
  REQUIRE(publisher.apply(settings_of({service_of("a", 0, 2)})));
  const auto& segment = publisher.segment();
  auto row = shm::Row::claim(segment.workers, segment.workers_file.path());
  REQUIRE(row);
  auto& held = row->counters()[0].values[shm::kHeldTokens];
  held.store(std::uint64_t{1} << shm::held_shift(shm::TokenKind::service));
  REQUIRE(publisher.apply(settings_of({service_of("a", 1, 1)})));
  segment.table.instances[0].cooling_since_ns.store(1);
  std::uint64_t freed = 0;
  for (int i = 0; i < 10; ++i)
    freed += publisher.tick().freed_slots;
  CHECK(freed == 0);
  held.store(0);
  for (int i = 0; i < 10; ++i)
    freed += publisher.tick().freed_slots;
  CHECK(freed == 1);
}

TEST_CASE("health is one word, and a late verdict on a former tenant is refused") {
  const tests::TempDir dir;
  const Settings settings = settings_of({service_of("a", 0, 2)});
  Publisher publisher = open_publisher(dir.path(), settings);
  REQUIRE(publisher.apply(settings));
  const auto& states = publisher.segment().table.states;
  CHECK_FALSE(shm::is_usable(states[0].load()));
  CHECK(publisher.set_health(0, 1, shm::Health::up, shm::Reason::passed));
  CHECK(shm::is_usable(states[0].load()));
  CHECK_FALSE(publisher.set_health(0, 1, shm::Health::up, shm::Reason::passed));
  CHECK_FALSE(publisher.set_health(0, 2, shm::Health::down, shm::Reason::reset));
  CHECK_FALSE(publisher.set_health(9, 1, shm::Health::up, shm::Reason::passed));
  CHECK(publisher.set_health(0, 1, shm::Health::down, shm::Reason::connect_refused));
  CHECK_FALSE(shm::is_usable(states[0].load()));
  CHECK(publisher.segment().table.instances[0].flips.load() == 2);
}

TEST_CASE("a successor adopts states and slots, and flaps nothing") {
  const tests::TempDir dir;
  const Settings settings = settings_of({service_of("a", 0, 3)});
  std::uint64_t segment = 0;
  {
    Publisher first = open_publisher(dir.path(), settings);
    segment = first.segment_id();
    REQUIRE(first.apply(settings));
    first.set_health(0, 1, shm::Health::up, shm::Reason::passed);
    first.set_health(1, 1, shm::Health::down, shm::Reason::timeout);
  }  // as if killed: nothing is said on the way out
  Publisher second = open_publisher(dir.path(), settings);
  CHECK(second.adopted());
  CHECK(second.term() == 2);
  CHECK(second.segment_id() == segment);
  const auto& table = second.segment().table;
  const std::uint64_t before[] = {table.states[0].load(), table.states[1].load()};
  REQUIRE(second.apply(settings));
  CHECK(table.states[0].load() == before[0]);
  CHECK(table.states[1].load() == before[1]);
  CHECK(table.services[0].root.load() == 1);
  CHECK(second.instances()[0].health == shm::Health::up);
  CHECK(second.instances()[1].health == shm::Health::down);
  CHECK(second.instances()[2].health == shm::Health::unknown);
}

TEST_CASE("a service that leaves is emptied, and its record can serve another") {
  const tests::TempDir dir;
  const Settings both = settings_of({service_of("a", 0, 2), service_of("b", 4, 2)});
  Publisher publisher = open_publisher(dir.path(), both);
  REQUIRE(publisher.apply(both));
  REQUIRE(publisher.apply(settings_of({service_of("b", 4, 2)})));
  const auto& table = publisher.segment().table;
  CHECK(shm::unpack_identity(table.services[0].identity.load()).phase == shm::Phase::free);
  CHECK(slots_in_use(publisher, 0).empty());
  // Not at once: reports of its requests may still come.
  REQUIRE(publisher.apply(settings_of({service_of("x", 12, 1), service_of("b", 4, 2)})));
  CHECK(shm::unpack_identity(table.services[0].identity.load()).phase == shm::Phase::free);
  for (const std::size_t slot : {0, 1})
    table.instances[slot].cooling_since_ns.store(1);
  for (int i = 0; i < 10; ++i)
    publisher.tick();
  REQUIRE(publisher.apply(settings_of({service_of("c", 8, 1), service_of("b", 4, 2)})));
  CHECK(engine::service_name(table.services[0]) == "c");
  CHECK(shm::unpack_identity(table.services[0].identity.load()).incarnation == 2);
  CHECK(table.services[0].root.load() == 3);  // the epoch never goes back
}

TEST_CASE("a service that leaves takes its panic, its division and its load along") {
  const tests::TempDir dir;
  Settings settings = settings_of({service_of("a", 0, 2)});
  settings.services[0].policy.panic_percent = 50;
  settings.services[0].policy.panic_mode = static_cast<std::uint32_t>(engine::PanicMode::fail);
  settings.services[0].check.first_check = checker::FirstCheck::up;
  Publisher publisher = open_publisher(dir.path(), settings);
  REQUIRE(publisher.apply(settings));
  const auto& record = publisher.segment().table.services[0];
  auto& load = publisher.segment().table.service_loads[0];
  CHECK(load.weight_sum.load() != 0);
  for (const auto& i : publisher.instances())
    publisher.set_health(i.slot, i.incarnation, shm::Health::down, shm::Reason::timeout);
  load.in_flight.store(7);
  REQUIRE(record.panic.load() != 0);
  REQUIRE(publisher.apply(settings_of({service_of("b", 10, 2)})));
  CHECK(record.panic.load() == 0);
  CHECK(record.shares[0].load() == 0);
  CHECK(load.weight_sum.load() == 0);
  CHECK(load.group_parts[0].load() == 0);
  CHECK(load.in_flight.load() == 0);
}

TEST_CASE("growth moves everything to a new segment, and drains the old one") {
  const tests::TempDir dir;
  const Settings small = settings_of({service_of("a", 0, 3)});
  Publisher publisher = open_publisher(dir.path(), small);
  REQUIRE(publisher.apply(small));
  publisher.set_health(1, 1, shm::Health::up, shm::Reason::passed);
  const std::uint64_t old = publisher.segment_id();
  auto worker = shm::WorkerSegment::open(dir.path(), old);
  REQUIRE(worker);
  auto row = shm::Row::claim(worker->workers, worker->workers_file.path());
  REQUIRE(row);
  shm::count_started(row->counters()[1].values[shm::kStarted]);
  shm::count_started(row->counters()[1].values[shm::kStarted]);
  shm::count_outcome(row->counters()[1].values[shm::kSuccess]);

  Settings large = settings_of({service_of("a", 0, 300), service_of("b", 400, 2)});
  REQUIRE(publisher.apply(large));
  const std::uint64_t active = publisher.segment_id();
  CHECK(active > old);
  CHECK(shm::is_superseded(worker->table.services[0].root.load()));
  const auto& table = publisher.segment().table;
  CHECK(slots_in_use(publisher, 0).size() == 300);
  CHECK(shm::unpack(table.states[1].load()).health == shm::Health::up);
  CHECK(shm::read_record(table.carried[1]).in_flight() == 1);
  CHECK(shm::list_segments(dir.path()) == std::vector<std::uint64_t>{old, active});
  // The worker is still in the old segment: it stays, and its counts come over with each tick.
  CHECK_FALSE(publisher.tick().drained_previous);
  shm::count_outcome(row->counters()[1].values[shm::kReset]);
  CHECK_FALSE(publisher.tick().drained_previous);
  CHECK(shm::read_record(table.carried[1]).in_flight() == 0);
  row->leave();
  CHECK(publisher.tick().drained_previous);
  CHECK(shm::list_segments(dir.path()) == std::vector<std::uint64_t>{active});
  CHECK(shm::read_record(table.carried[1]).values[shm::kSuccess] == 1);
  CHECK(shm::read_record(table.carried[1]).values[shm::kReset] == 1);
}

TEST_CASE("nothing is published into a directory that was removed and may be another's by now") {
  const tests::TempDir dir;
  const Settings small = settings_of({service_of("a", 0, 3)});
  Publisher publisher = open_publisher(dir.path(), small);
  REQUIRE(publisher.apply(small));
  std::filesystem::remove_all(dir.path());
  std::filesystem::create_directory(dir.path());
  const auto status = publisher.apply(settings_of({service_of("a", 0, 300)}));
  REQUIRE_FALSE(status);
  CHECK(status.error().to_text().find("removed or replaced") != std::string::npos);
  CHECK(std::filesystem::is_empty(dir.path()));
}

TEST_CASE("settings beyond the limits are refused and leave the table as it was") {
  const tests::TempDir dir;
  const Settings small = settings_of({service_of("a", 0, 3)});
  Publisher publisher = open_publisher(dir.path(), small);
  REQUIRE(publisher.apply(small));
  const std::uint64_t segment = publisher.segment_id();
  Settings huge = settings_of({});
  for (int i = 0; i < 5000; ++i)
    huge.services.push_back(service_of("s" + std::to_string(i), i, 1));
  const auto status = publisher.apply(huge);
  REQUIRE_FALSE(status);
  CHECK(status.error().kind == shm::ErrorKind::full);
  CHECK(publisher.segment_id() == segment);
  CHECK(slots_in_use(publisher, 0) == std::set<std::uint16_t>{0, 1, 2});
  CHECK(shm::list_segments(dir.path()) == std::vector<std::uint64_t>{segment});
}

TEST_CASE("each tick is one heartbeat, and growth does not set it back") {
  const tests::TempDir dir;
  const Settings small = settings_of({service_of("a", 0, 3)});
  Publisher publisher = open_publisher(dir.path(), small);
  REQUIRE(publisher.apply(small));
  const std::uint64_t segment = publisher.segment_id();
  const auto heartbeat = [&] { return publisher.segment().table.header->heartbeat.load(); };
  publisher.tick();
  publisher.tick();
  CHECK(heartbeat() == 2);
  REQUIRE(publisher.apply(settings_of({service_of("a", 0, 100)})));
  CHECK(publisher.segment_id() != segment);
  CHECK(heartbeat() == 2);
  publisher.tick();
  CHECK(heartbeat() == 3);
}

TEST_CASE("every strategy is published whole, and can follow another") {
  const tests::TempDir dir;
  Settings settings = settings_of({service_of("a", 0, 40)});
  for (std::size_t i = 0; i < 40; ++i) {
    settings.services[0].instances[i].weight = static_cast<std::uint32_t>(1 + i % 3);
  }
  Publisher publisher = open_publisher(dir.path(), settings);
  std::uint64_t epoch = 0;
  using engine::Strategy;
  for (const Strategy strategy :
       {Strategy::maglev, Strategy::ketama, Strategy::round_robin, Strategy::ketama}) {
    settings.services[0].policy.strategy = strategy;
    REQUIRE(publisher.apply(settings));
    const auto& table = publisher.segment().table;
    CHECK(shm::epoch_of(table.services[0].root.load()) == ++epoch);
    CHECK(engine::is_whole(table, 0));
    CHECK(slots_in_use(publisher, 0).size() == 40);
  }
}

TEST_CASE("a generation that was damaged is built again on adoption") {
  const tests::TempDir dir;
  const Settings settings = settings_of({service_of("a", 0, 3)});
  {
    Publisher first = open_publisher(dir.path(), settings);
    REQUIRE(first.apply(settings));
    const auto& table = first.segment().table;
    table.array<shm::Word16>(table.services[0].generations[1][0].lookup_offset.load(), 1)[0].store(
        60);
    CHECK_FALSE(engine::is_whole(table, 0));
  }
  Publisher second = open_publisher(dir.path(), settings);
  REQUIRE(second.apply(settings));
  CHECK(engine::is_whole(second.segment().table, 0));
  CHECK(second.segment().table.services[0].root.load() == 2);
}

TEST_CASE("a damaged record whose region is not in the arena gets another one") {
  const tests::TempDir dir;
  const Settings settings = settings_of({service_of("a", 0, 3)});
  Publisher publisher = open_publisher(dir.path(), settings);
  REQUIRE(publisher.apply(settings));
  const auto& record = publisher.segment().table.services[0];
  publisher.segment().table.services[0].half_bytes.store(std::uint64_t{1} << 62);
  const Settings more = settings_of({service_of("a", 0, 4)});
  REQUIRE(publisher.apply(more));
  CHECK(record.root.load() == 2);
  CHECK(engine::is_whole(publisher.segment().table, 0));
  CHECK(slots_in_use(publisher, 0).size() == 4);
}

TEST_CASE("a first segment is named only when the settings are published in it") {
  const tests::TempDir dir;
  const Settings settings = settings_of({service_of("a", 0, 3)});
  Publisher publisher = open_publisher(dir.path(), settings);
  const auto file = shm::MappedFile::open(shm::locator_path(dir.path()),
                                          shm::MappedFile::Access::read_only, true);
  REQUIRE(file);
  const auto locator = shm::open_locator(*file, shm::BootCheck::required);
  REQUIRE(locator);
  CHECK((*locator)->active_segment.load() == 0);
  REQUIRE(publisher.apply(settings));
  CHECK((*locator)->active_segment.load() == publisher.segment_id());
}

TEST_CASE("an instance that comes back while its slot cools is not believed to be as it was") {
  const tests::TempDir dir;
  const Settings both = settings_of({service_of("a", 0, 2)});
  Publisher publisher = open_publisher(dir.path(), both);
  REQUIRE(publisher.apply(both));
  REQUIRE(publisher.set_health(0, 1, shm::Health::up, shm::Reason::passed));
  REQUIRE(publisher.set_health(1, 1, shm::Health::up, shm::Reason::passed));
  REQUIRE(publisher.apply(settings_of({service_of("a", 1, 1)})));
  REQUIRE(publisher.apply(both));
  const auto state = [&](std::size_t slot) {
    return shm::unpack(publisher.segment().table.states[slot].load());
  };
  CHECK(state(0).health == shm::Health::unknown);
  CHECK_FALSE(state(0).usable);
  CHECK(state(1).health == shm::Health::up);
}

TEST_CASE(
    "a service with the addresses of one that left has slots and a record of its own while those "
    "cool") {
  const tests::TempDir dir;
  Settings wide = settings_of({service_of("a", 100, 3)});
  const auto more = service_of("a", 0, 3).instances;
  wide.services[0].instances.insert(wide.services[0].instances.end(), more.begin(), more.end());
  Publisher publisher = open_publisher(dir.path(), wide);
  REQUIRE(publisher.apply(wide));
  REQUIRE(publisher.apply(settings_of({service_of("a", 0, 3)})));
  const auto& table = publisher.segment().table;
  for (std::size_t slot = 0; slot < 3; ++slot)
    table.instances[slot].cooling_since_ns.store(1);
  for (int i = 0; i < 10; ++i)
    publisher.tick();
  REQUIRE(publisher.apply(settings_of({})));
  // Slots below those that still cool with these addresses.
  const Settings renamed = settings_of({service_of("b", 0, 3)});
  REQUIRE(publisher.apply(renamed));
  REQUIRE(slots_in_use(publisher, 1) == std::set<std::uint16_t>{0, 1, 2});
  const std::uint64_t root = table.services[1].root.load();
  REQUIRE(publisher.apply(renamed));
  CHECK(slots_in_use(publisher, 1) == std::set<std::uint16_t>{0, 1, 2});
  CHECK(table.services[1].root.load() == root);
}

TEST_CASE("a request that a stopped worker starts on a slot while it is free is not lost") {
  const tests::TempDir dir;
  Publisher publisher = open_publisher(dir.path(), settings_of({service_of("a", 0, 2)}));
  REQUIRE(publisher.apply(settings_of({service_of("a", 0, 2)})));
  const auto& segment = publisher.segment();
  auto row = shm::Row::claim(segment.workers, segment.workers_file.path());
  REQUIRE(row);
  shm::count_started(row->counters()[2].values[shm::kStarted]);
  REQUIRE(publisher.apply(settings_of({service_of("a", 0, 3)})));
  const auto in_flight = [&] {
    shm::Totals totals = shm::read_record(segment.table.carried[2]);
    totals += shm::sum_rows(segment.workers, 2);
    return totals.in_flight();
  };
  CHECK(in_flight() == 1);
  shm::count_outcome(row->counters()[2].values[shm::kSuccess]);
  CHECK(in_flight() == 0);
}

TEST_CASE("a segment cut off by a second growth leaves nothing in flight behind") {
  const tests::TempDir dir;
  Settings settings = settings_of({service_of("a", 0, 3)});
  Publisher publisher = open_publisher(dir.path(), settings);
  REQUIRE(publisher.apply(settings));
  auto worker = shm::WorkerSegment::open(dir.path(), publisher.segment_id());
  REQUIRE(worker);
  auto row = shm::Row::claim(worker->workers, worker->workers_file.path());
  REQUIRE(row);
  shm::count_started(row->counters()[1].values[shm::kStarted]);
  for (int growth = 0; growth < 2; ++growth) {
    ++settings.max_workers;
    REQUIRE(publisher.apply(settings));
  }
  const auto totals = shm::read_record(publisher.segment().table.carried[1]);
  CHECK(totals.in_flight() == 0);
  CHECK(totals.values[shm::kAbandoned] == 1);
}
