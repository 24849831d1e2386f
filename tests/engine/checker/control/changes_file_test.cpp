// The file of operators' changes: there and back, what is refused and how, and that a failed
// writing leaves what was there.
#include "engine/checker/control/changes_file.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "tests/support/child.hpp"
#include "tests/support/skip.hpp"
#include "tests/support/temp_dir.hpp"

namespace ballast::checker {
namespace {

RuntimeChanges some_changes() {
  RuntimeChanges changes;
  changes.strategies["web"] = engine::Strategy::ketama;
  auto& web = changes.instances["web"];
  web["10.0.0.1:80"].admin = shm::Admin::drain;
  web["10.0.0.1:80"].weight = 7;
  web["10.0.0.2:80"].removed = true;
  InstanceChange& added = web["[::1]:80"];
  added.added = true;
  added.instance.endpoint = *shm::parse_endpoint("[::1]:80");
  added.instance.text = "backend:80";
  added.instance.weight = 3;
  added.instance.tier = 2;
  added.instance.zone = "b";
  added.instance.admin = shm::Admin::maintenance;
  changes.instances["api"]["10.0.0.9:80"].admin = shm::Admin::ready;
  return changes;
}

std::string read_all(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string error_of(const std::string& text) {
  const auto read = changes_from_text("changes.json", text);
  return read ? "" : read.error().to_text();
}

TEST_CASE("what is written is read again") {
  for (const RuntimeChanges& changes : {some_changes(), RuntimeChanges{}}) {
    const auto read = changes_from_text("x", changes_to_text(changes));
    REQUIRE_MESSAGE(read, read.error().to_text());
    CHECK(*read == changes);
  }
}

TEST_CASE("addresses are the same in any spelling") {
  const auto read = changes_from_text(
      "x", R"({"version":1,"services":{"w":{"instances":{"[0:0::1]:80":{"removed":true}}}}})");
  REQUIRE(read);
  CHECK(read->instances.at("w").contains("[::1]:80"));
}

TEST_CASE("what cannot be understood is an error that says what and where") {
  const auto error = [](const std::string& services) {
    return error_of(R"({"version":1,"services":)" + services + "}");
  };
  const auto instance = [&](const std::string& change) {
    return error(R"({"web":{"instances":{"1.1.1.1:1":)" + change + "}}}");
  };
  CHECK(error_of("").find("no JSON") != std::string::npos);
  CHECK(error_of("{\"version\":1,\n \"services\": nope}").find("line 2, column") !=
        std::string::npos);
  CHECK(error_of("{}").find("it has no version") != std::string::npos);
  CHECK(error_of("[]").find("the file is not an object") != std::string::npos);
  CHECK(error_of(R"({"version":2,"services":5})").find("version 2") != std::string::npos);
  CHECK(error_of(R"({"version":2})").find("changes.json") != std::string::npos);
  CHECK(error_of(R"({"version":1,"more":5})").find("unknown field \"more\"") != std::string::npos);
  CHECK(error(R"({"web":{"instances":{"localhost:1":{}}}})").find("\"localhost:1\" is not an") !=
        std::string::npos);
  CHECK(error(R"({"web":{"strategy":"best"}})").find("\"best\", which is no strategy") !=
        std::string::npos);
  CHECK(instance(R"({"admin":"off"})").find("1.1.1.1:1.admin is \"off\"") != std::string::npos);
  CHECK(instance(R"({"weight":0})").find("1.1.1.1:1.weight is not a number from 1 to 1000") !=
        std::string::npos);
  CHECK(instance(R"({"weight":-1})").find("not a number") != std::string::npos);
  CHECK(instance(R"({"removed":1})").find("neither true nor false") != std::string::npos);
  CHECK(instance(R"({"wieght":1})").find("unknown field \"wieght\"") != std::string::npos);
  CHECK(instance(R"({"added":{"tier":4}})").find("added.tier is not a number") !=
        std::string::npos);
  CHECK(instance(R"({"added":[]})").find("added is not an object") != std::string::npos);
  CHECK(error_of(std::string(100'000, '[')).find("no JSON") != std::string::npos);
}

TEST_CASE("a file that is not there has no changes, one that is no file is refused") {
  const tests::TempDir dir;
  const auto none = read_changes_file(dir.path() + "/changes.json");
  REQUIRE(none);
  CHECK(*none == RuntimeChanges{});
  CHECK_FALSE(read_changes_file(dir.path()));
  const std::string fifo = dir.path() + "/fifo";
  REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
  const auto read = read_changes_file(fifo);
  REQUIRE_FALSE(read);
  CHECK(read.error().to_text().find("not a regular file") != std::string::npos);
}

TEST_CASE("a writing replaces the file, and leaves nothing else behind") {
  const tests::TempDir dir;
  const std::string path = dir.path() + "/changes.json";
  REQUIRE(write_changes_file(path, changes_to_text({})));
  REQUIRE(write_changes_file(path, changes_to_text(some_changes())));
  const auto read = read_changes_file(path);
  REQUIRE(read);
  CHECK(*read == some_changes());
  CHECK(std::distance(std::filesystem::directory_iterator(dir.path()), {}) == 1);
}

TEST_CASE("a writing that fails half way leaves the file as it was") {
  const tests::TempDir dir;
  const std::string path = dir.path() + "/changes.json";
  REQUIRE(write_changes_file(path, changes_to_text(some_changes())));
  const std::string before = read_all(path);
  // A file may have at most so many bytes: as on a disk that becomes full.
  const int status = tests::in_child([&] {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{1'000, 1'000};
    if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) return 2;
    const shm::Status written = write_changes_file(path, std::string(5'000, ' '));
    return !written && written.error().code == EFBIG ? 0 : 1;
  });
  CHECK(status == 0);
  CHECK(read_all(path) == before);
  CHECK(std::distance(std::filesystem::directory_iterator(dir.path()), {}) == 1);

  const shm::Status nowhere = write_changes_file(dir.path() + "/none/changes.json", "{}");
  REQUIRE_FALSE(nowhere);
  CHECK(nowhere.error().to_text().find("/none/changes.json") != std::string::npos);
}

}  // namespace
}  // namespace ballast::checker
