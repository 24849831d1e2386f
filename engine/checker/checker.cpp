// Keeps three views of the instances together: the settings, what the prober checks, and where the
// publisher has put them. The prober knows an instance by a number of our own, which it keeps from
// the shadow into office and through reloads, and so do its connections.
#include "engine/checker/checker.hpp"

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/checker/checker_target.hpp"
#include "engine/checker/probing/agent_check.hpp"
#include "engine/checker/publishing/agent_transitions.hpp"
#include "engine/checker/publishing/instance_use.hpp"
#include "engine/checker/publishing/known_health.hpp"
#include "engine/checker/publishing/publisher.hpp"
#include "engine/checker/steering/worker_watch.hpp"

namespace ballast::checker {
namespace {

// Looks at loads take at most a fifth of the checker's time.
constexpr int kLoadPauseFactor = 4;
// From one look at failures that workers report to the next.
constexpr std::chrono::milliseconds kFailureLook{20};
// Ticks from one look at what is asked of instances to the next: a second.
constexpr unsigned kDemandTicks = 10;

}  // namespace

class Checker::Impl {
 public:
  Impl(Loop& loop, CheckerOptions options)
      : loop_(loop),
        options_(std::move(options)),
        prober_(
            loop, options_.prober,
            [this](InstanceId id, const Verdict& verdict) { on_verdict(id, verdict); },
            [this](InstanceId id, const CheckResult& result) { on_check(id, result); }) {}

  ~Impl() { stop_ticking(); }

  void start_in_shadow(const Settings& settings, const std::string& directory) {
    follow(settings, read_known_health(directory));
  }

  [[nodiscard]] std::size_t unchecked() const noexcept {
    std::size_t count = 0;
    for (const auto& [id, target] : targets_) {
      if (!target.checked && target.check->kind != CheckKind::none) ++count;
    }
    return count;
  }

  shm::Status take(shm::Lease lease, const Settings& settings) {
    auto publisher = Publisher::open(std::move(lease), settings);
    if (!publisher) return publisher.error();
    publisher->set_transition_sink([this](const Transition& transition) { log(transition); });
    if (publisher->adopted()) publisher->record(taken_over(*publisher, settings));
    if (const auto& lost = publisher->lost_workers()) {
      // Without the advice, which is taken here.
      const std::string what = lost->to_text();
      Transition told = about({}, shm::EventKind::workers_file_lost, shm::EventBy::checker);
      told.level = Level::warning;
      told.event.value = publisher->segment_id();
      told.also = {{"because", what.substr(0, what.find(';'))},
                   {"consequence", "counts start again from zero in another segment"}};
      publisher->record(std::move(told));
    }
    if (const auto applied = publisher->apply(settings); !applied) return applied.error();
    if (!publisher->adopted()) publisher->record(taken_over(*publisher, settings));
    publisher_.emplace(std::move(*publisher));
    settle(settings);
    ticker_ = loop_.every(kTickPeriod, [this] { tick(); });
    load_timer_ = loop_.timers().create([this] { look_at_loads(); });
    tick();  // beat at once, and reap who died while nobody was in office
    if (publisher_) look_at_loads();
    return shm::Done{};
  }

  shm::Status reload(const Settings& settings) {
    const std::vector<InstanceId> trusted_now = trust_before_checking(settings);
    for (const Notice& notice : publisher_->take_notices())
      tell_notice(notice);
    if (const auto applied = publisher_->apply(settings); !applied) {
      for (const InstanceId id : trusted_now)
        assume(id, Health::unknown);
      return applied.error();
    }
    settle(settings);
    look_at_loads();  // perhaps more often from now on
    return shm::Done{};
  }

  void leave() noexcept {
    stop_ticking();
    if (publisher_) {
      Transition left = about({}, shm::EventKind::checker_left, shm::EventBy::checker);
      name_checker(left, *publisher_);
      publisher_->record(std::move(left));
      publisher_->leave();
    }
    publisher_.reset();
  }

  void record(Transition transition) {
    if (publisher_) {
      publisher_->record(std::move(transition));
    } else {
      log(transition);
    }
  }

  shm::Status eject(const std::string& service, const shm::Endpoint& instance,
                    Milliseconds duration) {
    const auto found = ids_.find({service, instance.to_words()});
    if (!publisher_ || found == ids_.end()) {
      return shm::Error{shm::ErrorKind::not_found, 0, "eject", instance.to_text(),
                        "service " + service + " has no such instance"};
    }
    const Target& target = targets_.at(found->second);
    return publisher_->eject(target.slot, target.incarnation, duration);
  }

