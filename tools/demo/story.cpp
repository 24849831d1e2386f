// The course of the demo: see story.hpp.
#include "tools/demo/story.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "tools/demo/clock.hpp"
#include "tools/demo/failure.hpp"
#include "tools/demo/stage.hpp"

namespace ballast::tools::demo {

namespace {

constexpr unsigned kVictim = 2;         // "server 3"
constexpr std::size_t kLostWorker = 1;  // "worker 2"
constexpr std::uint64_t kHeldRequests = 8;

class Story {
 public:
  Story(const StoryOptions& options, SharedBoard& board, Screen& screen)
      : options_(options),
        board_(*board),
        screen_(screen),
        stage_(options.ballastd, board_, screen) {}

  Findings tell() {
    start();
    start_workers();
    stage_.pause(share(14));
    kill_server();
    stage_.pause(share(7));
    make_server_sick();
    stage_.pause(share(7));
    kill_worker();
    stage_.pause(share(10));
    kill_checker();
    stage_.pause(share(16));
    stop();
    return found_;
  }

 private:
  [[nodiscard]] unsigned share(unsigned percent) const {
    return options_.traffic_ms * percent / 100;
  }

  // --- starting ----------------------------------------------------------------------------------

  void start() {
    std::string ports;
    for (std::size_t i = 0; i < kServers; ++i)
      ports += fmt::format(" {}", stage_.servers().port(i));
    screen_.event(Tone::plain, "{} servers answer: nginx on 127.0.0.1, ports{}", kServers, ports);
    stage_.start_checker();
    stage_.attach();
    screen_.event(Tone::plain, "ballastd (pid {}) has checked them: all {} instances are up",
                  stage_.checker_pid(), kServers);
  }

  void start_workers() {
    board_.victim = kVictim;
    for (std::size_t key = 0; key < kKeys; ++key) {
      const unsigned server = stage_.where_is(key);
      if (server == kNobody) throw Failure("a key has no server although all of them are up");
      board_.owner[key] = static_cast<std::uint8_t>(server);
      ++found_.keys[server];
    }
    found_.server.server = kVictim;
    found_.worker.worker = kLostWorker;
    traffic_began_ns_ = now_ns();
    stage_.start_workers();
    for (std::size_t i = 0; i < kWorkers; ++i)
      found_.worker_pids[i] = stage_.worker_pid(i);
    screen_.event(Tone::plain,
                  "{} workers send requests for {} keys (half attached before fork, half after)",
                  kWorkers, grouped(kKeys));
  }

  // --- a server dies -----------------------------------------------------------------------------

  void kill_server() {
    ServerDeath& death = found_.server;
    const pid_t pid = stage_.servers().pid(kVictim);
    set(board_.watching, 1);
    stage_.pause(20);
    // Both kills are aimed at the middle of a request, as nearly as can be from outside.
    stage_.wait_until(
        "a worker to ask the server that will be killed",
        [this] {
          return std::any_of(board_.workers.begin(), board_.workers.end(),
                             [](const WorkerFigures& w) { return get(w.asking) == 1 + kVictim; });
        },
        std::chrono::nanoseconds(0));
    const std::uint64_t killed_ns = now_ns();
    stage_.servers().strike(kVictim);
    stage_.servers().wait(kVictim);
    screen_.event(Tone::bad, "kill -9 server {} (pid {}), which has {} keys", kVictim + 1, pid,
                  grouped(found_.keys[kVictim]));
    stage_.wait_until("all workers to notice the death of a server", [&] {
      return std::all_of(board_.workers.begin(), board_.workers.end(), avoids_victim);
    });
    measure_avoidance(killed_ns);
    screen_.event(Tone::good, "all {} workers avoid it {} after the kill (last pick of it: {})",
                  kWorkers, duration(death.seen_by_all_ns), duration_or_none(death.last_pick_ns));
    death.keys_meanwhile = stage_.look_at_keys().by_server;
    screen_.event(Tone::plain, "its keys went to {}; other keys that moved: {}",
                  share_out(death.keys_meanwhile), count_moved(board_));
    stage_.pause(share(18));
    set(board_.watching, 0);
    measure_avoidance(killed_ns);  // again, in case a worker went back to the dead server

    const std::uint64_t started_ns = now_ns();
    stage_.servers().start_again(kVictim);
    screen_.event(Tone::plain, "server {} is started again (pid {})", kVictim + 1,
                  stage_.servers().pid(kVictim));
    stage_.wait_until("the server that was started again to be used",
                      [this] { return stage_.look().instances[kVictim].usable; });
    // Its death may have failed enough requests to open its breaker, too.
    stage_.wait_until("its keys to come home",
                      [this] { return stage_.look_at_keys().not_home == 0; });
    death.back_in_use_ns = now_ns() - started_ns;
    death.keys_not_home = stage_.look_at_keys().not_home;
    screen_.event(Tone::good, "server {} is back in use {} later; keys that are not home: {}",
                  kVictim + 1, duration(death.back_in_use_ns), death.keys_not_home);
  }

