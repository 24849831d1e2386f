// Processes that are stopped, not killed, at named points: a worker in the middle of a pick while
// the table is replaced under it many times, and the holder of the lease in the middle of
// publishing.
#include <doctest/doctest.h>
#include <sys/mman.h>

#include <csignal>
#include <cstring>

#include "engine/generation_writer.hpp"
#include "shm/paths.hpp"
#include "shm/rows.hpp"
#include "shm/totals.hpp"
#include "tests/crash/points.hpp"
#include "tests/crash/world.hpp"

namespace ballast::crash {
namespace {

// What a stopped child found once it went on, in memory that it shares with the test.
struct Found {
  ballast_status_t status;
  ballast_pick_t pick;
};

class SharedFound {
 public:
  SharedFound()
      : found_(static_cast<Found*>(::mmap(nullptr, sizeof(Found), PROT_READ | PROT_WRITE,
                                          MAP_SHARED | MAP_ANONYMOUS, -1, 0))) {
    REQUIRE(found_ != MAP_FAILED);
  }
  SharedFound(const SharedFound&) = delete;
  SharedFound& operator=(const SharedFound&) = delete;
  ~SharedFound() { ::munmap(found_, sizeof(Found)); }
  Found* operator->() const noexcept { return found_; }

 private:
  Found* found_;
};

// Lets every cooling slot be given away at once, as if ten seconds had passed.
void cool_down(checker::Publisher& publisher) {
  for (shm::InstanceRecord& record : publisher.segment().table.instances)
    record.cooling_since_ns.store(1, std::memory_order_relaxed);
  for (int i = 0; i < 10; ++i)
    publisher.tick();
}

Membership only(std::uint32_t members) {
  Membership membership;
  for (std::uint32_t& m : membership.members)
    m = members;
  return membership;
}

void pick_once(const std::string& directory, int service, SharedFound& found) {
  ballast_options_t options = BALLAST_OPTIONS_INIT;
  options.directory = directory.c_str();
  ballast_t* handle = nullptr;
  ballast_service_t id = 0;
  if (ballast_attach(&options, &handle) != BALLAST_OK) give_up(ballast_last_error());
  if (ballast_find_service(handle, name_of(service).c_str(), &id) != BALLAST_OK)
    give_up("no service");
  found->pick = BALLAST_PICK_INIT;
  found->status = ballast_pick(handle, id, "key", 3, nullptr, &found->pick);
}

}  // namespace

TEST_CASE("a worker stopped in mid-pick for many republishes picks again, never a former tenant") {
  for (const char* point : {"pick.slot", "pick.read"}) {
    for (int service = 0; service < kServices; ++service) {
      for (const int republishes : {1, 2, 3, 40}) {
        INFO(point, ", ", name_of(service), ", ", republishes, " republishes");
        World world;
        world.now() = only(1);
        checker::Publisher publisher = world.take_over();
        SharedFound found;
        const Ended stopped =
            run_child({point, 1, SIGSTOP}, [&] { pick_once(world.directory(), service, found); });
        REQUIRE(stopped.stopped);
        // Each time the only instance is another one, and the slots go round: the one that the
        // stopped worker has read from the table gets new tenants again and again.
        int last = 0;
        for (int i = 0; i < republishes; ++i) {
          last = 1 + i % (kInstances - 1);
          REQUIRE(publisher.apply(only(1U << last).settings()));
          cool_down(publisher);
        }
        // It is alive: nobody has reaped its row.
        CHECK(publisher.tick().reaped_rows == 0);
        const Ended ended = resume(stopped.pid);
        REQUIRE(ended.exit_code == 0);
        CHECK(found->status == BALLAST_OK);
        const shm::Endpoint expected = address_of(service, last);
        CHECK(std::memcmp(found->pick.address, expected.address.data(), 16) == 0);
        CHECK(found->pick.epoch == static_cast<std::uint64_t>(1 + republishes));
        publisher.leave();
      }
    }
  }
}

TEST_CASE("a worker stopped in mid-pick through a growth picks from the new segment") {
  World world;
  world.now() = only(1);
  checker::Publisher publisher = world.take_over();
  SharedFound found;
  const Ended stopped =
      run_child({"pick.read", 1, SIGSTOP}, [&] { pick_once(world.directory(), 0, found); });
  REQUIRE(stopped.stopped);
  Membership larger = only(2);
  for (int i = 0; i < 3; ++i) {
    larger.max_workers += 1;
    REQUIRE(publisher.apply(larger.settings()));
    publisher.tick();
  }
  const Ended ended = resume(stopped.pid);
  REQUIRE(ended.exit_code == 0);
  CHECK(found->status == BALLAST_OK);
  CHECK(found->pick.segment == publisher.segment_id());
  const shm::Endpoint expected = address_of(0, 1);
  CHECK(std::memcmp(found->pick.address, expected.address.data(), 16) == 0);
  publisher.leave();
}

TEST_CASE("a stopped lease holder is not replaced; a killed one is, and the table is whole") {
  for (const char* point :
       {"takeover.locked", "publish.begin", "publish.lookup", "publish.filled", "apply.service"}) {
    INFO("stopped at ", point);
    World world;
    world.now() = only(3);
    world.take_over().leave();
    world.attach();
    world.hold(4);
    const Ended stopped = run_child({point, 1, SIGSTOP}, [&] {
      auto lease = shm::Lease::acquire(world.directory(), shm::Lease::Wait::no);
      if (!lease) give_up(lease.error().to_text());
      const checker::Settings settings = only(6).settings();
      auto publisher = checker::Publisher::open(std::move(*lease), settings);
      if (!publisher) give_up(publisher.error().to_text());
      if (!publisher->apply(settings)) give_up("apply");
    });
    REQUIRE(stopped.stopped);
    for (int i = 0; i < 3; ++i) {
      const auto refused = shm::Lease::acquire(world.directory(), shm::Lease::Wait::no);
      REQUIRE_FALSE(refused);
      CHECK(refused.error().kind == shm::ErrorKind::busy);
      CHECK(refused.error().to_text().find("has held it since") != std::string::npos);
    }
    const Ended killed = kill_stopped(stopped.pid);
    CHECK(killed.killed);
    world.now() = only(6);
    world.inspect();
    world.wind_up();
  }
}

TEST_CASE("a stopped worker keeps its row and what it has in flight; killed, it loses both") {
  World world;
  world.now() = only(3);
  checker::Publisher publisher = world.take_over();
  const Ended stopped = run_child({"report.begin", 3, SIGSTOP},
                                  [&] { work(world.directory(), 9, 4, /*leave=*/false); });
  REQUIRE(stopped.stopped);
  const auto in_flight = [&] {
    std::int64_t sum = 0;
    for (std::size_t slot = 0; slot < publisher.segment().table.instances.size(); ++slot)
      sum += shm::sum_rows(publisher.segment().workers, slot).in_flight();
    return sum;
  };
  for (int i = 0; i < 20; ++i)
    CHECK(publisher.tick().reaped_rows == 0);
  CHECK(in_flight() == 5);  // four kept, and the one that it is about to report
  CHECK(kill_stopped(stopped.pid).killed);
  const checker::TickReport report = publisher.tick();
  CHECK(report.reaped_rows == 1);
  CHECK(report.abandoned == 5);
  CHECK(in_flight() == 0);
  publisher.leave();
}

}  // namespace ballast::crash
