// ballast.hpp: ballast.h for C++20, header-only. Owns handles and picks: a Balancer detaches
// itself, a Pick that goes out of scope unreported counts as abandoned. Setting up throws
// ballast::Error; picking and reporting never throw, allocate or block (see ballast.h for what is
// promised, also about threads and fork).
//
//     ballast::Balancer balancer;
//     ballast::Service web = balancer.service("web");
//     if (ballast::Pick pick = web.pick("user:42")) {
//       const bool good = send_request(pick.address());
//       pick.report(good ? ballast::Outcome::success : ballast::Outcome::connect_failure);
//     }
#pragma once

#include <ballast.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace ballast {

// See ballast_status_t.
enum class Status : int {
  ok = BALLAST_OK,
  no_instance = BALLAST_NO_INSTANCE,
  service_unknown = BALLAST_SERVICE_UNKNOWN,
  stale = BALLAST_STALE,
  not_attached = BALLAST_NOT_ATTACHED,
  invalid_argument = BALLAST_INVALID_ARGUMENT,
  wrong_handle = BALLAST_WRONG_HANDLE,
  already_reported = BALLAST_ALREADY_REPORTED,
  system_error = BALLAST_SYSTEM_ERROR,
  not_found = BALLAST_NOT_FOUND,
  corrupt = BALLAST_CORRUPT,
  incompatible = BALLAST_INCOMPATIBLE,
  retry_budget = BALLAST_RETRY_BUDGET,
  limited = BALLAST_LIMITED,
  no_sticky_key = BALLAST_NO_STICKY_KEY,
};

// See ballast_outcome_t.
enum class Outcome : int {
  success = BALLAST_SUCCESS,
  connect_failure = BALLAST_CONNECT_FAILURE,
  timeout = BALLAST_TIMEOUT,
  reset = BALLAST_RESET,
  server_error = BALLAST_SERVER_ERROR,
  overload = BALLAST_OVERLOAD,
  cancelled = BALLAST_CANCELLED,
  abandoned = BALLAST_ABANDONED,
};

// See ballast_reason_t.
enum class Reason : int {
  first_choice = BALLAST_FIRST_CHOICE,
  moved_unusable = BALLAST_MOVED_UNUSABLE,
  moved_excluded = BALLAST_MOVED_EXCLUDED,
  moved_breaker = BALLAST_MOVED_BREAKER,
  moved_load = BALLAST_MOVED_LOAD,
  sticky = BALLAST_STICKY,
  sticky_lost = BALLAST_STICKY_LOST,
  panic = BALLAST_PANIC,
  trial = BALLAST_TRIAL,
};

// How a request ended, and what else the answer said. See ballast_result_t.
struct Result {
  Outcome outcome = Outcome::abandoned;
  std::chrono::microseconds latency{-1};     // below 0: not known
  std::chrono::milliseconds retry_after{0};  // with an overload; 0: not said
  std::string_view load;                     // value of the header `endpoint-load-metrics`
};

[[nodiscard]] inline const char* to_text(Status status) noexcept {
  return ballast_status_text(static_cast<ballast_status_t>(status));
}
[[nodiscard]] inline const char* to_text(Outcome outcome) noexcept {
  return ballast_outcome_text(static_cast<ballast_outcome_t>(outcome));
}
[[nodiscard]] inline const char* to_text(Reason reason) noexcept {
  return ballast_reason_text(static_cast<ballast_reason_t>(reason));
}

// Setting up failed; what() is one line that says where and what to do.
class Error : public std::runtime_error {
 public:
  Error(Status status, const std::string& text) : std::runtime_error(text), status_(status) {}
  [[nodiscard]] Status status() const noexcept { return status_; }

 private:
  Status status_;
};

// One picked instance, or the reason why there is none. Move-only. Must not outlive its Balancer.
class Pick {
 public:
  Pick() noexcept = default;
  Pick(Pick&& other) noexcept
      : handle_(std::exchange(other.handle_, nullptr)),
        status_(std::exchange(other.status_, Status::not_attached)),
        pick_(other.pick_) {}
  Pick& operator=(Pick&& other) noexcept {
    if (this != &other) {
      abandon();
      handle_ = std::exchange(other.handle_, nullptr);
      status_ = std::exchange(other.status_, Status::not_attached);
      pick_ = other.pick_;
    }
    return *this;
  }
  ~Pick() { abandon(); }

