// What a snapshot says of a live namespace, of copies, and of damaged files.
#include "engine/inspect/snapshot.hpp"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <optional>

#include "engine/breaker_word.hpp"
#include "engine/coarse_clock.hpp"
#include "engine/failure_window.hpp"
#include "shm/paths.hpp"
#include "shm/row_protocol.hpp"
#include "tests/support/attached.hpp"
#include "tests/support/published.hpp"

namespace fs = std::filesystem;
namespace shm = ballast::shm;
namespace inspect = ballast::inspect;
using ballast::engine::Strategy;
using ballast::tests::Published;
using ballast::tests::service_of;
using ballast::tests::settings_of;

namespace {

ballast::checker::Settings two_services() {
  return settings_of({service_of("checkout", Strategy::maglev, 3),
                      service_of("search", Strategy::ketama, 2, 100)});
}

inspect::Snapshot read(const std::string& directory) {
  const auto snapshot = inspect::read_snapshot(directory);
  REQUIRE_MESSAGE(snapshot, snapshot.error().to_text());
  return *snapshot;
}

// Writes `value` over one 8-byte word of a file.
void patch(const std::string& path, std::uint64_t offset, std::uint64_t value) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(static_cast<std::streamoff>(offset));
  file.write(reinterpret_cast<const char*>(&value), sizeof value);
  REQUIRE(file.good());
}

}  // namespace

TEST_CASE("a live namespace is shown as it is") {
  Published published(two_services());
  published.set_usable(0, 0, true);
  published.set_usable(0, 1, false);
  const auto s = read(published.directory());
  CHECK(s.warnings.empty());
  CHECK(s.checker == inspect::CheckerState::running);
  CHECK(s.checker_pid == static_cast<std::uint64_t>(getpid()));
  CHECK(s.term == 1);
  CHECK(s.segment == published.publisher().segment_id());
  CHECK(s.superseded_by == 0);
  CHECK(s.this_boot);
  CHECK(s.layout_hash == shm::kLayoutHash);
  REQUIRE(s.services.size() == 2);
  CHECK(s.services[0].name == "checkout");
  CHECK(s.services[0].strategy == static_cast<std::uint64_t>(Strategy::maglev));
  CHECK(s.services[0].epoch == 1);
  CHECK(s.services[0].members == 3);
  CHECK(s.services[0].lookup == shm::LookupKind::table);
  CHECK(s.services[1].lookup == shm::LookupKind::ring);
  REQUIRE(s.services[0].instances.size() == 3);
  const auto& first = s.services[0].instances[0];
  CHECK(first.address == "127.1.0.1:8080");
  CHECK(first.state.usable);
  CHECK(first.state.health == shm::Health::up);
  CHECK(first.configured_weight == 1);
  CHECK(first.flips == 1);
  CHECK(first.changed_ns != 0);
  const auto& second = s.services[0].instances[1];
  CHECK_FALSE(second.state.usable);
  CHECK(second.state.reason == shm::Reason::connect_refused);
  CHECK(s.rows.empty());
  CHECK(s.row_capacity >= 8);
}

