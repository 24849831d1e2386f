// What the checker is told to do: services, their instances, how each is checked. Plain values,
// made by whatever reads the configuration (tools/ballastd) and consumed by the prober and the
// publisher. Every limit and default is stated here and nowhere else; docs/operations.md repeats
// them for people.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/policy.hpp"
#include "engine/strategy.hpp"
#include "shm/endpoint.hpp"
#include "shm/event.hpp"
#include "shm/state_word.hpp"

namespace ballast::checker {

using Milliseconds = std::chrono::milliseconds;

inline constexpr std::size_t kMaxServiceNameBytes = 63;
inline constexpr std::size_t kMaxServices = 4096;
inline constexpr std::size_t kMaxInstances =
    60000;  // of all services together; a slot is 16 bits wide
inline constexpr std::uint32_t kMaxWeight = 1000;
inline constexpr std::uint32_t kDefaultWeight = 1;
inline constexpr std::uint32_t kMaxWorkerRows = 4096;
inline constexpr std::uint32_t kMaxRiseFall = 100;
inline constexpr std::uint32_t kMaxJitterPercent = 50;
inline constexpr Milliseconds kMinInterval{10};
inline constexpr Milliseconds kMaxInterval{3'600'000};
inline constexpr Milliseconds kMinTimeout{1};
inline constexpr std::uint32_t kMaxTier = 3;  // tiers 0..3, the first preferred
inline constexpr std::size_t kMaxZoneBytes = 63;

// The lowest and the highest value of a setting, for whoever reads a configuration; times in
// milliseconds. Where 0 switches something off, it is allowed besides.
using Limits = engine::PolicyLimits;
// Half of what picks wait for before they conclude that nobody looks (engine/service_view.hpp).
inline constexpr Limits kLoadIntervalLimits{1, 250};

using engine::Strategy;

enum class CheckKind : std::uint8_t {
  none = 0,
  tcp = 1,    // a connection; with `steps`, also what is said on it
  http = 2,   // HTTP/1.1
  udp = 3,    // `steps` in datagrams
  grpc = 4,   // grpc.health.v1.Health
  exec = 5,   // a command of this host
  agent = 6,  // HAProxy's agent protocol
};

// What holds for an instance that has never been checked.
enum class FirstCheck : std::uint8_t {
  decides = 0,  // not used until its first check, whose result alone decides (default)
  up = 1,       // used at once; the usual rise and fall apply
};

// Accepted HTTP statuses, inclusive.
struct StatusRange {
  std::uint16_t low = 200;
  std::uint16_t high = 399;

  friend bool operator==(const StatusRange&, const StatusRange&) = default;
};

// What a file held when the configuration was read; shared by all who copy the settings.
class FileText {
 public:
  FileText() = default;
  explicit FileText(std::shared_ptr<const std::string> text) : text_(std::move(text)) {}

  [[nodiscard]] const std::string& get() const noexcept {
    static const std::string none;
    return text_ == nullptr ? none : *text_;
  }
  friend bool operator==(const FileText& a, const FileText& b) noexcept {
    return a.text_ == b.text_ || a.get() == b.get();
  }

 private:
  std::shared_ptr<const std::string> text_;
};

inline constexpr std::size_t kMaxGrpcServiceBytes = 512;

// How a check's connection is encrypted. The files are read by read_tls_files()
// (probing/tls_client.hpp) whenever the configuration is, so that a renewed certificate counts as a
// changed setting.
struct TlsSettings {
  bool enabled = false;
  bool verify = true;             // the chain, and the name
  std::string server_name;        // SNI, and what is verified; empty: `host`, else the instance's
  std::string ca_file;            // PEM; empty: the system's
  std::string certificate_file;   // PEM, the client's own; empty: none
  std::string key_file;           // PEM; empty: in certificate_file
  std::vector<std::string> alpn;  // empty: "http/1.1" for HTTP, "h2" for gRPC, else none
  FileText ca;                    // what the files hold
  FileText certificate;
  FileText key;

  friend bool operator==(const TlsSettings&, const TlsSettings&) = default;
};

// One line of a conversation: bytes to send, or bytes that must come.
struct ExchangeStep {
  enum class Kind : std::uint8_t { send = 0, expect = 1 };
  Kind kind = Kind::send;
  std::string bytes;

