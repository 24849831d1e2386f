// Everything here runs on the loop's one thread; signals come through a descriptor, and so does the
// configuration that another thread reads again.
#include "tools/ballastd/daemon.hpp"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <random>
#include <utility>

#include "engine/checker/checker.hpp"
#include "engine/checker/control/steward.hpp"
#include "engine/checker/loop/loop.hpp"
#include "engine/checker/publishing/known_health.hpp"
#include "shm/lease.hpp"
#include "shm/paths.hpp"
#include "tools/ballastd/config.hpp"
#include "tools/ballastd/config_reader.hpp"
#include "tools/ballastd/control.hpp"
#include "tools/ballastd/limits.hpp"
#include "tools/ballastd/log.hpp"
#include "tools/ballastd/metrics.hpp"
#include "tools/ballastd/service_manager.hpp"
#include "tools/ballastd/signals.hpp"
#include "tools/ballastd/sources.hpp"
#include "tools/ballastd/standing_troubles.hpp"

namespace ballast::tools {
namespace {

using checker::Level;
using checker::Settings;
using checker::Timers;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kLogPeriod{1000};
constexpr milliseconds kShadowAllowance{2000};  // beyond the longest check timeout
constexpr milliseconds kSourcesPatience{2000};  // of services that have no instance without them
constexpr milliseconds kHandoverPatience{10'000};
constexpr milliseconds kHandoverPoll{2};
constexpr milliseconds kRoomPeriod{30'000};  // before what had no room is tried again

void tell(Level level, const char* name,
          std::vector<std::pair<std::string, std::string>> fields = {}) {
  log_event({level, name, std::move(fields)});
}

// Every instance may need a connection of its own.
void raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

class Daemon {
 public:
  Daemon(const Options& options, Settings settings, checker::Loop& loop, const Signals& signals)
      : options_(options),
        directory_(directory_of(options_, settings)),
        loop_(loop),
        signals_(signals),
        checker_(loop, checker_options()),
        steward_(
            loop, [this](const Settings& wanted) { return apply(wanted); },
            [this](const std::string& service, std::size_t source, const shm::Status& status) {
              sources_.judged(service, source, status);
            }),
        sources_(loop, steward_, checker_),
        reader_(
            loop, options_.config, [](const std::string& path) { return read_config_file(path); },
            [this](ConfigResult config) {
              control_.reloaded(reload(std::move(config)));
              if (!stopping_) manager_.ready(summary());
            }),
        control_(loop, steward_, checker_, options_, directory_, control_hooks()) {
    loop_.watch(signals_.descriptor(), [this] { on_signals(); });
    log_timer_ = loop_.every(kLogPeriod, [this] {
      log_held_back();
      troubles_.look_at_commands(checker_.stats().commands_stuck);
    });
    if (const auto period = manager_.watchdog_period())
      watchdog_timer_ = loop_.every(*period, [this] { manager_.alive(); });
    steward_.begin_with(std::move(settings));
  }
  ~Daemon() {
    loop_.unwatch(signals_.descriptor());
    loop_.timers().destroy(log_timer_);
    for (const auto& timer : {watchdog_timer_, room_timer_})
      if (timer) loop_.timers().destroy(*timer);
  }
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  int run() {
    tell(Level::info, "starting",
         {{"version", BALLAST_VERSION},
          {"pid", std::to_string(getpid())},
          {"config", options_.config},
          {"directory", directory_},
          {"io", loop_.backend() == checker::Backend::io_uring ? "io_uring" : "epoll"}});
    sources_.begin(directory_);
    wait_until([this] { return !sources_.is_awaited(); }, kSourcesPatience, milliseconds(50));
    if (stopping_) return failed_ ? 1 : 0;
    if (!(options_.handover ? take_over() : take_now())) return failed_ ? 1 : 0;
    tell(Level::info, "ready");
    if (!stopping_) manager_.ready(summary());
    if (!stopping_) loop_.run();
    control_.leave(end_);
    metrics_.stop();
    checker_.leave();
    tell(Level::info, "left");
    return failed_ ? 1 : 0;
  }
  [[nodiscard]] bool reading() const { return reader_.busy(); }

 private:
  checker::CheckerOptions checker_options() {
    checker::CheckerOptions options;
    options.prober.seed = std::random_device{}();
    options.prober.log = [](std::string_view line) {
      tell(Level::warning, "prober", {{"message", std::string(line)}});
    };
    options.on_event = log_event;
    // A slow disk is waited for while the checks go on, not between two processes.
    options.may_hand_over = [this] { return control_.is_kept(); };
    options.on_stop = [this](checker::StopReason reason) {
      if (reason == checker::StopReason::handover) {
        end_ = DaemonControl::End::handed_over;
        stop("handover");
      } else {
        end_ = DaemonControl::End::directory_lost;
        fail("the locator in " + directory_ + " was removed or replaced", "start ballastd again");
      }
    };
    return options;
  }

  DaemonControl::Hooks control_hooks() {
    DaemonControl::Hooks hooks;
    hooks.reload = [this] {
      const bool busy = reader_.busy();
      reader_.request();
      return busy;
    };
    hooks.sources = [this] { return sources_.set().statuses(); };
    hooks.is_managed = [this] { return manager_.is_there(); };
    return hooks;
  }

  void stop(const char* why) {
    tell(Level::info, "leaving", {{"because", why}});
    manager_.stopping(why);
    stopping_ = true;
    loop_.stop();
  }

  bool fail(const std::string& what, const std::string& advice = {}) {
    const std::string why = advice.empty() ? what : what + ": " + advice;
    tell(Level::error, "failed", {{"because", why}});
    manager_.stopping(why);
    failed_ = true;
    stopping_ = true;
    loop_.stop();
    return false;
  }

  bool take(shm::Lease lease) {
    // Now nobody else keeps any. Those that cannot be read are left where they are.
    if (const auto loaded = control_.load_changes(); !loaded)
      tell(Level::error, "changes_unreadable", {{"because", loaded.error().to_text()}});
    steward_.settle();
    const Settings wanted = steward_.roster().compose();
    auto taken = checker_.take(std::move(lease), wanted);
    if (!taken && taken.error().kind == shm::ErrorKind::full)
      taken = take_last_good(wanted, taken.error());
    if (!taken) return fail(with_advice(taken.error()));
    stage_ = Stage::office;
    troubles_.look_at_size(steward_.roster().compose());
    control_.open();
    metrics_.follow(steward_.roster().configured());
    return true;
  }

  // There is no room for all that is wanted, but the table that is there has members: those that
  // are still wanted go on being checked, and the rest is tried again and again.
  shm::Status take_last_good(Settings wanted, const shm::Error& why) {
    const auto known = checker::read_known_health(directory_);
    std::size_t left_out = 0;
    std::size_t kept = 0;
    for (checker::ServiceSettings& service : wanted.services) {
      left_out += std::erase_if(service.instances, [&](const checker::InstanceSettings& one) {
        return !known.contains({service.name, one.endpoint.to_words()});
      });
      kept += service.instances.size();
    }
    std::erase_if(wanted.services, [](const checker::ServiceSettings& service) {
      return service.instances.empty();
    });
    if (kept == 0) return why;
    auto lease = shm::Lease::acquire(directory_, shm::Lease::Wait::no);
    if (!lease) return lease.error();
    if (const auto taken = checker_.take(std::move(*lease), wanted); !taken) return why;
    tell(Level::error, "settings_not_published",
         {{"because", with_advice(why)},
          {"instances_left_out", std::to_string(left_out)},
          {"next", "tries again"}});
    room_timer_ = loop_.every(kRoomPeriod, [this] { look_for_room(); });
    return shm::Done{};
  }

  void look_for_room() {
    if (!steward_.apply()) return;
    loop_.timers().destroy(*std::exchange(room_timer_, std::nullopt));
    tell(Level::info, "settings_published");
  }

  // What the steward asks for, also while sources find things before anybody is in charge.
  shm::Status apply(const Settings& wanted) {
    // Beforehand, since nothing could be taken with a set that can never be published.
    if (auto fits = checker::check_size(wanted); !fits) return fits;
    if (stage_ == Stage::office) troubles_.look_at_size(wanted);
    switch (stage_) {
      case Stage::start:
        break;
      case Stage::shadow:
        checker_.start_in_shadow(wanted, directory_);
        break;
      case Stage::office:
        return checker_.reload(wanted);
    }
    return shm::Done{};
  }

  bool take_now() {
    auto lease = shm::Lease::acquire(directory_, shm::Lease::Wait::no);
    return lease ? take(std::move(*lease)) : fail(lease.error().to_text());
  }

  // Turns the loop until `done` says so, the time is up, or a signal ends it all.
  template <class Done>
  bool wait_until(Done done, steady_clock::duration patience, milliseconds poll) {
    const auto deadline = steady_clock::now() + patience;
    while (!stopping_ && steady_clock::now() < deadline) {
      if (done()) return true;
      loop_.run_once(poll);
    }
    return !stopping_ && done();
  }

  bool take_over() {
    // The running one knows them: better that it goes on than that they are lost.
    if (const auto loaded = control_.load_changes(); !loaded) return fail(loaded.error().to_text());
    steward_.settle();
    const Settings settings = steward_.roster().compose();
    checker_.start_in_shadow(settings, directory_);
    stage_ = Stage::shadow;
    tell(Level::info, "handover_checking", {{"instances", std::to_string(checker_.unchecked())}});
    milliseconds longest{0};
    for (const auto& service : settings.services) {
      longest = std::max(longest, service.check.timeout);
    }
    if (!wait_until([this] { return checker_.unchecked() == 0; }, longest + kShadowAllowance,
                    milliseconds(50)) &&
        !stopping_) {
      tell(Level::warning, "handover_unchecked",
           {{"instances", std::to_string(checker_.unchecked())}});
    }
    if (stopping_) return false;
    return wait_for_lease();
  }

  bool wait_for_lease() {
    std::uint64_t asked = 0;
    bool ended = false;
    bool taken = false;
    const auto attempt = [&] {
      auto lease = shm::Lease::acquire(directory_, shm::Lease::Wait::no);
      if (lease) {
        taken = take(std::move(*lease));
        return ended = true;
      }
      if (lease.error().kind != shm::ErrorKind::busy) {
        fail(lease.error().to_text());
        return ended = true;
      }
      // Each time, since a third one may have taken over meanwhile: a request is for one term. And
      // one that gives up may have taken back the request for all.
      const auto request = shm::Lease::request_handover(directory_);
      if (!request) {
        fail(request.error().to_text());
        return ended = true;
      }
      if (asked == *request) return false;
      asked = *request;
      tell(Level::info, "handover_requested", {{"term", std::to_string(asked)}});
      return false;
    };
    wait_until(attempt, kHandoverPatience, kHandoverPoll);
    if (ended) return taken;
    shm::Lease::withdraw_handover(directory_, asked);
    if (stopping_) return false;
    const auto still = shm::Lease::acquire(directory_, shm::Lease::Wait::no);
    return fail("the running ballastd did not leave within 10 s",
                still ? "it has just left, try again" : still.error().to_text());
  }

  void on_signals() {
    for (int signal = signals_.next(); signal != 0; signal = signals_.next()) {
      if (signal == SIGHUP) {
        manager_.reloading();
        reader_.request();
      } else {
        stop(signal == SIGTERM ? "SIGTERM" : "SIGINT");
      }
    }
  }

  // For `systemctl status`.
  [[nodiscard]] std::string summary() const {
    const Settings settings = steward_.roster().compose();
    std::size_t instances = 0;
    for (const auto& service : settings.services)
      instances += service.instances.size();
    return "checking " + std::to_string(instances) + " instances of " +
           std::to_string(settings.services.size()) + " services in " + directory_;
  }

  // Returns why it does not hold; nothing if it does.
  std::vector<std::string> reload(ConfigResult config) {
    std::vector<std::string> errors;
    for (const Diagnostic& error : config.errors)
      errors.push_back(error.line);
    if (stopping_) errors.emplace_back("this ballastd is leaving");
    if (errors.empty() && config.settings) errors = reload(std::move(*config.settings));
    for (const std::string& error : errors)
      tell(Level::error, "reload_failed", {{"because", error}});
    return errors;
  }

  std::vector<std::string> reload(Settings wanted) {
    if (directory_of(options_, wanted) != directory_) {
      return {options_.config + ": the directory changes from " + directory_ + " to " +
              directory_of(options_, wanted) + ": start another ballastd for it"};
    }
    if (stage_ != Stage::office) {
      return {"not in charge yet: send SIGHUP again after the hand-over"};
    }
    if (auto exceeded = exceeded_limit(wanted)) return {std::move(*exceeded)};
    if (auto exceeded = exceeded_memory(wanted, memory_limits(directory_), directory_))
      return {std::move(*exceeded)};
    if (const auto may = control_.may_configure(wanted); !may) return {may.error().to_text()};
    if (const auto done = steward_.configure(std::move(wanted)); !done)
      return {with_advice(done.error())};
    metrics_.follow(steward_.roster().configured());
    sources_.configure();
    control_.configure();
    const Settings settings = steward_.roster().compose();
    std::size_t instances = 0;
    for (const auto& service : settings.services)
      instances += service.instances.size();
    tell(Level::info, "reloaded",
         {{"services", std::to_string(settings.services.size())},
          {"instances", std::to_string(instances)}});
    return {};
  }

  const Options& options_;
  std::string directory_;
  checker::Loop& loop_;
  const Signals& signals_;
  ServiceManager manager_;
  Timers::Id log_timer_;
  std::optional<Timers::Id> watchdog_timer_;
  std::optional<Timers::Id> room_timer_;  // while not all settings are published
  bool stopping_ = false;
  bool failed_ = false;
  StandingTroubles troubles_{log_event};
  // Before anything is checked; checking and publishing nothing; being the one writer.
  enum class Stage : std::uint8_t { start, shadow, office };
  Stage stage_ = Stage::start;
  checker::Checker checker_;
  checker::Steward steward_;
  DaemonSources sources_;
  ConfigReader reader_;
  DaemonControl::End end_ = DaemonControl::End::stopped;
  DaemonControl control_;
  Metrics metrics_{loop_, directory_, [this](checker::LoopReport& report) {
                     report.prober = checker_.stats();
                     report.checks = checker_.check_counts();
                     report.sources = sources_.set().statuses();
                   }};
};

}  // namespace

std::string directory_of(const Options& options, const Settings& settings) {
  if (!options.directory.empty()) return options.directory;
  if (!settings.directory.empty()) return settings.directory;
  return shm::default_directory(settings.name_space);
}

int run_daemon(const Options& options, Settings settings) {
  struct Flush {
    ~Flush() { flush_log(); }
  } flush_at_end;
  raise_descriptor_limit();
  const std::string directory = directory_of(options, settings);
  auto exceeded = exceeded_limit(settings);
  if (!exceeded) exceeded = exceeded_memory(settings, memory_limits(directory), directory);
  if (exceeded) {
    tell(Level::error, "failed", {{"because", *exceeded}});
    return 1;
  }
  const Signals signals;
  if (signals.descriptor() < 0) {
    tell(Level::error, "failed", {{"because", std::string("signalfd: ") + std::strerror(errno)}});
    return 1;
  }
  checker::LoopOptions loop_options;
  loop_options.log = [](std::string_view line) {
    tell(Level::warning, "loop", {{"message", std::string(line)}});
  };
  auto loop = checker::make_loop(loop_options);
  if (!loop) {
    tell(Level::error, "failed", {{"because", loop.error().to_text()}});
    return 1;
  }
  Daemon daemon(options, std::move(settings), **loop, signals);
  const int status = daemon.run();
  // A look-up of names cannot be called back, may take a minute, and wants nobody to wait for it:
  // the lease is free and the last line is written. Nothing that it uses is destroyed before the
  // process ends, and it with the process.
  if (daemon.reading()) {
    flush_log();
    std::_Exit(status);
  }
  return status;
}

}  // namespace ballast::tools
