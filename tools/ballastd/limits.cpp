// Counting, and the words.
#include "tools/ballastd/limits.hpp"

#include <sys/resource.h>

#include <algorithm>

#include "engine/checker/loop/loop.hpp"

namespace ballast::tools {
namespace {

using checker::CheckKind;

// Checks on new connections that are under way at the same time, at most; more wait their turn.
constexpr std::size_t kUnderWay = 256;

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

std::string with_advice(const shm::Error& error) {
  if (error.kind != shm::ErrorKind::full) return error.to_text();
  return error.to_text() +
         ": give the file system more room (a container's /dev/shm: --shm-size), choose another "
         "ballast.directory, or lower ballast.max_workers";
}

}  // namespace ballast::tools
