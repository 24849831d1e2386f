// A real server program of a test's own, in a temporary directory that it may write whoever it runs
// as. It dies with its parent, or when this object goes.
#pragma once

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/support/temp_dir.hpp"
#include "tests/support/tiny_server.hpp"

namespace ballast::tests {

// Starts `argv`, its output into `log`; as nobody where we are root and `unprivileged`.
inline pid_t start_program(const std::vector<std::string>& argv, const std::string& log,
                           bool unprivileged) {
  std::vector<char*> words;
  for (const std::string& word : argv)
    words.push_back(const_cast<char*>(word.c_str()));  // NOLINT: execv leaves them as they are
  words.push_back(nullptr);
  const pid_t parent = getpid();
  const pid_t child = fork();
  if (child != 0) return child;
  constexpr unsigned kNobody = 65534;
  const int out = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0666);
  dup2(out, 1);
  dup2(out, 2);
  if (unprivileged && geteuid() == 0 &&
      (setgroups(0, nullptr) != 0 || setgid(kNobody) != 0 || setuid(kNobody) != 0)) {
    _exit(126);
  }
  prctl(PR_SET_PDEATHSIG, SIGKILL);  // after the change of user, which clears it
  if (getppid() != parent) _exit(126);
  execv(words[0], words.data());
  _exit(127);
}

class ServerProcess {
 public:
  ServerProcess() : port_(free_port()) { ::chmod(directory_.path().c_str(), 0777); }
  ~ServerProcess() { kill(); }
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;

  [[nodiscard]] std::string directory() const { return directory_.path(); }
  [[nodiscard]] std::uint16_t port() const { return port_; }
  [[nodiscard]] shm::Endpoint endpoint() const { return local_endpoint(port_); }

  // Something that the server needs first; throws unless it ends well.
  void prepare(const std::vector<std::string>& argv) {
    int status = 0;
    waitpid(start_program(argv, log(), true), &status, 0);
    if (status != 0) throw std::runtime_error(argv[0] + " failed: " + log_text());
  }

  // Returns when the port accepts; throws if it never does.
  void start(const std::vector<std::string>& argv) {
    child_ = start_program(argv, log(), true);
    const int pid_fd = static_cast<int>(syscall(SYS_pidfd_open, child_, 0));
    bool accepts = false;
    for (int tries = 0; tries < 12'000 && !accepts; ++tries) {
      sockaddr_storage address{};
      const socklen_t length = endpoint().to_sockaddr(address);
      const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      accepts = connect(fd, reinterpret_cast<const sockaddr*>(&address), length) == 0;
      close(fd);
      pollfd died{pid_fd, POLLIN, 0};
      if (!accepts && poll(&died, 1, 5) == 1) break;
    }
    close(pid_fd);
    if (!accepts) throw std::runtime_error(argv[0] + " did not start: " + log_text());
  }

  void kill() {
    if (child_ <= 0) return;
    ::kill(child_, SIGKILL);
    waitpid(child_, nullptr, 0);
    child_ = -1;
  }

 private:
  [[nodiscard]] std::string log() const { return directory_.path() + "/test.log"; }
  [[nodiscard]] std::string log_text() const {
    std::ostringstream text;
    text << std::ifstream(log()).rdbuf();
    return text.str();
  }

  TempDir directory_;
  std::uint16_t port_;
  pid_t child_ = -1;
};

}  // namespace ballast::tests
