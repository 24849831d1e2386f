// What the demo's story is played with: see stage.hpp.
#include "tools/demo/stage.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "tools/demo/clock.hpp"
#include "tools/demo/failure.hpp"
#include "tools/demo/traffic.hpp"

namespace ballast::tools::demo {

volatile std::sig_atomic_t interrupted = 0;

namespace {

constexpr unsigned kPatienceMs = 10'000;  // for anything that has to happen
constexpr std::uint64_t kRateWindowNs = 500'000'000;

std::string parent_of_namespace() {
  return access("/dev/shm", W_OK) == 0 ? "/dev/shm" : std::filesystem::temp_directory_path();
}

std::string configuration(const std::string& directory, const Servers& servers) {
  std::string instances;
  for (std::size_t i = 0; i < kServers; ++i)
    instances += fmt::format("{}\"{}\"", i == 0 ? "" : ", ", servers.address(i));
  return fmt::format(
      "[ballast]\nnamespace = \"demo\"\ndirectory = \"{}\"\n\n[service.{}]\n"
      "instances = [{}]\nbreaker = {{ open = \"500ms\" }}\n",
      directory, kService, instances);
}

}  // namespace

Stage::Stage(std::string ballastd, Board& board, Screen& screen)
    : ballastd_(std::move(ballastd)),
      board_(board),
      screen_(screen),
      files_(std::filesystem::temp_directory_path()),
      name_space_(parent_of_namespace()),
      servers_(files_.path()) {
  write_file(config_path(), configuration(name_space_.path(), servers_));
}

void Stage::start_checker() {
  checker_ = Process::run({ballastd_, "--config", config_path()}, checker_log());
  checker_wanted_ = true;
}

void Stage::kill_checker() {
  checker_wanted_ = false;
  checker_.kill();
}

void Stage::attach() {
  wait_until("the checker to publish its table", [this] {
    try {
      balancer_.emplace(Balancer::in_directory(name_space_.path()));
      service_.emplace(balancer_->service(kService));
      return service_->epoch() != 0;
    } catch (const Error& error) {
      if (error.status() != Status::not_found) throw Failure(error.what());
      return false;
    }
  });
  wait_until("all servers to be up", [this] { return look().usable == kServers; });
}

void Stage::close() {
  service_.reset();
  balancer_.reset();
  checker_wanted_ = false;
  if (!checker_.ask_to_leave(3000)) throw Failure("ballastd did not leave when it was asked to");
}

void Stage::start_workers() {
  workers_wanted_ = true;
  rate_ns_ = now_ns();
  for (std::size_t i = 0; i < kWorkers; ++i) {
    // Both ways of attaching must do: half of them use what was attached before the fork.
    workers_[i] = Process::fork_into([this, i] {
      send_requests(
          board_, servers_, i,
          i < kWorkers / 2 ? std::move(*balancer_) : Balancer::in_directory(name_space_.path()));
    });
  }
}

void Stage::kill_worker(std::size_t worker) {
  workers_[worker].kill();
}

void Stage::stop_workers() {
  workers_wanted_ = false;
  set(board_.stop, 1);
  wait_until("the workers to finish", [this] {
    return std::none_of(workers_.begin(), workers_.end(),
                        [](Process& worker) { return worker.is_running(); });
  });
}

unsigned Stage::where_is(std::size_t key) {
  Pick pick = service_->pick(key_text(key));
  const unsigned server = server_of(servers_, pick);
  pick.report(Outcome::cancelled);
  return server;
}

Stage::KeysFound Stage::look_at_keys() {
  KeysFound keys;
  for (std::size_t key = 0; key < kKeys; ++key) {
    const unsigned server = where_is(key);
    if (server < kServers) ++keys.by_server[server];
    if (server == board_.owner[key]) continue;
    ++keys.not_home;
    if (board_.owner[key] != board_.victim) board_.moved[key].store(1, std::memory_order_relaxed);
  }
  return keys;
}

void Stage::pause(unsigned ms) {
  const std::uint64_t until = now_ns() + std::uint64_t{ms} * 1'000'000;
  while (now_ns() < until) {
    keep_watch();
    sleep_ms(5);
  }
}

void Stage::wait_until(std::string_view what, const std::function<bool()>& is_so,
                       std::chrono::nanoseconds step) {
  const std::uint64_t until = now_ns() + std::uint64_t{kPatienceMs} * 1'000'000;
  while (!is_so()) {
    if (now_ns() > until)
      throw Failure(fmt::format("waited {} s for {}, in vain", kPatienceMs / 1000, what));
    keep_watch();
    const timespec pause{0, static_cast<long>(step.count())};
    if (step.count() != 0) nanosleep(&pause, nullptr);
  }
}

// What has to be looked after while anything is waited for.
void Stage::keep_watch() {
  if (interrupted != 0) throw Interrupted();
  show_progress();
  if (const unsigned dead = servers_.find_dead(); dead != kNobody) {
    throw Failure(
        fmt::format("server {} ended by itself: {}", dead + 1, servers_.last_words(dead)));
  }
  if (checker_wanted_ && !checker_.is_running())
    throw Failure(fmt::format("ballastd ended by itself: {}", last_line(checker_log())));
  for (std::size_t i = 0; workers_wanted_ && i < kWorkers; ++i) {
    if (workers_[i].pid() != 0 && !workers_[i].is_running())
      throw Failure(fmt::format("worker {} ended by itself", i + 1));
  }
}

void Stage::show_progress() {
  if (rate_ns_ == 0 || !screen_.wants_live()) return;
  const std::uint64_t now = now_ns();
  const std::uint64_t requests = total(board_, &WorkerFigures::requests);
  if (now - rate_ns_ >= kRateWindowNs) {
    rate_ = (requests - rate_requests_) * 1'000'000'000 / (now - rate_ns_);
    rate_ns_ = now;
    rate_requests_ = requests;
  }
  if (rate_ == 0) return;
  const TableFacts facts = look();
  std::string marks;
  for (std::size_t i = 0; i < kServers; ++i) {
    const bool usable = facts.instances[i].usable;
    marks += ' ';
    marks += usable ? screen_.paint(Tone::good, fmt::format("{}", i + 1))
                    : screen_.paint(Tone::bad, "x");
  }
  const auto alive = std::count_if(workers_.begin(), workers_.end(),
                                   [](const Process& worker) { return worker.pid() != 0; });
  screen_.live(
      fmt::format("servers{}  workers {}  checker {}  {:>7}/s  failed {}  retried {}  requests {}",
                  marks, alive, facts.checker_lives ? "alive" : screen_.paint(Tone::bad, "dead "),
                  grouped(rate_), total(board_, &WorkerFigures::client_errors),
                  total(board_, &WorkerFigures::retries), grouped(requests)));
}

}  // namespace ballast::tools::demo