  [[nodiscard]] const Publisher* publisher() const noexcept {
    return publisher_ ? &*publisher_ : nullptr;
  }

  [[nodiscard]] ProberStats stats() const { return prober_.stats(); }
  [[nodiscard]] const std::vector<CheckCounts>& check_counts() const noexcept {
    return tally_.all();
  }

 private:
  void log(const Transition& transition) const {
    if (options_.on_event) options_.on_event(to_log(transition));
  }

  // Makes the prober check what the settings name, and nothing else.
  void follow(const Settings& settings, const std::map<InstanceKey, Health>& known) {
    std::vector<InstanceId> wanted;
    for (const ServiceSettings& service : settings.services) {
      const CheckSettings agent = agent_check(service.agent);
      std::shared_ptr<const CheckSettings>& check = checks_[service.name];
      if (check == nullptr || !(*check == service.check)) {
        check = std::make_shared<const CheckSettings>(service.check);
      }
      for (const InstanceSettings& instance : service.instances) {
        const InstanceKey key{service.name, instance.endpoint.to_words()};
        follow(key, service, instance, check, known);
        const InstanceId id = ids_.at(key);
        follow_agent(id, service, agent);
        wanted.push_back(id);
      }
    }
    std::sort(wanted.begin(), wanted.end());
    std::erase_if(checks_, [&](const auto& entry) {
      return std::none_of(settings.services.begin(), settings.services.end(),
                          [&](const auto& service) { return service.name == entry.first; });
    });
    std::erase_if(ids_, [&](const auto& entry) {
      if (std::binary_search(wanted.begin(), wanted.end(), entry.second)) return false;
      prober_.remove(entry.second);
      prober_.remove(agent_of(entry.second));
      targets_.erase(entry.second);
      return true;
    });
  }

  void follow(const InstanceKey& key, const ServiceSettings& service,
              const InstanceSettings& instance, const std::shared_ptr<const CheckSettings>& check,
              const std::map<InstanceKey, Health>& known) {
    if (const auto found = ids_.find(key); found != ids_.end()) {
      Target& target = targets_.at(found->second);
      const bool same = target.instance.text == instance.text &&
                        target.instance.check_endpoint == instance.check_endpoint &&
                        target.check == check;
      if (!same) prober_.update(found->second, instance, *check);
      if (check->kind == CheckKind::none) target.health = Health::unknown;
      target.instance = instance;
      target.check = check;
      return;
    }
    Target target;
    target.service = service.name;
    target.instance = instance;
    target.check = check;
    const auto knowledge = known.find(key);
    if (knowledge != known.end() && check->kind != CheckKind::none) {
      target.health = knowledge->second;
    }
    const InstanceId id = next_id_++;
    const Health health = target.health;
    ids_.emplace(key, id);
    targets_.emplace(id, std::move(target));
    prober_.add(id, instance, *check, health);
  }

  // The agent beside the check, if the service has one.
  void follow_agent(InstanceId id, const ServiceSettings& service, const CheckSettings& check) {
    Target& target = targets_.at(id);
    if (!has_agent(service)) target.agent = {};
    if (service.agent.port == 0) {
      prober_.remove(agent_of(id));
      return;
    }
    const InstanceSettings place = agent_place(target.instance);
    if (!prober_.update(agent_of(id), place, check)) prober_.add(agent_of(id), place, check);
  }

  // After the publisher has applied `settings`: follows them, and brings table and targets to one
  // opinion.
  void settle(const Settings& settings) {
    std::map<InstanceKey, Health> known;
    const auto key_of = [&](const PublishedInstance& published) {
      const ServiceSettings& service = settings.services[published.service];
      return InstanceKey{service.name, service.instances[published.instance].endpoint.to_words()};
    };
    for (const auto& published : publisher_->instances())
      known[key_of(published)] = published.health;
    follow(settings, known);
    for (const auto& published : std::vector(publisher_->instances())) {
      Target& target = targets_.at(ids_.at(key_of(published)));
      target.slot = published.slot;
      target.incarnation = published.incarnation;
      if (has_agent(settings.services[published.service])) {
        // What was said to the checkers before this one, and then to this one in the shadow.
        publisher_->set_agent(target.slot, target.incarnation, target.agent);
        target.agent = publisher_->agent(target.slot, target.incarnation);
      }
      const bool unchecked = target.check->kind == CheckKind::none;
      if (target.health == Health::unknown && !unchecked) target.health = published.health;
      if (target.health == published.health) continue;
      publish(target);
      // What was found out in the shadow.
      if (target.health != Health::unknown) record(flipped(target, published.health, {}));
    }
    watch_workers(settings);
    tally_.keep(settings);
  }

