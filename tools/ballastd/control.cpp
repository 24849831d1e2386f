// Paths by default, the group by its name, and the start of a successor.
#include "tools/ballastd/control.hpp"

#include <fcntl.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <optional>
#include <utility>

#include "tools/ballastd/log.hpp"

namespace ballast::tools {

using checker::Level;
using checker::Settings;

namespace {

constexpr std::chrono::seconds kOpenPause{1};  // before the socket is tried again

void tell(Level level, const char* name,
          std::vector<std::pair<std::string, std::string>> fields = {}) {
  log_event({level, name, std::move(fields)});
}

std::string own_program() {
  std::array<char, 4096> buffer;  // NOLINT: filled by the kernel
  const ssize_t length = ::readlink("/proc/self/exe", buffer.data(), buffer.size());
  return length > 0 ? std::string(buffer.data(), static_cast<std::size_t>(length)) : "";
}

// Nobody may be called by signals or hear of them as this process wants it.
class SpawnAttributes {
 public:
  SpawnAttributes() {
    ::posix_spawnattr_init(&attributes_);
    sigset_t set;
    sigemptyset(&set);
    ::posix_spawnattr_setsigmask(&attributes_, &set);
    sigaddset(&set, SIGPIPE);
    ::posix_spawnattr_setsigdefault(&attributes_, &set);
    ::posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  }
  ~SpawnAttributes() { ::posix_spawnattr_destroy(&attributes_); }
  SpawnAttributes(const SpawnAttributes&) = delete;
  SpawnAttributes& operator=(const SpawnAttributes&) = delete;
  [[nodiscard]] const posix_spawnattr_t* get() const { return &attributes_; }