  [[nodiscard]] explicit operator bool() const noexcept { return status_ == Status::ok; }
  [[nodiscard]] Status status() const noexcept { return status_; }

  // "10.0.0.1:80" or "[::1]:80".
  [[nodiscard]] std::string address() const {
    std::array<char, BALLAST_ADDRESS_TEXT> text{};
    ballast_format_address(&pick_, text.data(), text.size());
    return text.data();
  }
  // For connect(2): the address, and its length as the result (0: none).
  socklen_t sockaddr(sockaddr_storage& out) const noexcept {
    socklen_t length = 0;
    ballast_pick_sockaddr(&pick_, &out, &length);
    return length;
  }
  // Why it fell on this instance.
  [[nodiscard]] Reason reason() const noexcept { return static_cast<Reason>(pick_.reason); }
  // Slot, incarnation, epoch and the rest.
  [[nodiscard]] const ballast_pick_t& details() const noexcept { return pick_; }

  // How the request ended, once: see ballast_report(). A latency below 0 counts as 0.
  Status report(Outcome outcome) noexcept { return report_us(outcome, BALLAST_NO_LATENCY); }
  // A latency below 0 is not known.
  Status report(Outcome outcome, std::chrono::microseconds latency) noexcept {
    return report_us(outcome, latency.count() < 0 ? BALLAST_NO_LATENCY
                                                  : static_cast<std::uint64_t>(latency.count()));
  }
  // See ballast_report_full().
  Status report(const Result& result) noexcept {
    ballast_result_t full = BALLAST_RESULT_INIT;
    full.outcome = static_cast<ballast_outcome_t>(result.outcome);
    if (result.latency.count() >= 0)
      full.latency_us = static_cast<std::uint64_t>(result.latency.count());
    full.retry_after_ms = static_cast<std::uint32_t>(
        std::clamp<std::int64_t>(result.retry_after.count(), 0, UINT32_MAX));
    full.load = result.load.data();
    full.load_length = result.load.size();
    return static_cast<Status>(ballast_report_full(handle_, &pick_, &full));
  }

 private:
  friend class Service;
  explicit Pick(ballast_t* handle) noexcept : handle_(handle) {}

  Status report_us(Outcome outcome, std::uint64_t latency_us) noexcept {
    return static_cast<Status>(
        ballast_report(handle_, &pick_, static_cast<ballast_outcome_t>(outcome), latency_us));
  }
  void abandon() noexcept {
    if (handle_ != nullptr && pick_.reported == 0) ballast_abandon(handle_, &pick_);
  }

  ballast_t* handle_ = nullptr;
  Status status_ = Status::not_attached;
  ballast_pick_t pick_ = BALLAST_PICK_INIT;
};

// A service as one Balancer knows it. A value; must not outlive its Balancer.
class Service {
 public:
  // An instance for the key.
  [[nodiscard]] Pick pick(std::string_view key) noexcept { return pick_with(key, nullptr); }

  // The instance that a sticky token names if that may be used, else one for the key; the pick's
  // reason says which. `sticky` is what a client gave back: any bytes; empty: none.
  [[nodiscard]] Pick pick(std::string_view key, std::string_view sticky) noexcept {
    ballast_pick_options_t options = BALLAST_PICK_OPTIONS_INIT;
    options.sticky = sticky.data();
    options.sticky_length = sticky.size();
    return pick_with(key, &options);
  }

  // An instance for the key that is none of those tried before (at most BALLAST_MAX_TRIED, else
  // invalid_argument).
  [[nodiscard]] Pick retry(std::string_view key,
                           std::initializer_list<const Pick*> tried) noexcept {
    std::array<const ballast_pick_t*, BALLAST_MAX_TRIED> picks{};
    ballast_pick_options_t options = BALLAST_PICK_OPTIONS_INIT;
    options.tried = picks.data();
    for (const Pick* pick : tried) {
      if (!*pick) continue;
      if (options.tried_count < picks.size()) picks[options.tried_count] = &pick->pick_;
      ++options.tried_count;
    }
    return pick_with(key, &options);
  }
  [[nodiscard]] Pick retry(std::string_view key, const Pick& tried) noexcept {
    return retry(key, {&tried});
  }

