// A namespace of a test's own with a publisher that does what the test says: the checker without
// its probes.
#pragma once

#include <doctest/doctest.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/checker/publishing/publisher.hpp"
#include "engine/strategy.hpp"
#include "shm/endpoint.hpp"
#include "shm/totals.hpp"
#include "tests/support/temp_dir.hpp"

namespace ballast::tests {

// `count` instances 127.1.x.y:8080 from number `first` on, usable from the start.
inline checker::ServiceSettings service_of(std::string name, engine::Strategy strategy, int count,
                                           int first = 0) {
  checker::ServiceSettings service;
  service.name = std::move(name);
  service.policy.strategy = strategy;
  service.check.first_check = checker::FirstCheck::up;
  for (int n = first; n < first + count; ++n) {
    const std::string text =
        "127.1." + std::to_string(n / 250) + "." + std::to_string(1 + n % 250) + ":8080";
    service.instances.push_back({*shm::parse_endpoint(text), text, 1});
  }
  return service;
}

inline checker::Settings settings_of(std::vector<checker::ServiceSettings> services,
                                     std::uint32_t max_workers = 8) {
  checker::Settings settings;
  settings.max_workers = max_workers;
  settings.services = std::move(services);
  return settings;
}

class Published {
 public:
  explicit Published(checker::Settings settings) : settings_(std::move(settings)) { open(); }

  void apply(checker::Settings settings) {
    settings_ = std::move(settings);
    const shm::Status applied = publisher_->apply(settings_);
    REQUIRE_MESSAGE(applied, applied.error().to_text());
  }
  // Another checker takes over, from what the last one left.
  void restart_with(checker::Settings settings) {
    settings_ = std::move(settings);
    restart();
  }
  void restart() {
    leave();
    open();
  }
  // Until restart().
  void leave() {
    if (publisher_) publisher_->leave();
    publisher_.reset();
  }
  void set_usable(std::size_t service, std::size_t instance, bool usable) {
    const auto& p = find(service, instance);
    publisher_->set_health(p.slot, p.incarnation, usable ? shm::Health::up : shm::Health::down,
                           usable ? shm::Reason::passed : shm::Reason::connect_refused);
  }
  [[nodiscard]] const checker::PublishedInstance& find(std::size_t service,
                                                       std::size_t instance) const {
    for (const auto& p : publisher_->instances()) {
      if (p.service == service && p.instance == instance) return p;
    }
    FAIL("no such instance");
    return publisher_->instances().front();
  }
  // What all rows of the active segment and what was carried over say of a slot.
  [[nodiscard]] shm::Totals totals(std::uint32_t slot) const {
    const auto& segment = publisher_->segment();
    shm::Totals totals = shm::read_record(segment.table.carried[slot]);
    totals += shm::sum_rows(segment.workers, slot);
    return totals;
  }
  [[nodiscard]] std::int64_t in_flight() const {
    std::int64_t sum = 0;
    for (std::size_t slot = 0; slot < publisher_->segment().table.instances.size(); ++slot)
      sum += static_cast<std::int64_t>(totals(static_cast<std::uint32_t>(slot)).in_flight());
    return sum;
  }

  [[nodiscard]] checker::Publisher& publisher() noexcept { return *publisher_; }
  [[nodiscard]] const checker::Publisher& publisher() const noexcept { return *publisher_; }
  [[nodiscard]] const checker::Settings& settings() const noexcept { return settings_; }
  [[nodiscard]] const std::string& directory() const noexcept { return dir_.path(); }

 private:
  void open() {
    auto lease = shm::Lease::acquire(dir_.path(), shm::Lease::Wait::no);
    REQUIRE_MESSAGE(lease, lease.error().to_text());
    auto opened = checker::Publisher::open(std::move(*lease), settings_);
    REQUIRE_MESSAGE(opened, opened.error().to_text());
    publisher_.emplace(std::move(*opened));
    apply(settings_);
  }

  TempDir dir_;
  checker::Settings settings_;
  std::optional<checker::Publisher> publisher_;
};

}  // namespace ballast::tests
