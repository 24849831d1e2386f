// Counting, and the words.
#include "tools/ballastd/limits.hpp"

#include <sys/resource.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "engine/checker/loop/loop.hpp"
#include "engine/checker/publishing/growth.hpp"
#include "shm/layout.hpp"

namespace ballast::tools {
namespace {

using checker::CheckKind;

// Checks on new connections that are under way at the same time, at most; more wait their turn.
constexpr std::size_t kUnderWay = 256;

// Measured with instances that are checked and connections that are kept, and rounded down.
constexpr std::uint64_t kBaseBytes = std::uint64_t{8} << 20;
constexpr std::uint64_t kInstanceBytes = 2'000;
constexpr std::uint64_t kTlsBytes = 8'000;

constexpr const char* kRoomAdvice =
    ": give the file system more room (a container's /dev/shm: --shm-size), choose another "
    "ballast.directory, or lower ballast.max_workers";

std::string mib(std::uint64_t bytes) {
  return std::to_string((bytes + (1U << 20) - 1) >> 20) + " MiB";
}

bool is_kept(const checker::CheckSettings& check) {
  switch (check.kind) {
    case CheckKind::http:
      return check.keep_alive;
    case CheckKind::grpc:
      return true;
    case CheckKind::tcp:
      return check.tcp_sentinel;
    case CheckKind::none:
    case CheckKind::udp:
    case CheckKind::exec:
    case CheckKind::agent:
      return false;
  }
  return false;
}

std::size_t kept_connections(const checker::Settings& settings) {
  std::size_t kept = 0;
  for (const checker::ServiceSettings& service : settings.services)
    kept += is_kept(service.check) ? service.instances.size() : 0;
  return kept;
}

}  // namespace

std::size_t descriptors_needed(const checker::Settings& settings) {
  const std::size_t kept = kept_connections(settings);
  std::size_t connecting = 0;
  for (const checker::ServiceSettings& service : settings.services) {
    const std::size_t instances = service.instances.size();
    if (service.check.kind != CheckKind::none && !is_kept(service.check)) connecting += instances;
    if (service.agent.port != 0) connecting += instances;
  }
  const std::size_t streams = kept + (kept + 2) / 3 + std::min(connecting, kUnderWay);
  return std::min(streams, checker::kMaxStreams) + checker::kReservedDescriptors;
}

std::optional<std::string> exceeded_limit(const checker::Settings& settings,
                                          std::size_t descriptors) {
  const std::size_t needed = descriptors_needed(settings);
  if (needed <= descriptors) return std::nullopt;
  const std::size_t kept = kept_connections(settings);
  return std::to_string(kept) + " instances whose connections are kept need " +
         std::to_string(needed) + " descriptors, and the limit is " + std::to_string(descriptors) +
         ": raise LimitNOFILE= in ballastd's unit (without systemd: ulimit -n), or set "
         "keep_alive = false or tcp_sentinel = false in the checks";
}

std::optional<std::string> exceeded_limit(const checker::Settings& settings) {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return std::nullopt;
  return exceeded_limit(settings, static_cast<std::size_t>(limit.rlim_cur));
}

MemoryNeeded memory_needed(const checker::Settings& settings) {
  MemoryNeeded needed;
  std::uint64_t tls = 0;
  std::uint64_t instances = 0;
  for (const checker::ServiceSettings& service : settings.services) {
    instances += service.instances.size();
    if (service.check.tls.enabled && is_kept(service.check)) tls += service.instances.size();
  }
  const shm::Geometry plan = checker::plan_geometry(settings, nullptr);
  const std::uint64_t table =
      plan.instances * (sizeof(shm::InstanceRecord) + sizeof(shm::CounterRecord) +
                        sizeof(shm::LoadRecord) + 2 * sizeof(shm::Word64)) +
      plan.services * (sizeof(shm::ServiceRecord) + sizeof(shm::ServiceLoadRecord) +
                       sizeof(shm::RowServiceRecord)) +
      plan.events * sizeof(shm::EventRecord) + plan.arena_bytes;
  const std::uint64_t workers =
      plan.rows * sizeof(shm::RowRecord) + plan.services * sizeof(shm::SharedServiceRecord) +
      plan.instances * (sizeof(shm::SharedInstanceRecord) + sizeof(shm::Word64)) +
      shm::kWorkerEvents * sizeof(shm::EventRecord);
  const std::uint64_t row =
      plan.services * sizeof(shm::RowServiceRecord) + plan.instances * sizeof(shm::CounterRecord);
  needed.files = table + workers;
  needed.mapped = kBaseBytes + table + workers + plan.rows * row;
  needed.process = kBaseBytes + instances * kInstanceBytes + tls * kTlsBytes + table;
  return needed;
}

std::optional<std::uint64_t> cgroup_limit(const std::string& root, const std::string& own) {
  std::optional<std::uint64_t> least;
  // Of the root itself there is no such file.
  for (std::string path = own; path.size() > 1; path.resize(path.rfind('/'))) {
    std::ifstream file(root + path + "/memory.max");
    std::uint64_t bytes = 0;
    if (file >> bytes) least = std::min(least.value_or(bytes), bytes);  // else "max"
    if (path.find('/') == std::string::npos) break;
  }
  return least;
}

MemoryLimits memory_limits(const std::string& directory) {
  MemoryLimits limits;
  rlimit space{};
  if (getrlimit(RLIMIT_AS, &space) == 0 && space.rlim_cur != RLIM_INFINITY)
    limits.address_space = space.rlim_cur;
  std::ifstream own("/proc/self/cgroup");
  for (std::string line; std::getline(own, line);) {
    if (line.starts_with("0::/")) limits.cgroup = cgroup_limit("/sys/fs/cgroup", line.substr(3));
  }
  // Within a container's namespace its own group is the root, which does have the file.
  std::ifstream inner("/sys/fs/cgroup/memory.max");
  std::uint64_t bytes = 0;
  if (inner >> bytes) limits.cgroup = std::min(limits.cgroup.value_or(bytes), bytes);
  // A segment that is there is adopted, and claims nothing more.
  std::error_code error;
  std::filesystem::path place = directory;
  if (std::filesystem::exists(place / "locator", error)) return limits;
  while (!std::filesystem::exists(place, error) && place.has_parent_path() &&
         place != place.parent_path()) {
    place = place.parent_path();
  }
  struct statvfs there{};
  if (statvfs(place.c_str(), &there) == 0 && there.f_blocks != 0)
    limits.free_space = std::uint64_t{there.f_bavail} * there.f_frsize;
  return limits;
}

std::optional<std::string> exceeded_memory(const checker::Settings& settings,
                                           const MemoryLimits& limits,
                                           const std::string& directory) {
  const MemoryNeeded needed = memory_needed(settings);
  std::size_t instances = 0;
  for (const checker::ServiceSettings& service : settings.services)
    instances += service.instances.size();
  const std::string who = std::to_string(instances) + " instances and " +
                          std::to_string(settings.max_workers) + " workers need at least ";
  if (limits.cgroup && *limits.cgroup < needed.process) {
    return who + mib(needed.process) + " of memory, and memory.max of the cgroup is " +
           mib(*limits.cgroup) +
           ": raise MemoryMax= in ballastd's unit (a container's --memory), or split the services "
           "over several namespaces";
  }
  if (limits.address_space && *limits.address_space < needed.mapped) {
    return who + mib(needed.mapped) + " of address space, and RLIMIT_AS is " +
           mib(*limits.address_space) +
           ": raise LimitAS= in ballastd's unit (without systemd: ulimit -v), or lower "
           "ballast.max_workers";
  }
  if (limits.free_space && *limits.free_space < needed.files) {
    return who + mib(needed.files) + " in " + directory + ", whose file system has " +
           mib(*limits.free_space) + kRoomAdvice;
  }
  return std::nullopt;
}

std::string with_advice(const shm::Error& error) {
  if (error.kind != shm::ErrorKind::full) return error.to_text();
  return error.to_text() + kRoomAdvice;
}

}  // namespace ballast::tools
