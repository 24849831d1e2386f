// A target is one instance under check. It has one timer, which is the time of the next check while
// it rests and the deadline while a check runs, and at most two streams: the one that a check uses,
// and, for TCP, the older one that is kept as a sentinel.
#include "engine/checker/probing/prober.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/checker/probing/http_response.hpp"
#include "engine/checker/probing/outcome.hpp"

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
// What a TCP server may say unasked on a kept connection (banners) before we hang up.
constexpr std::size_t kMaxUnaskedBytes = 4096;
// A deadline that is noticed this late says more about this process than about the server.
constexpr auto kStalled = std::chrono::milliseconds(200);
// How often the log may complain that checks cannot be made.
constexpr auto kComplaintEvery = std::chrono::seconds(10);

}  // namespace

class Prober::Impl final : public StreamHandler {
 public:
  Impl(Loop& loop, ProberOptions options, OnVerdict on_verdict, OnCheck on_check)
      : loop_(loop),
        options_(std::move(options)),
        on_verdict_(std::move(on_verdict)),
        on_check_(std::move(on_check)),
        random_(options_.seed) {}

  ~Impl() {
    for (const auto& entry : index_of_)
      retire(entry.second);
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
    target.timer = loop_.timers().create([this, index] { on_timer(index); });
    configure(target, instance, check);
    schedule_first(target);
    return true;
  }

  bool update(InstanceId id, const InstanceSettings& instance, const CheckSettings& check) {
    const auto found = index_of_.find(id);
    if (found == index_of_.end()) return false;
    Target& target = *targets_[found->second];
    const bool same_request =
        target.request == nullptr || *target.request == make_request(instance, check);
    if (target.endpoint == instance.endpoint && *target.check == check && same_request) return true;
    drop_connections(target);
    target.phase = Phase::resting;
    configure(target, instance, check);
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

  [[nodiscard]] ProberStats stats() const {
    ProberStats stats = stats_;
    stats.targets = index_of_.size();
    return stats;
  }

  void on_connect(StreamId stream, std::uint64_t user) override {
    Target* target = find(stream, user);
    if (target == nullptr || target->phase != Phase::connecting) return;
    if (target->check->kind == CheckKind::tcp)
      return finish_check(*target, {Reason::passed, 0, {}});
    target->phase = Phase::awaiting;
    if (std::exchange(target->hurried, false)) {
      loop_.timers().arm(target->timer, target->started + target->check->timeout);
    }
  }

  void on_data(StreamId stream, std::uint64_t user, std::string_view bytes) override {
    Target* target = find(stream, user);
    if (target == nullptr) return;
    if (target->check->kind == CheckKind::tcp) return on_unasked(*target, bytes.size());
    // Between checks nobody has asked for anything: a "408 Request Timeout" before an idle close,
    // or a server that has lost its place. Either way the connection is of no more use.
    if (target->phase == Phase::resting) return on_kept_lost(*target);
    HttpResponse& response = target->response;
    const std::size_t used = response.feed(bytes);
    if (response.done()) judge(*target, used == bytes.size());
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
        return finish_check(*target, {connect_failure(error), error, {}});
      case Phase::awaiting:
        return on_end_in_check(*target, error);
    }
  }

 private:
  enum class Phase : std::uint8_t { resting, connecting, awaiting };

  struct Target {
    Target(const CheckSettings& settings, Health known) : health(settings, known) {}

    InstanceId id = 0;
    std::uint32_t index = 0;
    Phase phase = Phase::resting;
    bool reused = false;   // the check runs on a kept connection
    bool hurried = false;  // the check was brought forward by a lost connection, first attempt
    Timers::Id timer = 0;
    StreamId stream;    // of the check that runs; for HTTP also the kept connection between checks
    StreamId sentinel;  // TCP: the kept connection
    std::size_t unasked_bytes = 0;
    Clock::time_point started;
    shm::Endpoint endpoint;
    std::shared_ptr<const CheckSettings> check;
    Payload request;
    HttpResponse response;
    HealthMachine health;
  };

  Target* find(StreamId stream, std::uint64_t user) {
    Target* target = user < targets_.size() ? targets_[user].get() : nullptr;
    if (target == nullptr || (stream != target->stream && stream != target->sentinel)) {
      return nullptr;
    }
    return target;
  }