  friend bool operator==(const ExchangeStep&, const ExchangeStep&) = default;
};

// Conversations that are ready made.
enum class Preset : std::uint8_t { none = 0, redis = 1, postgres = 2, mysql = 3, smtp = 4 };

inline constexpr Limits kMaxBodyBytesLimits{1, 1024 * 1024};
inline constexpr Limits kFailuresToCheckLimits{0, 1'000};
inline constexpr std::size_t kMaxCheckHeaders = 32;
inline constexpr std::size_t kMaxSteps = 32;
inline constexpr std::size_t kMaxStepBytes = 4096;
inline constexpr std::size_t kMaxCommandArguments = 64;
inline constexpr std::size_t kMaxCommandBytes = 4096;  // of all arguments together
inline constexpr Limits kMaxOutputBytesLimits{1, 64 * 1024};
inline constexpr std::size_t kMaxCheckTextBytes = 1024;  // of a header, and what a body must have

struct CheckSettings {
  CheckKind kind = CheckKind::http;
  std::uint16_t port = 0;  // where to check; 0: where the instance serves

  // HTTP.
  std::string method = "GET";
  std::string path = "/";  // request target
  std::string host;        // Host header; empty: the instance's text
  std::vector<std::pair<std::string, std::string>> headers;
  std::vector<StatusRange> statuses = std::vector<StatusRange>(1);  // any of them
  std::string body_contains;                                        // empty: not looked at
  std::string body_regex;                                           // RE2; empty: not looked at
  std::uint32_t max_body_bytes = 256 * 1024;  // beyond it the body is not waited for
  bool keep_alive = true;  // keep the connection, and watch it (the sentinel); gRPC always does
  // TCP: keep the connection of the last check and watch it. Off by default: many servers log, or
  // hold a place for, a client that connects and says nothing.
  bool tcp_sentinel = false;

  TlsSettings tls;  // for http, tcp, grpc and agent

  // TCP and UDP.
  Preset preset = Preset::none;  // TCP; stands for `steps`
  std::vector<ExchangeStep> steps;

  // gRPC.
  std::string grpc_service;  // at most kMaxGrpcServiceBytes; empty: the whole server
  bool grpc_watch = true;    // have changes pushed, where the server offers it

  // A command: argv, the program by its absolute path; no shell ever sees it.
  std::vector<std::string> command;
  std::uint32_t max_output_bytes = 4096;

  // The agent.
  std::string agent_send;  // said to the agent once connected; empty: nothing

  Milliseconds interval{2000};      // HAProxy `inter`
  Milliseconds fast_interval{500};  // while a state is changing, HAProxy `fastinter`
  Milliseconds down_interval{0};    // while down, HAProxy `downinter`; 0: `interval`
  Milliseconds idle_interval{0};    // while no requests go to the instance; 0: `interval`
  Milliseconds eased_interval{0};   // while requests to it succeed; 0: `interval`
  // Failed requests, of all workers since the last check, that bring the next one at once (HAProxy
  // `error-limit`); 0: never. Fewer than open a breaker, so that a death is known before that.
  std::uint32_t failures_to_check = 3;
  Milliseconds timeout{1000};  // for connect and response together
  std::uint32_t rise = 2;      // passes in a row that make a down instance up: 1..kMaxRiseFall
  std::uint32_t fall = 3;      // failures in a row that make an up instance down
  std::uint32_t jitter_percent = 10;  // each interval is stretched or cut by up to this much
  FirstCheck first_check = FirstCheck::decides;

  friend bool operator==(const CheckSettings&, const CheckSettings&) = default;
};

struct InstanceSettings {
  shm::Endpoint endpoint;
  // The name and port as configured ("10.0.0.1:80", "backend1:8080"): what ketama hashes.
  std::string text;
  std::uint32_t weight = kDefaultWeight;  // 1..kMaxWeight
  std::uint32_t tier = 0;                 // 0..kMaxTier; the lowest is used first
  std::string zone{};                     // empty: the host's own
  // Drain: no new requests, those in flight go on. Maintenance: the same, and said to people.
  shm::Admin admin = shm::Admin::ready;
  std::optional<shm::Endpoint> check_endpoint{};  // where to check instead of `endpoint`
  // Who says so, for the flight recorder: the configuration, a source or an operator.
  shm::EventBy named_by = shm::EventBy::config;
  shm::EventBy weight_by = shm::EventBy::config;
  shm::EventBy admin_by = shm::EventBy::config;

  friend bool operator==(const InstanceSettings&, const InstanceSettings&) = default;
};

// Statistical ejection of instances that do worse than the rest. Defaults: Envoy's outlier
// detection.
struct OutlierSettings {
  bool enabled = true;
  Milliseconds interval{10'000};
  std::uint32_t success_rate_sigma_tenths = 19;  // below mean - 1.9 sigma; 0: not looked at
  std::uint32_t success_rate_instances = 5;      // at least so many to compare
  std::uint32_t success_rate_requests = 100;     // at least so many of each in an interval
  std::uint32_t failure_percent = 85;            // 0: not looked at
  std::uint32_t failure_requests = 50;
  std::uint32_t latency_factor_tenths = 30;  // 3 times the others' median; 0: not looked at
  std::uint32_t latency_requests = 100;
  Milliseconds ejection{30'000};  // times how often it was ejected
  Milliseconds ejection_max{300'000};
  bool checks_take_back = true;  // passing checks end an ejection early

  friend bool operator==(const OutlierSettings&, const OutlierSettings&) = default;
};
inline constexpr Limits kMaxEventsLimits{256, shm::kMaxEvents};

namespace outlier_limits {
inline constexpr Limits interval{100, 3'600'000};
inline constexpr Limits success_rate_sigma_tenths{1, 100};
inline constexpr Limits success_rate_instances{3, 1'000};
inline constexpr Limits requests{1, 1'000'000};  // of each kind
inline constexpr Limits failure_percent{1, 100};
inline constexpr Limits latency_factor_tenths{11, 1'000};
inline constexpr Limits ejection{100, 3'600'000};
inline constexpr Limits ejection_max{100, 86'400'000};
}  // namespace outlier_limits

// How a service's instances come (back) into use: weight * max(floor, (t / window)^(1/aggression)).
struct SlowStartSettings {
  Milliseconds window{0};  // 0: at once
  std::uint32_t aggression_tenths = 10;
  std::uint32_t floor_percent = 10;

  friend bool operator==(const SlowStartSettings&, const SlowStartSettings&) = default;
};
namespace slow_start_limits {
inline constexpr Limits window{100, 3'600'000};
inline constexpr Limits aggression_tenths{1, 100};
inline constexpr Limits floor_percent{1, 100};
}  // namespace slow_start_limits

// Weights that follow what backends report, or what workers observe of them.
struct ControllerSettings {
  bool enabled = false;
  Milliseconds update{1'000};
  Milliseconds blackout{10'000};  // no judgement of an instance that came into use so lately
  Milliseconds expiry{180'000};   // reports older than that count as none
  std::uint32_t error_penalty_percent = 100;
  std::uint32_t floor_percent = 10;    // of the configured weight
  std::uint32_t damping_percent = 30;  // of the way to the target in one update

  friend bool operator==(const ControllerSettings&, const ControllerSettings&) = default;
};
namespace controller_limits {
inline constexpr Limits update{100, 60'000};
inline constexpr Limits blackout{0, 3'600'000};
inline constexpr Limits expiry{1'000, 3'600'000};
inline constexpr Limits error_penalty_percent{0, 1'000};
inline constexpr Limits floor_percent{1, 100};
inline constexpr Limits damping_percent{1, 100};
}  // namespace controller_limits

inline constexpr Limits kOverprovisioningLimits{100, 1'000};

struct SpilloverSettings {
  std::uint32_t overprovisioning_percent = 140;
  bool prefer_local_zone = true;

  friend bool operator==(const SpilloverSettings&, const SpilloverSettings&) = default;
};

// An agent that speaks for the instance beside its check: HAProxy's agent-check.
struct AgentSettings {
  std::uint16_t port = 0;  // 0: there is none
  std::string send;
  Milliseconds interval{2000};
  Milliseconds timeout{1000};

  friend bool operator==(const AgentSettings&, const AgentSettings&) = default;
};

inline constexpr std::size_t kMaxSources = 16;  // of a service
inline constexpr std::size_t kMaxNameServers = 8;

// Where instances come from besides the configuration.
struct SourceSettings {
  enum class Kind : std::uint8_t {
    file = 0,         // JSON in the format of Prometheus's file_sd, watched
    dns_address = 1,  // A and AAAA; `port` goes with every address
    dns_srv = 2,      // SRV: ports, priorities (tiers) and weights from the answer
  };
  Kind kind = Kind::file;
  std::string path;                  // file
  std::string name;                  // DNS
  std::uint16_t port = 0;            // dns_address
  std::vector<std::string> servers;  // DNS, "address" or "address:port"; empty: the system's
  // An empty answer counts only if the next look says the same; false: an empty answer never
  // counts, the last good set stays.
  bool believe_empty = false;

  friend bool operator==(const SourceSettings&, const SourceSettings&) = default;
};

struct ServiceSettings {
  std::string name;
  engine::Policy policy;  // its strategy too
  CheckSettings check;
  AgentSettings agent;
  std::vector<SourceSettings> sources;
  OutlierSettings outlier;
  SlowStartSettings slow_start;
  ControllerSettings controller;
  SpilloverSettings spillover;
  std::vector<InstanceSettings> instances;

  friend bool operator==(const ServiceSettings&, const ServiceSettings&) = default;
};

struct Settings {
  std::string name_space = "default";
  std::string directory;            // empty: /dev/shm/ballast/<name_space>
  std::string workers_group;        // group that may write rows; empty: the checker's own
  std::uint32_t max_workers = 256;  // rows, one a worker thread: 1..kMaxWorkerRows
  std::string zone;                 // where this host is; empty: zones do not matter
  std::string sticky_key_file;      // empty: no sticky sessions
  Milliseconds load_interval{2};    // between two looks at what workers do
  std::uint32_t max_events = 4096;  // transitions that the flight recorder keeps
  std::string control_socket;       // empty: `control` in the directory
  std::string control_group;        // who may use it besides its owner; empty: nobody
  // Of these groups, once looked up: that may take its time, and must not be done on the loop.
  std::optional<std::uint32_t> workers_gid;
  std::optional<std::uint32_t> control_gid;
  std::string state_file;      // where runtime changes are kept; empty: `changes` in the directory
  std::string metrics_listen;  // "127.0.0.1:9464"; empty: no metrics
  std::uint32_t metrics_max_instances = 2000;  // with series of their own, while all are well
  std::vector<ServiceSettings> services;
  // What brought these settings about, for the flight recorder.
  shm::EventBy cause = shm::EventBy::config;
};

}  // namespace ballast::checker
