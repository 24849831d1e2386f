// Damaged, foreign, half and absent files: opening them gives a clear error, or views whose numbers
// may be wrong but which never reach outside the mapping; nothing crashes and nothing hangs.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "shm/lease.hpp"
#include "shm/paths.hpp"
#include "shm/row_protocol.hpp"
#include "shm/rows.hpp"
#include "shm/segment.hpp"
#include "tests/support/child.hpp"
#include "tests/support/damage.hpp"
#include "tests/support/read_everything.hpp"
#include "tests/support/temp_dir.hpp"

using namespace ballast;
using namespace ballast::shm;
using tests::as_nobody;
using tests::Damage;

namespace {

constexpr Geometry kSmall{3, 8, 4, 1 << 12};

// A segment with something in each kind of record, made without the checker's help.
class Sample {
 public:
  Sample() {
    auto made = CheckerSegment::create(directory(), 1, kSmall, {});
    REQUIRE_MESSAGE(made, made.error().to_text());
    const TableWriter& table = made->table;
    for (std::uint64_t i = 0; i < 2; ++i)
      fill_service(table, i);
    for (std::size_t slot = 0; slot < 4; ++slot) {
      const auto words = parse_endpoint("127.0.0.1:" + std::to_string(8000 + slot))->to_words();
      for (std::size_t w = 0; w < words.size(); ++w)
        put(table.instances[slot].endpoint[w], words[w]);
      put(table.instances[slot].identity, pack(Identity{1, Phase::live}));
      put(table.states[slot], pack(State{1, 1, Health::up, Admin::ready, Reason::passed, true}));
    }
    auto row = Row::claim(made->workers, made->workers_file.path());
    REQUIRE(row);
    count_started(row->counters()[1].values[kStarted]);
    row->forget();
    auto lease = Lease::acquire(directory(), Lease::Wait::no);
    REQUIRE(lease);
    lease->set_active_segment(1);
    lease->leave();
  }

  [[nodiscard]] const std::string& directory() const { return dir_.path(); }
  [[nodiscard]] std::string table() const { return table_path(directory(), 1); }
  [[nodiscard]] std::string workers() const { return workers_path(directory(), 1); }
  [[nodiscard]] std::string locator() const { return locator_path(directory()); }

 private:
  static void fill_service(const TableWriter& table, std::uint64_t index) {
    ServiceRecord& service = table.services[index];
    const std::uint64_t base = table.arena_offset + index * 1024;
    for (auto& groups : service.generations) {
      GenerationRecord& g = groups[0];
      put(g.kind, static_cast<std::uint64_t>(index == 0 ? LookupKind::table : LookupKind::ring));
      put(g.member_offset, base);
      put(g.member_count, 4U);
      put(g.lookup_offset, base + 64);
      put(g.lookup_count, 16U);
      put(g.points_offset, base + 128);
      put(g.index_offset, base + 256);
      put(g.index_count, 8U);
    }
    put(service.root, 1U);
    put(service.identity, pack(Identity{1, Phase::live}));
  }

  tests::TempDir dir_;
};

// Opens the segment as a worker and as a tool, and reads all of whatever opens. Returns the error's
// text, or nothing.
std::string open_and_read(const std::string& directory) {
  std::string error;
  const auto note = [&error](const Error& e) {
    error = e.to_text();
    CHECK(!e.operation.empty());
    CHECK(!e.path.empty());
    CHECK(error.size() > e.operation.size() + e.path.size() + 2);
    CHECK(error.find('\n') == std::string::npos);
  };
  const auto worker = WorkerSegment::open(directory, 1);
  if (worker) {
    static_cast<void>(tests::read_everything(worker->table, worker->workers));
  } else {
    note(worker.error());
  }
  const auto tool = InspectedSegment::open(directory, 1, BootCheck::skipped);
  if (tool) {
    static_cast<void>(tests::read_everything(tool->table, tool->workers));
    const auto lock = LockFile::open(tool->workers_file.path(), /*writable=*/false);
    for (std::uint64_t i = 0; i < tool->workers.directory.size(); ++i)
      static_cast<void>(owner_of(tool->workers, lock ? &*lock : nullptr, i));
  } else {
    note(tool.error());
  }
  return error;
}

// Turns every byte of [begin, end) into each of its variants.
void sweep(Damage& damage, std::size_t begin, std::size_t end,
           const std::function<void(std::size_t)>& look) {
  for (std::size_t at = begin; at < end; at += Damage::kStep) {
    const unsigned char was = damage.original()[at];
    for (const unsigned char value : Damage::variants(was)) {
      if (value == was) continue;
      damage.bytes()[at] = value;
      look(at);
    }
    damage.bytes()[at] = was;
  }
}

// Whether a change of this byte of a preamble must be noticed: all but minor and created_ns.
bool is_checked(std::size_t offset) {
  const bool minor =
      offset >= offsetof(FilePreamble, minor) && offset < offsetof(FilePreamble, byte_order);
  const bool created =
      offset >= offsetof(FilePreamble, created_ns) && offset < offsetof(FilePreamble, segment_id);
  return !minor && !created;
}

std::size_t section_offset(Damage& damage, SectionId id) {
  const auto& header = *reinterpret_cast<const FileHeader*>(damage.original().data());
  for (std::uint64_t i = 0; i < header.section_count; ++i) {
    if (header.sections[i].id == id) return header.sections[i].offset;
  }
  FAIL("no such section");
  return 0;
}

std::string error_of_worker(const Sample& sample) {
  const auto worker = WorkerSegment::open(sample.directory(), 1);
  return worker ? "opened" : worker.error().to_text();
}

bool says(const std::string& text, const std::string& what) {
  const bool found = text.find(what) != std::string::npos;
  CHECK_MESSAGE(found, "'", text, "' does not say '", what, "'");
  return found;
}

}  // namespace