  // Its checks pass all the while: only requests tell, and the breaker that they open for
  // everybody.
  void make_server_sick() {
    ServerSickness& sickness = found_.sickness;
    const auto bad_answers = [this] {
      return total_bad_attempts(board_, static_cast<std::size_t>(Outcome::server_error));
    };
    const std::uint64_t before = bad_answers();
    set(board_.watching, 1);
    stage_.servers().set_sick(kVictim, true);
    screen_.event(Tone::bad, "server {} answers 500 from now on; its health checks pass",
                  kVictim + 1);
    stage_.wait_until("a server's first bad answer", [&] { return bad_answers() != before; });
    stage_.wait_until("all workers to avoid a server that answers 500", [this] {
      return std::all_of(board_.workers.begin(), board_.workers.end(), avoids_victim);
    });
    std::uint64_t first_ns = UINT64_MAX;
    std::uint64_t last_ns = 0;
    for (const WorkerFigures& worker : board_.workers) {
      if (const std::uint64_t first = get(worker.first_error_ns); first != 0)
        first_ns = std::min(first_ns, first);
      last_ns = std::max(last_ns, get(worker.avoided_ns));
    }
    sickness.seen_by_all_ns = last_ns - std::min(first_ns, last_ns);
    sickness.bad_answers = bad_answers() - before;
    screen_.event(Tone::good,
                  "its breaker opened for all {} workers: {} after the first of {} bad answers",
                  kWorkers, duration(sickness.seen_by_all_ns), sickness.bad_answers);
    stage_.pause(share(6));
    set(board_.watching, 0);
    const std::uint64_t recovered_ns = now_ns();
    stage_.servers().set_sick(kVictim, false);
    stage_.wait_until("a recovered server's keys to come home",
                      [this] { return stage_.look_at_keys().not_home == 0; });
    sickness.back_in_use_ns = now_ns() - recovered_ns;
    screen_.event(Tone::good,
                  "it has recovered, was tried by one request, and has its keys back {} later",
                  duration(sickness.back_in_use_ns));
  }

  // Since it last picked the victim, a worker has picked another one for one of its keys.
  static bool avoids_victim(const WorkerFigures& worker) noexcept {
    const std::uint64_t avoided = get(worker.avoided_ns);
    return avoided != 0 && avoided >= get(worker.chosen_ns[kVictim]);
  }

  void measure_avoidance(std::uint64_t killed_ns) {
    ServerDeath& death = found_.server;
    for (const WorkerFigures& worker : board_.workers) {
      const std::uint64_t chosen = get(worker.chosen_ns[kVictim]);
      const std::uint64_t avoided = get(worker.avoided_ns);
      if (avoided == 0) throw Failure("a worker picks the dead server again");
      if (chosen > killed_ns) death.last_pick_ns = std::max(death.last_pick_ns, chosen - killed_ns);
      if (avoided > killed_ns)
        death.seen_by_all_ns = std::max(death.seen_by_all_ns, avoided - killed_ns);
    }
  }

  // How many of the victim's keys each other server got: "1 (331), 2 (340), ...".
  [[nodiscard]] std::string share_out(const KeysByServer& meanwhile) const {
    std::string text;
    for (std::size_t i = 0; i < kServers; ++i) {
      if (i == kVictim) continue;
      text += fmt::format("{}{} ({})", text.empty() ? "" : ", ", i + 1,
                          grouped(meanwhile[i] - std::min(meanwhile[i], found_.keys[i])));
    }
    return text;
  }

  // --- a worker dies -----------------------------------------------------------------------------

