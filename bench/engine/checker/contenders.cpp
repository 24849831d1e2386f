// Their configurations.
#include "bench/engine/checker/contenders.hpp"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <span>
#include <stdexcept>

#include "bench/engine/checker/targets.hpp"

namespace ballast::bench {

namespace {

constexpr const char* kHaproxy = "/usr/sbin/haproxy";

void write_file(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::trunc);
  file << text;
  if (!file.flush()) throw std::runtime_error("cannot write " + path);
}

const char* ballastd_path() {
  const char* path = std::getenv("BALLAST_BALLASTD");
  if (path == nullptr || ::access(path, X_OK) != 0) {
    throw std::runtime_error(
        "BALLAST_BALLASTD does not name the program ballastd; 'tools/dev bench checker' sets it");
  }
  return path;
}

std::string haproxy_configuration(const ContenderOptions& options, const std::string& directory) {
  std::string text =
      "global\n  nbthread 1\n  maxconn 1000\n  spread-checks 5\n"
      "defaults\n  mode http\n  timeout connect 1s\n  timeout client 5s\n  timeout server 5s\n"
      // Without a listener HAProxy does not start.
      "frontend f\n  bind unix@" +
      directory + "/haproxy.sock\n  default_backend b\nbackend b\n";
  if (options.checks != Checks::tcp) {
    text += "  option httpchk GET /\n  http-check expect status 200-399\n";
  }
  text += "  timeout check 1s\n  default-server check fall 3 rise 2 inter " +
          std::to_string(options.interval_ms) + "ms\n";
  std::size_t number = 0;
  for (const shm::Endpoint& endpoint : target_endpoints(options.instances, options.port))
    text += "  server s" + std::to_string(number++) + " " + endpoint.to_text() + "\n";
  return text;
}

// What a check may be told beside its kind. The intervals for other times are as long as the usual
// one: looking for those times is what may cost, and the rhythm stays.
std::string check_features(const ContenderOptions& options) {
  const std::string interval = "\"" + std::to_string(options.interval_ms) + "ms\"\n";
  std::string text =
      "timeout = \"800ms\"\nrise = 2\nfall = 3\njitter = \"10%\"\nfast_interval = \"500ms\"\n"
      "failures_to_check = 3\nfirst_check = \"decides\"\ndown_interval = " +
      interval + "idle_interval = " + interval + "eased_interval = " + interval;
  if (options.checks == Checks::tcp) return text;
  return text +
         "method = \"GET\"\nheaders = { \"X-Probe\" = \"ballast\" }\n"
         "status = [\"200-299\", \"304\"]\nbody_contains = \"ok\"\n";
}

// All that a service can have and that is not another strategy's.
constexpr const char* kServiceFeatures =
    "strategy = \"adaptive\"\nmax_in_flight = 100\nmax_ejected = \"10%\"\n"
    "retry_budget = { share = \"20%\", minimum = 3 }\n"
    "panic = { below = \"30%\", then = \"all\" }\nstale = { after = \"30s\", then = \"all\" }\n";

std::string kind_of(Checks checks) {
  switch (checks) {
    case Checks::http_keepalive:
      return "kind = \"http\"\n";
    case Checks::http:
      return "kind = \"http\"\nkeep_alive = false\n";
    case Checks::tcp:
      break;
  }
  return "kind = \"tcp\"\n";
}

std::string service_text(const std::string& name, std::span<const shm::Endpoint> endpoints,
                         const ContenderOptions& options, Checks checks) {
  const bool all = options.metrics_port != 0;
  const std::string section = "\n[service." + name;
  std::string text = section + "]\n";
  if (all) text += kServiceFeatures;
  text += "instances = [\n";
  for (const shm::Endpoint& endpoint : endpoints)
    text += "  \"" + endpoint.to_text() + "\",\n";
  text += "]\n" + section + ".check]\ninterval = \"" + std::to_string(options.interval_ms) +
          "ms\"\n" + kind_of(checks);
  if (all) text += check_features(options);
  text += options.extra;
  if (!all) return text;
  return text + section + ".breaker]\nconsecutive = 5\nfailure_rate = \"85%\"\nwindow = \"10s\"\n" +
         section + ".outlier]\ninterval = \"1s\"\n" + section + ".slow_start]\nwindow = \"30s\"\n" +
         section + ".controller]\nenabled = true\n";
}

std::string ballast_configuration(const ContenderOptions& options, const std::string& directory) {
  std::string text = "[ballast]\ndirectory = \"" + directory + "/ballast\"\nmax_workers = 16\n";
  if (options.metrics_port != 0) {
    text += "state_file = \"" + directory + "/operators.changes\"\n\n[metrics]\nlisten = " +
            "\"127.0.0.1:" + std::to_string(options.metrics_port) + "\"\n";
  }
  std::vector<shm::Endpoint> endpoints = target_endpoints(options.instances, options.port);
  endpoints.insert(endpoints.end(), options.more.begin(), options.more.end());
  const std::span<const shm::Endpoint> all(endpoints);
  const std::size_t kept = endpoints.size() - std::min(options.reconnecting, endpoints.size());
  text += service_text("bench", all.first(kept), options, options.checks);
  if (kept < all.size()) text += service_text("rest", all.subspan(kept), options, Checks::http);
  return text;
}

}  // namespace

HaproxyChecker::HaproxyChecker(const ContenderOptions& options) {
  if (::access(kHaproxy, X_OK) != 0) {
    throw std::runtime_error(std::string(kHaproxy) +
                             " is not there: install Debian's package haproxy");
  }
  const std::string file = directory() + "/haproxy.cfg";
  write_file(file, haproxy_configuration(options, directory()));
  ProgramOptions haproxy;
  haproxy.argv = {kHaproxy, "-db", "-f", file};
  haproxy.output = directory() + "/haproxy.log";
  haproxy.rank = kCheckerRank;
  program_ = std::make_unique<Program>(haproxy);
}

BallastChecker::BallastChecker(const ContenderOptions& options) : at_ease_(options.at_ease) {
  write_file(configuration(), ballast_configuration(options, directory()));
  start();
}

void BallastChecker::start() {
  program_.reset();
  ProgramOptions options;
  options.argv = {ballastd_path(), "--config", configuration()};
  options.output = directory() + "/ballastd." + std::to_string(starts_++) + ".log";
  options.rank = kCheckerRank;
  options.pinned = options.real_time = !at_ease_;
  program_ = std::make_unique<Program>(options);
}

void BallastChecker::reload(const ContenderOptions& options) {
  write_file(configuration(), ballast_configuration(options, directory()));
  program_->signal(SIGHUP);
}

std::string haproxy_version() {
  std::FILE* pipe = ::popen("/usr/sbin/haproxy -v 2>/dev/null", "r");
  if (pipe == nullptr) return "HAProxy";
  char line[200] = {};
  const bool read = std::fgets(line, sizeof line, pipe) != nullptr;
  ::pclose(pipe);
  std::string text = read ? line : "HAProxy";
  return text.substr(0, text.find(" - "));
}

}  // namespace ballast::bench
