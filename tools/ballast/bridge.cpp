// What stands around the bridge's server: options, signals, log; see bridge.hpp.
#include "tools/ballast/bridge.hpp"

#include <sys/signalfd.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>

#include "shm/endpoint.hpp"
#include "tools/ballast/bridge_server.hpp"
#include "tools/ballast/bridge_table.hpp"

namespace ballast::tools {
namespace {

constexpr std::array<std::string_view, 1> kOptions{"--listen"};

void log(const std::string& text) {
  std::fprintf(stderr, "ballast bridge: %s\n", text.c_str());
}

bool is_loopback(const shm::Endpoint& endpoint) {
  if (endpoint.family == shm::Family::ipv4) return endpoint.address[0] == 127;
  for (std::size_t i = 0; i < 15; ++i) {
    if (endpoint.address[i] != 0) return false;
  }
  return endpoint.address[15] == 1;
}

// A descriptor that can be read once the process is told to stop.
int stop_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  if (sigprocmask(SIG_BLOCK, &signals, nullptr) != 0) return -1;
  return signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
}

}  // namespace

std::span<const std::string_view> bridge_options() {
  return kOptions;
}

void add_bridge_verb(CLI::App& app, BridgeOptions& options) {
  CLI::App* verb = app.add_subcommand(
      std::string(kBridgeVerb), "lets another balancer's servers follow the table, until stopped");
  verb->add_option("KIND", options.kind, "the other balancer: haproxy")->required();
  verb->add_option("NAMESPACE", options.name_space, "the namespace (default: \"default\")");
  verb->add_option("--dir", options.directory, "the directory of the files");
  verb->add_option("--listen", options.listen,
                   "where to answer agent checks (default: " + options.listen + ")");
}

CliOutput run_bridge(const BridgeOptions& options, const std::string& directory) {
  const auto wrong = [](const std::string& what) {
    return CliOutput{2, {}, "ballast: " + what + "\n"};
  };
  if (options.kind != "haproxy")
    return wrong("there is no bridge to \"" + options.kind.substr(0, 80) + "\": only to haproxy");
  const auto at = shm::parse_endpoint(options.listen);
  if (!at) {
    return wrong("--listen \"" + options.listen.substr(0, 80) +
                 "\" is no address with a port, such as 127.0.0.1:9777 or [::1]:9777");
  }
  const int stop = stop_signals();
  if (stop < 0)
    return {1, {}, "ballast: cannot wait for signals: error " + std::to_string(errno) + "\n"};
  BridgeTable table(directory, log);
  auto server = BridgeServer::listen(
      *at, {},
      [&table](std::string_view line, std::uint64_t now_ms) { return table.answer(line, now_ms); });
  if (!server) {
    ::close(stop);
    return {1, {}, "ballast: " + server.error().to_text() + "\n"};
  }
  log("answering HAProxy's agent checks on " + at->to_text() + " for " + directory);
  if (!is_loopback(*at)) log("anybody who reaches that address may ask: keep others out");
  const shm::Status ended = server->run(stop);
  ::close(stop);
  if (!ended) return {1, {}, "ballast: " + ended.error().to_text() + "\n"};
  log("stopped");
  return {};
}

}  // namespace ballast::tools
