// A full file system: on a tmpfs of a few pages, mounted in a mount namespace of the test's own,
// making a segment fails with the path and the size named and leaves nothing behind, and a row that
// gets no memory is a typed error instead of a SIGBUS. Skipped (77) where namespaces are refused.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>

#include "shm/lease.hpp"
#include "shm/paths.hpp"
#include "shm/row_protocol.hpp"
#include "shm/rows.hpp"
#include "shm/segment.hpp"
#include "tests/support/temp_dir.hpp"

using namespace ballast;
using namespace ballast::shm;

namespace {

constexpr std::uint64_t kDiskBytes = 512 * 1024;
std::string disk;  // where the small tmpfs is mounted

std::string write_file(const std::string& path, const std::string& text) {
  std::ofstream file(path);
  file << text << std::flush;
  return file ? std::string() : "write " + path + ": " + std::strerror(errno);
}

// Puts this process into a mount namespace with a small tmpfs at `at`. Returns why not.
std::string mount_small_tmpfs(const std::string& at) {
  const bool root = ::geteuid() == 0;
  const auto uid = ::getuid();
  const auto gid = ::getgid();
  if (::unshare(root ? CLONE_NEWNS : CLONE_NEWNS | CLONE_NEWUSER) != 0) {
    return std::string("unshare: ") + std::strerror(errno);
  }
  if (!root) {
    const auto map = [](unsigned id) { return "0 " + std::to_string(id) + " 1\n"; };
    for (const auto& [file, text] : {std::pair{"uid_map", map(uid)},
                                     {"setgroups", std::string("deny")},
                                     {"gid_map", map(gid)}}) {
      const std::string why = write_file(std::string("/proc/self/") + file, text);
      if (!why.empty()) return why;
    }
  }
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
    return std::string("make mounts private: ") + std::strerror(errno);
  }
  const std::string options = "size=" + std::to_string(kDiskBytes);
  if (::mount("tmpfs", at.c_str(), "tmpfs", 0, options.c_str()) != 0) {
    return "mount a tmpfs: " + std::string(std::strerror(errno));
  }
  return {};
}

// A directory of its own on the small disk, emptied afterwards.
class OnDisk {
 public:
  OnDisk() { std::filesystem::create_directory(path()); }
  OnDisk(const OnDisk&) = delete;
  OnDisk& operator=(const OnDisk&) = delete;
  ~OnDisk() {
    for (const auto& entry : std::filesystem::directory_iterator(disk))
      std::filesystem::remove_all(entry.path());
  }
  [[nodiscard]] static std::string path() { return disk + "/namespace"; }
};

void fill_disk() {
  std::ofstream file(disk + "/filler", std::ios::binary);
  const std::string page(4096, 'x');
  while (file << page << std::flush) {
  }
}

bool empty(const std::string& directory) {
  return std::filesystem::directory_iterator(directory) == std::filesystem::directory_iterator();
}

constexpr Geometry kTooLarge{4, 16, 8, kDiskBytes};
constexpr Geometry kFits{1, 64, 8, 4096, 16};

}  // namespace

TEST_CASE("a segment that does not fit fails with its path and size, and leaves nothing") {
  const OnDisk on_disk;
  const auto made = CheckerSegment::create(on_disk.path(), 1, kTooLarge, {});
  REQUIRE_FALSE(made);
  CHECK(made.error().kind == ErrorKind::full);
  CHECK(made.error().code == ENOSPC);
  const std::string text = made.error().to_text();
  INFO(text);
  CHECK(text.find(table_path(on_disk.path(), 1)) != std::string::npos);
  CHECK(text.find("No space left on device") != std::string::npos);
  CHECK(text.find("bytes are needed") != std::string::npos);
  CHECK(text.find("make room") != std::string::npos);
  CHECK(list_segments(on_disk.path()).empty());
  CHECK_MESSAGE(empty(on_disk.path()), "something was left behind");
}

TEST_CASE("no lease can be taken on a full disk, and nothing is left") {
  const OnDisk on_disk;
  fill_disk();
  const auto lease = Lease::acquire(on_disk.path(), Lease::Wait::no);
  REQUIRE_FALSE(lease);
  CHECK(lease.error().kind == ErrorKind::full);
  CHECK(lease.error().to_text().find(locator_path(on_disk.path())) != std::string::npos);
  CHECK(empty(on_disk.path()));
}

TEST_CASE("a row that gets no memory is refused with a reason, and the segment goes on") {
  const OnDisk on_disk;
  const auto made = CheckerSegment::create(on_disk.path(), 1, kFits, {});
  REQUIRE_MESSAGE(made, made.error().to_text());
  auto first = Row::claim(made->workers, made->workers_file.path());
  REQUIRE(first);
  fill_disk();
  const auto refused = Row::claim(made->workers, made->workers_file.path());
  REQUIRE_FALSE(refused);
  CHECK(refused.error().kind == ErrorKind::full);
  CHECK(refused.error().to_text().find("bytes are needed; make room") != std::string::npos);
  // The row that is there has its memory for good, and what was refused is still free.
  count_started(first->counters()[63].values[kStarted]);
  CHECK(read_in_flight(first->counters()[63].values) == 1);
  CHECK_FALSE(made->workers.ever_claimed(1));
  std::filesystem::remove(disk + "/filler");
  CHECK(Row::claim(made->workers, made->workers_file.path()));
}

int main(int argc, char** argv) {
  const tests::TempDir dir;
  disk = dir.path();
  if (const std::string why = mount_small_tmpfs(disk); !why.empty()) {
    std::printf("skipped: a small tmpfs cannot be mounted here: %s\n", why.c_str());
    return 77;
  }
  doctest::Context context(argc, argv);
  const int result = context.run();
  ::umount(disk.c_str());
  return result;
}
