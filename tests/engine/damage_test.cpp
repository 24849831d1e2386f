// Damage found by those who use the files: a worker that attaches, a worker that is attached
// already, and a checker that adopts. Each gets a status or picks that name somebody; nothing
// crashes or hangs, and a checker that can go on makes every service whole again.
#include <ballast.h>
#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstddef>
#include <filesystem>
#include <functional>
#include <string>

#include "engine/generation_writer.hpp"
#include "shm/paths.hpp"
#include "shm/segment.hpp"
#include "tests/support/child.hpp"
#include "tests/support/damage.hpp"
#include "tests/support/published.hpp"

using namespace ballast;
using checker::Settings;
using engine::Strategy;
using tests::Damage;
using tests::Published;

namespace {

const char* const kNames[] = {"maglev", "ketama", "round_robin"};

Settings three_services() {
  return tests::settings_of({tests::service_of(kNames[0], Strategy::maglev, 4),
                             tests::service_of(kNames[1], Strategy::ketama, 4, 10),
                             tests::service_of(kNames[2], Strategy::round_robin, 4, 20)},
                            4);
}

struct Worker {
  ballast_t* handle = nullptr;
  ballast_status_t status = BALLAST_OK;
  ballast_service_t services[3] = {};

  explicit Worker(const std::string& directory) {
    ballast_options_t options = BALLAST_OPTIONS_INIT;
    options.directory = directory.c_str();
    status = ballast_attach(&options, &handle);
    for (std::size_t i = 0; handle != nullptr && i < 3; ++i)
      static_cast<void>(ballast_find_service(handle, kNames[i], &services[i]));
  }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;
  ~Worker() { ballast_detach(handle); }

  // A few picks of each service, with a retry on another instance and a report for each.
  void work() {
    for (const ballast_service_t service : services) {
      for (std::uint32_t key = 0; key < 3; ++key) {
        ballast_pick_t first = BALLAST_PICK_INIT;
        ballast_pick_t second = BALLAST_PICK_INIT;
        if (ballast_pick(handle, service, &key, sizeof key, nullptr, &first) != BALLAST_OK)
          continue;
        const ballast_pick_t* tried[] = {&first};
        ballast_pick_options_t options = BALLAST_PICK_OPTIONS_INIT;
        options.tried = tried;
        options.tried_count = 1;
        if (ballast_pick(handle, service, &key, sizeof key, &options, &second) == BALLAST_OK) {
          if (second.slot == first.slot && second.incarnation == first.incarnation)
            FAIL_CHECK("an excluded instance was picked");
          ballast_report(handle, &second, BALLAST_SUCCESS, 1);
        }
        ballast_report(handle, &first, BALLAST_RESET, 1);
      }
    }
  }
};

void attach_and_work(const std::string& directory) {
  Worker worker(directory);
  if (worker.status == BALLAST_OK) {
    worker.work();
  } else {
    CHECK(worker.handle == nullptr);
    CHECK(ballast_last_error()[0] != '\0');
  }
}

// The only segment there is.
std::uint64_t segment_in(const std::string& directory) {
  const auto segments = shm::list_segments(directory);
  REQUIRE(segments.size() == 1);
  return segments.front();
}

const shm::Section& section_of(const Damage& damage, shm::SectionId id) {
  const auto& header = *reinterpret_cast<const shm::FileHeader*>(damage.original().data());
  for (std::uint64_t i = 0; i < header.section_count; ++i) {
    if (header.sections[i].id == id) return header.sections[i];
  }
  FAIL("no such section");
  return header.sections[0];
}

// Four ways to be wrong for each byte of `bytes` at `begin`.
void sweep(Damage& damage, std::size_t begin, std::size_t bytes,
           const std::function<void()>& look) {
  for (std::size_t at = begin; at < begin + bytes; at += Damage::kStep) {
    const unsigned char was = damage.original()[at];
    for (const unsigned char value :
         {static_cast<unsigned char>(~was), static_cast<unsigned char>(was ^ 1U << at % 8),
          static_cast<unsigned char>(0), static_cast<unsigned char>(0xff)}) {
      if (value == was) continue;
      damage.bytes()[at] = value;
      look();
    }
    damage.bytes()[at] = was;
  }
}

// The records that a pick goes by, of all three services and one of each's instances.
void sweep_records(Damage& table, const std::function<void()>& look) {
  sweep(table, section_of(table, shm::kServicesSection).offset, 3 * sizeof(shm::ServiceRecord),
        look);
  for (const std::size_t slot : {0U, 4U, 8U}) {
    sweep(table,
          section_of(table, shm::kInstancesSection).offset + slot * sizeof(shm::InstanceRecord),
          sizeof(shm::InstanceRecord) / 2, look);
    sweep(table, section_of(table, shm::kStatesSection).offset + slot * sizeof(shm::Word64),
          sizeof(shm::Word64), look);
  }
}

}  // namespace

