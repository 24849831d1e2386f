// A real dnsmasq of a test's own on a loopback port, answering for the domain "test" from a hosts
// file and what the test puts into its configuration. It dies with its parent, or when this object
// goes.
#pragma once

#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <fstream>
#include <stdexcept>
#include <string>
#include <thread>

#include "shm/endpoint.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/support/tiny_server.hpp"

namespace ballast::tests {

// Path of the binary; empty if there is none.
inline std::string find_dnsmasq() {
  for (const char* path : {"/usr/sbin/dnsmasq", "/usr/local/sbin/dnsmasq", "/sbin/dnsmasq"}) {
    if (access(path, X_OK) == 0) return path;
  }
  return {};
}

class Dnsmasq {
 public:
  // Returns when it answers.
  explicit Dnsmasq(const std::string& hosts, const std::string& configuration = {})
      : port_(free_port()) {
    set_hosts(hosts, false);
    start(configuration);
  }
  ~Dnsmasq() { stop(); }
  Dnsmasq(const Dnsmasq&) = delete;
  Dnsmasq& operator=(const Dnsmasq&) = delete;

  [[nodiscard]] std::string address() const { return "127.0.0.1:" + std::to_string(port_); }

  // Lines of ADDRESS NAME; read by the running server a moment later.
  void set_hosts(const std::string& hosts, bool running = true) {
    std::ofstream(directory_.path() + "/hosts") << hosts;
    if (running) ::kill(child_, SIGHUP);
  }
  void pause() const { ::kill(child_, SIGSTOP); }
  void resume() const { ::kill(child_, SIGCONT); }

  void stop() {
    if (child_ <= 0) return;
    ::kill(child_, SIGKILL);
    waitpid(child_, nullptr, 0);
    child_ = -1;
  }

  void start(const std::string& configuration = {}) {
    const std::string conf = directory_.path() + "/conf";
    std::ofstream(conf) << "port=" << port_ << "\n"
                        << "listen-address=127.0.0.1\nbind-interfaces\nno-resolv\nno-hosts\n"
                        << "local=/test/\nlocal-ttl=1\nneg-ttl=1\npid-file=\nuser=\n"
                        << "cache-size=2000\naddn-hosts=" << directory_.path() << "/hosts\n"
                        << configuration;
    const std::string binary = find_dnsmasq();
    const std::string option = "--conf-file=" + conf;
    const std::string log = directory_.path() + "/log";
    const std::string logging = "--log-facility=" + log;
    const pid_t parent = getpid();
    child_ = fork();
    if (child_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (getppid() != parent) _exit(1);
      sigset_t none;
      sigemptyset(&none);
      sigprocmask(SIG_SETMASK, &none, nullptr);
      execl(binary.c_str(), binary.c_str(), "--keep-in-foreground", option.c_str(), logging.c_str(),
            static_cast<char*>(nullptr));
      _exit(127);
    }
    wait_until_it_listens(log);
  }

 private:
  void wait_until_it_listens(const std::string& log) {
    sockaddr_storage address{};
    const socklen_t length = local_endpoint(port_).to_sockaddr(address);
    for (int tries = 0; tries < 6000; ++tries) {
      const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      const int failed = connect(fd, reinterpret_cast<const sockaddr*>(&address), length);
      close(fd);
      if (failed == 0) return;
      if (waitpid(child_, nullptr, WNOHANG) != 0) {
        child_ = -1;
        std::ifstream file(log);
        throw std::runtime_error(
            "dnsmasq ended: " +
            std::string(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()));
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    throw std::runtime_error("dnsmasq does not listen");
  }

  TempDir directory_;
  std::uint16_t port_;
  pid_t child_ = -1;
};

}  // namespace ballast::tests