TEST_CASE("the undamaged sample opens") {
  const Sample sample;
  CHECK(open_and_read(sample.directory()).empty());
}

TEST_CASE("every byte of both preambles, headers and section tables, turned") {
  const Sample sample;
  for (const std::string& path : {sample.table(), sample.workers()}) {
    Damage damage(path);
    sweep(damage, 0, sizeof(FilePreamble), [&](std::size_t at) {
      const auto worker = WorkerSegment::open(sample.directory(), 1);
      CHECK_MESSAGE(static_cast<bool>(worker) == !is_checked(at), path, " byte ", at);
      open_and_read(sample.directory());
    });
    sweep(damage, sizeof(FilePreamble), offsetof(FileHeader, reserved),
          [&](std::size_t) { open_and_read(sample.directory()); });
    // What is reserved, and what only people read.
    for (std::size_t at = offsetof(FileHeader, reserved); at < sizeof(FileHeader); ++at)
      damage.bytes()[at] = static_cast<unsigned char>(~damage.original()[at]);
    CHECK(open_and_read(sample.directory()).empty());
  }
}

TEST_CASE("every byte of service, generation, instance and row records, turned") {
  const Sample sample;
  Damage table(sample.table());
  Damage workers(sample.workers());
  const auto harmless = [&](std::size_t at) {
    CHECK_MESSAGE(open_and_read(sample.directory()).empty(), "byte ", at);
  };
  const std::size_t services = section_offset(table, kServicesSection);
  sweep(table, services, services + 2 * sizeof(ServiceRecord), harmless);
  const std::size_t instances = section_offset(table, kInstancesSection);
  sweep(table, instances, instances + sizeof(InstanceRecord), harmless);
  const std::size_t states = section_offset(table, kStatesSection);
  sweep(table, states, states + sizeof(Word64), harmless);
  const std::size_t rows = section_offset(workers, kDirectorySection);
  sweep(workers, rows, rows + 2 * sizeof(RowRecord), harmless);
}

TEST_CASE("rows whose records are damaged can still be claimed, left and reaped") {
  const Sample sample;
  Damage workers(sample.workers());
  const std::size_t rows = section_offset(workers, kDirectorySection);
  sweep(workers, rows, rows + sizeof(Word64), [&](std::size_t) {
    const auto segment = WorkerSegment::open(sample.directory(), 1);
    REQUIRE(segment);
    // A row that seems to have an owner is passed over while others are free, and is reaped.
    const auto claim = segment->workers.directory[0].claim.load(std::memory_order_relaxed);
    const bool seems_live = unpack_identity(claim).phase == Phase::live;
    auto row = Row::claim(segment->workers, segment->workers_file.path());
    REQUIRE(row);
    CHECK(row->index() == (seems_live ? 1 : 0));
    CHECK(read_in_flight(row->counters()[1].values) >= 0);
    row->leave();
    const auto lock = LockFile::open(sample.workers(), true);
    REQUIRE(lock);
    CHECK(reap_dead_rows(segment->workers, *lock).rows == (seems_live ? 1 : 0));
    workers.undo();
  });
}

