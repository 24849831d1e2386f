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
#include "engine/checker/probing/start_plan.hpp"
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
// When all streams are in use, look again after this long.
constexpr Microseconds kPostpone{5000};
// And so when as many commands run as may: each is a process, so they take their time.
constexpr Microseconds kCommandPostpone{50'000};
// A deadline that is noticed this late says more about this process than about the server.
constexpr auto kStalled = std::chrono::milliseconds(200);
// What is held back is wanted again as soon as that.
constexpr Delay kHeldBack{Microseconds(1000), Microseconds(3000)};
constexpr std::size_t kCacheLine = 64;
// How often the log may complain that checks cannot be made.
constexpr auto kComplaintEvery = std::chrono::seconds(10);

}  // namespace

class Prober::Impl final : public StreamHandler, public CommandHandler, public TimerHandler {
 public:
  Impl(Loop& loop, ProberOptions options, OnVerdict on_verdict, OnCheck on_check)
      : loop_(loop),
        encrypted_(loop),
        options_(std::move(options)),
        on_verdict_(std::move(on_verdict)),
        on_check_(std::move(on_check)),
        random_(options_.seed),
        recipes_(loop, encrypted_),
        newcomers_timer_(loop.timers().create([this] { plan_newcomers(); })) {}

  ~Impl() {
    for (const auto& entry : index_of_)
      retire(entry.second);
    targets_.clear();  // before what they are made of
    loop_.timers().destroy(newcomers_timer_);
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
      count(target, check.interval);
      unplan(target);
    } else {
      drop_connections(target);
      target.phase = Phase::resting;
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
    if (target.phase != Phase::resting || target.check().kind == CheckKind::none) return true;
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
    const bool waits = target.phase == Phase::resting && target.slot != Target::kUnplanned;
    if (waits && target.due > Clock::now() + interval) plan(target, {Microseconds(1), interval});
    return true;
  }

  [[nodiscard]] ProberStats stats() const {
    ProberStats stats = stats_;
    stats.targets = index_of_.size();
    if (commands_ != nullptr) {
      stats.commands_running = commands_->running();
      stats.commands_stuck = commands_->stuck();
    }
    return stats;
  }

  void on_connect(StreamId stream, std::uint64_t user) override {
    Target* target = find(stream, user);
    if (target == nullptr || target->phase != Phase::connecting) return;
    if (target->exchange->connecting_is_all()) {
      return finish_check(*target, {Reason::passed, 0, {}}, /*keep=*/true);
    }
    target->phase = Phase::awaiting;
    if (std::exchange(target->hurried, false)) {
      loop_.timers().arm(target->timer, target->started + target->check().timeout);
    }
  }

