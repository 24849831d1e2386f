// Keeps three views of the instances together: the settings, what the prober checks, and where the
// publisher has put them. The prober knows an instance by a number of our own, which it keeps from
// the shadow into office and through reloads, and so do its connections.
#include "engine/checker/checker.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/checker/publishing/instance_use.hpp"
#include "engine/checker/publishing/known_health.hpp"
#include "engine/checker/publishing/publisher.hpp"

namespace ballast::checker {
namespace {

// Looks at loads take at most a fifth of the checker's time.
constexpr int kLoadPauseFactor = 4;

struct Target {
  std::string service;
  InstanceSettings instance;
  CheckSettings check;
  Health health = Health::unknown;
  Reason reason = Reason::none;  // of the last verdict
  bool checked = false;
  // Where the publisher has it; meaningless in the shadow.
  std::uint16_t slot = 0;
  std::uint32_t incarnation = 0;
};

std::size_t count_instances(const Settings& settings) {
  std::size_t count = 0;
  for (const ServiceSettings& service : settings.services)
    count += service.instances.size();
  return count;
}

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
      if (!target.checked && target.check.kind != CheckKind::none) ++count;
    }
    return count;
  }

  shm::Status take(shm::Lease lease, const Settings& settings) {
    auto publisher = Publisher::open(std::move(lease), settings);
    if (!publisher) return publisher.error();
    if (const auto& lost = publisher->lost_workers()) {
      // Without the advice, which is taken here.
      const std::string what = lost->to_text();
      tell(Level::warning, "workers_file_lost",
           {{"because", what.substr(0, what.find(';'))},
            {"consequence", "counts start again from zero in another segment"}});
    }
    if (const auto applied = publisher->apply(settings); !applied) return applied.error();
    publisher_.emplace(std::move(*publisher));
    settle(settings);
    ticker_ = loop_.every(kTickPeriod, [this] { tick(); });
    load_timer_ = loop_.timers().create([this] { look_at_loads(); });
    tell(Level::info, publisher_->adopted() ? "segment_adopted" : "segment_created",
         {{"segment", std::to_string(publisher_->segment_id())},
          {"term", std::to_string(publisher_->term())},
          {"services", std::to_string(settings.services.size())},
          {"instances", std::to_string(count_instances(settings))}});
    tick();  // beat at once, and reap who died while nobody was in office
    if (publisher_) look_at_loads();
    return shm::Done{};
  }

  shm::Status reload(const Settings& settings) {
    const std::uint64_t segment = publisher_->segment_id();
    const std::vector<InstanceId> trusted_now = trust_before_checking(settings);
    for (const Notice& notice : publisher_->take_notices())
      tell_notice(notice);
    if (const auto applied = publisher_->apply(settings); !applied) {
      for (const InstanceId id : trusted_now)
        assume(id, Health::unknown);
      return applied.error();
    }
    if (publisher_->segment_id() != segment) {
      tell(Level::info, "segment_grown",
           {{"from", std::to_string(segment)}, {"to", std::to_string(publisher_->segment_id())}});
    }
    settle(settings);
    look_at_loads();  // perhaps more often from now on
    return shm::Done{};
  }

  void leave() noexcept {
    stop_ticking();
    if (publisher_) publisher_->leave();
    publisher_.reset();
  }

  [[nodiscard]] ProberStats stats() const { return prober_.stats(); }

 private:
  void tell(Level level, std::string name,
            std::vector<std::pair<std::string, std::string>> fields) {
    if (options_.on_event) options_.on_event({level, std::move(name), std::move(fields)});
  }

  // Makes the prober check what the settings name, and nothing else.
  void follow(const Settings& settings, const std::map<InstanceKey, Health>& known) {
    std::set<InstanceKey> wanted;
    for (const ServiceSettings& service : settings.services) {
      for (const InstanceSettings& instance : service.instances) {
        InstanceKey key{service.name, instance.endpoint.to_words()};
        follow(key, service, instance, known);
        wanted.insert(std::move(key));
      }
    }
    std::erase_if(ids_, [&](const auto& entry) {
      if (wanted.contains(entry.first)) return false;
      prober_.remove(entry.second);
      targets_.erase(entry.second);
      return true;
    });
  }

  void follow(const InstanceKey& key, const ServiceSettings& service,
              const InstanceSettings& instance, const std::map<InstanceKey, Health>& known) {
    if (const auto found = ids_.find(key); found != ids_.end()) {
      Target& target = targets_.at(found->second);
      const bool same = target.instance.text == instance.text && target.check == service.check;
      if (!same) prober_.update(found->second, instance, service.check);
      if (service.check.kind == CheckKind::none) target.health = Health::unknown;
      target.instance = instance;
      target.check = service.check;
      return;
    }
    Target target;
    target.service = service.name;
    target.instance = instance;
    target.check = service.check;
    const auto knowledge = known.find(key);
    if (knowledge != known.end() && service.check.kind != CheckKind::none) {
      target.health = knowledge->second;
    }
    const InstanceId id = next_id_++;
    const Health health = target.health;
    ids_.emplace(key, id);
    targets_.emplace(id, std::move(target));
    prober_.add(id, instance, service.check, health);
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
      const bool unchecked = target.check.kind == CheckKind::none;
      if (target.health == Health::unknown && !unchecked) target.health = published.health;
      if (target.health != published.health) publish(target);
    }
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
        if (target.health != Health::unknown || !is_trusted(target.check)) continue;
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
    prober_.add(id, target.instance, target.check, health);
  }

  void publish(const Target& target) {
    if (!publisher_) return;
    publisher_->set_health(target.slot, target.incarnation, target.health, target.reason);
  }

  void on_verdict(InstanceId id, const Verdict& verdict) {
    const auto found = targets_.find(id);
    if (found == targets_.end()) return;
    Target& target = found->second;
    target.health = verdict.healthy ? Health::up : Health::down;
    target.reason = verdict.check.reason;
    publish(target);
    if (!publisher_) return;
    tell(verdict.healthy ? Level::info : Level::warning,
         verdict.healthy ? "instance_up" : "instance_down",
         {{"service", target.service},
          {"instance", target.instance.text},
          {"reason", shm::to_text(target.reason)},
          {"detail", std::to_string(verdict.check.detail)},
          {"check_us", std::to_string(verdict.check.latency.count())}});
  }

  void on_check(InstanceId id, const CheckResult& result) {
    const auto found = targets_.find(id);
    if (found == targets_.end()) return;
    Target& target = found->second;
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
    }
  }

  void tick() {
    const TickReport report = publisher_->tick();
    if (report.reaped_rows != 0) {
      tell(Level::warning, "rows_reaped",
           {{"rows", std::to_string(report.reaped_rows)},
            {"abandoned", std::to_string(report.abandoned)}});
    }
    for (const Notice& notice : report.notices)
      tell_notice(notice);
    if (report.drained_previous) tell(Level::info, "segment_drained", {});
    if (report.directory_gone || report.handover_requested) {
      const bool gone = report.directory_gone;
      stop_ticking();
      if (gone) tell(Level::error, "directory_gone", {});
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
    const ServiceSettings& service = publisher_->settings().services[notice.service];
    std::vector<std::pair<std::string, std::string>> fields{{"service", service.name}};
    const auto add = [&](const char* name, std::string value) {
      fields.emplace_back(name, std::move(value));
    };
    switch (notice.kind) {
      case Notice::Kind::ejected:
        add("instance", service.instances[notice.instance].text);
        add("reason", to_text(notice.verdict.reason));
        add("value", std::to_string(std::llround(notice.verdict.value)));
        add("limit", std::to_string(std::llround(notice.verdict.limit)));
        add("for_ms", std::to_string(notice.for_ms));
        add("times", std::to_string(notice.times));
        tell(Level::warning, "instance_ejected", std::move(fields));
        break;
      case Notice::Kind::taken_back:
        add("instance", service.instances[notice.instance].text);
        add("because", to_text(notice.because));
        tell(Level::info, "instance_taken_back", std::move(fields));
        break;
      case Notice::Kind::panic_began:
        add("mode", notice.mode == engine::PanicMode::fail ? "fail" : "all");
        tell(Level::error, "panic_began", std::move(fields));
        break;
      case Notice::Kind::panic_ended:
        tell(Level::info, "panic_ended", std::move(fields));
        break;
    }
  }

  void stop_ticking() noexcept {
    for (auto* const timer : {&ticker_, &load_timer_}) {
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
void Checker::leave() noexcept {
  impl_->leave();
}
ProberStats Checker::stats() const {
  return impl_->stats();
}

}  // namespace ballast::checker
