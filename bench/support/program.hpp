// Another program that is measured: started pinned to a processor of its own, at real-time priority
// where that is allowed, so that whatever else runs on the machine takes nothing from it. Killed
// when this is destroyed, and by the kernel when the benchmark dies. What it writes goes to a file.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace ballast::bench {

// Lets a process, or the calling thread (0), run at real-time priority from now on. False where
// that is refused.
bool run_at_real_time(pid_t pid = 0) noexcept;

// As many descriptors for the calling process as the system lets it have, for ten thousands of
// connections.
void allow_descriptors() noexcept;

struct ProgramOptions {
  std::vector<std::string> argv;  // the program by its path
  std::string output;             // file for stdout and stderr, made anew
  unsigned rank = 0;              // processor: see pin()
  bool pinned = true;
  bool real_time = true;
};

class Program {
 public:
  // Throws if it cannot be started. That it ended at once shows only in `alive`.
  explicit Program(const ProgramOptions& options);
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;
  ~Program();

  [[nodiscard]] bool alive() noexcept;
  void signal(int number) noexcept;
  void kill() noexcept;  // SIGKILL, and waits until it is gone

  // Nanoseconds on a processor so far, of all its threads that live.
  [[nodiscard]] std::uint64_t cpu_ns() const;
  [[nodiscard]] std::uint64_t resident_bytes() const;
  // -1 once it has been seen to be gone.
  [[nodiscard]] pid_t pid() const noexcept { return pid_; }
  [[nodiscard]] const std::string& output() const noexcept { return output_; }

 private:
  pid_t pid_ = -1;
  std::string output_;
};

// What the kernel did for the network on a processor outside any process: its ksoftirqd, and, where
// the kernel does not count interrupts as part of whom they interrupt (CONFIG_IRQ_TIME_ACCOUNTING),
// the soft interrupts too. Nanoseconds since the machine started.
[[nodiscard]] std::uint64_t softirq_ns(unsigned rank);
// Whether the run time of a process holds the soft interrupts that it causes. Found out by trying,
// which takes 0.2 s the first time.
[[nodiscard]] bool run_time_holds_softirqs();

// The end of a file, for telling why a program did not do what it should.
[[nodiscard]] std::string tail_of(const std::string& path, std::size_t bytes = 600);

}  // namespace ballast::bench
