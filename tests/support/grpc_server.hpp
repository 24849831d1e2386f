// The gRPC server of tests/support/health_over_grpc.py in a process of its own. It dies with its
// parent, or with this object.
#pragma once

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <vector>

namespace ballast::tests {

// Whether this machine can run it, with the Python that Debian's packages are for.
inline bool has_grpc() {
  static const bool has = std::system("/usr/bin/python3 -c 'import grpc' >/dev/null 2>&1") == 0;
  return has;
}

class GrpcServer {
 public:
  // `script`: the path of health_over_grpc.py. Returns when the server listens on `address`.
  GrpcServer(const std::string& script, const std::string& address,
             const std::vector<std::string>& files = {}) {
    int in[2];
    int out[2];
    if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0) throw std::runtime_error("pipe");
    const pid_t parent = getpid();
    pid_ = fork();
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (getppid() != parent) _exit(127);
      dup2(in[0], 0);
      dup2(out[1], 1);
      std::vector<std::string> words{"python3", script, address};
      words.insert(words.end(), files.begin(), files.end());
      std::vector<char*> argv;
      for (std::string& word : words)
        argv.push_back(word.data());
      argv.push_back(nullptr);
      execv("/usr/bin/python3", argv.data());
      _exit(127);
    }
    close(in[0]);
    close(out[1]);
    to_ = in[1];
    from_ = out[0];
    if (line() != "ready") throw std::runtime_error("the gRPC server does not start");
  }
  GrpcServer(const GrpcServer&) = delete;
  GrpcServer& operator=(const GrpcServer&) = delete;
  ~GrpcServer() {
    kill();
    close(to_);
    close(from_);
  }

  // Returns when it is so.
  void tell(const std::string& what) {
    ask(what);
    if (line() != "done") throw std::runtime_error("the gRPC server does not do: " + what);
  }
  // Does not wait.
  void ask(const std::string& what) const {
    const std::string text = what + "\n";
    if (write(to_, text.data(), text.size()) < 0) throw std::runtime_error("write");
  }
  void kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }

 private:
  std::string line() const {
    std::string text;
    char c = 0;
    while (read(from_, &c, 1) == 1 && c != '\n')
      text += c;
    return text;
  }

  pid_t pid_ = -1;
  int to_ = -1;
  int from_ = -1;
};

}  // namespace ballast::tests
