// The checker put together, against real server processes and real files: what its settings ask for
// is what the table says, through reloads, hand-overs and successors. The loop is turned until
// something holds; the limit only keeps a broken build from hanging.
#include "engine/checker/checker.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/checker/publishing/known_health.hpp"
#include "shm/generation.hpp"
#include "shm/paths.hpp"
#include "shm/segment.hpp"
#include "tests/support/attached.hpp"
#include "tests/support/loops.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/support/tiny_server.hpp"

namespace ballast::checker {
namespace {

using tests::Behaviour;
using tests::hourly;
using tests::TinyServer;

CheckSettings unchecked() {
  CheckSettings check;
  check.kind = CheckKind::none;
  return check;
}

ServiceSettings service_of(const std::string& name, const CheckSettings& check,
                           const std::vector<shm::Endpoint>& endpoints) {
  ServiceSettings service;
  service.name = name;
  service.check = check;
  for (const auto& endpoint : endpoints)
    service.instances.push_back({endpoint, endpoint.to_text(), 1});
  return service;
}

Settings settings_of(std::vector<ServiceSettings> services) {
  Settings settings;
  settings.max_workers = 8;
  settings.services = std::move(services);
  return settings;
}

std::unique_ptr<Loop> new_loop() {
  auto made = make_loop({});
  REQUIRE(made);
  return std::move(*made);
}

// A checker with a loop of its own, and what it has told.
class Bench {
 public:
  explicit Bench(const std::string& directory) : directory_(directory), loop_(new_loop()) {
    CheckerOptions options;
    options.on_event = [this](const Event& event) { events.push_back(event); };
    options.on_stop = [this](StopReason reason) { stopped = reason; };
    options.may_hand_over = [this] { return not_yet == 0 || --not_yet == 0; };
    checker.emplace(*loop_, options);
  }

  void take(const Settings& settings) {
    auto lease = shm::Lease::acquire(directory_, shm::Lease::Wait::no);
    REQUIRE_MESSAGE(lease, lease.error().to_text());
    const auto taken = checker->take(std::move(*lease), settings);
    REQUIRE_MESSAGE(taken, taken.error().to_text());
  }
  void reload(const Settings& settings) {
    const auto done = checker->reload(settings);
    REQUIRE_MESSAGE(done, done.error().to_text());
  }
  void until(const std::function<bool()>& done) { tests::turn_until(*loop_, done); }
  [[nodiscard]] std::size_t told(const std::string& name) const {
    return static_cast<std::size_t>(std::count_if(
        events.begin(), events.end(), [&](const Event& event) { return event.name == name; }));
  }

  // Of the first event of that name; empty: there is none.
  [[nodiscard]] std::string field(const std::string& name, const std::string& key) const {
    for (const Event& event : events) {
      for (const auto& [field, value] : event.fields) {
        if (event.name == name && field == key) return value;
      }
    }
    return {};
  }

  std::vector<Event> events;
  int not_yet = 0;  // times that it is not agreed to a hand-over
  std::optional<StopReason> stopped;

 private:
  std::string directory_;
  std::unique_ptr<Loop> loop_;