TEST_CASE("what is in flight in a segment that was replaced is shown as it is now") {
  Published published(settings_of({service_of("web", Strategy::maglev, 3)}));
  const ballast::tests::Attached worker(published.directory());
  const auto in_flight = [&] {
    std::int64_t sum = 0;
    const auto snapshot = read(published.directory());
    for (const auto& instance : snapshot.services.at(0).instances)
      sum += inspect::in_flight_of(instance.counters);
    return sum;
  };
  const auto started = [&] {
    std::uint64_t sum = 0;
    const auto snapshot = read(published.directory());
    for (const auto& instance : snapshot.services.at(0).instances)
      sum += instance.counters[shm::kStarted];
    return sum;
  };
  ballast_pick_t first = BALLAST_PICK_INIT;
  ballast_pick_t second = BALLAST_PICK_INIT;
  REQUIRE(worker.pick("key", first) == BALLAST_OK);
  const std::uint64_t segment = published.publisher().segment_id();
  published.apply(settings_of({service_of("web", Strategy::maglev, 300)}));
  REQUIRE(published.publisher().segment_id() != segment);
  CHECK(in_flight() == 1);
  REQUIRE(worker.pick("key", second) == BALLAST_OK);
  REQUIRE(second.segment != segment);
  CHECK(in_flight() == 2);
  // The checker has not looked again since the table moved.
  REQUIRE(ballast_report(worker.handle, &first, BALLAST_SUCCESS, 1) == BALLAST_OK);
  CHECK(in_flight() == 1);
  REQUIRE(ballast_report(worker.handle, &second, BALLAST_SUCCESS, 1) == BALLAST_OK);
  CHECK(in_flight() == 0);
  CHECK(started() == 2);
  CHECK(published.publisher().tick().drained_previous);
  CHECK(in_flight() == 0);
  CHECK(started() == 2);
}

TEST_CASE("policies and groups are shown as published") {
  auto settings = two_services();
  settings.zone = "here";
  auto& service = settings.services[0];
  service.policy.max_in_flight = 7;
  service.policy.panic_percent = 60;
  service.instances[1].zone = "there";
  service.instances[2].tier = 1;
  const Published published(settings);
  const auto s = read(published.directory());
  CHECK(s.warnings.empty());
  const auto& view = s.services[0];
  auto policy = service.policy;
  policy.watches_failures =
      view.policy.watches_failures;  // what the checks ask for, not the settings
  CHECK(view.policy == policy);
  REQUIRE(view.groups.size() == 3);
  CHECK(view.members == 3);
  CHECK(view.groups[0].tier == 0);
  CHECK(view.groups[0].is_local);
  CHECK_FALSE(view.groups[1].is_local);
  CHECK(view.groups[2].tier == 1);
  for (std::size_t g = 0; g < 3; ++g) {
    REQUIRE(view.groups[g].slots.size() == 1);
    CHECK(view.groups[g].slots[0] == published.find(0, g).slot);
  }
  CHECK(view.instances[2].tier == 1);
  double sum = 0;
  for (const auto& group : view.groups)
    sum += group.share;
  CHECK(sum == doctest::Approx(1));
  REQUIRE(s.services[1].groups.size() == 1);
  CHECK(s.services[1].groups[0].share == 1);
}

TEST_CASE("counts are summed over rows, and rows name their owners") {
  Published published(two_services());
  const std::uint64_t id = published.publisher().segment_id();
  const auto segment = shm::WorkerSegment::open(published.directory(), id);
  REQUIRE(segment);
  const std::string path = shm::workers_path(published.directory(), id);
  auto one = shm::Row::claim(segment->workers, path);
  std::optional<shm::Row> two = std::move(*shm::Row::claim(segment->workers, path));
  REQUIRE(one);
  const auto slot = published.find(0, 2).slot;
  for (int i = 0; i < 3; ++i)
    shm::count_started(one->counters()[slot].values[shm::kStarted]);
  shm::count_outcome(one->counters()[slot].values[shm::kTimeout]);
  shm::count_started(two->counters()[slot].values[shm::kStarted]);
  {
    const auto s = read(published.directory());
    const auto& instance = s.services[0].instances[2];
    CHECK(instance.counters[shm::kStarted] == 4);
    CHECK(inspect::failures_of(instance.counters) == 1);
    CHECK(inspect::in_flight_of(instance.counters) == 3);
    REQUIRE(s.rows.size() == 2);
    CHECK(s.rows[0].owner == shm::Owner::alive);
    CHECK(s.rows[0].pid == static_cast<std::uint64_t>(getpid()));
    CHECK(s.rows[0].incarnation == 1);
    CHECK_FALSE(s.rows[0].command.empty());
    CHECK(inspect::in_flight_of(s.rows[0].counters) == 2);
    CHECK(inspect::in_flight_of(s.rows[1].counters) == 1);
  }
  two->leave();
  two.reset();
  const auto s = read(published.directory());
  CHECK(s.rows[1].owner == shm::Owner::none);
  CHECK(inspect::in_flight_of(s.services[0].instances[2].counters) == 2);
}

