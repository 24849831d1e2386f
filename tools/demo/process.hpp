// Child processes and temporary directories that cannot be left behind: a child is ended by its pid
// when its owner goes, and by the kernel (PR_SET_PDEATHSIG) if the demo itself is killed. Children
// are put in process groups of their own, so that Ctrl-C reaches the demo alone, which then ends
// them in order.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

namespace ballast::tools::demo {

// One child process. Move-only; kill -9 and wait when it goes.
class Process {
 public:
  Process() noexcept = default;
  // Runs a program, both of its outputs appended to `log_path`. Failure if it cannot be run.
  static Process run(const std::vector<std::string>& arguments, const std::string& log_path);
  // Runs `body` in a forked child, which ends when it returns.
  static Process fork_into(const std::function<void()>& body);

  Process(Process&& other) noexcept;
  Process& operator=(Process&& other) noexcept;
  ~Process();

  [[nodiscard]] pid_t pid() const noexcept { return pid_; }
  [[nodiscard]] bool is_running() noexcept;  // also buries it if it is not

  // kill -9, without waiting for the end.
  void strike() const noexcept;
  void wait() noexcept;
  void kill() noexcept;
  // SIGTERM, and kill -9 if it has not left after `grace_ms`. True if it left by itself.
  bool ask_to_leave(unsigned grace_ms) noexcept;

 private:
  explicit Process(pid_t pid) noexcept : pid_(pid) {}
  pid_t pid_ = 0;  // 0: none
};

// A directory that goes, with everything in it, when its owner does. Named after the demo's pid.
class TemporaryDirectory {
 public:
  explicit TemporaryDirectory(const std::string& parent);
  TemporaryDirectory(TemporaryDirectory&& other) noexcept;
  TemporaryDirectory& operator=(TemporaryDirectory&&) = delete;
  ~TemporaryDirectory();
  [[nodiscard]] const std::string& path() const noexcept { return path_; }

 private:
  std::string path_;
};

// The last line of a log that says something, or words for there being none.
std::string last_line(const std::string& path);

void write_file(const std::string& path, const std::string& text);

}  // namespace ballast::tools::demo