  void on_data(StreamId stream, std::uint64_t user, std::string_view bytes) override {
    Target* target = find(stream, user);
    if (target == nullptr) return;
    if (stream == target->sentinel || target->phase == Phase::resting) {
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
    switch (target->phase) {
      case Phase::resting:
        --stats_.kept;
        return on_kept_lost(*target);
      case Phase::connecting:
        if (is_local(error)) return give_up(*target, error);
        return finish_check(*target, ended(*target, connect_failure(error), error));
      case Phase::awaiting:
        return on_end_in_check(*target, error);
    }
  }

  void on_time(std::uint64_t user) override { on_timer(static_cast<std::uint32_t>(user)); }

  void fires_soon(std::uint64_t user) const noexcept override { fetch(user); }
  void fires_next(std::uint64_t user) const noexcept override { fetch_next(user); }
  void comes_soon(std::uint64_t user) const noexcept override { fetch(user); }

  void on_command_end(std::uint64_t user, CheckResult result) override {
    Target& target = *targets_[user];  // of one that is gone nothing is reported
    target.command->running = 0;
    finish_check(target, std::move(result));
  }

 private:
  enum class Phase : std::uint8_t { resting, connecting, awaiting };

  struct Command {
    CommandRequest request;
    CommandProbe::Id running = 0;
  };

  // What an update asks for, until the first check that is made by it.
  struct Successor {
    InstanceSettings instance;
    std::shared_ptr<const Recipe> recipe;
  };

  struct Target {
    Target(const CheckSettings& settings, Health known) : health(settings, known) {}

    InstanceId id = 0;
    std::uint32_t index = 0;
    Phase phase = Phase::resting;
    bool reused = false;    // the check runs on a kept connection
    bool hurried = false;   // the check was brought forward by a lost connection, first attempt
    bool newcomer = false;  // its first check is not planned yet
    bool urgent = false;    // the check that is due waits for no other
    Timers::Id timer = 0;
    StreamId stream;    // of the check that runs; between checks the kept one that the next uses
    StreamId sentinel;  // the kept one that is only watched
    StartPlan::Slot slot = kUnplanned;
    Clock::time_point due;  // the check that is planned, when it was wanted
    Clock::time_point started;
    shm::Endpoint endpoint;  // where it is checked
    std::shared_ptr<const Recipe> recipe;
    std::unique_ptr<Exchange> exchange;
    std::unique_ptr<Command> command;  // in the exchange's place
    std::unique_ptr<TlsPeer> tls;      // null: nothing is encrypted
    std::unique_ptr<Successor> successor;
    std::size_t text_hash = 0;  // of how the instance is written
    Microseconds counted{0};    // the interval that the plan has been told; 0: none
    HealthMachine health;

    static constexpr StartPlan::Slot kUnplanned = ~StartPlan::Slot{0};
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
    return target.phase == Phase::resting && (target.stream || target.sentinel) &&
           check.kind != CheckKind::none;
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
    leave_plan(target);
    target.recipe = recipes_.get(check);
    if (check.kind != CheckKind::none) count(target, check.interval);
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

  void leave_plan(Target& target) {
    count(target, Microseconds(0));
    unplan(target);
  }

  // Tells the plan how often the target is checked; 0: never.
  void count(Target& target, Microseconds interval) {
    if (target.counted != Microseconds(0)) starts_.remove(target.counted);
    target.counted = interval;
    if (interval != Microseconds(0)) starts_.add(interval);
  }

  // First checks are planned together once all newcomers of this turn are known: how close they
  // may come depends on how many there are.
  void schedule_first(Target& target) {
    loop_.timers().disarm(target.timer);
    // A newcomer of this turn may have been told meanwhile that it is not to be checked.
    const bool checked = target.check().kind != CheckKind::none;
    const bool waits_already = std::exchange(target.newcomer, checked);
    if (!checked) return;
    if (!waits_already) newcomers_.push_back(target.index);
    loop_.timers().arm(newcomers_timer_, Clock::now());
  }

  void plan_newcomers() {
    for (const std::uint32_t index : std::exchange(newcomers_, {})) {
      Target* target = targets_[index].get();
      // It may be gone by now, and its place another's; or its check was brought forward.
      if (target == nullptr || !std::exchange(target->newcomer, false)) continue;
      const bool waits = target->phase == Phase::resting && target->slot == Target::kUnplanned;
      if (waits) plan(*target, {});
    }
  }

  void unplan(Target& target) {
    if (target.slot != Target::kUnplanned) starts_.release(target.slot);
    target.slot = Target::kUnplanned;
  }

  void plan(Target& target, const Delay& delay) {
    target.due = put_off(target, delay);
    target.urgent = false;
  }

  // Plans without forgetting since when the check has been due.
  TimePoint put_off(Target& target, const Delay& delay) {
    unplan(target);
    const StartPlan::Place place = starts_.plan(Clock::now(), delay, random_);
    target.slot = place.slot;
    loop_.timers().arm(target.timer, place.when);
    return place.when;
  }

  void retire(std::uint32_t index) {
    Target& target = *targets_[index];
    drop_connections(target);
    leave_plan(target);
    loop_.timers().destroy(target.timer);
  }

  void drop_connections(Target& target) {
    if (target.stream && target.phase == Phase::resting) --stats_.kept;
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
    if (target.phase == Phase::resting) return on_due(target);
    const bool shakes_hands = target.tls != nullptr && encrypted_.shakes_hands(target.stream);
    if (target.hurried && target.phase == Phase::connecting) {
      target.hurried = false;
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
    const bool connecting = target.phase == Phase::connecting;
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
    if (connecting) return finish_check(target, {Reason::connect_timeout, ETIMEDOUT, {}});
    CheckResult result = target.exchange->on_timeout();
    if (result.reason == Reason::none) result = {Reason::timeout, ETIMEDOUT, {}};
    finish_check(target, std::move(result));
  }

  void on_due(Target& target) {
    // First, since who finds no room must not take another's turn to start, again and again.
    if (lacks_room(target)) {
      unplan(target);
      return postpone(target);
    }
    if (!target.urgent && !starts_.may_start(Clock::now())) {
      ++stats_.held_back;
      put_off(target, kHeldBack);
      return;
    }
    start_check(target);
  }

  // As many streams, or processes, are in use as may be, and it would need one more.
  [[nodiscard]] bool lacks_room(const Target& target) const {
    if (target.command != nullptr) return commands_->full();
    return !target.stream && loop_.open_streams() >= loop_.max_streams();
  }

  void postpone(Target& target) {
    ++stats_.postponed;
    const Microseconds wait = target.command != nullptr ? kCommandPostpone : kPostpone;
    loop_.timers().arm(target.timer, Clock::now() + wait);
  }

  // Whatever the plan says. `hurried`: because a connection was lost just now.
  void start_at_once(Target& target, bool hurried = false) {
    ++stats_.brought_forward;
    target.due = Clock::now();
    target.urgent = true;
    start_check(target, hurried);
  }

  void start_check(Target& target, bool hurried = false) {
    unplan(target);
    target.newcomer = false;  // its timer is this check's now
    succeed(target);
    if (target.command != nullptr) return start_command(target);
    if (target.exchange == nullptr || target.recipe->streams == nullptr) {
      return give_up(target, ENOTSUP);
    }
    // A certificate that has expired meanwhile is not believed on an old connection either.
    if (target.stream && target.tls != nullptr && !encrypted_.still_trusted(target.stream)) {
      drop_kept(target, target.stream);
    }
    if (lacks_room(target)) return postpone(target);
    const bool reuse = bool{target.stream};
    begin_check(target);
    target.hurried = false;
    loop_.timers().arm(target.timer, target.started + target.check().timeout);
    if (!reuse) {
      if (hurried) hurry(target);
      return connect(target);
    }
    --stats_.kept;
    target.reused = true;
    target.phase = Phase::awaiting;
    if (Payload first = target.exchange->begin(/*new_connection=*/false)) {
      target.streams().send(target.stream, std::move(first));
    }
  }

  void begin_check(Target& target) {
    target.started = Clock::now();
    stats_.lags.add(std::chrono::duration_cast<Microseconds>(target.started - target.due));
  }

  void start_command(Target& target) {
    if (lacks_room(target)) return postpone(target);
    begin_check(target);
    loop_.timers().arm(target.timer, target.started + target.check().timeout);
    target.phase = Phase::awaiting;
    const auto started = commands_->start(target.command->request);
    // That there is no such program is this host's fault, and nothing that the instance has done.
    if (started.error != 0) return give_up(target, started.error);
    target.command->running = started.id;
  }

  void connect(Target& target) {
    ++stats_.connects;
    target.reused = false;
    target.phase = Phase::connecting;
    OpenRequest request;
    request.peer = target.endpoint;
    request.first = target.exchange->begin(/*new_connection=*/true);
    request.receive = !target.exchange->connecting_is_all() || target.recipe->watches;
    request.datagram = target.check().kind == CheckKind::udp;
    request.doubtful = target.hurried;
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
    target.hurried = true;
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
    connect(target);
  }

  void on_end_in_check(Target& target, int error) {
    if (target.reused && !target.exchange->answered()) return ask_elsewhere(target);
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
    const bool resting = target.phase == Phase::resting;
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
    const bool resting = target.phase == Phase::resting;
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
    target.phase = Phase::resting;
    ++stats_.checks;
    stats_.durations.add(result.latency);
    const HealthMachine::Step step = target.health.on_result(target.check(), result.reason, now);
    if (step.delay == Delay{}) {
      check_again_at_once(target);
    } else {
      plan(target, step.delay);
    }
    // Last, since the listeners may remove this very target.
    const InstanceId id = target.id;
    if (on_check_) on_check_(id, result);
    if (step.healthy.has_value()) on_verdict_(id, Verdict{*step.healthy, result});
  }

  // In this turn of the loop, but not from within this check's end.
  void check_again_at_once(Target& target) {
    ++stats_.brought_forward;
    unplan(target);
    target.urgent = true;
    target.due = Clock::now();
    loop_.timers().arm(target.timer, target.due);
  }

  void give_up(Target& target, int error) {
    target.phase = Phase::resting;
    ++stats_.no_result;
    const auto now = Clock::now();
    plan(target, target.health.on_no_result(target.check()));
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
  Random random_;
  ProberStats stats_;
  Clock::time_point last_complaint_{};
  std::unique_ptr<CommandProbe> commands_;  // from the first check that needs it
  StartPlan starts_;
  RecipeBook recipes_;
  Timers::Id newcomers_timer_;
  std::vector<std::uint32_t> newcomers_;
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