TEST_CASE("every byte of the locator, turned") {
  const Sample sample;
  Damage damage(sample.locator());
  const auto acquire = [&](std::size_t at) {
    const auto lease = Lease::acquire(sample.directory(), Lease::Wait::no);
    // The boot id may differ: a locator is good over reboots. The segment's id means nothing here.
    const bool preamble = at < offsetof(FilePreamble, boot_id) && is_checked(at);
    CHECK_MESSAGE(static_cast<bool>(lease) == !preamble, "byte ", at);
    if (!lease) CHECK(lease.error().to_text().find(sample.locator()) != std::string::npos);
    damage.undo();
  };
  sweep(damage, 0, offsetof(Locator, reserved), acquire);
  for (std::size_t at = offsetof(Locator, reserved); at < sizeof(Locator); ++at)
    damage.bytes()[at] = 0xff;
  CHECK(Lease::acquire(sample.directory(), Lease::Wait::no));
}

TEST_CASE("random bytes behind a good preamble, and random bytes altogether") {
  const Sample sample;
  std::mt19937_64 random(20260722);
  for (const std::string& path : {sample.table(), sample.workers()}) {
    Damage damage(path);
    for (int round = 0; round < 400; ++round) {
      // Sparse damage finds more than noise does: most of a file must be right to get far.
      const std::size_t begin = round % 4 == 0 ? 0 : sizeof(FilePreamble);
      const std::size_t end = round % 2 == 0 ? damage.size() : sizeof(FileHeader);
      const auto changes = std::size_t{1} << random() % 12;
      for (std::size_t i = 0; i < changes; ++i)
        damage.bytes()[begin + random() % (end - begin)] = static_cast<unsigned char>(random());
      open_and_read(sample.directory());
      damage.undo();
    }
  }
  const std::string path = sample.table();
  for (int round = 0; round < 200; ++round) {
    std::vector<char> noise(random() % 20'000);
    for (char& c : noise)
      c = static_cast<char>(random());
    std::ofstream(path, std::ios::binary | std::ios::trunc)
        .write(noise.data(), static_cast<std::streamsize>(noise.size()));
    CHECK_FALSE(open_and_read(sample.directory()).empty());
  }
}

TEST_CASE("sections of absurd sizes and places are refused with their number") {
  const Sample sample;
  Damage damage(sample.table());
  const auto& header = *reinterpret_cast<const FileHeader*>(damage.original().data());
  const std::uint64_t absurd[] = {
      ~std::uint64_t{0}, std::uint64_t{1} << 63,       std::uint64_t{1} << 32,
      damage.size(),     (~std::uint64_t{0} >> 7) + 1, ~std::uint64_t{0} - (kCacheLine - 1)};
  for (std::size_t i = 0; i < header.section_count; ++i) {
    const std::size_t at = offsetof(FileHeader, sections) + i * sizeof(Section);
    for (const std::uint64_t value : absurd) {
      damage.put(at + offsetof(Section, offset), value);
      CHECK_FALSE(open_and_read(sample.directory()).empty());
      damage.undo();
      damage.put(at + offsetof(Section, count), value);
      CHECK_FALSE(open_and_read(sample.directory()).empty());
      damage.undo();
    }
    for (const std::uint32_t value : {0U, 1U, ~0U, 1U << 31}) {
      if (value == header.sections[i].stride) continue;
      damage.put(at + offsetof(Section, stride), value);
      CHECK_FALSE(open_and_read(sample.directory()).empty());
      damage.undo();
    }
  }
}

TEST_CASE("files cut short at any place are refused") {
  const Sample sample;
  for (const std::string& path : {sample.table(), sample.workers(), sample.locator()}) {
    const auto whole = std::filesystem::file_size(path);
    const std::string saved = sample.directory() + "/saved";
    std::filesystem::copy_file(path, saved, std::filesystem::copy_options::overwrite_existing);
    std::vector<std::uintmax_t> sizes{0, 1, 7, 8, 63, 64, 65, 71, 72, 4095, 4096, 4097, whole - 1};
    for (std::uintmax_t size = 4096; size < whole; size += 4096)
      sizes.push_back(size);
    for (const std::uintmax_t size : sizes) {
      if (size >= whole) continue;
      std::filesystem::resize_file(path, size);
      if (path == sample.locator()) {
        const auto lease = Lease::acquire(sample.directory(), Lease::Wait::no);
        CHECK_FALSE(lease);
      } else {
        CHECK_MESSAGE(!open_and_read(sample.directory()).empty(), path, " cut to ", size);
      }
    }
    std::filesystem::rename(saved, path);
  }
  CHECK(open_and_read(sample.directory()).empty());
}

TEST_CASE("what is no file of ours at all") {
  const Sample sample;
  const std::string path = sample.table();
  std::filesystem::remove(path);
  CHECK(says(error_of_worker(sample), "open " + path + ": No such file or directory"));
  REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
  CHECK(says(error_of_worker(sample), "not a regular file"));
  std::filesystem::remove(path);
  std::filesystem::create_directory(path);
  CHECK(says(error_of_worker(sample), "not a regular file"));
  std::filesystem::remove(path);
  std::filesystem::create_symlink(path, path);
  CHECK(says(error_of_worker(sample), "Too many levels of symbolic links"));
  std::filesystem::remove(path);
  std::filesystem::create_symlink("/dev/zero", path);
  CHECK(says(error_of_worker(sample), "not a regular file"));
  std::filesystem::remove(path);
  std::ofstream(path).close();
  CHECK(says(error_of_worker(sample), "0 bytes cannot be a Ballast file"));
  std::filesystem::copy_file(sample.workers(), path,
                             std::filesystem::copy_options::overwrite_existing);
  CHECK(says(error_of_worker(sample), "no Ballast file of this kind"));
  std::filesystem::remove(sample.locator());
  REQUIRE(::mkfifo(sample.locator().c_str(), 0600) == 0);
  const auto lease = Lease::acquire(sample.directory(), Lease::Wait::no);
  REQUIRE_FALSE(lease);
  CHECK(says(lease.error().to_text(), "not a regular file"));
}

TEST_CASE("files of another byte order, layout, version or boot are refused as such") {
  const Sample sample;
  Damage damage(sample.table());
  const auto error_with = [&](std::size_t offset, auto value) {
    damage.put(offset, value);
    const auto worker = WorkerSegment::open(sample.directory(), 1);
    const bool incompatible = !worker && worker.error().kind == ErrorKind::incompatible;
    const std::string text = worker ? "opened" : worker.error().to_text();
    damage.undo();
    CHECK_MESSAGE(incompatible, text);
    return text;
  };
  CHECK(says(error_with(0, __builtin_bswap64(kTableMagic)), "other byte order"));
  CHECK(says(error_with(offsetof(FilePreamble, layout_hash), kLayoutHash + 1), "another build"));
  CHECK(says(error_with(offsetof(FilePreamble, major), std::uint16_t{kMajor + 1}),
             "has format " + std::to_string(kMajor + 1)));
  CHECK(says(error_with(offsetof(FilePreamble, boot_id), ~std::uint64_t{0}), "earlier boot"));
}

TEST_CASE("a workers file of another segment is refused") {
  const Sample sample;
  REQUIRE(CheckerSegment::create(sample.directory(), 2, {1, 2, 2, 4096}, {}));
  std::filesystem::rename(workers_path(sample.directory(), 2), sample.workers());
  CHECK(says(error_of_worker(sample), "does not belong to"));
}

TEST_CASE("nothing there: no checker ever started, or the directory is gone") {
  const tests::TempDir dir;
  for (const std::string& directory : {dir.path(), dir.path() + "/gone"}) {
    const auto worker = WorkerSegment::open(directory, 1);
    REQUIRE_FALSE(worker);
    CHECK(worker.error().kind == ErrorKind::not_found);
    CHECK(says(worker.error().to_text(), directory));
    CHECK(list_segments(directory).empty());
  }
  CHECK_FALSE(std::filesystem::exists(dir.path() + "/gone"));
}

TEST_CASE("files that one may not read or write") {
  const Sample sample;
  std::filesystem::permissions(sample.directory(), std::filesystem::perms(0755));
  ::chmod(sample.table().c_str(), 0644);
  ::chmod(sample.workers().c_str(), 0400);
  ::chmod(sample.locator().c_str(), 0444);
  const auto denied = [](const auto& result) {
    return !result && result.error().code == EACCES &&
           result.error().to_text().find("Permission denied") != std::string::npos;
  };
  CHECK(as_nobody([&] {
          const auto worker = WorkerSegment::open(sample.directory(), 1);
          return denied(worker) && says(worker.error().to_text(), "workers_group") ? 0 : 1;
        }) == 0);
  CHECK(as_nobody([&] {
          return denied(Lease::acquire(sample.directory(), Lease::Wait::no)) ? 0 : 1;
        }) == 0);
  std::filesystem::permissions(sample.directory(), std::filesystem::perms(0700));
  if (::geteuid() == 0) {
    CHECK(as_nobody([&] { return denied(WorkerSegment::open(sample.directory(), 1)) ? 0 : 1; }) ==
          0);
    CHECK(as_nobody([&] {
            return denied(Lease::acquire(sample.directory() + "/below", Lease::Wait::no)) ? 0 : 1;
          }) == 0);
  }
}
