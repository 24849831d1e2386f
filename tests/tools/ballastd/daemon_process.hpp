// A ballastd of a test's own, driven by its log lines, and the files and server that it needs. The
// limits only keep a broken build from hanging.
#pragma once

#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "tests/support/temp_dir.hpp"
#include "tests/support/tiny_server.hpp"

namespace ballast::tests {

inline constexpr int kLimitMs = 30'000;

// A ballastd of the test's own, killed if the test forgets it.
class Process {
 public:
  explicit Process(std::vector<std::string> arguments) {
    std::array<int, 2> ends{};
    REQUIRE(pipe(ends.data()) == 0);
    pid_ = fork();
    REQUIRE(pid_ >= 0);
    if (pid_ == 0) {
      dup2(ends[1], STDOUT_FILENO);
      dup2(ends[1], STDERR_FILENO);
      close(ends[0]);
      close(ends[1]);
      std::vector<char*> argv;
      std::string program = BALLASTD;
      argv.push_back(program.data());
      for (auto& argument : arguments)
        argv.push_back(argument.data());
      argv.push_back(nullptr);
      execv(program.c_str(), argv.data());
      _exit(127);
    }
    close(ends[1]);
    output_ = ends[0];
  }
  ~Process() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
    close(output_);
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  [[nodiscard]] pid_t pid() const { return pid_; }
  void signal(int number) const { REQUIRE(::kill(pid_, number) == 0); }

  // Reads on until a line contains `text`, and returns that line.
  std::string wait_for(const std::string& text) {
    for (;;) {
      while (!pending_.empty()) {
        const auto end = pending_.find('\n');
        if (end == std::string::npos) break;
        const std::string line = pending_.substr(0, end);
        pending_.erase(0, end + 1);
        seen_ += line + "\n";
        if (line.find(text) != std::string::npos) return line;
      }
      if (!read_more()) {
        FAIL("no line with \"" << text << "\" in:\n" << seen_);
        return {};
      }
    }
  }

  // Everything that is still to come, and the exit status.
  int wait_for_exit() {
    while (read_more()) {
    }
    seen_ += pending_;
    int status = 0;
    waitpid(pid_, &status, 0);
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  [[nodiscard]] const std::string& seen() const { return seen_; }

 private:
  bool read_more() {
    pollfd wanted{output_, POLLIN, 0};
    if (poll(&wanted, 1, kLimitMs) <= 0) return false;
    std::array<char, 4096> buffer;
    const ssize_t got = read(output_, buffer.data(), buffer.size());
    if (got <= 0) return false;
    pending_.append(buffer.data(), static_cast<std::size_t>(got));
    return true;
  }

  pid_t pid_ = -1;
  int output_ = -1;
  std::string pending_;
  std::string seen_;
};

class Setting {
 public:
  Setting() : port_(free_port()), server_(Behaviour::good, {local_endpoint(port_)}) {
    write(service());
  }
  void write(const std::string& text) const { std::ofstream(file()) << text; }
  // From now on a reading of the file takes until the test opens it for writing, as one takes that
  // has to wait for a resolver.
  void make_reading_slow() const {
    std::filesystem::remove(file());
    REQUIRE(mkfifo(file().c_str(), 0600) == 0);
  }
  // Waits until somebody reads the slow file, and keeps them waiting until the result is closed.
  [[nodiscard]] int hold_reader() const {
    const int writer = open(file().c_str(), O_WRONLY | O_CLOEXEC);
    REQUIRE(writer >= 0);
    return writer;
  }
  [[nodiscard]] std::string service(const std::string& name = "checkout") const {
    return "[service." + name + "]\ninstances = [\"" + address() + "\"]\n";
  }
  [[nodiscard]] std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  [[nodiscard]] std::string file() const { return dir_.path() + "/ballast.toml"; }
  [[nodiscard]] std::string directory() const { return dir_.path() + "/files"; }
  [[nodiscard]] std::vector<std::string> run(const std::vector<std::string>& more = {}) const {
    std::vector<std::string> arguments{"--config", file(), "--directory", directory()};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }

 private:
  TempDir dir_;
  std::uint16_t port_;
  TinyServer server_;
};

}  // namespace ballast::tests
