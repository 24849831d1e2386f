// Turns of looking; see wait_desk.hpp.
#include "engine/checker/control/wait_desk.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "engine/checker/control/desk_answers.hpp"

namespace ballast::checker {

using nlohmann::json;
using std::chrono::steady_clock;

namespace {

constexpr Milliseconds kPeriod{10};           // between two turns of looking
constexpr Milliseconds kProgressPeriod{200};  // between two lines of progress
constexpr std::size_t kMaxWaiting = 64;       // more than clients there can be

}  // namespace

struct WaitDesk::Waiting {
  Asker asker;
  Wish wish;
  Key key{};
  steady_clock::time_point since;
  steady_clock::time_point deadline;
  std::optional<steady_clock::time_point> told;
  // A sum counts that was begun after all had seen the epoch: no request begins there any more.
  std::optional<std::uint64_t> seen_in;    // the sums that had begun by then
  std::optional<std::uint64_t> in_flight;  // by the newest sum
  std::uint64_t summed_in = 0;             // its number
};

WaitDesk::WaitDesk(Loop& loop, Hooks hooks, Milliseconds look_time)
    : loop_(loop),
      hooks_(std::move(hooks)),
      look_time_(look_time),
      timer_(loop.timers().create([this] { turn(); })) {}

WaitDesk::~WaitDesk() {
  loop_.timers().destroy(timer_);
}

bool WaitDesk::add(const Asker& asker, Wish wish) {
  if (waiting_.size() >= kMaxWaiting) return false;
  const Publisher* const publisher = hooks_.publisher();
  const auto now = steady_clock::now();
  auto made = std::make_unique<Waiting>();
  made->asker = asker;
  made->since = now;
  made->deadline = now + wish.timeout;
  made->wish = std::move(wish);
  made->key = {made->wish.record, made->wish.epoch, made->wish.state ? ++last_state_ : 0};
  // A later epoch than there is: nobody has seen it, so all who use the service are looked at.
  const std::uint64_t epoch = made->wish.epoch + (made->wish.state ? 1 : 0);
  const auto [watch, is_new] = watches_.try_emplace(
      made->key, Watch{SeenWatch(made->wish.record, epoch, steady_ms()), {}, 0});
  ++watch->second.users;
  if (publisher != nullptr) {
    if (is_new) look(*publisher, watch->second);
    if (judge(*publisher, *made)) {
      release(*made);
      return true;
    }
  }
  waiting_.push_back(std::move(made));
  if (waiting_.size() == 1) loop_.timers().arm(timer_, now + kPeriod);
  return true;
}

void WaitDesk::release(const Waiting& waiting) {
  const auto watch = watches_.find(waiting.key);
  if (watch != watches_.end() && --watch->second.users == 0) watches_.erase(watch);
}

void WaitDesk::forget(ClientId client) {
  std::erase_if(waiting_, [&](const auto& one) {
    if (one->asker.client != client) return false;
    release(*one);
    return true;
  });
}

void WaitDesk::clear() {
  waiting_.clear();
  watches_.clear();
  sum_.reset();
}

void WaitDesk::look(const Publisher& publisher, Watch& watch) {
  watch.report = watch.seen.look(publisher.segment(), publisher.draining(), steady_ms());
}

// All together have as much of the loop's time as requests: a turn ends when it took long, and the
// next one comes after a pause.
void WaitDesk::turn() {
  const auto from = steady_clock::now();
  const auto until = from + look_time_;
  if (const Publisher* const publisher = hooks_.publisher(); publisher != nullptr) {
    // Each watch has its turn, from the one after the last one.
    auto next = watches_.upper_bound(looked_last_);
    for (std::size_t left = watches_.size(); left != 0; --left) {
      if (next == watches_.end()) next = watches_.begin();
      look(*publisher, next->second);
      looked_last_ = next->first;
      ++next;
      if (steady_clock::now() >= until) break;
    }
    if (!sum_) begin_sum();
    if (sum_ && sum_->step(*publisher, until)) end_sum();
    // The one in hand is not in the list: forget() takes others out while answers are sent.
    for (std::size_t left = waiting_.size(); left != 0 && !waiting_.empty(); --left) {
      auto one = std::move(waiting_.front());
      waiting_.pop_front();
      if (judge(*publisher, *one)) {
        release(*one);
      } else {
        waiting_.push_back(std::move(one));
      }
    }
  }
  if (waiting_.empty()) {
    sum_.reset();
    return;
  }
  const auto now = steady_clock::now();
  loop_.timers().arm(
      timer_, now + std::max<steady_clock::duration>(kPeriod, kRequestPauseFactor * (now - from)));
}

void WaitDesk::begin_sum() {
  std::set<DrainingSlot> slots;
  for (const auto& one : waiting_)
    slots.insert(one->wish.slots.begin(), one->wish.slots.end());
  if (slots.empty()) return;
  ++rounds_;
  sum_.emplace(std::vector<DrainingSlot>(slots.begin(), slots.end()));
}

void WaitDesk::end_sum() {
  const std::vector<DrainingSlot>& slots = sum_->slots();  // sorted, since a set was
  for (const auto& one : waiting_) {
    if (one->wish.slots.empty()) continue;
    std::uint64_t in_flight = 0;
    bool all = true;
    for (const DrainingSlot& slot : one->wish.slots) {
      const auto at = std::lower_bound(slots.begin(), slots.end(), slot);
      if (at == slots.end() || *at != slot) {
        all = false;  // who came after it was begun
        break;
      }
      in_flight += sum_->counts()[static_cast<std::size_t>(at - slots.begin())];
    }
    if (!all) continue;
    one->in_flight = in_flight;
    one->summed_in = rounds_;
  }
  sum_.reset();
}

bool WaitDesk::judge(const Publisher& publisher, Waiting& waiting) {
  const auto now = steady_clock::now();
  const Watch& watch = watches_.at(waiting.key);
  const SeenReport& report = watch.report;
  if (report.done() && !waiting.seen_in) waiting.seen_in = rounds_;
  if (!report.done()) waiting.seen_in.reset();
  const bool drained = waiting.wish.slots.empty() || (waiting.in_flight == 0 && waiting.seen_in &&
                                                      waiting.summed_in > *waiting.seen_in);
  const bool done = report.done() && drained;
  const bool late = now >= waiting.deadline;
  // Nothing to say before the first sum.
  const bool tells = waiting.wish.progress && (waiting.wish.slots.empty() || waiting.in_flight) &&
                     (!waiting.told || now - *waiting.told >= kProgressPeriod);
  if (!done && !late && !tells) return false;
  json out = about_wait(waiting.wish.service, waiting.wish.epoch, publisher, report);
  if (waiting.in_flight) out["in_flight"] = *waiting.in_flight;
  out["waited_ms"] = std::chrono::duration_cast<Milliseconds>(now - waiting.since).count();
  if (done || late) {
    out["ok"] = done;
    if (!done) {
      out["code"] = "timeout";
      out["error"] = timeout_text(report, waiting.in_flight.value_or(0));
    }
    hooks_.answer(waiting.asker, std::move(out));
    return true;
  }
  waiting.told = now;
  out["progress"] = true;
  return !hooks_.tell(waiting.asker, std::move(out));
}

}  // namespace ballast::checker
