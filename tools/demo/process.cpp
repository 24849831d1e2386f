// Child processes and temporary directories: see process.hpp.
#include "tools/demo/process.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <fstream>
#include <utility>

#include "tools/demo/clock.hpp"
#include "tools/demo/failure.hpp"

namespace ballast::tools::demo {
namespace {

// In the child: to be ended with the demo, and by nothing else that is typed at its terminal.
void become_child(pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(1);  // it died before it could be watched
  setpgid(0, 0);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGPIPE})
    std::signal(signal, SIG_DFL);
}

pid_t fork_child() {
  std::fflush(nullptr);  // or the child could write it a second time
  const pid_t pid = fork();
  if (pid < 0) throw Failure(fmt::format("cannot fork: {}", std::strerror(errno)));
  return pid;
}

}  // namespace

Process Process::run(const std::vector<std::string>& arguments, const std::string& log_path) {
  std::vector<char*> argv;
  argv.reserve(arguments.size() + 1);
  for (const std::string& argument : arguments)
    argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);

  // The child's errno comes back through a pipe, which exec closes.
  int trouble[2];
  if (pipe2(trouble, O_CLOEXEC) != 0)
    throw Failure(fmt::format("cannot make a pipe: {}", std::strerror(errno)));
  const pid_t parent = getpid();
  const pid_t pid = fork_child();
  if (pid == 0) {
    become_child(parent);
    const int log = open(log_path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    const int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (log >= 0 && nothing >= 0 && dup2(nothing, 0) == 0 && dup2(log, 1) == 1 && dup2(log, 2) == 2)
      execv(argv[0], argv.data());
    const int code = errno;
    [[maybe_unused]] const ssize_t written = write(trouble[1], &code, sizeof code);
    _exit(127);
  }
  Process child(pid);
  close(trouble[1]);
  int code = 0;
  const ssize_t got = read(trouble[0], &code, sizeof code);
  close(trouble[0]);
  if (got == sizeof code)
    throw Failure(fmt::format("cannot run {}: {}", arguments[0], std::strerror(code)));
  return child;
}

Process Process::fork_into(const std::function<void()>& body) {
  const pid_t parent = getpid();
  const pid_t pid = fork_child();
  if (pid == 0) {
    become_child(parent);
    try {
      body();
    } catch (const std::exception& error) {
      fmt::print(stderr, "ballast-demo: a child ends: {}\n", error.what());
      _exit(1);
    }
    _exit(0);
  }
  return Process(pid);
}

Process::Process(Process&& other) noexcept : pid_(std::exchange(other.pid_, 0)) {}

Process& Process::operator=(Process&& other) noexcept {
  if (this != &other) {
    kill();
    pid_ = std::exchange(other.pid_, 0);
  }
  return *this;
}

Process::~Process() {
  kill();
}

bool Process::is_running() noexcept {
  if (pid_ != 0 && waitpid(pid_, nullptr, WNOHANG) == pid_) pid_ = 0;
  return pid_ != 0;
}

void Process::strike() const noexcept {
  if (pid_ != 0) ::kill(pid_, SIGKILL);
}

void Process::wait() noexcept {
  if (pid_ == 0) return;
  while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
  pid_ = 0;
}

void Process::kill() noexcept {
  strike();
  wait();
}

bool Process::ask_to_leave(unsigned grace_ms) noexcept {
  if (pid_ == 0) return true;
  ::kill(pid_, SIGTERM);
  const std::uint64_t until = now_ns() + std::uint64_t{grace_ms} * 1'000'000;
  while (is_running()) {
    if (now_ns() > until) {
      kill();
      return false;
    }
    sleep_ms(2);
  }
  return true;
}

TemporaryDirectory::TemporaryDirectory(const std::string& parent)
    : path_(fmt::format("{}/ballast-demo.{}.XXXXXX", parent, getpid())) {
  if (mkdtemp(path_.data()) == nullptr)
    throw Failure(fmt::format("cannot make a directory in {}: {}", parent, std::strerror(errno)));
}

TemporaryDirectory::TemporaryDirectory(TemporaryDirectory&& other) noexcept
    : path_(std::exchange(other.path_, {})) {}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
}

std::string last_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::string last = "it says nothing";
  while (std::getline(file, line)) {
    if (line.find_first_not_of(" \t\r^") != std::string::npos) last = line;
  }
  return last;
}

void write_file(const std::string& path, const std::string& text) {
  std::ofstream file(path);
  file << text;
  file.close();
  if (!file) throw Failure(fmt::format("cannot write {}: {}", path, std::strerror(errno)));
}

}  // namespace ballast::tools::demo
