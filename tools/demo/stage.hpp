// What the demo's story is played with: the servers, the checker, the workers, a look at the table,
// and ways to wait that notice at once when somebody who should live has ended. The main process
// owns it; everything on it ends with it, in order.
#pragma once

#include <ballast.hpp>

#include <array>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "tools/demo/board.hpp"
#include "tools/demo/findings.hpp"
#include "tools/demo/process.hpp"
#include "tools/demo/screen.hpp"
#include "tools/demo/servers.hpp"
#include "tools/demo/table_reader.hpp"

namespace ballast::tools::demo {

// Set by a signal handler: whatever waits then throws Interrupted.
extern volatile std::sig_atomic_t interrupted;

class Stage {
 public:
  // Starts the servers. `ballastd` is the path of the checker's program.
  Stage(std::string ballastd, Board& board, Screen& screen);

  [[nodiscard]] Servers& servers() noexcept { return servers_; }
  [[nodiscard]] TableFacts look() const { return look_at_table(name_space_.path(), servers_); }
  [[nodiscard]] RowFacts row_of(pid_t pid) const { return look_at_row(name_space_.path(), pid); }
  [[nodiscard]] pid_t worker_pid(std::size_t worker) const { return workers_[worker].pid(); }

  void start_checker();
  [[nodiscard]] pid_t checker_pid() const noexcept { return checker_.pid(); }
  void kill_checker();
  // Waits until the table can be attached to and says that all servers are up.
  void attach();
  // Detaches, and asks the checker to leave in order.
  void close();

  void start_workers();
  void kill_worker(std::size_t worker);
  // Asks all workers to finish, and waits for it.
  void stop_workers();

  struct KeysFound {
    KeysByServer by_server{};
    std::uint64_t not_home = 0;  // of all keys, also the victim's
  };
  // Where a key's requests go now: a server or kNobody.
  unsigned where_is(std::size_t key);
  // Asks for all keys at once, and notes on the board those that moved though their server lives.
  KeysFound look_at_keys();

  // Both throw Failure if anybody ends by itself meanwhile, and Interrupted.
  void pause(unsigned ms);
  void wait_until(std::string_view what, const std::function<bool()>& is_so,
                  std::chrono::nanoseconds step = std::chrono::microseconds(200));

 private:
  void keep_watch();
  void show_progress();
  [[nodiscard]] std::string config_path() const { return files_.path() + "/ballast.toml"; }
  [[nodiscard]] std::string checker_log() const { return files_.path() + "/ballastd.log"; }

  std::string ballastd_;
  Board& board_;
  Screen& screen_;
  std::uint64_t rate_ns_ = 0;
  std::uint64_t rate_requests_ = 0;
  std::uint64_t rate_ = 0;

  // In this order, so that they go in the opposite one: workers, checker, servers, files.
  TemporaryDirectory files_;
  TemporaryDirectory name_space_;
  Servers servers_;
  Process checker_;
  bool checker_wanted_ = false;
  std::optional<Balancer> balancer_;
  std::optional<Service> service_;
  std::array<Process, kWorkers> workers_;
  bool workers_wanted_ = false;
};

}  // namespace ballast::tools::demo