 private:
  posix_spawnattr_t attributes_{};
};

}  // namespace

DaemonControl::DaemonControl(checker::Loop& loop, checker::Steward& steward,
                             checker::Checker& checker, const Options& options,
                             std::string directory, Hooks hooks)
    : loop_(loop),
      steward_(steward),
      checker_(checker),
      options_(options),
      directory_(std::move(directory)),
      hooks_(std::move(hooks)),
      program_(own_program()),
      retry_(loop.timers().create([this] { open(); })),
      desk_(loop, steward, desk_hooks()) {}

DaemonControl::~DaemonControl() {
  loop_.timers().destroy(retry_);
  if (successor_fd_ < 0) return;
  loop_.unwatch(successor_fd_);
  ::close(successor_fd_);
}

checker::DeskHooks DaemonControl::desk_hooks() {
  checker::DeskHooks desk;
  desk.publisher = [this] { return checker_.publisher(); };
  desk.eject = [this](const std::string& service, const shm::Endpoint& endpoint,
                      checker::Milliseconds duration) {
    return checker_.eject(service, endpoint, duration);
  };
  desk.reload = hooks_.reload;
  desk.sources = hooks_.sources;
  desk.handover = [this] { return start_successor(); };
  desk.on_event = log_event;
  desk.version = BALLAST_VERSION;
  desk.directory = directory_;
  desk.io = loop_.backend() == checker::Backend::io_uring ? "io_uring" : "epoll";
  return desk;
}

std::string DaemonControl::changes_path(const Settings& settings) const {
  const std::string& configured = settings.state_file;
  if (!configured.empty()) return configured;
  // One file a namespace, since several may share a directory for state.
  if (!options_.state.empty()) return options_.state + "/" + settings.name_space + ".changes";
  return directory_ + "/changes";
}

std::string DaemonControl::socket_path() const {
  const std::string& configured = steward_.roster().configured().control_socket;
  return configured.empty() ? directory_ + "/control" : configured;
}

shm::Status DaemonControl::load_changes() {
  return desk_.load_changes(changes_path(steward_.roster().configured()));
}

void DaemonControl::open() {
  const auto failed = [this](const std::string& why) {
    // Whoever holds the path, or what else is in the way, may go.
    loop_.timers().arm(retry_, std::chrono::steady_clock::now() + kOpenPause);
    if (why == failed_) return;
    failed_ = why;
    tell(Level::error, "control_failed", {{"because", why}});
  };
  // Looked up with the reading of the configuration, on another thread than this.
  const std::optional<gid_t> gid = steward_.roster().configured().control_gid;
  const shm::Status listening = desk_.listen(socket_path(), gid);
  if (!listening) return failed(listening.error().to_text());
  gid_ = gid;
  failed_.clear();
  loop_.timers().disarm(retry_);
  tell(Level::info, "control_listens", {{"socket", socket_path()}});
  for (const std::string& idle : steward_.roster().idle_changes())
    tell(Level::warning, "idle_change", {{"of", idle}});
}

shm::Status DaemonControl::may_configure(const Settings& wanted) const {
  // While none are taken there are none to move: configure() reads them there.
  if (!desk_.blocked().empty()) return shm::Done{};
  return desk_.may_keep_in(changes_path(wanted));
}

void DaemonControl::configure() {
  if (desk_.changes_path() != changes_path(steward_.roster().configured()) ||
      !desk_.blocked().empty()) {
    if (!desk_.blocked().empty()) {
      // It may have been repaired or moved away.
      if (const shm::Status loaded =
              desk_.load_changes(changes_path(steward_.roster().configured()));
          !loaded) {
        tell(Level::error, "changes_unreadable", {{"because", loaded.error().to_text()}});
      } else if (const shm::Status applied = steward_.apply(); !applied) {
        tell(Level::error, "changes_refused", {{"because", applied.error().to_text()}});
      }
    } else {
      desk_.keep_changes_in(changes_path(steward_.roster().configured()));
    }
  }
  if (desk_.socket_path() != socket_path() || gid_ != steward_.roster().configured().control_gid) {
    open();
  } else {
    for (const std::string& idle : steward_.roster().idle_changes())
      tell(Level::warning, "idle_change", {{"of", idle}});
  }
}

shm::Result<pid_t> DaemonControl::start_successor() {
  constexpr const char* kStart = "start a successor";
  if (hooks_.is_managed()) {
    return shm::Error{shm::ErrorKind::invalid,
                      0,
                      kStart,
                      {},
                      "the service manager would take the end of this process for the service's; "
                      "restart the service instead, which goes on from the same table"};
  }
  if (successor_ > 0) {
    return shm::Error{shm::ErrorKind::busy,
                      0,
                      kStart,
                      {},
                      "one runs already, with pid " + std::to_string(successor_)};
  }
  std::vector<std::string> arguments{program_, "--config", options_.config};
  if (!options_.directory.empty()) {
    arguments.insert(arguments.end(), {"--directory", options_.directory});
  }
  if (!options_.state.empty()) arguments.insert(arguments.end(), {"--state", options_.state});
  arguments.emplace_back("--handover");
  std::vector<char*> argv;
  for (std::string& argument : arguments)
    argv.push_back(argument.data());
  argv.push_back(nullptr);
  const SpawnAttributes attributes;
  pid_t pid = -1;
  const int code =
      ::posix_spawn(&pid, program_.c_str(), nullptr, attributes.get(), argv.data(), environ);
  if (code != 0) return shm::system_error(code, kStart, program_);
  successor_ = pid;
  tell(Level::info, "successor_started", {{"pid", std::to_string(pid)}});
  successor_fd_ = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  if (successor_fd_ >= 0) {
    ::fcntl(successor_fd_, F_SETFD, FD_CLOEXEC);
    loop_.watch(successor_fd_, [this] { on_successor_end(); });
  }
  return pid;
}

void DaemonControl::on_successor_end() {
  int status = 0;
  if (::waitpid(successor_, &status, WNOHANG) != successor_) return;
  loop_.unwatch(successor_fd_);
  ::close(std::exchange(successor_fd_, -1));
  successor_ = -1;
  const std::string how = WIFEXITED(status) ? "with status " + std::to_string(WEXITSTATUS(status))
                                            : "by signal " + std::to_string(WTERMSIG(status));
  const std::string why = "the successor ended " + how + " before it took over; its log says why";
  tell(Level::error, "successor_failed", {{"because", why}});
  desk_.successor_failed(why);
}

void DaemonControl::leave(End end) {
  using Leave = checker::ControlDesk::Leave;
  switch (end) {
    case End::stopped:
      return desk_.leave(Leave::stop);
    case End::handed_over:
      return desk_.leave(Leave::handover);
    case End::directory_lost:
      return desk_.leave(Leave::lost);
  }
}

}  // namespace ballast::tools