TEST_CASE("attaching to a locator, table or workers file with any byte of its header turned") {
  Published published(three_services());
  const std::string& directory = published.directory();
  const std::uint64_t segment = segment_in(directory);
  for (const auto& [path, bytes] :
       {std::pair{shm::locator_path(directory), offsetof(shm::Locator, reserved)},
        {shm::table_path(directory, segment), offsetof(shm::FileHeader, reserved)},
        {shm::workers_path(directory, segment), offsetof(shm::FileHeader, reserved)}}) {
    Damage damage(path);
    sweep(damage, 0, bytes, [&] { attach_and_work(directory); });
  }
  // Undamaged again, all is as before.
  Worker worker(directory);
  REQUIRE(worker.status == BALLAST_OK);
  worker.work();
  CHECK(published.in_flight() == 0);
}

TEST_CASE("attaching to a table with any byte of its records turned") {
  Published published(three_services());
  Damage table(shm::table_path(published.directory(), segment_in(published.directory())));
  sweep_records(table, [&] { attach_and_work(published.directory()); });
}

TEST_CASE("a worker at work while its table is turned byte by byte, and its arena to noise") {
  Published published(three_services());
  Worker worker(published.directory());
  REQUIRE(worker.status == BALLAST_OK);
  Damage table(shm::table_path(published.directory(), segment_in(published.directory())));
  sweep_records(table, [&] { worker.work(); });
  const shm::Section& arena = section_of(table, shm::kArenaSection);
  for (const int value : {0x00, 0x01, 0x7f, 0xff}) {
    std::memset(table.bytes() + arena.offset, value, arena.count);
    worker.work();
  }
  table.undo();
  Damage workers(shm::workers_path(published.directory(), segment_in(published.directory())));
  sweep(workers, section_of(workers, shm::kDirectorySection).offset, sizeof(shm::RowRecord),
        [&] { worker.work(); });
  sweep(workers, section_of(workers, shm::kSharedServicesSection).offset,
        sizeof(shm::SharedServiceRecord), [&] { worker.work(); });
  workers.undo();
  // As good as new.
  worker.work();
  ballast_pick_t pick = BALLAST_PICK_INIT;
  CHECK(ballast_pick(worker.handle, worker.services[0], "k", 1, nullptr, &pick) == BALLAST_OK);
  CHECK(ballast_report(worker.handle, &pick, BALLAST_SUCCESS, 1) == BALLAST_OK);
}

TEST_CASE("a checker that adopts damaged records makes every service whole again") {
  tests::TempDir dir;
  const Settings settings = three_services();
  const auto open = [&] {
    auto lease = shm::Lease::acquire(dir.path(), shm::Lease::Wait::no);
    REQUIRE_MESSAGE(lease, lease.error().to_text());
    return checker::Publisher::open(std::move(*lease), settings);
  };
  {
    auto publisher = open();
    REQUIRE(publisher);
    REQUIRE(publisher->apply(settings));
  }
  const auto adopt = [&] {
    auto publisher = open();
    REQUIRE_MESSAGE(publisher, publisher.error().to_text());
    const shm::Status applied = publisher->apply(settings);
    REQUIRE_MESSAGE(applied, applied.error().to_text());
    for (std::size_t i = 0; i < 3; ++i)
      CHECK(engine::is_whole(publisher->segment().table, i));
    publisher->tick();
    return publisher->segment_id();
  };
  const std::uint64_t segment = segment_in(dir.path());
  Damage table(shm::table_path(dir.path(), segment));
  const std::size_t services = section_of(table, shm::kServicesSection).offset;
  const std::size_t instances = section_of(table, shm::kInstancesSection).offset;
  for (const std::size_t begin : {services, instances}) {
    const std::size_t bytes =
        begin == services ? 2 * sizeof(shm::ServiceRecord) : sizeof(shm::InstanceRecord);
    for (std::size_t at = begin; at < begin + bytes; at += Damage::kStep) {
      table.bytes()[at] = static_cast<unsigned char>(~table.bytes()[at]);
      REQUIRE(adopt() == segment);
      table.undo();
    }
  }
}

