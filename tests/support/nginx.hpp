// A real nginx of a test's own: one foreground process in a temporary directory, on loopback ports
// that were free a moment ago. It dies with its parent, or when this object goes.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <fstream>
#include <stdexcept>
#include <string>

#include "tests/support/temp_dir.hpp"

namespace ballast::tests {

// Path of the nginx binary; empty if there is none.
inline std::string find_nginx() {
  for (const char* path : {"/usr/sbin/nginx", "/usr/local/sbin/nginx", "/usr/bin/nginx"}) {
    if (access(path, X_OK) == 0) return path;
  }
  return {};
}

inline sockaddr_in loopback(std::uint32_t address, std::uint16_t port) {
  sockaddr_in in{};
  in.sin_family = AF_INET;
  in.sin_addr.s_addr = htonl(address);
  in.sin_port = htons(port);
  return in;
}

// A port below the ephemeral range on which nothing listens, at any address.
inline std::uint16_t port_free_everywhere() {
  static std::uint16_t next = static_cast<std::uint16_t>(12000 + getpid() % 16000);
  for (int tries = 0; tries < 4000; ++tries) {
    const std::uint16_t port = next++;
    if (next == 32000) next = 12000;
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_in any = loopback(INADDR_ANY, port);
    const bool is_free = bind(fd, reinterpret_cast<const sockaddr*>(&any), sizeof any) == 0;
    close(fd);
    if (is_free) return port;
  }
  throw std::runtime_error("no free port below 32000");
}

class Nginx {
 public:
  // `http` is what stands in the http block. Returns when `port` on 127.0.0.1 accepts. With
  // `workers` a master and so many workers, else one process that is all.
  Nginx(const std::string& http, std::uint16_t port, int workers = 0)
      : port_(port), has_master_(workers > 0) {
    const std::string dir = directory_.path();
    std::ofstream(dir + "/nginx.conf")
        << "daemon off; master_process " << (has_master_ ? "on" : "off") << ";\n"
        << "worker_processes " << (has_master_ ? workers : 1) << ";\n"
        << "user root;\n"
        << "pid " << dir << "/pid; error_log " << dir << "/error.log crit;\n"
        << "events { worker_connections 1024; }\n"
        << "http {\n"
        << "access_log off; keepalive_requests 100000000; server_tokens off;\n"
        << "client_body_temp_path " << dir << "/body; proxy_temp_path " << dir << "/proxy;\n"
        << "fastcgi_temp_path " << dir << "/fastcgi; uwsgi_temp_path " << dir << "/uwsgi;\n"
        << "scgi_temp_path " << dir << "/scgi;\n"
        << http << "}\n";
    const std::string binary = find_nginx();
    const std::string conf = dir + "/nginx.conf";
    const std::string log = dir + "/error.log";
    const pid_t parent = getpid();
    child_ = fork();
    if (child_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (getppid() != parent) _exit(127);
      execl(binary.c_str(), "nginx", "-p", dir.c_str(), "-e", log.c_str(), "-c", conf.c_str(),
            static_cast<char*>(nullptr));
      _exit(127);
    }
    wait_until_it_accepts();
  }
  Nginx(const Nginx&) = delete;
  Nginx& operator=(const Nginx&) = delete;
  ~Nginx() {
    if (child_ <= 0) return;
    kill(child_,
         has_master_ ? SIGTERM : SIGKILL);  // a killed master would leave its workers behind
    waitpid(child_, nullptr, 0);
  }

  // The process that was started: the master, if there is one.
  [[nodiscard]] pid_t pid() const noexcept { return child_; }

  // A blocking connection to the front.
  [[nodiscard]] int connect_front() const {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_in front = loopback(INADDR_LOOPBACK, port_);
    if (connect(fd, reinterpret_cast<const sockaddr*>(&front), sizeof front) == 0) return fd;
    close(fd);
    return -1;
  }

 private:
  void wait_until_it_accepts() {
    const int pid_fd = static_cast<int>(syscall(SYS_pidfd_open, child_, 0));
    for (int tries = 0; tries < 2000; ++tries) {
      if (const int fd = connect_front(); fd >= 0) {
        close(fd);
        close(pid_fd);
        return;
      }
      pollfd died{pid_fd, POLLIN, 0};
      if (poll(&died, 1, 5) == 1) break;
    }
    close(pid_fd);
    std::ifstream log(directory_.path() + "/error.log");
    std::string line;
    std::getline(log, line);
    kill(child_, SIGKILL);
    waitpid(child_, nullptr, 0);
    child_ = -1;
    throw std::runtime_error("nginx did not start: " + line);
  }

  tests::TempDir directory_;
  std::uint16_t port_;
  bool has_master_;
  pid_t child_ = -1;
};

}  // namespace ballast::tests