  void watch_workers(const Settings& settings) {
    std::vector<WorkerWatch::Member> members;
    members.reserve(publisher_->instances().size());
    for (const PublishedInstance& published : publisher_->instances()) {
      const ServiceSettings& service = settings.services[published.service];
      if (service.check.kind == CheckKind::none) continue;
      const InstanceSettings& instance = service.instances[published.instance];
      WorkerWatch::Member member;
      member.id = ids_.at({service.name, instance.endpoint.to_words()});
      member.slot = published.slot;
      member.incarnation = published.incarnation;
      member.failures_to_check = service.check.failures_to_check;
      member.wants_demand = service.check.idle_interval > Milliseconds(0) ||
                            service.check.eased_interval > Milliseconds(0);
      members.push_back(member);
    }
    watch_.follow(publisher_->segment(), members, steady_ms());
    if (watch_.waits_for_failures() == failure_timer_.has_value()) return;
    if (failure_timer_) {
      loop_.timers().destroy(*failure_timer_);
      failure_timer_.reset();
    } else {
      failure_timer_ = loop_.every(kFailureLook, [this] { look_at_failures(); });
    }
  }

  void look_at_failures() {
    if (!publisher_) return;
    for (const InstanceId id : watch_.failing(publisher_->segment()))
      prober_.check_soon(id);
  }

  void look_at_demand() {
    for (const auto& [id, demand] : watch_.demands(publisher_->loads(), steady_ms()))
      prober_.set_demand(id, demand);
  }

  // An instance that is used without a check, and from now on needs one, must not drop out until
  // that check: it counts as up until the check says otherwise. Returns whom that concerned.
  std::vector<InstanceId> trust_before_checking(const Settings& settings) {
    std::vector<InstanceId> trusted_now;
    for (const ServiceSettings& service : settings.services) {
      if (is_trusted(service.check)) continue;
      for (const InstanceSettings& instance : service.instances) {
        const auto found = ids_.find({service.name, instance.endpoint.to_words()});
        if (found == ids_.end()) continue;
        const InstanceId id = found->second;
        const Target& target = targets_.at(id);
        if (target.health != Health::unknown || !is_trusted(*target.check)) continue;
        assume(id, Health::up);
        trusted_now.push_back(id);
      }
    }
    return trusted_now;
  }

  // Sets an instance's health without a check's result.
  void assume(InstanceId id, Health health) {
    Target& target = targets_.at(id);
    target.health = health;
    publisher_->set_health(target.slot, target.incarnation, health, Reason::not_checked);
    prober_.remove(id);
    prober_.add(id, target.instance, *target.check, health);
  }

  void publish(const Target& target) {
    if (!publisher_) return;
    publisher_->set_health(target.slot, target.incarnation, target.health, target.reason);
  }

  void on_verdict(InstanceId id, const Verdict& verdict) {
    const auto found = targets_.find(id);
    if (found == targets_.end()) return;
    Target& target = found->second;
    const Health before = target.health;
    target.health = verdict.healthy ? Health::up : Health::down;
    target.reason = verdict.check.reason;
    publish(target);
    // While the agent says that it is down, nothing changes for anybody.
    const bool hidden = target.agent.up == false;
    if (publisher_ && !hidden) record(flipped(target, before, verdict.check));
  }

  void on_check(InstanceId id, const CheckResult& result) {
    const auto found = targets_.find(is_agent(id) ? spoken_for(id) : id);
    if (found == targets_.end()) return;
    Target& target = found->second;
    if (result.agent) hear_agent(target, result);
    tally_.count(target.service, is_agent(id) ? CheckKind::agent : target.check->kind, result);
    if (is_agent(id)) return;  // whether it can be reached says nothing of the instance
    target.checked = true;
    if (target.health == Health::unknown && result.passed()) {
      // Trusted from the start: the prober has no news, but the table does not say "up" yet.
      target.health = Health::up;
      target.reason = result.reason;
      publish(target);
    }
    if (publisher_) {
      publisher_->record_check(target.slot, target.incarnation, result.passed(),
                               static_cast<std::uint32_t>(result.latency.count()));
      watch_.checked(publisher_->segment(), target.slot);
    }
  }