// A workers file that nobody can use any more, in each way there is.
TEST_CASE("a checker that finds the workers file damaged moves into another segment") {
  const Settings settings = three_services();
  Published first(settings);
  const std::string& directory = first.directory();
  const std::uint64_t old = segment_in(directory);
  const std::string path = shm::workers_path(directory, old);
  Worker worker(directory);
  REQUIRE(worker.status == BALLAST_OK);
  // A slot with a second tenant: what is carried for it is less than nothing without the rows.
  worker.work();
  first.apply(tests::settings_of({settings.services[0], settings.services[1]}, 4));
  first.publisher().segment().table.instances[8].cooling_since_ns.store(1);
  for (int i = 0; i < 10; ++i)
    first.publisher().tick();
  first.apply(settings);
  first.set_usable(0, 1, false);
  first.publisher().leave();
  std::string words;
  SUBCASE("missing") {
    std::filesystem::remove(path);
    words = "No such file";
  }
  SUBCASE("no magic") {
    Damage(path).keep().put(0, std::uint64_t{0});
    words = "wrong magic";
  }
  SUBCASE("another layout") {
    Damage(path).keep().put(offsetof(shm::FilePreamble, layout_hash), shm::kLayoutHash ^ 1);
    words = "another build";
  }
  SUBCASE("sections that lie outside") {
    Damage damage(path);
    damage.keep().put(offsetof(shm::FileHeader, sections) + offsetof(shm::Section, offset),
                      ~std::uint64_t{0} << 12);
    words = "outside the file";
  }
  SUBCASE("of another segment") {
    Damage(path).keep().put(offsetof(shm::FilePreamble, segment_id), old + 1);
    words = "does not belong to";
  }
  SUBCASE("truncated") {
    const std::string copy = path + ".copy";
    std::filesystem::copy_file(path, copy);
    std::filesystem::resize_file(copy, 5000);
    std::filesystem::rename(copy, path);  // the worker still has the whole one mapped
    words = "5000 bytes long";
  }
  auto lease = shm::Lease::acquire(directory, shm::Lease::Wait::no);
  REQUIRE(lease);
  auto next = checker::Publisher::open(std::move(*lease), settings);
  REQUIRE_MESSAGE(next, next.error().to_text());
  REQUIRE(next->lost_workers());
  const std::string lost = next->lost_workers()->to_text();
  CHECK_MESSAGE((lost.find(path) != std::string::npos && lost.find(words) != std::string::npos),
                lost);
  next->tick();  // harmless before it has moved
  const shm::Status applied = next->apply(settings);
  REQUIRE_MESSAGE(applied, applied.error().to_text());
  CHECK(next->segment_id() > old);
  CHECK(segment_in(directory) == next->segment_id());
  CHECK_FALSE(std::filesystem::exists(path));
  // Health came over, counts start from zero.
  const auto& table = next->segment().table;
  CHECK(shm::unpack(table.states[1].load()).health == shm::Health::down);
  for (std::size_t slot = 0; slot < table.instances.size(); ++slot) {
    const shm::Totals totals = shm::read_record(table.carried[slot]);
    CHECK(totals.values[shm::kStarted] == 0);
    CHECK(totals.in_flight() == 0);
  }
  // Who was attached comes after by itself, and loses no pick on the way.
  ballast_pick_t pick = BALLAST_PICK_INIT;
  for (int i = 0; i < 2; ++i) {
    REQUIRE(ballast_pick(worker.handle, worker.services[0], "k", 1, nullptr, &pick) == BALLAST_OK);
    REQUIRE(ballast_report(worker.handle, &pick, BALLAST_SUCCESS, 1) == BALLAST_OK);
  }
  CHECK(shm::sum_rows(next->segment().workers, pick.slot).values[shm::kSuccess] != 0);
  CHECK(Worker(directory).status == BALLAST_OK);
  for (int i = 0; i < 10; ++i)
    next->tick();
  // The next one adopts as ever.
  const std::uint64_t active = next->segment_id();
  next->leave();
  auto again = shm::Lease::acquire(directory, shm::Lease::Wait::no);
  REQUIRE(again);
  auto third = checker::Publisher::open(std::move(*again), settings);
  REQUIRE(third);
  CHECK_FALSE(third->lost_workers());
  REQUIRE(third->apply(settings));
  CHECK(third->segment_id() == active);
}

TEST_CASE("a damaged table is refused, whatever the workers file is") {
  Published first(three_services());
  const std::string& directory = first.directory();
  const std::uint64_t segment = segment_in(directory);
  first.publisher().leave();
  std::filesystem::remove(shm::workers_path(directory, segment));
  Damage table(shm::table_path(directory, segment));
  table.put(0, std::uint64_t{0});
  auto lease = shm::Lease::acquire(directory, shm::Lease::Wait::no);
  REQUIRE(lease);
  const auto next = checker::Publisher::open(std::move(*lease), three_services());
  REQUIRE_FALSE(next);
  CHECK(next.error().path == shm::table_path(directory, segment));
}

