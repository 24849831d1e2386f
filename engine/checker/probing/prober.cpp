// A target is one instance under check. It has one timer, which is the time of the next check while
// it rests and the deadline while a check runs, and at most two streams: the one that a check uses,
// and, where connections are watched without being used again, the older one that is kept as a
// sentinel. What is said on them is the exchange's business; what they travel over the recipe's.
#include "engine/checker/probing/prober.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/checker/probing/command_probe.hpp"
#include "engine/checker/probing/exchanges.hpp"
#include "engine/checker/probing/note.hpp"
#include "engine/checker/probing/outcome.hpp"
#include "engine/checker/probing/recipe.hpp"
#include "engine/checker/probing/schedule.hpp"
#include "engine/checker/probing/tls_streams.hpp"

namespace ballast::checker {

namespace {

using Clock = std::chrono::steady_clock;

// Of the loop's streams, so many may be idle ones that are kept; the rest is for checks.
constexpr std::size_t kept_limit(std::size_t max_streams) {
  return max_streams / 4 * 3;
}
// How soon an attempt to connect after a lost connection is made again; longer than a round trip
// within a site, and far shorter than the kernel's second.
constexpr Microseconds kSecondAttempt{100'000};
// A deadline that is noticed this late says more about this process than about the server.
constexpr auto kStalled = std::chrono::milliseconds(200);
constexpr std::size_t kCacheLine = 64;
// How often the log may complain that checks cannot be made.
constexpr auto kComplaintEvery = std::chrono::seconds(10);

}  // namespace

class Prober::Impl final : public StreamHandler,
                           public CommandHandler,
                           public TimerHandler,
                           private Schedule::Starter {
 public:
  Impl(Loop& loop, ProberOptions options, OnVerdict on_verdict, OnCheck on_check)
      : loop_(loop),
        encrypted_(loop),
        options_(std::move(options)),
        on_verdict_(std::move(on_verdict)),
        on_check_(std::move(on_check)),
        schedule_(loop.timers(), *this, options_.seed),
        recipes_(loop, encrypted_) {}

  ~Impl() {
    for (const auto& entry : index_of_)
      retire(entry.second);
    targets_.clear();  // before what they are made of
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  bool add(InstanceId id, const InstanceSettings& instance, const CheckSettings& check,
           Health known) {
    const auto [found, fresh] = index_of_.try_emplace(id, 0);
    if (!fresh) return false;
    std::uint32_t index = static_cast<std::uint32_t>(targets_.size());
    if (free_.empty()) {
      targets_.emplace_back();
    } else {
      index = free_.back();
      free_.pop_back();
    }
    found->second = index;
    targets_[index] = std::make_unique<Target>(check, known);
    Target& target = *targets_[index];
    target.id = id;
    target.index = index;
    target.timer = loop_.timers().create(*this, index);
    configure(target, instance, check);
    schedule_first(target);
    return true;
  }

  bool update(InstanceId id, const InstanceSettings& instance, const CheckSettings& check) {
    const auto found = index_of_.find(id);
    if (found == index_of_.end()) return false;
    Target& target = *targets_[found->second];
    if (is_same(target, instance, check)) return true;
    if (can_wait(target, check)) {
      target.successor = std::make_unique<Successor>(instance, recipes_.get(check));
      schedule_.count(target, check.interval);
    } else {
      drop_connections(target);
      configure(target, instance, check);
    }
    schedule_first(target);
    return true;
  }

  bool remove(InstanceId id) {
    const auto found = index_of_.find(id);
    if (found == index_of_.end()) return false;
    const std::uint32_t index = found->second;
    index_of_.erase(found);
    retire(index);
    targets_[index].reset();
    free_.push_back(index);
    return true;
  }

  bool check_soon(InstanceId id) {
    const auto found = index_of_.find(id);
    if (found == index_of_.end()) return false;
    Target& target = *targets_[found->second];
    if (!target.resting() || target.check().kind == CheckKind::none) return true;
    if (target.health.on_failures_reported(target.check(), Clock::now())) start_at_once(target);
    return true;
  }

  bool set_demand(InstanceId id, Demand demand) {
    const auto found = index_of_.find(id);
    if (found == index_of_.end()) return false;
    Target& target = *targets_[found->second];
    target.health.on_demand(demand);
    // What was put off for the demand there was may be too far away for what there is.
    const Microseconds interval = target.health.interval(target.check());
    const bool waits = target.phase == Phase::planned;
    if (waits && target.due > Clock::now() + interval) {
      schedule_.plan(target, {Microseconds(1), interval});
    }
    return true;
  }

  [[nodiscard]] ProberStats stats() const {
    ProberStats stats = stats_;
    stats.targets = index_of_.size();
    stats.held_back = schedule_.held_back();
    if (commands_ != nullptr) {
      stats.commands_running = commands_->running();
      stats.commands_stuck = commands_->stuck();
    }
    return stats;
  }

  void on_connect(StreamId stream, std::uint64_t user) override {
    Target* target = find(stream, user);
    if (target == nullptr || !connecting(*target)) return;
    if (target->exchange->connecting_is_all()) {
      return finish_check(*target, {Reason::passed, 0, {}}, /*keep=*/true);
    }
    if (std::exchange(target->phase, Phase::awaiting) == Phase::hurrying) {
      loop_.timers().arm(target->timer, target->started + target->check().timeout);
    }
  }

  void on_data(StreamId stream, std::uint64_t user, std::string_view bytes) override {
    Target* target = find(stream, user);
    if (target == nullptr) return;
    if (stream == target->sentinel || target->resting()) {
      return on_unasked(*target, stream, bytes);
    }
    take(*target, target->exchange->on_bytes(bytes));
  }

  void on_end(StreamId stream, std::uint64_t user, int error) override {
    Target* target = find(stream, user);
    if (target == nullptr) return;
    if (stream == target->sentinel) {
      target->sentinel = {};
      --stats_.kept;
      return on_kept_lost(*target);
    }
    target->stream = {};
    if (target->resting()) {
      --stats_.kept;
      return on_kept_lost(*target);
    }
    if (!connecting(*target)) return on_end_in_check(*target, error);
    if (is_local(error)) return give_up(*target, error);
    finish_check(*target, ended(*target, connect_failure(error), error));
  }

  void on_time(std::uint64_t user) override { on_timer(static_cast<std::uint32_t>(user)); }

  void fires_soon(std::uint64_t user) const noexcept override { fetch(user); }
  void fires_next(std::uint64_t user) const noexcept override { fetch_next(user); }
  void comes_soon(std::uint64_t user) const noexcept override { fetch(user); }

  void on_command_end(std::uint64_t user, CheckResult result) override {
    Target& target = *targets_[user];  // of one that is gone nothing is reported
    target.command->running = 0;
    schedule_.room_again(Schedule::For::command);
    finish_check(target, std::move(result));
  }

 private:
  struct Command {
    CommandRequest request;
    CommandProbe::Id running = 0;
  };

  // What an update asks for, until the first check that is made by it.
  struct Successor {
    InstanceSettings instance;
    std::shared_ptr<const Recipe> recipe;
  };

  struct Target : Scheduled {
    Target(const CheckSettings& settings, Health known) : health(settings, known) {}

    InstanceId id = 0;
    StreamId stream;    // of the check that runs; between checks the kept one that the next uses
    StreamId sentinel;  // the kept one that is only watched
    Clock::time_point started;
    shm::Endpoint endpoint;  // where it is checked
    std::shared_ptr<const Recipe> recipe;
    std::unique_ptr<Exchange> exchange;
    std::unique_ptr<Command> command;  // in the exchange's place
    std::unique_ptr<TlsPeer> tls;      // null: nothing is encrypted
    std::unique_ptr<Successor> successor;
    std::size_t text_hash = 0;  // of how the instance is written
    HealthMachine health;

    [[nodiscard]] const CheckSettings& check() const noexcept { return recipe->settings; }
    [[nodiscard]] Streams& streams() const noexcept { return *recipe->streams; }
  };

  // Ten thousand targets are too many for the processor's caches: what is needed of the next ones
  // is fetched while the one before is being dealt with.
  void fetch(std::uint64_t user) const noexcept {
    const auto* const bytes =
        user < targets_.size() ? reinterpret_cast<const char*>(targets_[user].get()) : nullptr;
    if (bytes == nullptr) return;
    for (std::size_t i = 0; i < sizeof(Target); i += kCacheLine)
      __builtin_prefetch(bytes + i, 1);
  }
  void fetch_next(std::uint64_t user) const noexcept {
    const Target* const target = user < targets_.size() ? targets_[user].get() : nullptr;
    if (target == nullptr) return;
    if (target->stream) loop_.fetch(target->stream);
    const auto* const bytes = reinterpret_cast<const char*>(target->exchange.get());
    if (bytes == nullptr) return;
    for (std::size_t i = 0; i < 3 * kCacheLine; i += kCacheLine)
      __builtin_prefetch(bytes + i, 1);
  }

  Target* find(StreamId stream, std::uint64_t user) {
    Target* target = user < targets_.size() ? targets_[user].get() : nullptr;
    if (target == nullptr || (stream != target->stream && stream != target->sentinel)) {
      return nullptr;
    }
    return target;
  }

  static std::size_t hash_of(const std::string& text) { return std::hash<std::string>()(text); }

  static shm::Endpoint checked_endpoint(const InstanceSettings& instance,
                                        const CheckSettings& check) {
    if (instance.check_endpoint.has_value()) return *instance.check_endpoint;
    shm::Endpoint endpoint = instance.endpoint;
    if (check.port != 0) endpoint.port = check.port;
    return endpoint;
  }

  static bool is_same(const Target& target, const InstanceSettings& instance,
                      const CheckSettings& check) {
    const shm::Endpoint endpoint = checked_endpoint(instance, check);
    if (const Successor* const next = target.successor.get()) {
      const CheckSettings& settings = next->recipe->settings;
      return checked_endpoint(next->instance, settings) == endpoint &&
             next->instance.text == instance.text && settings == check;
    }
    return target.endpoint == endpoint && target.text_hash == hash_of(instance.text) &&
           target.check() == check;
  }

  // With all instances updated at once, closing their connections at once would keep the loop from
  // everything else. A connection that rests may do so until the next check ends it.
  static bool can_wait(const Target& target, const CheckSettings& check) {
    return target.resting() && (target.stream || target.sentinel) && check.kind != CheckKind::none;
  }

  void succeed(Target& target) {
    const std::unique_ptr<Successor> next = std::move(target.successor);
    if (next == nullptr) return;
    drop_connections(target);
    configure(target, next->instance, next->recipe->settings);
  }

  void configure(Target& target, const InstanceSettings& instance, const CheckSettings& check) {
    target.successor.reset();
    target.exchange.reset();  // before the recipe that it speaks by
    leave_schedule(target);
    target.recipe = recipes_.get(check);
    if (check.kind != CheckKind::none) schedule_.count(target, check.interval);
    target.endpoint = checked_endpoint(instance, check);
    target.text_hash = hash_of(instance.text);
    target.exchange = make_exchange(*target.recipe, instance);
    const auto& tls = target.recipe->tls;
    target.tls =
        tls == nullptr ? nullptr : std::make_unique<TlsPeer>(tls, peer_name(check, instance));
    target.command = nullptr;
    if (check.kind != CheckKind::exec) return;
    if (commands_ == nullptr) commands_ = std::make_unique<CommandProbe>(loop_, *this);
    target.command = std::make_unique<Command>();
    target.command->request = {check.command, command_variables(instance, target.endpoint),
                               check.max_output_bytes, target.index};
  }

  void leave_schedule(Target& target) {
    schedule_.count(target, Microseconds(0));
    schedule_.leave(target);
    target.phase = Phase::idle;
  }

  void schedule_first(Target& target) {
    if (target.check().kind == CheckKind::none && target.successor == nullptr) {
      return loop_.timers().disarm(target.timer);
    }
    schedule_.plan_first(target);
  }

  void retire(std::uint32_t index) {
    Target& target = *targets_[index];
    drop_connections(target);
    leave_schedule(target);
    loop_.timers().destroy(target.timer);
  }

  void drop_connections(Target& target) {
    if (target.stream && target.resting()) --stats_.kept;
    if (target.sentinel) --stats_.kept;
    close(target, target.stream);
    close(target, target.sentinel);
    if (target.command != nullptr) commands_->cancel(std::exchange(target.command->running, 0));
  }

  static void close(const Target& target, StreamId& stream) {
    if (stream) target.streams().close(std::exchange(stream, {}));
  }

  void on_timer(std::uint32_t index) {
    Target& target = *targets_[index];
    if (target.resting()) return on_due(target);
    const bool shakes_hands = target.tls != nullptr && encrypted_.shakes_hands(target.stream);
    if (target.phase == Phase::hurrying) {
      target.phase = Phase::connecting;
      if (shakes_hands) {
        return loop_.timers().arm(target.timer, target.started + target.check().timeout);
      }
      ++stats_.second_attempts;
      close(target, target.stream);
      loop_.timers().arm(target.timer, target.started + target.check().timeout);
      return connect(target);
    }
    // If this fires much too late, it is this process that was not running (stopped, swapped out,
    // starved), and an answer may be waiting unread: no reason to blame the server.
    const auto deadline = target.started + target.check().timeout;
    const bool unconnected = connecting(target);
    close(target, target.stream);
    std::string printed;
    if (target.command != nullptr)
      printed = commands_->cancel(std::exchange(target.command->running, 0));
    if (Clock::now() - deadline > kStalled) return give_up(target, ETIME);
    if (target.command != nullptr) {
      CheckResult result{Reason::timeout, ETIMEDOUT, {}};
      result.note = std::move(printed);
      return finish_check(target, std::move(result));
    }
    if (shakes_hands) {
      return finish_check(target, {Reason::timeout, ETIMEDOUT, {}, "in the TLS handshake", {}});
    }
    if (unconnected) return finish_check(target, {Reason::connect_timeout, ETIMEDOUT, {}});
    CheckResult result = target.exchange->on_timeout();
    if (result.reason == Reason::none) result = {Reason::timeout, ETIMEDOUT, {}};
    finish_check(target, std::move(result));
  }

  [[nodiscard]] static bool connecting(const Target& target) noexcept {
    return target.phase == Phase::connecting || target.phase == Phase::hurrying;
  }

  void on_due(Target& target) {
    // First, since who finds no room must not take another's turn to start, again and again.
    const Schedule::For needed = needs(target);
    if (lacks_room(target) || (!target.stream && schedule_.anybody_waits(needed))) {
      return postpone(target, /*hurried=*/false);
    }
    if (schedule_.on_due(target)) start_check(target);
  }

  [[nodiscard]] Scheduled* scheduled(std::uint32_t index) override { return targets_[index].get(); }

  void start(std::uint32_t index, bool hurried) override { start_check(*targets_[index], hurried); }

  // As many streams, or processes, are in use as may be.
  [[nodiscard]] bool has_room(Schedule::For what) const override {
    if (what == Schedule::For::command) return commands_ == nullptr || !commands_->full();
    return loop_.open_streams() < loop_.max_streams();
  }

  [[nodiscard]] static Schedule::For needs(const Target& target) {
    return target.command != nullptr ? Schedule::For::command : Schedule::For::stream;
  }
  [[nodiscard]] bool lacks_room(const Target& target) const {
    return !target.stream && !has_room(needs(target));
  }

  void postpone(Target& target, bool hurried) {
    ++stats_.postponed;
    schedule_.wait(target, needs(target), hurried);
  }

  // Whatever the plan says. `hurried`: because a connection was lost just now.
  void start_at_once(Target& target, bool hurried = false) {
    ++stats_.brought_forward;
    if (schedule_.start_at_once(target, hurried)) start_check(target, hurried);
  }

  void start_check(Target& target, bool hurried = false) {
    schedule_.leave(target);
    succeed(target);
    if (target.command != nullptr) return start_command(target);
    if (target.exchange == nullptr || target.recipe->streams == nullptr) {
      return give_up(target, ENOTSUP);
    }
    // A certificate that has expired meanwhile is not believed on an old connection either.
    if (target.stream && target.tls != nullptr && !encrypted_.still_trusted(target.stream)) {
      drop_kept(target, target.stream);
    }
    if (lacks_room(target)) return postpone(target, hurried);
    begin_check(target);
    loop_.timers().arm(target.timer, target.started + target.check().timeout);
    if (!target.stream) {
      if (hurried) hurry(target);
      return connect(target, hurried);
    }
    --stats_.kept;
    target.phase = Phase::asking;
    if (Payload first = target.exchange->begin(/*new_connection=*/false)) {
      target.streams().send(target.stream, std::move(first));
    }
  }

  void begin_check(Target& target) {
    target.started = Clock::now();
    stats_.lags.add(std::chrono::duration_cast<Microseconds>(target.started - target.due));
  }

  void start_command(Target& target) {
    if (lacks_room(target)) return postpone(target, /*hurried=*/false);
    begin_check(target);
    loop_.timers().arm(target.timer, target.started + target.check().timeout);
    target.phase = Phase::awaiting;
    const auto started = commands_->start(target.command->request);
    // That there is no such program is this host's fault, and nothing that the instance has done.
    if (started.error != 0) return give_up(target, started.error);
    target.command->running = started.id;
  }

  void connect(Target& target, bool hurried = false) {
    ++stats_.connects;
    target.phase = hurried ? Phase::hurrying : Phase::connecting;
    OpenRequest request;
    request.peer = target.endpoint;
    request.first = target.exchange->begin(/*new_connection=*/true);
    request.receive = !target.exchange->connecting_is_all() || target.recipe->watches;
    request.datagram = target.check().kind == CheckKind::udp;
    request.doubtful = hurried;
    request.abrupt = ends_abruptly(target);
    request.tls = target.tls.get();
    request.handler = this;
    request.user = target.index;
    target.stream = target.streams().open(request);
  }

  // Where this side has the last word: after an answer that was asked for, on a connection that is
  // not kept, and where connecting is all.
  [[nodiscard]] static bool ends_abruptly(const Target& target) {
    const CheckSettings& check = target.check();
    if (check.tls.enabled) return false;
    if (target.exchange->connecting_is_all()) return !target.recipe->watches;
    return check.kind == CheckKind::http && !check.keep_alive;
  }

  // While a dead server's listener is torn down the kernel may drop our SYN without a word, and
  // would repeat it after a second only. So a connection attempt that follows a lost connection is
  // made a second time if it is not answered soon; the check's time goes on.
  void hurry(Target& target) {
    const auto deadline = target.started + target.check().timeout;
    loop_.timers().arm(target.timer, std::min(deadline, Clock::now() + kSecondAttempt));
  }

  // What the exchange makes of what has come.
  void take(Target& target, Exchange::Step step) {
    if (step.reply != nullptr && target.stream) {
      target.streams().send(target.stream, std::move(step.reply));
    }
    if (step.done) return finish_check(target, std::move(step.result), step.keep);
    if (!step.lost) return;
    close(target, target.stream);
    ask_elsewhere(target);
  }

  static CheckResult ended(const Target& target, Reason reason, int error) {
    CheckResult result{reason, error >= kTlsFailed ? 0 : error, {}};
    result.note = to_note(target.streams().end_note());
    return result;
  }

  // The other side closed the kept connection while our request was on its way. It has not answered
  // wrongly, it never saw the question: ask again on a new connection, in what is left of the time.
  // That the connection was lost still counts as a sign, as it does at rest.
  void ask_elsewhere(Target& target) {
    ++stats_.stale_retries;
    static_cast<void>(target.health.on_connection_lost(target.check(), Clock::now()));
    hurry(target);
    connect(target, /*hurried=*/true);
  }

  void on_end_in_check(Target& target, int error) {
    if (target.phase == Phase::asking && !target.exchange->answered()) return ask_elsewhere(target);
    if (error == 0) return take(target, target.exchange->on_close());
    if (is_local(error)) return give_up(target, error);
    // Datagrams have no connection to be lost: only the answer says that nobody listens.
    const bool datagrams = target.check().kind == CheckKind::udp;
    const Reason reason = datagrams ? connect_failure(error) : response_failure(error);
    finish_check(target, ended(target, reason, error));
  }

  void on_unasked(Target& target, StreamId stream, std::string_view bytes) {
    Exchange::Unasked unasked = target.exchange->on_unasked(bytes);
    if (unasked.reply != nullptr) target.streams().send(stream, std::move(unasked.reply));
    if (unasked.enough) return drop_kept(target, stream);
    if (unasked.lost) {
      drop_kept(target, stream);
      return on_kept_lost(target);
    }
    const bool resting = target.resting();
    if (unasked.changed && resting && target.health.on_change_told(target.check(), Clock::now())) {
      start_at_once(target);
    }
  }

  // Ends a connection that is being kept.
  void drop_kept(Target& target, StreamId stream) {
    --stats_.kept;
    close(target, stream == target.sentinel ? target.sentinel : target.stream);
  }

  // The connection that was being kept is gone.
  void on_kept_lost(Target& target) {
    ++stats_.connections_lost;
    const bool resting = target.resting();
    // With a check already under way beside it, that one's result decides.
    if (target.health.on_connection_lost(target.check(), Clock::now()) && resting) {
      start_at_once(target, /*hurried=*/true);
    }
  }

  [[nodiscard]] bool may_keep() const { return stats_.kept < kept_limit(loop_.max_streams()); }

  // What becomes of the connection that a check has used.
  void keep_or_close(Target& target, bool keep) {
    if (!target.stream) return;
    const Recipe& recipe = *target.recipe;
    if (!keep || (!recipe.reuses && !recipe.watches)) return close(target, target.stream);
    // The newer connection takes over: its handshake is the later proof of life.
    if (target.sentinel) drop_kept(target, target.sentinel);
    if (!may_keep()) return close(target, target.stream);
    ++stats_.kept;
    if (recipe.watches) target.sentinel = std::exchange(target.stream, {});
  }

  void finish_check(Target& target, CheckResult result, bool keep = false) {
    const auto now = Clock::now();
    result.latency = std::chrono::duration_cast<Microseconds>(now - target.started);
    keep_or_close(target, keep);
    target.phase = Phase::idle;
    ++stats_.checks;
    stats_.durations.add(result.latency);
    const HealthMachine::Step step = target.health.on_result(target.check(), result.reason, now);
    if (step.delay == Delay{}) {
      ++stats_.brought_forward;
      schedule_.press(target);
    } else {
      schedule_.plan_next(target, step.delay);
    }
    // Last, since the listeners may remove this very target.
    const InstanceId id = target.id;
    if (on_check_) on_check_(id, result);
    if (step.healthy.has_value()) on_verdict_(id, Verdict{*step.healthy, result});
  }

  void give_up(Target& target, int error) {
    target.phase = Phase::idle;
    ++stats_.no_result;
    const auto now = Clock::now();
    schedule_.plan(target, target.health.on_no_result(target.check()));
    if (!options_.log || now - last_complaint_ < kComplaintEvery) return;
    last_complaint_ = now;
    const std::string what = target.command == nullptr || target.check().command.empty()
                                 ? std::string()
                                 : " by running " + target.check().command.front();
    options_.log("cannot check " + target.endpoint.to_text() + what + ": " + std::strerror(error) +
                 "; " + std::to_string(stats_.no_result) +
                 " checks without a result so far (health is left as it is)");
  }

  Loop& loop_;
  TlsStreams encrypted_;
  ProberOptions options_;
  OnVerdict on_verdict_;
  OnCheck on_check_;
  ProberStats stats_;
  Clock::time_point last_complaint_{};
  std::unique_ptr<CommandProbe> commands_;  // from the first check that needs it
  Schedule schedule_;
  RecipeBook recipes_;
  std::unordered_map<InstanceId, std::uint32_t> index_of_;
  std::vector<std::unique_ptr<Target>> targets_;
  std::vector<std::uint32_t> free_;
};

Prober::Prober(Loop& loop, ProberOptions options, OnVerdict on_verdict, OnCheck on_check)
    : impl_(std::make_unique<Impl>(loop, std::move(options), std::move(on_verdict),
                                   std::move(on_check))) {}
Prober::~Prober() = default;

bool Prober::add(InstanceId id, const InstanceSettings& instance, const CheckSettings& check,
                 Health known) {
  return impl_->add(id, instance, check, known);
}

bool Prober::update(InstanceId id, const InstanceSettings& instance, const CheckSettings& check) {
  return impl_->update(id, instance, check);
}

bool Prober::remove(InstanceId id) {
  return impl_->remove(id);
}

bool Prober::check_soon(InstanceId id) {
  return impl_->check_soon(id);
}

bool Prober::set_demand(InstanceId id, Demand demand) {
  return impl_->set_demand(id, demand);
}

ProberStats Prober::stats() const {
  return impl_->stats();
}

}  // namespace ballast::checker