 public:
  std::optional<Checker> checker;  // last: gone before its loop
};

// What the table says of an instance, for whoever picks; nothing if it has no live slot.
std::optional<shm::State> published(const std::string& directory, const shm::Endpoint& endpoint) {
  const auto ids = shm::list_segments(directory);
  REQUIRE_FALSE(ids.empty());
  const auto segment = shm::InspectedSegment::open(directory, ids.back(), shm::BootCheck::required);
  REQUIRE(segment);
  const auto words = endpoint.to_words();
  for (std::size_t slot = 0; slot < segment->table.instances.size(); ++slot) {
    const auto& record = segment->table.instances[slot];
    if (shm::unpack_identity(shm::get(record.identity)).phase != shm::Phase::live) continue;
    if (shm::get(record.endpoint[0]) != words[0] || shm::get(record.endpoint[1]) != words[1])
      continue;
    return shm::unpack(shm::get(segment->table.states[slot]));
  }
  return std::nullopt;
}

Health health_of(const std::string& directory, const shm::Endpoint& endpoint) {
  const auto state = published(directory, endpoint);
  return state ? state->health : Health::unknown;
}

bool usable(const std::string& directory, const shm::Endpoint& endpoint) {
  const auto state = published(directory, endpoint);
  return state && state->usable;
}

shm::Endpoint somewhere() {
  return tests::local_endpoint(tests::free_port());
}

}  // namespace

TEST_CASE("servers are found up, and down when they die") {
  const tests::TempDir dir;
  const auto alive = somewhere();
  const auto nobody = somewhere();
  TinyServer server(Behaviour::good, {alive});
  Bench bench(dir.path());
  bench.take(settings_of({service_of("a", hourly(), {alive, nobody})}));
  CHECK(bench.told("segment_created") == 1);
  bench.until([&] { return health_of(dir.path(), alive) == Health::up; });
  bench.until([&] { return health_of(dir.path(), nobody) == Health::down; });
  CHECK(published(dir.path(), nobody)->reason == Reason::connect_refused);
  server.kill();
  bench.until([&] { return health_of(dir.path(), alive) == Health::down; });
  CHECK(bench.told("instance_up") == 1);
  CHECK(bench.told("instance_down") == 2);
}

TEST_CASE("one server in two services is checked for each") {
  const tests::TempDir dir;
  const auto alive = somewhere();
  const TinyServer server(Behaviour::unhealthy, {alive});
  CheckSettings lenient = hourly();
  lenient.statuses[0].high = 599;
  Bench bench(dir.path());
  bench.take(settings_of(
      {service_of("strict", hourly(), {alive}), service_of("lenient", lenient, {alive})}));
  bench.until([&] { return bench.told("instance_up") == 1 && bench.told("instance_down") == 1; });
}

TEST_CASE("a reload keeps what stays, adds and removes") {
  const tests::TempDir dir;
  const auto one = somewhere();
  const TinyServer first(Behaviour::good, {one});
  const auto two = somewhere();
  const TinyServer second(Behaviour::good, {two});
  const auto three = somewhere();
  Bench bench(dir.path());
  bench.take(settings_of({service_of("a", hourly(), {one, three})}));
  bench.until([&] { return health_of(dir.path(), one) == Health::up; });
  bench.until([&] { return health_of(dir.path(), three) == Health::down; });
  const auto connects = bench.checker->stats().connects;
  bench.reload(settings_of({service_of("a", hourly(), {one, two})}));
  CHECK(health_of(dir.path(), one) == Health::up);
  CHECK_FALSE(published(dir.path(), three));
  bench.until([&] { return health_of(dir.path(), two) == Health::up; });
  CHECK(bench.checker->stats().connects == connects + 1);  // the first kept its connection
  CHECK(bench.checker->stats().targets == 2);
}

TEST_CASE("a reload that fails changes nothing") {
  const tests::TempDir dir;
  const auto one = somewhere();
  TinyServer server(Behaviour::good, {one});
  Bench bench(dir.path());
  bench.take(settings_of({service_of("a", hourly(), {one})}));
  bench.until([&] { return health_of(dir.path(), one) == Health::up; });
  // Too many workers for the segment, and a group that a new one cannot have.
  Settings wrong = settings_of({service_of("b", hourly(), {somewhere()})});
  wrong.max_workers = 4000;
  wrong.workers_group = "ballast-no-such-group";
  const auto reloaded = bench.checker->reload(wrong);
  REQUIRE_FALSE(reloaded);
  CHECK(reloaded.error().path == "ballast-no-such-group");
  CHECK(usable(dir.path(), one));
  CHECK(bench.checker->stats().targets == 1);
  server.kill();  // and it is still being watched
  bench.until([&] { return health_of(dir.path(), one) == Health::down; });
}

TEST_CASE("a reload that fails does not begin to trust what was never checked") {
  const tests::TempDir dir;
  const auto one = somewhere();
  Bench bench(dir.path());
  bench.take(settings_of({service_of("a", unchecked(), {one})}));
  const auto before = published(dir.path(), one);
  Settings wrong = settings_of({service_of("a", hourly(), {one})});
  wrong.max_workers = 4000;
  wrong.workers_group = "ballast-no-such-group";
  REQUIRE_FALSE(bench.checker->reload(wrong));
  CHECK(published(dir.path(), one) == before);
}

TEST_CASE("what grows keeps its health and its checks") {
  const tests::TempDir dir;
  const auto one = somewhere();
  TinyServer server(Behaviour::good, {one});
  Bench bench(dir.path());
  bench.take(settings_of({service_of("a", hourly(), {one})}));
  bench.until([&] { return health_of(dir.path(), one) == Health::up; });
  Settings larger = settings_of({service_of("a", hourly(), {one})});
  larger.max_workers = 300;
  bench.reload(larger);
  CHECK(bench.told("segment_grown") == 1);
  CHECK(usable(dir.path(), one));
  server.kill();
  bench.until([&] { return health_of(dir.path(), one) == Health::down; });
}

TEST_CASE("starting to check a service, or stopping it, takes no instance out") {
  const tests::TempDir dir;
  const auto one = somewhere();
  TinyServer server(Behaviour::good, {one});
  Bench bench(dir.path());
  bench.take(settings_of({service_of("a", unchecked(), {one})}));
  CHECK(usable(dir.path(), one));
  CHECK(health_of(dir.path(), one) == Health::unknown);
  bench.reload(settings_of({service_of("a", hourly(), {one})}));
  CHECK(usable(dir.path(), one));  // before any check
  bench.until([&] { return bench.checker->stats().checks == 1; });
  server.kill();
  bench.until([&] { return health_of(dir.path(), one) == Health::down; });
  bench.reload(settings_of({service_of("a", unchecked(), {one})}));
  CHECK(usable(dir.path(), one));
  CHECK(health_of(dir.path(), one) == Health::unknown);
}

TEST_CASE("an instance trusted from the start is shown up after its first check") {
  const tests::TempDir dir;
  const auto one = somewhere();
  const TinyServer server(Behaviour::good, {one});
  CheckSettings check = hourly();
  check.first_check = FirstCheck::up;
  Bench bench(dir.path());
  bench.take(settings_of({service_of("a", check, {one})}));
  CHECK(usable(dir.path(), one));
  bench.until([&] { return health_of(dir.path(), one) == Health::up; });
}

TEST_CASE("a successor starts from what it finds, and nothing flaps") {
  const tests::TempDir dir;
  const auto one = somewhere();
  const TinyServer server(Behaviour::good, {one});
  const auto settings = settings_of({service_of("a", hourly(), {one})});
  {
    Bench bench(dir.path());
    bench.take(settings);
    bench.until([&] { return health_of(dir.path(), one) == Health::up; });
    bench.checker->leave();
  }
  CHECK(usable(dir.path(), one));
  Bench bench(dir.path());
  bench.take(settings);
  CHECK(usable(dir.path(), one));
  CHECK(bench.told("segment_adopted") == 1);
  bench.until([&] { return bench.checker->stats().checks == 1; });
  CHECK(bench.told("instance_up") == 0);
  CHECK(bench.told("instance_down") == 0);
}

TEST_CASE("a successor that finds the workers file lost says so once and goes on from the table") {
  const tests::TempDir dir;
  const auto one = somewhere();
  const TinyServer server(Behaviour::good, {one});
  const auto settings = settings_of({service_of("a", hourly(), {one})});
  {
    Bench bench(dir.path());
    bench.take(settings);
    bench.until([&] { return health_of(dir.path(), one) == Health::up; });
    bench.checker->leave();
  }
  const std::string lost = shm::workers_path(dir.path(), shm::list_segments(dir.path()).front());
  std::filesystem::remove(lost);
  Bench bench(dir.path());
  bench.take(settings);
  CHECK(usable(dir.path(), one));
  REQUIRE(bench.told("workers_file_lost") == 1);
  CHECK(bench.field("workers_file_lost", "because") ==
        "open " + lost + ": No such file or directory");
  bench.until([&] { return bench.checker->stats().checks == 1; });
  CHECK(bench.told("instance_up") == 0);
  CHECK(bench.told("instance_down") == 0);
  CHECK(bench.told("workers_file_lost") == 1);
}

TEST_CASE("a hand-over: checked in the shadow, asked for, taken without a gap") {
  const tests::TempDir dir;
  const auto one = somewhere();
  const TinyServer first(Behaviour::good, {one});
  const auto two = somewhere();
  TinyServer second(Behaviour::good, {two});
  Bench old(dir.path());
  old.take(settings_of({service_of("a", hourly(), {one})}));
  old.until([&] { return health_of(dir.path(), one) == Health::up; });

  // The new one also knows an instance that the old one does not.
  const auto settings = settings_of({service_of("a", hourly(), {one, two})});
  Bench fresh(dir.path());
  fresh.checker->start_in_shadow(settings, dir.path());
  CHECK(fresh.checker->unchecked() == 2);
  fresh.until([&] { return fresh.checker->unchecked() == 0; });
  CHECK_FALSE(published(dir.path(), two));
  CHECK(fresh.events.empty());
  const auto connects = fresh.checker->stats().connects;
  const auto busy = shm::Lease::acquire(dir.path(), shm::Lease::Wait::no);
  REQUIRE_FALSE(busy);
  REQUIRE(shm::Lease::request_handover(dir.path()));
  old.not_yet = 3;
  old.until([&] { return old.stopped.has_value(); });
  CHECK(*old.stopped == StopReason::handover);
  CHECK(old.not_yet == 0);
  CHECK(usable(dir.path(), one));
  old.checker->leave();
  CHECK(usable(dir.path(), one));
  fresh.take(settings);
  CHECK(usable(dir.path(), one));
  CHECK(usable(dir.path(), two));  // at once: the shadow knew
  CHECK(fresh.checker->stats().connects == connects);
  CHECK_FALSE(fresh.stopped);
  second.kill();
  fresh.until([&] { return health_of(dir.path(), two) == Health::down; });
}

TEST_CASE("a checker whose files were removed stops") {
  const tests::TempDir dir;
  Bench bench(dir.path());
  bench.take(settings_of({service_of("a", unchecked(), {somewhere()})}));
  std::filesystem::remove(shm::locator_path(dir.path()));
  bench.until([&] { return bench.stopped.has_value(); });
  CHECK(*bench.stopped == StopReason::directory_gone);
}

TEST_CASE("known health of a directory without a table is nothing") {
  const tests::TempDir dir;
  CHECK(read_known_health(dir.path()).empty());
  CHECK(read_known_health(dir.path() + "/gone").empty());
}

TEST_CASE("failures that workers report bring a check at once, whatever the interval") {
  tests::TempDir dir;
  const auto endpoint = somewhere();
  auto server = std::make_unique<TinyServer>(Behaviour::good, std::vector{endpoint});
  CheckSettings check = hourly();
  check.keep_alive = false;  // nothing else tells of the death
  check.failures_to_check = 3;
  Bench bench(dir.path());
  bench.take(settings_of({service_of("web", check, {endpoint})}));
  bench.until([&] { return usable(dir.path(), endpoint); });
  server->kill();
  tests::Attached worker(dir.path());
  for (int i = 0; i < 3; ++i) {
    ballast_pick_t pick;
    REQUIRE(worker.pick("a", pick) == BALLAST_OK);
    REQUIRE(ballast_report(worker.handle, &pick, BALLAST_CONNECT_FAILURE, BALLAST_NO_LATENCY) ==
            BALLAST_OK);
  }
  bench.until([&] { return health_of(dir.path(), endpoint) == Health::down; });
}

TEST_CASE("a reload that moves the check elsewhere is followed") {
  tests::TempDir dir;
  const auto serving = somewhere();
  const auto checked = somewhere();
  TinyServer server(Behaviour::good, {checked});
  CheckSettings check = hourly();
  check.fast_interval = Milliseconds(10);
  Settings settings = settings_of({service_of("web", check, {serving})});
  Bench bench(dir.path());
  bench.take(settings);
  bench.until([&] { return health_of(dir.path(), serving) == Health::down; });
  settings.services[0].instances[0].check_endpoint = checked;
  bench.reload(settings);
  bench.until([&] { return usable(dir.path(), serving); });
}

}  // namespace ballast::checker