  void configure(Target& target, const InstanceSettings& instance, const CheckSettings& check) {
    // A service's instances are added one after the other and share their settings.
    if (last_check_ == nullptr || !(*last_check_ == check)) {
      last_check_ = std::make_shared<const CheckSettings>(check);
    }
    target.check = last_check_;
    target.endpoint = instance.endpoint;
    target.request = check.kind == CheckKind::http
                         ? std::make_shared<const std::string>(make_request(instance, check))
                         : nullptr;
  }

  void schedule_first(Target& target) {
    if (target.check->kind == CheckKind::none) return loop_.timers().disarm(target.timer);
    next_first_ = std::max(next_first_, Clock::now());
    loop_.timers().arm(target.timer, next_first_);
    next_first_ += options_.first_check_gap;
  }

  void retire(std::uint32_t index) {
    Target& target = *targets_[index];
    drop_connections(target);
    loop_.timers().destroy(target.timer);
  }

  void drop_connections(Target& target) {
    if (target.stream && target.phase == Phase::resting) --stats_.kept;
    if (target.sentinel) --stats_.kept;
    loop_.close(std::exchange(target.stream, {}));
    loop_.close(std::exchange(target.sentinel, {}));
  }

  void on_timer(std::uint32_t index) {
    Target& target = *targets_[index];
    if (target.phase == Phase::resting) return start_check(target);
    if (target.hurried && target.phase == Phase::connecting) {
      target.hurried = false;
      ++stats_.second_attempts;
      loop_.close(std::exchange(target.stream, {}));
      loop_.timers().arm(target.timer, target.started + target.check->timeout);
      return connect(target);
    }
    // If this fires much too late, it is this process that was not running (stopped, swapped out,
    // starved), and an answer may be waiting unread: no reason to blame the server.
    const auto deadline = target.started + target.check->timeout;
    const bool connecting = target.phase == Phase::connecting;
    loop_.close(std::exchange(target.stream, {}));
    if (Clock::now() - deadline > kStalled) return give_up(target, ETIME);
    finish_check(target, {connecting ? Reason::connect_timeout : Reason::timeout, ETIMEDOUT, {}});
  }

  // `hurried`: because a connection was lost just now.
  void start_check(Target& target, bool hurried = false) {
    const bool reuse = target.check->kind == CheckKind::http && bool{target.stream};
    if (!reuse && loop_.open_streams() >= loop_.max_streams()) {
      ++stats_.postponed;
      return loop_.timers().arm(target.timer, Clock::now() + kPostpone);
    }
    target.started = Clock::now();
    target.hurried = false;
    loop_.timers().arm(target.timer, target.started + target.check->timeout);
    if (!reuse) {
      if (hurried) hurry(target);
      return connect(target);
    }
    --stats_.kept;
    target.reused = true;
    target.phase = Phase::awaiting;
    target.response.reset();
    loop_.send(target.stream, target.request);
  }

  void connect(Target& target) {
    ++stats_.connects;
    target.reused = false;
    target.phase = Phase::connecting;
    target.response.reset();
    OpenRequest request;
    request.peer = target.endpoint;
    request.first = target.request;
    request.receive = target.check->kind == CheckKind::http || target.check->tcp_sentinel;
    request.doubtful = target.hurried;
    request.handler = this;
    request.user = target.index;
    target.stream = loop_.open(request);
  }

  // While a dead server's listener is torn down the kernel may drop our SYN without a word, and
  // would repeat it after a second only. So a connection attempt that follows a lost connection is
  // made a second time if it is not answered soon; the check's time goes on.
  void hurry(Target& target) {
    const auto deadline = target.started + target.check->timeout;
    target.hurried = true;
    loop_.timers().arm(target.timer, std::min(deadline, Clock::now() + kSecondAttempt));
  }

  // A whole response is there, or what came is none.
  void judge(Target& target, bool nothing_left_over) {
    const HttpResponse& response = target.response;
    const CheckSettings& check = *target.check;
    const bool keep = target.stream && check.keep_alive && response.keep_alive() &&
                      nothing_left_over && may_keep();
    const CheckResult result = judge_response(check, response);
    if (keep) {
      ++stats_.kept;
    } else {
      loop_.close(std::exchange(target.stream, {}));
    }
    finish_check(target, result);
  }

