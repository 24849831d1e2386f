// The demo's six servers: see servers.hpp.
#include "tools/demo/servers.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <random>
#include <string_view>

#include "tools/demo/clock.hpp"
#include "tools/demo/failure.hpp"
#include "tools/demo/http_client.hpp"

namespace ballast::tools::demo {
namespace {

constexpr unsigned kLowestPort = 20'000;
constexpr unsigned kHighestPort = 32'767;
constexpr unsigned kStartWithinMs = 5'000;
constexpr int kPortAttempts = 5;

// {0} directory, in which a file `sick` makes it answer 500, {1} port, {2} number, {3} the slow
// path. `master_process off` makes nginx one process. Keep-alive never ends by nginx's own choice,
// so that every broken connection of the demo is one that somebody was killed for.
constexpr std::string_view kConfiguration = R"(daemon off;
master_process off;
pid {0}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 256; }}
http {{
  access_log off;
  client_body_temp_path {0}/body;
  proxy_temp_path {0}/proxy;
  fastcgi_temp_path {0}/fastcgi;
  uwsgi_temp_path {0}/uwsgi;
  scgi_temp_path {0}/scgi;
  keepalive_timeout 1h;
  keepalive_requests 1000000000;
  default_type text/plain;
  add_header X-Server {2} always;
  server {{
    listen 127.0.0.1:{1};
    location / {{
      if (-f {0}/sick) {{ return 500; }}
      return 200 "server {2}: $uri\n";
    }}
    location = / {{ return 200 "server {2}\n"; }}
    location = {3} {{ limit_rate 1k; alias {0}/slow.txt; }}
  }}
}}
)";

std::string find_nginx() {
  const char* path = std::getenv("PATH");
  std::string folders = path != nullptr ? path : "";
  folders += ":/usr/sbin:/usr/local/sbin";
  std::string_view rest = folders;
  while (!rest.empty()) {
    const std::size_t end = rest.find(':');
    const std::string file = fmt::format("{}/nginx", rest.substr(0, end));
    if (access(file.c_str(), X_OK) == 0) return file;
    rest = end == std::string_view::npos ? std::string_view{} : rest.substr(end + 1);
  }
  throw Failure("nginx is not installed; install it with: tools/dev setup demo");
}

bool is_free(unsigned port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) throw Failure(fmt::format("cannot make a socket: {}", std::strerror(errno)));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const bool free = bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  close(fd);
  return free;
}

std::uint16_t free_port() {
  static std::random_device random;
  std::uniform_int_distribution<unsigned> any(kLowestPort, kHighestPort);
  for (int attempt = 0; attempt < 1000; ++attempt) {
    if (const unsigned port = any(random); is_free(port)) return static_cast<std::uint16_t>(port);
  }
  throw Failure(
      fmt::format("found no free port between {} and {} on 127.0.0.1", kLowestPort, kHighestPort));
}

}  // namespace

Servers::Servers(const std::string& directory) : nginx_(find_nginx()) {
  for (std::size_t i = 0; i < kServers; ++i) {
    Server& server = servers_[i];
    server.directory = fmt::format("{}/server-{}", directory, i + 1);
    std::filesystem::create_directory(server.directory);
    write_file(server.directory + "/slow.txt", std::string(100'000, '.') + "\n");
    bool up = false;
    for (int attempt = 0; attempt < kPortAttempts && !up; ++attempt) {
      do {
        server.port = free_port();
      } while (at_port(server.port) != i);
      write_configuration(i);
      up = launch(i);
    }
    if (!up) throw Failure(fmt::format("server {} does not start: {}", i + 1, last_words(i)));
  }
}

std::string Servers::address(std::size_t server) const {
  return fmt::format("127.0.0.1:{}", servers_[server].port);
}

unsigned Servers::at_port(std::uint16_t port) const noexcept {
  unsigned server = 0;
  while (server < kServers && servers_[server].port != port)
    ++server;
  return server;
}

unsigned Servers::at_address(const std::string& text) const {
  unsigned server = 0;
  while (server < kServers && address(server) != text)
    ++server;
  return server;
}

void Servers::start_again(std::size_t server) {
  if (!launch(server)) {
    throw Failure(
        fmt::format("server {} does not start again: {}", server + 1, last_words(server)));
  }
}

void Servers::set_sick(std::size_t server, bool sick) const {
  const std::string file = servers_[server].directory + "/sick";
  if (sick) {
    write_file(file, "");
  } else {
    std::filesystem::remove(file);
  }
}

unsigned Servers::find_dead() noexcept {
  unsigned server = 0;
  while (server < kServers && (!servers_[server].wanted || servers_[server].process.is_running()))
    ++server;
  return server;
}

std::string Servers::last_words(std::size_t server) const {
  return last_line(servers_[server].directory + "/log");
}

void Servers::write_configuration(std::size_t server) {
  const Server& it = servers_[server];
  write_file(it.directory + "/nginx.conf",
             fmt::format(kConfiguration, it.directory, it.port, server + 1, kSlowPath));
}

bool Servers::launch(std::size_t server) {
  Server& it = servers_[server];
  it.process =
      Process::run({nginx_, "-p", it.directory, "-e", "stderr", "-c", it.directory + "/nginx.conf"},
                   it.directory + "/log");
  const std::uint64_t until = now_ns() + std::uint64_t{kStartWithinMs} * 1'000'000;
  HttpClient client(kStartWithinMs);
  while (it.process.is_running() && now_ns() < until) {
    if (client.get(it.port, "/").server == static_cast<int>(server + 1)) {
      it.wanted = true;
      return true;
    }
    sleep_ms(1);
  }
  it.process.kill();
  return false;
}

}  // namespace ballast::tools::demo
