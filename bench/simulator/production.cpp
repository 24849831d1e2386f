// Making the namespace, and keeping the load watch's time.
#include "bench/simulator/production.hpp"

#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "bench/support/namespace.hpp"
#include "engine/ballast.h"
#include "engine/checker/loads/load_watch.hpp"
#include "engine/checker/publishing/publisher.hpp"
#include "engine/handle.hpp"
#include "tests/support/temp_dir.hpp"

namespace ballast::bench::sim {

namespace {

checker::Settings settings_for(const Sizes& sizes, const engine::Policy& policy,
                               std::uint32_t services) {
  checker::Settings settings;
  settings.max_workers = sizes.workers;
  for (std::uint32_t s = 0; s < services; ++s) {
    checker::ServiceSettings service = settings_of(sizes.backends, policy.strategy).services[0];
    service.name = "s" + std::to_string(s);
    service.policy = policy;
    settings.services.push_back(std::move(service));
  }
  return settings;
}

// What the handles take for the host's coarse clock: simulated time, from some moment on, so that
// no deadline is 0. One simulation runs at a time in a thread.
thread_local std::uint64_t simulated_ms = 0;
constexpr std::uint64_t kFirst_ms = 1'000'000;
void set_time(std::uint64_t now_ns) {
  simulated_ms = kFirst_ms + now_ns / 1'000'000;
}
std::uint64_t read_time() noexcept {
  return simulated_ms;
}

class Production final : public Chooser {
 public:
  Production(const Sizes& sizes, const engine::Policy& policy, Sharing sharing)
      : services_(sharing == Sharing::host ? 1 : sizes.workers),
        backends_(sizes.backends),
        publisher_(open_publisher(directory_.path(), settings_for(sizes, policy, services_))) {
    set_time(0);
    std::vector<checker::LoadMember> members;
    slots_.resize(std::size_t{services_} * backends_);
    for (const checker::PublishedInstance& p : publisher_->instances()) {
      slots_[p.service * backends_ + p.instance] = &p;
      if (backend_of_.size() <= p.slot) backend_of_.resize(p.slot + std::size_t{1}, kNoBackend);
      backend_of_[p.slot] = static_cast<std::uint32_t>(p.instance);
      publisher_->set_health(p.slot, p.incarnation, shm::Health::up, shm::Reason::passed);
      members.push_back({p.slot, p.incarnation,
                         static_cast<std::uint32_t>(
                             shm::get(publisher_->segment().table.instances[p.slot].service)),
                         policy.strategy == engine::Strategy::adaptive ? checker::CostRule::smooth
                                                                       : checker::CostRule::peak});
    }
    needs_loads_ = engine::needs_load(policy);
    loads_.follow(publisher_->segment(), members, std::chrono::nanoseconds(sizes.load_interval_ns),
                  needs_loads_, 0);
    for (std::uint32_t w = 0; w < sizes.workers; ++w) {
      auto handle = engine::Handle::attach(directory_.path());
      if (!handle) throw std::runtime_error(handle.error().to_text());
      Worker worker{std::move(*handle), {}};
      const std::string name = "s" + std::to_string(services_ == 1 ? 0 : w);
      if (worker.handle->find_service(name, worker.service) != BALLAST_OK) {
        throw std::runtime_error("simulator: no service " + name);
      }
      worker.handle->seed(sizes.seed * 1000 + w);
      worker.handle->set_clock(read_time);
      workers_.push_back(std::move(worker));
    }
  }

  Ticket pick(std::uint64_t now_ns, std::uint32_t worker, std::uint64_t key_hash) override {
    set_time(now_ns);
    ballast_pick_t pick;
    Worker& by = workers_[worker];
    if (by.handle->pick(by.service, &key_hash, sizeof key_hash, pick) != BALLAST_OK) {
      return {kNoBackend};
    }
    if (free_.empty()) {
      free_.push_back(picks_.size());
      picks_.emplace_back();
    }
    const std::size_t place = free_.back();
    free_.pop_back();
    picks_[place] = pick;
    return {backend_of_[pick.slot], place};
  }

  void report(std::uint64_t now_ns, std::uint32_t worker, const Ticket& ticket, Outcome outcome,
              std::uint64_t latency_ns) override {
    set_time(now_ns);
    static constexpr ballast_outcome_t kOutcomes[] = {BALLAST_SUCCESS, BALLAST_SERVER_ERROR,
                                                      BALLAST_TIMEOUT};
    const auto status = workers_[worker].handle->report(
        picks_[ticket.mark], kOutcomes[static_cast<int>(outcome)], latency_ns / 1000);
    if (status != BALLAST_OK) throw std::runtime_error("simulator: a report was refused");
    free_.push_back(ticket.mark);
  }

  void set_usable(std::uint64_t, std::uint32_t backend, bool usable) override {
    for (std::uint32_t s = 0; s < services_; ++s) {
      const checker::PublishedInstance& p = *slots_[std::size_t{s} * backends_ + backend];
      publisher_->set_health(p.slot, p.incarnation, usable ? shm::Health::up : shm::Health::down,
                             usable ? shm::Reason::passed : shm::Reason::connect_refused);
      if (usable) loads_.forget(p.slot);
    }
  }

  std::uint64_t tick(std::uint64_t now_ns) override {
    if (!needs_loads_) return 0;
    set_time(now_ns);
    return now_ns + static_cast<std::uint64_t>(loads_.look(publisher_->segment(), now_ns).count());
  }

 private:
  struct Worker {
    std::unique_ptr<engine::Handle> handle;
    ballast_service_t service;
  };

  tests::TempDir directory_;
  std::uint32_t services_;
  std::uint32_t backends_;
  std::unique_ptr<checker::Publisher> publisher_;
  checker::LoadWatch loads_;
  bool needs_loads_ = false;
  std::vector<const checker::PublishedInstance*> slots_;  // by service and backend
  std::vector<std::uint32_t> backend_of_;                 // by slot
  std::vector<Worker> workers_;
  std::vector<ballast_pick_t> picks_;
  std::vector<std::size_t> free_;
};

}  // namespace

std::unique_ptr<Chooser> production(const Sizes& sizes, const engine::Policy& policy,
                                    Sharing sharing) {
  return std::make_unique<Production>(sizes, policy, sharing);
}

}  // namespace ballast::bench::sim
