// Checks that are commands of this host: starts them without a shell, watches for their end and
// what they print, and leaves nothing behind. The prober owns one for all its instances and keeps
// the time: a command that is still there at its deadline is given up with `cancel`.
//
// A command runs in a session and process group of its own, in "/", with nothing but PATH and the
// variables it is given, standard input empty, standard output and error into our pipe, and no
// other descriptor of ours but one: the reading end of a pipe that says nothing. When this process
// dies, however it dies, the kernel sees that pipe's last writer go and kills the whole group. The
// end of the command itself ends the check; what it leaves running in its group is killed, and so
// is everything at a deadline or when it prints too much. Only what moves to another session on its
// own gets away.
//
// One thread, one loop. Starting takes until the program is loaded, so it should lie on a local
// disk.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/checker/loop/loop.hpp"
#include "engine/checker/probing/verdict.hpp"
#include "engine/checker/settings.hpp"
#include "shm/endpoint.hpp"

namespace ballast::checker {

// At once, those included that were killed and whose end the kernel has not reported yet. Each
// holds a process and three descriptors.
inline constexpr std::size_t kMaxCommands = 64;
// A command that was killed so long ago and has not ended is stuck.
inline constexpr std::chrono::seconds kStuckAfter{1};
inline constexpr const char* kCommandPath =
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

struct CommandRequest {
  std::vector<std::string> command;    // argv; the program by its absolute path
  std::vector<std::string> variables;  // "NAME=value", besides PATH
  std::uint32_t max_output_bytes = 4096;
  std::uint64_t user = 0;  // handed back
};

class CommandHandler {
 public:
  // Passed for an exit status of 0. Else bad_exit with the status, or with 128 and the signal that
  // killed it, or bad_response for too much output. The note is what it printed. Never called from
  // within start() or cancel(); may call both.
  virtual void on_command_end(std::uint64_t user, CheckResult result) = 0;

 protected:
  ~CommandHandler() = default;
};

class CommandProbe {
 public:
  using Id = std::uint64_t;  // 0: none

  CommandProbe(Loop& loop, CommandHandler& handler, std::size_t max_running = kMaxCommands,
               std::chrono::milliseconds stuck_after = kStuckAfter);
  // Kills what runs, and waits up to a second until it is gone.
  ~CommandProbe();
  CommandProbe(const CommandProbe&) = delete;
  CommandProbe& operator=(const CommandProbe&) = delete;

  struct Started {
    Id id = 0;
    int error = 0;  // why there is none: an errno, ENOENT, EACCES, ENOEXEC, EMFILE, ...
  };
  // While `full()` it fails with EAGAIN.
  [[nodiscard]] Started start(const CommandRequest& request);
  [[nodiscard]] bool full() const noexcept;
  [[nodiscard]] std::size_t running() const noexcept;
  // Of those that run, the ones that were killed and do not end: the kernel holds them, as it does
  // who waits for a file server that hangs. Each keeps its place.
  [[nodiscard]] std::size_t stuck() const noexcept;

  // Kills it; nothing is reported. Returns what it has printed so far, as a note. Harmless for one
  // that has ended.
  std::string cancel(Id id);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

// What a check's command is told: BALLAST_INSTANCE (as configured), BALLAST_ADDRESS and
// BALLAST_PORT (where to check).
[[nodiscard]] std::vector<std::string> command_variables(const InstanceSettings& instance,
                                                         const shm::Endpoint& peer);

}  // namespace ballast::checker
