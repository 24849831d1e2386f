// A published namespace to measure on: made by the real publisher in a directory of its own, every
// instance up. The calling process holds the lease; forked processes attach to it like any worker.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "engine/checker/publishing/publisher.hpp"
#include "engine/strategy.hpp"
#include "tests/support/temp_dir.hpp"

namespace ballast::bench {

inline constexpr const char* kServiceName = "bench";

// One service of `instances` instances, not checked by anybody.
[[nodiscard]] checker::Settings settings_of(std::size_t instances, engine::Strategy strategy);

class Namespace {
 public:
  Namespace(std::size_t instances, engine::Strategy strategy);

  [[nodiscard]] const std::string& directory() const noexcept { return directory_.path(); }
  [[nodiscard]] checker::Publisher& publisher() noexcept { return *publisher_; }

 private:
  tests::TempDir directory_;
  std::unique_ptr<checker::Publisher> publisher_;
};

// Publishes and marks every instance up. Throws if it cannot.
[[nodiscard]] std::unique_ptr<checker::Publisher> open_publisher(const std::string& directory,
                                                                 const checker::Settings& settings);

}  // namespace ballast::bench