  // How many instances a pick could fall on at this moment, or a retry after those tried; counted
  // up to `limit`. See ballast_usable().
  [[nodiscard]] std::size_t usable(std::size_t limit,
                                   std::initializer_list<const Pick*> tried = {}) const noexcept {
    std::array<const ballast_pick_t*, BALLAST_MAX_TRIED> picks{};
    ballast_pick_options_t options = BALLAST_PICK_OPTIONS_INIT;
    options.tried = picks.data();
    for (const Pick* pick : tried) {
      if (!*pick) continue;
      if (options.tried_count < picks.size()) picks[options.tried_count] = &pick->pick_;
      ++options.tried_count;
    }
    return ballast_usable(handle_, number_, &options, limit);
  }

  // A sticky token for the instance of a pick, to be given back as `sticky` of a later one; empty
  // if the service has no key, or the pick no instance. See ballast_sticky_token().
  [[nodiscard]] std::string sticky_token(const Pick& pick) const {
    std::array<char, BALLAST_STICKY_TEXT> text{};
    if (pick) ballast_sticky_token(handle_, number_, &pick.pick_, text.data(), text.size());
    return text.data();
  }

  // The number of the published generation; 0 while there is no such service.
  [[nodiscard]] std::uint64_t epoch() const noexcept { return ballast_epoch(handle_, number_); }

 private:
  friend class Balancer;
  Service(ballast_t* handle, ballast_service_t number) noexcept
      : handle_(handle), number_(number) {}

  Pick pick_with(std::string_view key, const ballast_pick_options_t* options) noexcept {
    Pick pick(handle_);
    pick.status_ = static_cast<Status>(
        ballast_pick(handle_, number_, key.data(), key.size(), options, &pick.pick_));
    return pick;
  }

  ballast_t* handle_;
  ballast_service_t number_;
};

// An attached worker: one per thread. Move-only; detaches at the end of its life.
class Balancer {
 public:
  // Attaches to a namespace ("default" lives in /dev/shm/ballast/default).
  explicit Balancer(const std::string& name_space = "default") { attach(name_space, {}); }
  // Attaches to a directory of your own.
  [[nodiscard]] static Balancer in_directory(const std::string& directory) {
    return Balancer(nullptr, directory);
  }
  Balancer(Balancer&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Balancer& operator=(Balancer&& other) noexcept {
    if (this != &other) {
      ballast_detach(handle_);
      handle_ = std::exchange(other.handle_, nullptr);
    }
    return *this;
  }
  ~Balancer() { ballast_detach(handle_); }

  // Finds a service by its name. One that is not published yet is found by later picks.
  [[nodiscard]] Service service(const std::string& name) {
    ballast_service_t number = 0;
    const auto status = ballast_find_service(handle_, name.c_str(), &number);
    if (status != BALLAST_OK && status != BALLAST_SERVICE_UNKNOWN) {
      throw Error(static_cast<Status>(status), status == BALLAST_NOT_ATTACHED
                                                   ? ballast_status_text(status)
                                                   : ballast_last_error());
    }
    return {handle_, number};
  }

  // What is not as it should be, although picks work; empty if nothing.
  [[nodiscard]] std::string warning() const {
    const char* text = ballast_warning(handle_);
    return text != nullptr ? text : "";
  }
  [[nodiscard]] ballast_info_t info() const noexcept {
    ballast_info_t info = BALLAST_INFO_INIT;
    ballast_info(handle_, &info);
    return info;
  }
  // For what ballast.h has and this does not.
  [[nodiscard]] ballast_t* handle() const noexcept { return handle_; }

 private:
  Balancer(std::nullptr_t, const std::string& directory) { attach({}, directory); }
  void attach(const std::string& name_space, const std::string& directory) {
    ballast_options_t options = BALLAST_OPTIONS_INIT;
    if (!name_space.empty()) options.name_space = name_space.c_str();
    if (!directory.empty()) options.directory = directory.c_str();
    if (const auto status = ballast_attach(&options, &handle_); status != BALLAST_OK)
      throw Error(static_cast<Status>(status), ballast_last_error());
  }

  ballast_t* handle_ = nullptr;
};

}  // namespace ballast