  void kill_worker() {
    WorkerDeath& death = found_.worker;
    const WorkerFigures& figures = board_.workers[kLostWorker];
    set(board_.hold[kLostWorker], kHeldRequests);
    stage_.wait_until("a worker to have slow requests open",
                      [&] { return get(figures.held) == kHeldRequests; });
    const pid_t pid = stage_.worker_pid(kLostWorker);
    const RowFacts before = stage_.row_of(pid);
    stage_.wait_until(
        "a worker to be in an ordinary request too", [&] { return get(figures.asking) != 0; },
        std::chrono::nanoseconds(0));
    stage_.kill_worker(kLostWorker);
    const std::uint64_t died_ns = now_ns();
    RowFacts row = stage_.row_of(pid);
    death.seen_in_flight = row.in_flight;
    screen_.event(Tone::bad, "kill -9 worker {} (pid {}); its row says {} in flight",
                  kLostWorker + 1, pid, row.in_flight);
    if (!row.found) throw Failure("the killed worker has no row");
    stage_.wait_until("the dead worker's row to be reaped", [&] {
      row = stage_.row_of(pid);
      return row.in_flight == 0;
    });
    death.reaped_ns = now_ns() - died_ns;
    death.held = row.abandoned - before.abandoned;
    screen_.event(Tone::good, "its row was reaped {} later: {} requests counted as abandoned",
                  duration(death.reaped_ns), death.held);
  }

  // --- the checker dies --------------------------------------------------------------------------

  void kill_checker() {
    CheckerDeath& death = found_.checker;
    const TableFacts before = stage_.look();
    death.term_before = before.term;
    flips_before_ = before.flips;
    const std::uint64_t requests = total(board_, &WorkerFigures::requests);
    const std::uint64_t errors = total(board_, &WorkerFigures::client_errors);
    const pid_t pid = stage_.checker_pid();
    const std::uint64_t killed_ns = now_ns();
    stage_.kill_checker();
    screen_.event(Tone::bad, "kill -9 ballastd (pid {})", pid);
    stage_.pause(share(12));
    death.keys_not_home = stage_.look_at_keys().not_home;

    const std::uint64_t started_ns = now_ns();
    stage_.start_checker();
    death.away_ns = started_ns - killed_ns;
    screen_.event(Tone::plain, "ballastd is started again (pid {}); workers picked on without it",
                  stage_.checker_pid());
    stage_.wait_until("the new checker to adopt the table", [&] {
      const TableFacts now = stage_.look();
      return now.term > before.term && now.heartbeat > before.heartbeat &&
             now.checker_pid == static_cast<std::uint64_t>(stage_.checker_pid());
    });
    death.adopted_ns = now_ns() - started_ns;
    death.term_after = stage_.look().term;
    death.requests = total(board_, &WorkerFigures::requests) - requests;
    death.client_errors = total(board_, &WorkerFigures::client_errors) - errors;
    screen_.event(
        Tone::good, "it adopted the table {} later: term {}; {} requests meanwhile, {} failed",
        duration(death.adopted_ns), death.term_after, grouped(death.requests), death.client_errors);
    const std::uint64_t checks = stage_.look().checks;
    stage_.wait_until("the new checker to check", [&] { return stage_.look().checks > checks; });
    death.keys_not_home += stage_.look_at_keys().not_home;
  }

  // --- the end -----------------------------------------------------------------------------------

  void stop() {
    stage_.stop_workers();
    const std::uint64_t stopped_ns = now_ns();
    found_.traffic_ns = stopped_ns - traffic_began_ns_;
    // If this never comes true it is a finding, not a failure of the demo.
    const std::uint64_t until = stopped_ns + 3'000'000'000U;
    while (stage_.look().in_flight != 0 && now_ns() < until)
      sleep_ms(1);
    found_.settled_ns = now_ns() - stopped_ns;
    found_.table = stage_.look();
    found_.checker.health_changes = found_.table.flips - flips_before_;
    screen_.event(Tone::plain, "the workers have left; in flight: {}", found_.table.in_flight);
    stage_.close();
  }

  const StoryOptions& options_;
  Board& board_;
  Screen& screen_;
  Stage stage_;
  Findings found_;
  std::uint64_t traffic_began_ns_ = 0;
  std::uint64_t flips_before_ = 0;
};

}  // namespace

Findings tell(const StoryOptions& options, SharedBoard& board, Screen& screen) {
  return Story(options, board, screen).tell();
}

}  // namespace ballast::tools::demo
