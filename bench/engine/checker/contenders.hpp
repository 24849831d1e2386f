// The two programs that the suite `checker` compares, each with the same targets and the same
// rhythm: HAProxy as Debian has it, and ballastd as it was built here. Both run on the second
// processor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "bench/support/program.hpp"
#include "shm/endpoint.hpp"
#include "tests/support/temp_dir.hpp"

namespace ballast::bench {

inline constexpr unsigned kTargetsRank = 0;
inline constexpr unsigned kCheckerRank = 1;

enum class Checks : std::uint8_t {
  http_keepalive,  // HAProxy has none of these: it connects for every check
  http,
  tcp,
};

struct ContenderOptions {
  Checks checks = Checks::http_keepalive;
  std::size_t instances = 10'000;
  std::uint16_t port = 0;  // of the targets
  std::uint32_t interval_ms = 1000;
  std::vector<shm::Endpoint> more{};  // besides the targets
  // So many of the instances, the last ones, are checked on new connections (http_keepalive).
  std::size_t reconnecting = 0;
  bool at_ease = false;  // neither at real-time priority nor on a processor of its own
  std::string extra{};   // lines for the end of ballastd's section `check`
  // Not 0: ballastd has everything switched on that might cost, and is to be scraped at this port.
  std::uint16_t metrics_port = 0;
};

// One that runs, with the files that it needs.
class Contender {
 public:
  [[nodiscard]] Program& program() noexcept { return *program_; }
  [[nodiscard]] const std::string& directory() const noexcept { return directory_.path(); }

 protected:
  Contender() = default;
  tests::TempDir directory_;
  std::unique_ptr<Program> program_;
};

class HaproxyChecker : public Contender {
 public:
  // Throws, saying what to install, if there is no HAProxy.
  explicit HaproxyChecker(const ContenderOptions& options);
};

class BallastChecker : public Contender {
 public:
  explicit BallastChecker(const ContenderOptions& options);

  // Started again with the same files, after it was killed.
  void start();
  // Reads another configuration while it runs.
  void reload(const ContenderOptions& options);
  // Where the segments are.
  [[nodiscard]] std::string segments() const { return directory() + "/ballast"; }
  [[nodiscard]] std::string configuration() const { return directory() + "/ballast.toml"; }

 private:
  bool at_ease_;
  unsigned starts_ = 0;
};

// The version line of the HAProxy that is used.
[[nodiscard]] std::string haproxy_version();

}  // namespace ballast::bench
