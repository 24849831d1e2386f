// Making the namespace.
#include "bench/support/namespace.hpp"

#include <stdexcept>
#include <utility>

namespace ballast::bench {

checker::Settings settings_of(std::size_t instances, engine::Strategy strategy) {
  checker::Settings settings;
  settings.max_workers = 16;
  checker::ServiceSettings service;
  service.name = kServiceName;
  service.policy.strategy = strategy;
  service.check.kind = checker::CheckKind::none;
  for (std::size_t i = 0; i < instances; ++i) {
    const std::string text =
        "127.1." + std::to_string(i / 250) + "." + std::to_string(1 + i % 250) + ":8080";
    service.instances.push_back({*shm::parse_endpoint(text), text, 1});
  }
  settings.services.push_back(std::move(service));
  return settings;
}

std::unique_ptr<checker::Publisher> open_publisher(const std::string& directory,
                                                   const checker::Settings& settings) {
  auto lease = shm::Lease::acquire(directory, shm::Lease::Wait::no);
  if (!lease) throw std::runtime_error(lease.error().to_text());
  auto publisher = checker::Publisher::open(std::move(*lease), settings);
  if (!publisher) throw std::runtime_error(publisher.error().to_text());
  if (const auto applied = publisher->apply(settings); !applied) {
    throw std::runtime_error(applied.error().to_text());
  }
  return std::make_unique<checker::Publisher>(std::move(*publisher));
}

Namespace::Namespace(std::size_t instances, engine::Strategy strategy)
    : publisher_(open_publisher(directory_.path(), settings_of(instances, strategy))) {
  for (const checker::PublishedInstance& instance : publisher_->instances()) {
    publisher_->set_health(instance.slot, instance.incarnation, shm::Health::up,
                           shm::Reason::passed);
  }
}

}  // namespace ballast::bench
