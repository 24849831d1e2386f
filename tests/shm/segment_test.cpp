// Segments, the lease and rows on real files: made whole, found by name, refused when damaged.
#include "shm/segment.hpp"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>

#include "shm/lease.hpp"
#include "shm/paths.hpp"
#include "shm/row_protocol.hpp"
#include "shm/rows.hpp"
#include "tests/support/temp_dir.hpp"

using namespace ballast::shm;

namespace {

constexpr Geometry kSmall{4, 16, 8, 1 << 16};

}  // namespace

TEST_CASE("a segment is made whole and opens for each kind of process") {
  const ballast::tests::TempDir dir;
  const auto made = CheckerSegment::create(dir.path(), 1, kSmall, {});
  REQUIRE_MESSAGE(made, made.error().to_text());
  CHECK(made->table.services.size() == 4);
  CHECK(made->table.instances.size() == 16);
  CHECK(made->workers.directory.size() == 8);
  CHECK(made->table.arena_bytes == 1 << 16);
  const auto worker = WorkerSegment::open(dir.path(), 1);
  REQUIRE_MESSAGE(worker, worker.error().to_text());
  const auto tool = InspectedSegment::open(dir.path(), 1, BootCheck::required);
  REQUIRE_MESSAGE(tool, tool.error().to_text());
  made->table.states[3].store(77, std::memory_order_release);
  CHECK(worker->table.states[3].load(std::memory_order_acquire) == 77);
  CHECK(list_segments(dir.path()) == std::vector<std::uint64_t>{1});
}