  void on_end_in_check(Target& target, int error) {
    HttpResponse& response = target.response;
    if (target.reused && !response.started()) {
      // The other side closed the kept connection while our request was on its way. It has not
      // answered wrongly, it never saw the question: ask again on a new connection, in what is left
      // of the time. That the connection was lost still counts as a sign, as it does at rest.
      ++stats_.stale_retries;
      static_cast<void>(target.health.on_connection_lost(*target.check, Clock::now()));
      hurry(target);
      return connect(target);
    }
    if (error == 0) response.finish();
    if (error == 0 && !response.failed()) return judge(target, false);
    if (is_local(error)) return give_up(target, error);
    finish_check(target, {response_failure(error), error, {}});
  }

  // The connection that was being kept is gone, or no longer to be trusted.
  void on_kept_lost(Target& target) {
    ++stats_.connections_lost;
    const bool resting = target.phase == Phase::resting;
    if (resting && target.stream) {
      --stats_.kept;
      loop_.close(std::exchange(target.stream, {}));
    }
    // With a check already under way (TCP), its result decides.
    if (target.health.on_connection_lost(*target.check, Clock::now()) && resting) {
      start_check(target, /*hurried=*/true);
    }
  }

  // A TCP server talks on a kept connection, as SMTP and SSH do. Let it, but not without end.
  void on_unasked(Target& target, std::size_t bytes) {
    target.unasked_bytes += bytes;
    if (target.unasked_bytes <= kMaxUnaskedBytes || !target.sentinel) return;
    --stats_.kept;
    loop_.close(std::exchange(target.sentinel, {}));
  }

  [[nodiscard]] bool may_keep() const { return stats_.kept < kept_limit(loop_.max_streams()); }

  void keep_or_close_tcp(Target& target) {
    if (!target.stream) return;
    if (!target.check->tcp_sentinel) return loop_.close(std::exchange(target.stream, {}));
    // The newer connection takes over: its handshake is the later proof of life.
    if (target.sentinel) {
      --stats_.kept;
      loop_.close(std::exchange(target.sentinel, {}));
    }
    if (!may_keep()) return loop_.close(std::exchange(target.stream, {}));
    ++stats_.kept;
    target.unasked_bytes = 0;
    target.sentinel = std::exchange(target.stream, {});
  }

  void finish_check(Target& target, CheckResult result) {
    const auto now = Clock::now();
    result.latency = std::chrono::duration_cast<Microseconds>(now - target.started);
    if (target.check->kind == CheckKind::tcp) keep_or_close_tcp(target);
    target.phase = Phase::resting;
    ++stats_.checks;
    const HealthMachine::Step step =
        target.health.on_result(*target.check, result.reason, now, random_);
    loop_.timers().arm(target.timer, now + step.delay);
    // Last, since the listeners may remove this very target.
    const InstanceId id = target.id;
    if (on_check_) on_check_(id, result);
    if (step.healthy.has_value()) on_verdict_(id, Verdict{*step.healthy, result});
  }

  void give_up(Target& target, int error) {
    target.phase = Phase::resting;
    ++stats_.no_result;
    const auto now = Clock::now();
    loop_.timers().arm(target.timer, now + target.health.on_no_result(*target.check, random_));
    if (!options_.log || now - last_complaint_ < kComplaintEvery) return;
    last_complaint_ = now;
    options_.log("cannot check " + target.endpoint.to_text() + ": " + std::strerror(error) + "; " +
                 std::to_string(stats_.no_result) +
                 " checks without a result so far (health is left as it is)");
  }

  Loop& loop_;
  ProberOptions options_;
  OnVerdict on_verdict_;
  OnCheck on_check_;
  Random random_;
  ProberStats stats_;
  Clock::time_point next_first_{};
  Clock::time_point last_complaint_{};
  std::shared_ptr<const CheckSettings> last_check_;
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

ProberStats Prober::stats() const {
  return impl_->stats();
}

}  // namespace ballast::checker
