// What the checker is told to do: services, their instances, how each is checked. Plain values,
// made by whatever reads the configuration (tools/ballastd) and consumed by the prober and the
// publisher. Every limit and default is stated here and nowhere else; docs/operations.md repeats
// them for people.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/policy.hpp"
#include "engine/strategy.hpp"
#include "shm/endpoint.hpp"
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

enum class CheckKind : std::uint8_t { none = 0, tcp = 1, http = 2 };

// What holds for an instance that has never been checked.
enum class FirstCheck : std::uint8_t {
  decides = 0,  // not used until its first check, whose result alone decides (default)
  up = 1,       // used at once; the usual rise and fall apply
};

struct CheckSettings {
  CheckKind kind = CheckKind::http;
  std::string path = "/";          // HTTP request target
  std::string host;                // Host header; empty: the instance's text
  std::uint16_t status_low = 200;  // accepted HTTP status range, inclusive
  std::uint16_t status_high = 399;
  bool keep_alive = true;  // HTTP: keep the connection, and watch it (the sentinel)
  // TCP: keep the connection of the last check and watch it. Off by default: many servers log, or
  // hold a place for, a client that connects and says nothing.
  bool tcp_sentinel = false;
  Milliseconds interval{2000};      // HAProxy `inter`
  Milliseconds fast_interval{500};  // while a state is changing, HAProxy `fastinter`
  Milliseconds timeout{1000};       // for connect and response together
  std::uint32_t rise = 2;           // passes in a row that make a down instance up: 1..kMaxRiseFall
  std::uint32_t fall = 3;           // failures in a row that make an up instance down
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

struct ServiceSettings {
  std::string name;
  engine::Policy policy;  // its strategy too
  CheckSettings check;
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
  std::vector<ServiceSettings> services;
};

}  // namespace ballast::checker