  void hear_agent(Target& target, const CheckResult& result) {
    const AgentReport before = target.agent;
    if (!publisher_) {  // until the publisher puts it together with what former ones were told
      target.agent = engine::merged(before, *result.agent);
      return;
    }
    if (!publisher_->set_agent(target.slot, target.incarnation, *result.agent)) return;
    target.agent = publisher_->agent(target.slot, target.incarnation);
    for (Transition& told :
         agent_transitions(target.service, target.instance, target.health, before, target.agent)) {
      if (!result.note.empty()) told.also.emplace_back("note", result.note);
      record(std::move(told));
    }
  }

  void tick() {
    const TickReport report = publisher_->tick();
    if (++ticks_ % kDemandTicks == 0) look_at_demand();
    for (const Notice& notice : report.notices)
      tell_notice(notice);
    const bool hands_over =
        report.handover_requested && (!options_.may_hand_over || options_.may_hand_over());
    if (report.directory_gone || hands_over) {
      const bool gone = report.directory_gone;
      stop_ticking();
      if (gone) {
        Transition told = about({}, shm::EventKind::directory_gone, shm::EventBy::checker);
        told.level = Level::error;
        told.event.value = publisher_->segment_id();
        record(std::move(told));
      }
      if (options_.on_stop) {
        options_.on_stop(gone ? StopReason::directory_gone : StopReason::handover);
      }
    }
  }

  void look_at_loads() {
    if (!publisher_ || !load_timer_) return;
    const auto from = std::chrono::steady_clock::now();
    const auto next = publisher_->look_at_loads();
    const auto now = std::chrono::steady_clock::now();
    // However much there is to look at, most of the time belongs to the checks.
    loop_.timers().arm(*load_timer_, now + std::max(next, kLoadPauseFactor * (now - from)));
  }

  void tell_notice(const Notice& notice) {
    record(to_transition(notice, publisher_->settings().services[notice.service]));
  }

  void stop_ticking() noexcept {
    for (auto* const timer : {&ticker_, &load_timer_, &failure_timer_}) {
      if (*timer) loop_.timers().destroy(**timer);
      timer->reset();
    }
  }

  Loop& loop_;
  CheckerOptions options_;
  std::unordered_map<InstanceId, Target> targets_;
  std::map<InstanceKey, InstanceId> ids_;
  InstanceId next_id_ = 1;
  std::optional<Publisher> publisher_;
  std::optional<Timers::Id> ticker_;
  std::optional<Timers::Id> load_timer_;
  std::optional<Timers::Id> failure_timer_;
  unsigned ticks_ = 0;
  WorkerWatch watch_;
  CheckTally tally_;
  std::map<std::string, std::shared_ptr<const CheckSettings>> checks_;  // by service
  Prober prober_;  // last, so that it is gone before what its callbacks use
};

Checker::Checker(Loop& loop, CheckerOptions options)
    : impl_(std::make_unique<Impl>(loop, std::move(options))) {}
Checker::~Checker() = default;

void Checker::start_in_shadow(const Settings& settings, const std::string& directory) {
  impl_->start_in_shadow(settings, directory);
}
std::size_t Checker::unchecked() const noexcept {
  return impl_->unchecked();
}
shm::Status Checker::take(shm::Lease lease, const Settings& settings) {
  return impl_->take(std::move(lease), settings);
}
shm::Status Checker::reload(const Settings& settings) {
  return impl_->reload(settings);
}
void Checker::record(Transition transition) {
  impl_->record(std::move(transition));
}
void Checker::leave() noexcept {
  impl_->leave();
}
shm::Status Checker::eject(const std::string& service, const shm::Endpoint& instance,
                           Milliseconds duration) {
  return impl_->eject(service, instance, duration);
}
const Publisher* Checker::publisher() const noexcept {
  return impl_->publisher();
}
ProberStats Checker::stats() const {
  return impl_->stats();
}
const std::vector<CheckCounts>& Checker::check_counts() const noexcept {
  return impl_->check_counts();
}

}  // namespace ballast::checker
