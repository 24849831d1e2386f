// A worker of the demo: see traffic.hpp.
#include "tools/demo/traffic.hpp"

#include <chrono>
#include <random>
#include <string>
#include <vector>

#include "tools/demo/clock.hpp"
#include "tools/demo/http_client.hpp"

namespace ballast::tools::demo {
namespace {

constexpr unsigned kTimeoutMs = 1000;  // for each step of an attempt
// Between two requests. Without it the demo would measure how its eleven processes wait for two
// cores; with it they are busy for about half of the time.
constexpr long kThinkNs = 100'000;

class Worker {
 public:
  Worker(Board& board, const Servers& servers, std::size_t worker, Service service)
      : board_(board),
        servers_(servers),
        mine_(board.workers[worker]),
        hold_(board.hold[worker]),
        service_(service),
        client_(kTimeoutMs),
        random_(static_cast<std::minstd_rand::result_type>(worker + 1)) {}

  void run() {
    while (get(board_.stop) == 0) {
      if (get(mine_.held) < get(hold_)) leave_one_waiting();
      if (get(board_.watching) != 0) look_at_victim();
      one_request();
      const timespec pause{0, kThinkNs};
      nanosleep(&pause, nullptr);
    }
  }

 private:
  void one_request() {
    const std::size_t key = random_() % kKeys;
    const std::string text = key_text(key);
    const std::uint64_t begin = now_ns();

    Pick first = service_.pick(text);
    note_first_pick(key, server_of(servers_, first));
    bool good = attempt(key, text, first);
    if (!good) {
      add(mine_.retries);
      Pick second = service_.retry(text, first);
      good = attempt(key, text, second);
    }

    add(mine_.requests);
    if (!good) add(mine_.client_errors);
    const std::uint64_t took_us = (now_ns() - begin) / 1000;
    if (took_us > get(mine_.slowest_us)) set(mine_.slowest_us, took_us);
  }

  // Where a request for one of the victim's keys would go now. Ordinary requests ask for such a key
  // every sixth time only, which would be a coarse clock.
  void look_at_victim() {
    do {
      watched_key_ = (watched_key_ + 1) % kKeys;
    } while (board_.owner[watched_key_] != board_.victim);
    Pick pick = service_.pick(key_text(watched_key_));
    note_first_pick(watched_key_, server_of(servers_, pick));
    pick.report(Outcome::cancelled);
  }

  // The clock is read after the pick, so that what is measured is never less than the truth.
  void note_first_pick(std::size_t key, unsigned server) noexcept {
    if (server == kNobody) return;
    const std::uint64_t now = now_ns();
    set(mine_.chosen_ns[server], now);
    if (board_.owner[key] != board_.victim) return;
    if (server == board_.victim)
      set(mine_.avoided_ns, 0);
    else if (get(mine_.avoided_ns) == 0)
      set(mine_.avoided_ns, now);
  }

  bool attempt(std::size_t key, const std::string& text, Pick& pick) {
    if (!pick) return false;
    const unsigned server = server_of(servers_, pick);
    const std::uint64_t begin = now_ns();
    set(mine_.asking, 1 + server);
    const Reply reply = client_.get(pick_port(pick), "/" + text);
    set(mine_.asking, 0);
    pick.report(reply.outcome, std::chrono::microseconds((now_ns() - begin) / 1000));
    if (reply.outcome == Outcome::server_error && get(mine_.first_error_ns) == 0)
      set(mine_.first_error_ns, now_ns());
    if (reply.outcome != Outcome::success) {
      add(mine_.bad_attempts[static_cast<std::size_t>(reply.outcome)]);
      return false;
    }
    const auto answered = static_cast<unsigned>(reply.server - 1);
    if (answered != server || answered >= kServers) {
      add(mine_.misplaced);
      return false;
    }
    add(mine_.served[answered]);
    if (board_.owner[key] != board_.victim && answered != board_.owner[key])
      board_.moved[key].store(1, std::memory_order_relaxed);
    return true;
  }

  // Sends a request whose answer takes longer than this process will live.
  void leave_one_waiting() {
    Pick pick = service_.pick(key_text(random_() % kKeys));
    if (!pick) return;
    if (!client_.leave_waiting(pick_port(pick), kSlowPath)) {
      pick.report(Outcome::connect_failure);
      return;
    }
    waiting_.push_back(std::move(pick));
    add(mine_.held);
  }

  static std::uint16_t pick_port(const Pick& pick) noexcept { return pick.details().port; }

  Board& board_;
  const Servers& servers_;
  WorkerFigures& mine_;
  const Figure& hold_;
  Service service_;
  HttpClient client_;
  std::minstd_rand random_;
  std::vector<Pick> waiting_;
  std::size_t watched_key_ = 0;
};

}  // namespace

void send_requests(Board& board, const Servers& servers, std::size_t worker, Balancer balancer) {
  Worker(board, servers, worker, balancer.service(kService)).run();
}

unsigned server_of(const Servers& servers, const Pick& pick) noexcept {
  return pick ? servers.at_port(pick.details().port) : kNobody;
}

}  // namespace ballast::tools::demo