TEST_CASE("breakers are shown as they are, another tenant's are not") {
  using namespace ballast::engine;
  Published published(two_services());
  const auto& workers = published.publisher().segment().workers;
  const auto& instance = published.find(0, 1);
  constexpr auto relaxed = std::memory_order_relaxed;
  const Breaker open{BreakerState::open, 0, 2, tenant_of(instance.incarnation),
                     coarse_ms() + 100'000};
  workers.breakers[instance.slot].store(pack(open), relaxed);
  workers.instances[instance.slot].window.store(pack(FailureWindow{1, 5, 6, 7, 8}), relaxed);
  auto shown = read(published.directory()).services[0].instances[1].breaker;
  CHECK(shown.state == BreakerState::open);
  CHECK(shown.level == 2);
  CHECK(shown.left_ms > 0);
  CHECK(shown.left_ms <= 100'000);
  CHECK(shown.window_failures == 12);
  CHECK(shown.window_requests == 14);
  const Breaker former{BreakerState::open, 0, 2, tenant_of(instance.incarnation + 1), 1};
  workers.breakers[instance.slot].store(pack(former), relaxed);
  shown = read(published.directory()).services[0].instances[1].breaker;
  CHECK(shown.state == BreakerState::closed);
}

TEST_CASE("an instance that has left is cooling") {
  Published published(two_services());
  published.apply(settings_of({service_of("checkout", Strategy::maglev, 2)}));
  const auto s = read(published.directory());
  REQUIRE(s.services.size() == 1);
  REQUIRE(s.services[0].instances.size() == 3);
  CHECK(s.services[0].instances[2].phase == shm::Phase::cooling);
  CHECK(s.services[0].members == 2);
  CHECK(s.warnings.empty());
}

TEST_CASE("what a checker left behind says how it went") {
  Published published(two_services());
  published.publisher().leave();
  CHECK(read(published.directory()).checker == inspect::CheckerState::left);
}

TEST_CASE("a copy is read, with what is missing said") {
  Published published(two_services());
  const std::uint64_t id = published.publisher().segment_id();
  const std::string table_file = "table." + std::to_string(id);
  const std::string workers_file = "workers." + std::to_string(id);
  const ballast::tests::TempDir copy;
  const auto take = [&](const std::string& name) {
    fs::copy_file(published.directory() + "/" + name, copy.path() + "/" + name);
  };
  take(table_file);
  auto s = read(copy.path());
  REQUIRE(s.warnings.size() == 2);
  CHECK(s.warnings[0].find("reading the newest segment instead") != std::string::npos);
  CHECK(s.warnings[1].starts_with("rows and counts are not shown: "));
  CHECK(s.checker == inspect::CheckerState::unknown);
  CHECK(s.services.size() == 2);
  take(workers_file);
  take("locator");
  s = read(copy.path());
  CHECK(s.warnings.empty());
  CHECK(s.checker == inspect::CheckerState::died);
  // From another boot, no lock says anything about rows.
  patch(copy.path() + "/" + table_file, offsetof(shm::FilePreamble, boot_id), 1);
  CHECK_FALSE(read(copy.path()).this_boot);
}

TEST_CASE("there is nothing to read") {
  const ballast::tests::TempDir empty;
  const auto none = inspect::read_snapshot(empty.path());
  REQUIRE_FALSE(none);
  CHECK(none.error().code == ENOENT);
  const auto gone = inspect::read_snapshot(empty.path() + "/gone");
  REQUIRE_FALSE(gone);
  // The lease is taken, nothing is published.
  const auto lease = shm::Lease::acquire(empty.path(), shm::Lease::Wait::no);
  REQUIRE(lease);
  const auto fresh = inspect::read_snapshot(empty.path());
  REQUIRE_FALSE(fresh);
  CHECK(fresh.error().detail == "no checker has published anything yet; start ballastd");
}

TEST_CASE("an instance of a service that is not there is a warning") {
  Published published(two_services());
  const auto& table = published.publisher().segment().table;
  table.instances[1].service.store(77777, std::memory_order_release);
  const auto s = read(published.directory());
  REQUIRE(s.warnings.size() == 1);
  CHECK(s.warnings[0] == "slot 1 belongs to service record 77777, which is not in use");
  CHECK(s.services[0].instances.size() == 2);
}

TEST_CASE("no damaged word of header, records or rows can do harm") {
  Published published(two_services());
  const std::uint64_t id = published.publisher().segment_id();
  const std::string table_file = "table." + std::to_string(id);
  const std::string workers_file = "workers." + std::to_string(id);
  const auto segment = shm::WorkerSegment::open(published.directory(), id);
  REQUIRE(segment);
  const auto row = shm::Row::claim(segment->workers, shm::workers_path(published.directory(), id));
  REQUIRE(row);
  const auto damage = [&](const std::string& name, std::uint64_t from, std::uint64_t bytes) {
    const std::string path = published.directory() + "/" + name;
    std::ifstream in(path, std::ios::binary);
    for (std::uint64_t at = from; at < from + bytes; at += 8) {
      std::uint64_t was = 0;
      in.seekg(static_cast<std::streamoff>(at));
      in.read(reinterpret_cast<char*>(&was), sizeof was);
      for (const std::uint64_t value :
           {~was, was ^ 1, was ^ (std::uint64_t{1} << 63), ~std::uint64_t{0}, std::uint64_t{0}}) {
        patch(path, at, value);
        const auto snapshot = inspect::read_snapshot(published.directory());
        if (!snapshot) CHECK_FALSE(snapshot.error().to_text().empty());
      }
      patch(path, at, was);
    }
  };
  const auto offset_in = [&](const void* place) {
    const auto* start = published.publisher().segment().table.file.data();
    return static_cast<std::uint64_t>(static_cast<const std::byte*>(place) - start);
  };
  const auto& table = published.publisher().segment().table;
  damage("locator", 0, 128);
  damage(table_file, 0, 600);
  damage(table_file, offset_in(&table.services[0]), sizeof(shm::ServiceRecord));
  damage(table_file, offset_in(&table.instances[0]), sizeof(shm::InstanceRecord));
  damage(table_file, offset_in(&table.states[0]), 8);
  damage(workers_file, 0, 600);
  const auto& workers = published.publisher().segment().workers;
  const auto* start = workers.file.data();
  const auto directory_at =
      static_cast<std::uint64_t>(reinterpret_cast<const std::byte*>(&workers.directory[0]) - start);
  damage(workers_file, directory_at, 2 * sizeof(shm::RowRecord));
  damage(workers_file, workers.rows_offset, sizeof(shm::CounterRecord));
  CHECK(read(published.directory()).warnings.empty());  // all put back
}

TEST_CASE("files cut short give an error") {
  Published published(two_services());
  const std::uint64_t id = published.publisher().segment_id();
  const std::string table_file = "table." + std::to_string(id);
  const std::string workers_file = "workers." + std::to_string(id);
  const ballast::tests::TempDir copy;
  for (const std::string& name : {table_file, workers_file, std::string("locator")}) {
    fs::copy_file(published.directory() + "/" + name, copy.path() + "/" + name);
  }
  const auto whole = fs::file_size(copy.path() + "/" + table_file);
  for (const std::uintmax_t size : {std::uintmax_t{0}, std::uintmax_t{1}, std::uintmax_t{63},
                                    std::uintmax_t{4095}, std::uintmax_t{4096}, whole - 1}) {
    fs::resize_file(copy.path() + "/" + table_file, size);
    CHECK_FALSE(inspect::read_snapshot(copy.path()));
  }
}
