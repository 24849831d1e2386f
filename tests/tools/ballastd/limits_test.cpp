// What a configuration needs of the system, and what ballastd says where that is not there.
#include "tools/ballastd/limits.hpp"

#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>

#include "engine/checker/loop/loop.hpp"
#include "tests/support/temp_dir.hpp"
#include "tools/ballastd/daemon.hpp"

namespace ballast::tools {
namespace {

checker::Settings settings_of(std::size_t instances) {
  checker::Settings settings;
  checker::ServiceSettings service;
  service.name = "web";
  for (std::size_t i = 0; i < instances; ++i) {
    const std::string text =
        "127.7." + std::to_string(i / 250) + "." + std::to_string(1 + i % 250) + ":9";
    service.instances.push_back({*shm::parse_endpoint(text), text, 1});
  }
  settings.services.push_back(service);
  return settings;
}

TEST_CASE("kept connections need a descriptor each, and a third more") {
  checker::Settings settings = settings_of(900);
  CHECK(descriptors_needed(settings) == 900 + 300 + 64);
  settings.services[0].check.keep_alive = false;
  CHECK(descriptors_needed(settings) == 256 + 64);
  settings.services[0].check.kind = checker::CheckKind::tcp;
  CHECK(descriptors_needed(settings) == 256 + 64);
  settings.services[0].check.tcp_sentinel = true;
  CHECK(descriptors_needed(settings) == 900 + 300 + 64);
  settings.services[0].agent.port = 8;
  CHECK(descriptors_needed(settings) == 900 + 300 + 256 + 64);
  settings.services[0].check.kind = checker::CheckKind::none;
  settings.services[0].agent.port = 0;
  CHECK(descriptors_needed(settings) == 64);
  // Beyond what a loop can have open, connections are not kept.
  CHECK(descriptors_needed(settings_of(60'000)) == checker::kMaxStreams + 64);
}

TEST_CASE("a limit that is exceeded says how much is needed and what to raise") {
  const checker::Settings settings = settings_of(900);
  CHECK_FALSE(exceeded_limit(settings, 1264).has_value());
  const auto error = exceeded_limit(settings, 1263);
  REQUIRE(error.has_value());
  CHECK(error->find("900 instances") != std::string::npos);
  CHECK(error->find("1264 descriptors") != std::string::npos);
  CHECK(error->find("the limit is 1263") != std::string::npos);
  CHECK(error->find("LimitNOFILE=") != std::string::npos);
  CHECK(error->find("ulimit -n") != std::string::npos);
}

TEST_CASE("memory: what is needed grows with instances, workers and what is kept encrypted") {
  checker::Settings settings = settings_of(1'000);
  const MemoryNeeded plain = memory_needed(settings);
  CHECK(plain.process > 1'000 * 2'000);
  CHECK(plain.mapped > plain.files);
  settings.services[0].check.tls.enabled = true;
  CHECK(memory_needed(settings).process > plain.process);
  settings.max_workers = 512;
  CHECK(memory_needed(settings).mapped > plain.mapped);
  CHECK(memory_needed(settings_of(2'000)).files > plain.files);
}

TEST_CASE("a limit on memory that is exceeded names what to raise") {
  const checker::Settings settings = settings_of(1'000);
  const MemoryNeeded needed = memory_needed(settings);
  const auto error = [&](const MemoryLimits& limits) {
    return exceeded_memory(settings, limits, "/dev/shm/x").value_or("");
  };
  CHECK(error({}).empty());
  CHECK(error({needed.mapped, needed.process, needed.files}).empty());
  const std::string cgroup = error({{}, needed.process - 1, {}});
  CHECK(cgroup.find("1000 instances") != std::string::npos);
  CHECK(cgroup.find("MemoryMax=") != std::string::npos);
  CHECK(error({needed.mapped - 1, {}, {}}).find("LimitAS=") != std::string::npos);
  const std::string space = error({{}, {}, needed.files - 1});
  CHECK(space.find("/dev/shm/x") != std::string::npos);
  CHECK(space.find("--shm-size") != std::string::npos);
}

TEST_CASE("of the cgroups that it is in, the tightest counts") {
  const tests::TempDir root;
  std::filesystem::create_directories(root.path() + "/a/b/c");
  const auto write = [&](const char* group, const char* text) {
    std::ofstream(root.path() + group + "/memory.max") << text;
  };
  CHECK_FALSE(cgroup_limit(root.path(), "/a/b/c"));
  write("/a/b/c", "max\n");
  CHECK_FALSE(cgroup_limit(root.path(), "/a/b/c"));
  write("/a", "3000\n");
  write("/a/b", "5000\n");
  CHECK(cgroup_limit(root.path(), "/a/b/c") == 3000);
  CHECK_FALSE(cgroup_limit(root.path(), "/"));
}

TEST_CASE("a full directory says what to do, other errors are left alone") {
  const shm::Error full = shm::system_error(ENOSPC, "allocate", "/dev/shm/x");
  CHECK(with_advice(full).find("--shm-size") != std::string::npos);
  CHECK(with_advice(full).find("ballast.max_workers") != std::string::npos);
  const shm::Error other = shm::system_error(EACCES, "open", "/dev/shm/x");
  CHECK(with_advice(other) == other.to_text());
}

// A ballastd, in a process of its own, that may have no more than 200 descriptors, and what it
// says.
struct FewDescriptors {
  FewDescriptors(checker::Settings settings, const std::string& directory) {
    std::array<int, 2> ends{};
    REQUIRE(pipe(ends.data()) == 0);
    pid = fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
      dup2(ends[1], STDERR_FILENO);
      const rlimit few{200, 200};
      setrlimit(RLIMIT_NOFILE, &few);
      Options options;
      options.config = "test.toml";
      options.directory = directory;
      _exit(run_daemon(options, std::move(settings)));
    }
    close(ends[1]);
    fd = ends[0];
  }
  // Waits for more of its words; false: there will be no more.
  bool read_on() {
    std::array<char, 4096> buffer{};
    const ssize_t n = read(fd, buffer.data(), buffer.size());
    if (n > 0) output.append(buffer.data(), static_cast<std::size_t>(n));
    return n > 0;
  }
  // Waits for its end; its exit status.
  int end() {
    while (read_on()) {
    }
    close(fd);
    int status = 0;
    REQUIRE(waitpid(pid, &status, 0) == pid);
    CHECK(WIFEXITED(status));
    return WEXITSTATUS(status);
  }

  pid_t pid = -1;
  int fd = -1;
  std::string output;
};

TEST_CASE("ballastd does not start with too few descriptors, and says why") {
  const tests::TempDir directory;
  FewDescriptors daemon(settings_of(500), directory.path() + "/ns");
  CHECK(daemon.end() == 1);
  CHECK(daemon.output.find("731 descriptors, and the limit is 200") != std::string::npos);
}

TEST_CASE("ballastd says once that what its sources found needs more descriptors") {
  const tests::TempDir directory;
  const std::string path = directory.path() + "/targets";
  checker::Settings settings = settings_of(1);
  std::string text;
  const checker::Settings many = settings_of(500);
  for (const checker::InstanceSettings& one : many.services[0].instances)
    text += (text.empty() ? "\"" : ", \"") + one.text + "\"";
  std::ofstream(path) << R"([{"targets": [)" << text << "]}]";
  settings.services[0].sources.resize(1);
  settings.services[0].sources[0].path = path;
  FewDescriptors daemon(std::move(settings), directory.path() + "/ns");
  while (daemon.output.find("limit_exceeded") == std::string::npos && daemon.read_on()) {
  }
  kill(daemon.pid, SIGTERM);
  CHECK(daemon.end() == 0);
  const auto told = daemon.output.find("limit_exceeded");
  REQUIRE(told != std::string::npos);
  CHECK(daemon.output.find("limit_exceeded", told + 1) == std::string::npos);
  CHECK(daemon.output.find("731 descriptors, and the limit is 200") != std::string::npos);
}

}  // namespace
}  // namespace ballast::tools