TEST_CASE("what cannot be attached to says what it is and what to do") {
  const auto error_of = [](const std::string& directory) {
    Worker worker(directory);
    CHECK(worker.handle == nullptr);
    CHECK(worker.status != BALLAST_OK);
    return std::pair{worker.status, std::string(ballast_last_error())};
  };
  const auto expect = [&](const std::string& directory, ballast_status_t status,
                          const std::string& words) {
    const auto [got, text] = error_of(directory);
    CHECK_MESSAGE(got == status, text);
    CHECK_MESSAGE(text.find(words) != std::string::npos, "'", text, "' does not say '", words, "'");
  };
  const tests::TempDir nothing;
  expect(nothing.path(), BALLAST_NOT_FOUND, "no checker has run here; start ballastd");
  expect(nothing.path() + "/gone", BALLAST_NOT_FOUND, "no checker has run here; start ballastd");
  {
    // A checker that holds the lease and has published nothing yet.
    const auto lease = shm::Lease::acquire(nothing.path(), shm::Lease::Wait::no);
    REQUIRE(lease);
    expect(nothing.path(), BALLAST_NOT_FOUND, "has not published yet");
  }
  Published published(three_services());
  const std::string& directory = published.directory();
  const std::uint64_t segment = segment_in(directory);
  for (const auto& [path, magic] : {std::pair{shm::locator_path(directory), shm::kLocatorMagic},
                                    {shm::table_path(directory, segment), shm::kTableMagic},
                                    {shm::workers_path(directory, segment), shm::kWorkersMagic}}) {
    Damage damage(path);
    damage.put(0, __builtin_bswap64(magic));
    expect(directory, BALLAST_INCOMPATIBLE, "the other byte order");
    damage.undo();
    damage.put(offsetof(shm::FilePreamble, layout_hash), shm::kLayoutHash ^ 1);
    expect(directory, BALLAST_INCOMPATIBLE, "another build");
    damage.undo();
    damage.put(offsetof(shm::FilePreamble, boot_id), ~std::uint64_t{0});
    expect(directory, BALLAST_INCOMPATIBLE, "an earlier boot");
    damage.undo();
    damage.put(0, std::uint64_t{0});
    expect(directory, BALLAST_CORRUPT, "wrong magic");
  }
  for (const std::string& path :
       {shm::table_path(directory, segment), shm::locator_path(directory)}) {
    const std::string kept = directory + "/kept";
    std::filesystem::rename(path, kept);
    expect(directory, BALLAST_NOT_FOUND, path);
    REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
    expect(directory, BALLAST_CORRUPT, "not a regular file");
    std::filesystem::remove(path);
    std::filesystem::create_directory(path);
    expect(directory, BALLAST_CORRUPT, "not a regular file");
    std::filesystem::remove(path);
    std::filesystem::copy_file(kept, path);
    std::filesystem::resize_file(path, 1000);
    expect(directory, BALLAST_CORRUPT, "1000 bytes long");
    std::filesystem::remove(path);
    std::filesystem::rename(kept, path);
  }
  CHECK(Worker(directory).status == BALLAST_OK);
}

TEST_CASE("a directory that is removed under a worker changes nothing for it") {
  Published published(three_services());
  Worker worker(published.directory());
  REQUIRE(worker.status == BALLAST_OK);
  std::filesystem::remove_all(published.directory());
  worker.work();
  ballast_pick_t pick = BALLAST_PICK_INIT;
  CHECK(ballast_pick(worker.handle, worker.services[0], "k", 1, nullptr, &pick) == BALLAST_OK);
  CHECK(ballast_report(worker.handle, &pick, BALLAST_SUCCESS, 1) == BALLAST_OK);
  CHECK(ballast_warning(worker.handle) == nullptr);
  CHECK(Worker(published.directory()).status == BALLAST_NOT_FOUND);
}

TEST_CASE("files that the worker's user may not open") {
  Published published(three_services());
  const std::string& directory = published.directory();
  const std::uint64_t segment = segment_in(directory);
  std::filesystem::permissions(directory, std::filesystem::perms(0755));
  const auto status_as_nobody = [&] {
    return tests::as_nobody([&] {
      const Worker worker(directory);
      const bool said =
          std::string(ballast_last_error()).find("Permission denied") != std::string::npos;
      return worker.handle == nullptr && said ? static_cast<int>(worker.status) : 101;
    });
  };
  // The workers file is its owner's and its group's.
  ::chmod(shm::workers_path(directory, segment).c_str(), 0400);
  CHECK(status_as_nobody() == BALLAST_SYSTEM_ERROR);
  ::chmod(shm::workers_path(directory, segment).c_str(), 0600);
  ::chmod(shm::table_path(directory, segment).c_str(), 0000);
  if (::geteuid() == 0) CHECK(status_as_nobody() == BALLAST_SYSTEM_ERROR);
}
