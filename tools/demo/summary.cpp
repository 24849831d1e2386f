// The end of the demo: see summary.hpp.
#include "tools/demo/summary.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <ballast.hpp>

namespace ballast::tools::demo {
namespace {

std::uint64_t slowest_us(const Board& board) noexcept {
  std::uint64_t slowest = 0;
  for (const WorkerFigures& worker : board.workers)
    slowest = std::max(slowest, get(worker.slowest_us));
  return slowest;
}

std::string bad_attempts(const Board& board) {
  std::string text;
  for (std::size_t outcome = 0; outcome < kOutcomes; ++outcome) {
    if (const std::uint64_t count = total_bad_attempts(board, outcome); count != 0) {
      text += fmt::format("{}{} {}", text.empty() ? "" : ", ", count,
                          to_text(static_cast<Outcome>(outcome)));
    }
  }
  return text.empty() ? "none failed" : text;
}

void print_servers(const Findings& found, const Board& board, Screen& screen) {
  screen.line(screen.paint(
      Tone::bold, fmt::format("{:<8}{:>8}{:>14}{:>11}{:>9}{:>9}{:>9}{:>11}", "server", "keys",
                              fmt::format("while {} dead", found.server.server + 1), "answers",
                              "checks", "failed", "changes", "in flight")));
  std::uint64_t keys = 0;
  std::uint64_t meanwhile = 0;
  std::uint64_t answers = 0;
  const auto row = [&](std::string_view name, std::uint64_t owned, std::uint64_t then,
                       std::uint64_t answered, const auto& facts) {
    screen.line(fmt::format("{:<8}{:>8}{:>14}{:>11}{:>9}{:>9}{:>9}{:>11}", name, grouped(owned),
                            grouped(then), grouped(answered), grouped(facts.checks),
                            facts.check_failures, facts.flips, facts.in_flight));
  };
  for (std::size_t i = 0; i < kServers; ++i) {
    const std::uint64_t answered = total_served(board, i);
    row(fmt::format("{}{}", i + 1, i == found.server.server ? " *" : ""), found.keys[i],
        found.server.keys_meanwhile[i], answered, found.table.instances[i]);
    keys += found.keys[i];
    meanwhile += found.server.keys_meanwhile[i];
    answers += answered;
  }
  row("all", keys, meanwhile, answers, found.table);
}

void print_workers(const Findings& found, const Board& board, Screen& screen) {
  screen.line(
      screen.paint(Tone::bold, fmt::format("{:<8}{:>8}{:>14}{:>11}{:>9}{:>12}", "worker", "pid",
                                           "requests", "retried", "failed", "slowest")));
  for (std::size_t i = 0; i < kWorkers; ++i) {
    const WorkerFigures& worker = board.workers[i];
    const bool killed = i == found.worker.worker;
    screen.line(fmt::format(
        "{:<8}{:>8}{:>14}{:>11}{:>9}{:>12}{}", fmt::format("{}{}", i + 1, killed ? " *" : ""),
        found.worker_pids[i], grouped(get(worker.requests)), get(worker.retries),
        get(worker.client_errors), duration(get(worker.slowest_us) * 1000),
        killed ? fmt::format("   killed worker held {}", found.worker.held) : ""));
  }
}

}  // namespace

void print_summary(const Findings& found, const Board& board, Screen& screen) {
  const std::uint64_t requests = total(board, &WorkerFigures::requests);
  const auto fact = [&](std::string_view name, const std::string& text) {
    screen.line(fmt::format("{:<18}{}", name, text));
  };
  screen.line("");
  print_servers(found, board, screen);
  screen.line("");
  print_workers(found, board, screen);
  screen.line(screen.paint(Tone::faint, "* killed with kill -9"));
  screen.line("");
  fact("requests",
       fmt::format("{} in {}, {} a second; attempts that failed: {}; slowest {}", grouped(requests),
                   duration(found.traffic_ns),
                   grouped(requests * 1'000'000'000 / std::max<std::uint64_t>(found.traffic_ns, 1)),
                   bad_attempts(board), duration(slowest_us(board) * 1000)));
  fact(fmt::format("server {}", found.server.server + 1),
       fmt::format(
           "avoided by all {} after the kill (last pick of it: {}); back {} after its start",
           duration(found.server.seen_by_all_ns), duration_or_none(found.server.last_pick_ns),
           duration(found.server.back_in_use_ns)));
  fact("  answering 500",
       fmt::format("avoided by all {} after {} bad answers; all keys home {} after it recovered",
                   duration(found.sickness.seen_by_all_ns), found.sickness.bad_answers,
                   duration(found.sickness.back_in_use_ns)));
  fact(fmt::format("worker {}", found.worker.worker + 1),
       fmt::format("killed worker held {} requests (seen in its row: {}); reaped after {}",
                   found.worker.held, found.worker.seen_in_flight,
                   duration(found.worker.reaped_ns)));
  fact("checker", fmt::format("away {}, adopted {} after its start: term {}, then {}; changes of "
                              "health since: {}",
                              duration(found.checker.away_ns), duration(found.checker.adopted_ns),
                              found.checker.term_before, found.checker.term_after,
                              found.checker.health_changes));
  fact("in flight", fmt::format("{} when settled, {} after the traffic", found.table.in_flight,
                                duration(found.settled_ns)));
  screen.line("");
}

std::string machine_line(const Findings& found, const Board& board) {
  return fmt::format(
      "demo: requests={} client_errors={} other_keys_moved={} in_flight_after={} "
      "death_seen_by_all_us={} checker_restart_client_errors={}",
      total(board, &WorkerFigures::requests), total(board, &WorkerFigures::client_errors),
      count_moved(board), found.table.in_flight, found.server.seen_by_all_ns / 1000,
      found.checker.client_errors);
}

std::string complaint(const Findings& found, const Board& board) {
  std::string text;
  const auto expect_zero = [&text](std::string_view what, auto value) {
    if (value != 0) text += fmt::format("{}{} is {}, not 0", text.empty() ? "" : "; ", what, value);
  };
  expect_zero("client_errors", total(board, &WorkerFigures::client_errors));
  expect_zero("other_keys_moved", count_moved(board));
  expect_zero("in_flight_after", found.table.in_flight);
  expect_zero("checker_restart_client_errors", found.checker.client_errors);
  expect_zero("answers from another server than the picked one",
              total(board, &WorkerFigures::misplaced));
  expect_zero("keys not home after the server's return", found.server.keys_not_home);
  expect_zero("keys not home during the checker's restart", found.checker.keys_not_home);
  expect_zero("changes of health by the checker's restart", found.checker.health_changes);
  return text;
}

}  // namespace ballast::tools::demo