TEST_CASE("a worker cannot write the table") {
  const ballast::tests::TempDir dir;
  const auto made = CheckerSegment::create(dir.path(), 1, kSmall, {});
  REQUIRE(made);
  const pid_t child = ::fork();
  if (child == 0) {
    const auto worker = WorkerSegment::open(dir.path(), 1);
    if (!worker) ::_exit(1);
    ::signal(SIGSEGV, SIG_DFL);
    const_cast<Word64&>(worker->table.states[0]).store(1, std::memory_order_relaxed);
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  CHECK(WIFSIGNALED(status));
  CHECK(WTERMSIG(status) == SIGSEGV);
}

TEST_CASE("arrays outside the arena are refused") {
  const ballast::tests::TempDir dir;
  const auto made = CheckerSegment::create(dir.path(), 1, kSmall, {});
  REQUIRE(made);
  const auto& table = made->table;
  CHECK(table.array<Word16>(table.arena_offset, 100).size() == 100);
  CHECK(table.array<Word16>(table.arena_offset, table.arena_bytes / 2).size() == 1 << 15);
  CHECK(table.array<Word16>(table.arena_offset, table.arena_bytes / 2 + 1).empty());
  CHECK(table.array<Word16>(table.arena_offset + 1, 4).empty());
  CHECK(table.array<Word16>(table.arena_offset - 2, 4).empty());
  CHECK(table.array<Word64>(~std::uint64_t{0} & ~std::uint64_t{7}, 1).empty());
  CHECK(table.array<Word64>(table.arena_offset, ~std::uint64_t{0}).empty());
}

TEST_CASE("a damaged file is refused with a reason") {
  const ballast::tests::TempDir dir;
  {
    REQUIRE(CheckerSegment::create(dir.path(), 1, kSmall, {}));
  }
  const std::string path = table_path(dir.path(), 1);
  const auto error_after = [&](std::size_t offset, std::uint64_t value) {
    const auto copy = dir.path() + "/copy";
    std::filesystem::copy_file(path, copy, std::filesystem::copy_options::overwrite_existing);
    std::fstream file(copy, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(offset));
    file.write(reinterpret_cast<const char*>(&value), sizeof value);
    file.close();
    const auto mapped = MappedFile::open(copy, MappedFile::Access::read_only, false);
    REQUIRE(mapped);
    const auto table = Table::open(*mapped, BootCheck::required);
    return table ? std::string("accepted") : table.error().to_text();
  };
  CHECK(error_after(0, 0).find("wrong magic") != std::string::npos);
  CHECK(error_after(0, __builtin_bswap64(kTableMagic)).find("other byte order") !=
        std::string::npos);
  CHECK(error_after(16, 1).find("another build") != std::string::npos);
  CHECK(error_after(24, 12345).find("bytes long but says 12345") != std::string::npos);
  CHECK(error_after(32, 1).find("earlier boot") != std::string::npos);
  CHECK(error_after(64, 1'000).find("1000 sections") != std::string::npos);
  CHECK(error_after(64, 2).find("is missing") != std::string::npos);
  CHECK(error_after(80, ~std::uint64_t{0} & ~std::uint64_t{63}).find("outside the file") !=
        std::string::npos);
}

TEST_CASE("a holder is asked to hand over, once, and only the one that was meant") {
  const ballast::tests::TempDir dir;
  CHECK_FALSE(Lease::request_handover(dir.path() + "/nobody"));
  auto first = Lease::acquire(dir.path(), Lease::Wait::no);
  REQUIRE(first);
  CHECK_FALSE(first->handover_requested());
  const auto asked = Lease::request_handover(dir.path());
  REQUIRE(asked);
  CHECK(*asked == first->term());
  CHECK(first->handover_requested());
  Lease::withdraw_handover(dir.path(), *asked + 1);  // somebody else's request
  CHECK(first->handover_requested());
  Lease::withdraw_handover(dir.path(), *asked);
  CHECK_FALSE(first->handover_requested());
  REQUIRE(Lease::request_handover(dir.path()));
  first->leave();
  const auto second = Lease::acquire(dir.path(), Lease::Wait::no);
  REQUIRE(second);
  CHECK_FALSE(second->handover_requested());
}

TEST_CASE("only one can hold the lease, and the other is told who does") {
  const ballast::tests::TempDir dir;
  auto first = Lease::acquire(dir.path(), Lease::Wait::no);
  REQUIRE_MESSAGE(first, first.error().to_text());
  CHECK(first->term() == 1);
  const auto second = Lease::acquire(dir.path(), Lease::Wait::no);
  REQUIRE_FALSE(second);
  CHECK(second.error().kind == ErrorKind::busy);
  CHECK(second.error().to_text().find("pid " + std::to_string(::getpid())) != std::string::npos);
  first->leave();
  const auto third = Lease::acquire(dir.path(), Lease::Wait::no);
  REQUIRE(third);
  CHECK(third->term() == 2);
}

TEST_CASE("who waited for a locator that was replaced does not get the lease by it") {
  const ballast::tests::TempDir dir;
  auto first = Lease::acquire(dir.path(), Lease::Wait::no);
  REQUIRE(first);
  std::uint64_t waited_term = 0;
  std::atomic<bool> waited{false};
  std::thread waiter([&] {
    auto lease = Lease::acquire(dir.path(), Lease::Wait::yes);
    if (lease && lease->still_in_place()) waited_term = lease->term();
    waited.store(true);
  });
  const auto somebody_waits = [] {
    std::ifstream locks("/proc/locks");
    const std::string text{std::istreambuf_iterator<char>(locks), {}};
    return text.find("-> OFDLCK") != std::string::npos;
  };
  // Not seeing it only makes the test weaker.
  for (int look = 0; look < 20'000 && !somebody_waits(); ++look)
    std::this_thread::yield();
  std::filesystem::remove(locator_path(dir.path()));
  auto other = Lease::acquire(dir.path(), Lease::Wait::no);
  REQUIRE(other);
  first->leave();
  for (int look = 0; look < 20'000 && !somebody_waits() && !waited.load(); ++look)
    std::this_thread::yield();
  CHECK_FALSE(waited.load());
  other->leave();
  waiter.join();
  CHECK(waited_term == other->term() + 1);
}

TEST_CASE("a holder notices that its directory was removed") {
  const ballast::tests::TempDir dir;
  const auto lease = Lease::acquire(dir.path(), Lease::Wait::no);
  REQUIRE(lease);
  CHECK(lease->still_in_place());
  std::filesystem::remove(locator_path(dir.path()));
  CHECK_FALSE(lease->still_in_place());
}

TEST_CASE("a killed worker's row is reaped, with what it held counted as abandoned") {
  const ballast::tests::TempDir dir;
  const auto made = CheckerSegment::create(dir.path(), 1, kSmall, {});
  REQUIRE(made);
  int ready[2];
  REQUIRE(::pipe(ready) == 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const auto worker = WorkerSegment::open(dir.path(), 1);
    auto row = Row::claim(worker->workers, worker->workers_file.path());
    if (!row) ::_exit(1);
    for (int i = 0; i < 5; ++i)
      count_started(row->counters()[2].values[kStarted]);
    count_outcome(row->counters()[2].values[kSuccess]);
    static_cast<void>(!::write(ready[1], "x", 1));
    ::pause();
  }
  char byte = 0;
  REQUIRE(::read(ready[0], &byte, 1) == 1);
  const auto lock = LockFile::open(made->workers_file.path(), true);
  REQUIRE(lock);
  const auto tool = InspectedSegment::open(dir.path(), 1, BootCheck::required);
  REQUIRE(tool);
  CHECK(owner_of(tool->workers, &*lock, 0) == Owner::alive);
  CHECK(read_in_flight(made->workers.row(0)[2].values) == 4);
  CHECK(reap_dead_rows(made->workers, *lock).rows == 0);
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  CHECK(owner_of(tool->workers, &*lock, 0) == Owner::dead);
  const Reaped reaped = reap_dead_rows(made->workers, *lock);
  CHECK(reaped.rows == 1);
  CHECK(reaped.abandoned == 4);
  CHECK(read_in_flight(made->workers.row(0)[2].values) == 0);
  CHECK(owner_of(tool->workers, &*lock, 0) == Owner::none);
  // The next tenant of the row goes on from the same counters.
  const auto next = Row::claim(made->workers, made->workers_file.path());
  REQUIRE(next);
  CHECK(next->index() == 0);
  CHECK(next->incarnation() == 2);
  CHECK(next->counters()[2].values[kStarted].load(std::memory_order_relaxed) == 5);
}

TEST_CASE("a forked child that still maps the file does not keep its dead parent's row") {
  const ballast::tests::TempDir dir;
  const auto made = CheckerSegment::create(dir.path(), 1, kSmall, {});
  REQUIRE(made);
  int ready[2];
  REQUIRE(::pipe(ready) == 0);
  const pid_t parent = ::fork();
  if (parent == 0) {
    const auto worker = WorkerSegment::open(dir.path(), 1);
    auto row = Row::claim(worker->workers, worker->workers_file.path());
    const pid_t child = ::fork();
    if (child == 0) {
      row->forget();  // what the library's fork handler does
      const pid_t self = ::getpid();
      static_cast<void>(!::write(ready[1], &self, sizeof self));
      ::pause();
    }
    ::pause();
  }
  pid_t grandchild = 0;
  REQUIRE(::read(ready[0], &grandchild, sizeof grandchild) == sizeof grandchild);
  ::kill(parent, SIGKILL);
  ::waitpid(parent, nullptr, 0);
  const auto lock = LockFile::open(made->workers_file.path(), true);
  REQUIRE(lock);
  CHECK(reap_dead_rows(made->workers, *lock).rows == 1);
  ::kill(grandchild, SIGKILL);
}

TEST_CASE("when all rows are taken the error says what to do") {
  const ballast::tests::TempDir dir;
  const auto made = CheckerSegment::create(dir.path(), 1, {1, 4, 2, kPage}, {});
  REQUIRE(made);
  auto a = Row::claim(made->workers, made->workers_file.path());
  const auto b = Row::claim(made->workers, made->workers_file.path());
  REQUIRE(a);
  REQUIRE(b);
  const auto c = Row::claim(made->workers, made->workers_file.path());
  REQUIRE_FALSE(c);
  CHECK(c.error().kind == ErrorKind::busy);
  CHECK(c.error().to_text().find("max_workers") != std::string::npos);
  a->leave();
  CHECK(Row::claim(made->workers, made->workers_file.path()));
}

TEST_CASE("free rows are taken before those of the dead, which come last and are not lost") {
  const ballast::tests::TempDir dir;
  const auto made = CheckerSegment::create(dir.path(), 1, {1, 4, 3, kPage}, {});
  REQUIRE(made);
  const auto claim = [&] { return Row::claim(made->workers, made->workers_file.path()); };
  auto dead = claim();
  REQUIRE(dead);
  REQUIRE(dead->index() == 0);
  count_started(dead->counters()[1].values[kStarted]);
  dead->forget();  // as by SIGKILL: the lock is gone, the word still says live
  const auto second = claim();
  REQUIRE(second);
  CHECK(second->index() == 1);
  const auto third = claim();
  REQUIRE(third);
  CHECK(third->index() == 2);
  const auto heir = claim();
  REQUIRE(heir);
  CHECK(heir->index() == 0);
  CHECK(heir->incarnation() == 2);
  CHECK(heir->counters()[1].values[kAbandoned].load(std::memory_order_relaxed) == 1);
  // A word that a mad worker turned to free gives nobody a row that has an owner.
  made->workers.directory[1].claim.store(0, std::memory_order_relaxed);
  CHECK_FALSE(claim());
}

TEST_CASE("what a dead checker left half made or half removed is cleared away") {
  const ballast::tests::TempDir dir;
  for (const std::uint64_t id : {1U, 2U, 3U})
    REQUIRE(CheckerSegment::create(dir.path(), id, kSmall, {}));
  std::filesystem::remove(table_path(dir.path(), 2));
  for (const char* name : {"/table.4.new.77", "/locator.new.78", "/workers.text", "/workers.5x"})
    std::ofstream(dir.path() + name).put('x');
  remove_unfinished(dir.path());
  CHECK(list_segments(dir.path()) == std::vector<std::uint64_t>{1, 3});
  CHECK(std::filesystem::exists(workers_path(dir.path(), 1)));
  CHECK_FALSE(std::filesystem::exists(workers_path(dir.path(), 2)));
  CHECK_FALSE(std::filesystem::exists(dir.path() + "/table.4.new.77"));
  CHECK_FALSE(std::filesystem::exists(dir.path() + "/locator.new.78"));
  // What is none of ours is left alone.
  CHECK(std::filesystem::exists(dir.path() + "/workers.text"));
  CHECK(std::filesystem::exists(dir.path() + "/workers.5x"));
}
