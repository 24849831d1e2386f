// One Running for every command: the process by its pidfd, which is reported when it has ended, the
// pipe that it prints into, and the lifeline.
#include "engine/checker/probing/command_probe.hpp"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <optional>
#include <unordered_map>
#include <utility>

#include "engine/checker/probing/note.hpp"

namespace ballast::checker {
namespace {

constexpr int kLifelineFd = 3;  // in the command
constexpr std::size_t kReadsAtOnce = 4;
constexpr std::size_t kReadBytes = 4096;
constexpr int kGoodbyeMs = 1000;

// A descriptor of ours, closed when it goes.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) noexcept : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Fd() {
    if (fd_ >= 0) ::close(fd_);
  }
  void close() noexcept { *this = Fd(); }
  [[nodiscard]] int get() const noexcept { return fd_; }
  [[nodiscard]] explicit operator bool() const noexcept { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

struct Pipe {
  Fd reading;
  Fd writing;
};

// Above the descriptors that a command has, so that none is overwritten while it is set up.
bool move_up(Fd& fd) {
  if (fd.get() > kLifelineFd) return true;
  fd = Fd(::fcntl(fd.get(), F_DUPFD_CLOEXEC, kLifelineFd + 1));
  return bool{fd};
}

// An errno, 0 for success.
int make_pipe(Pipe& pipe) {
  std::array<int, 2> fds{};
  if (::pipe2(fds.data(), O_CLOEXEC) != 0) return errno;
  pipe.reading = Fd(fds[0]);
  pipe.writing = Fd(fds[1]);
  return move_up(pipe.reading) && move_up(pipe.writing) ? 0 : errno;
}

// What posix_spawn wants to know. Every call fails for lack of memory only; the first error stays.
class Spawn {
 public:
  Spawn() {
    keep(::posix_spawn_file_actions_init(&actions_));
    keep(::posix_spawnattr_init(&attributes_));
  }
  Spawn(const Spawn&) = delete;
  Spawn& operator=(const Spawn&) = delete;
  ~Spawn() {
    ::posix_spawn_file_actions_destroy(&actions_);
    ::posix_spawnattr_destroy(&attributes_);
  }

  void set_up(int output, int lifeline) {
    keep(::posix_spawn_file_actions_addopen(&actions_, 0, "/dev/null", O_RDONLY, 0));
    keep(::posix_spawn_file_actions_adddup2(&actions_, output, 1));
    keep(::posix_spawn_file_actions_adddup2(&actions_, output, 2));
    keep(::posix_spawn_file_actions_adddup2(&actions_, lifeline, kLifelineFd));
    keep(::posix_spawn_file_actions_addclosefrom_np(&actions_, kLifelineFd + 1));
    keep(::posix_spawn_file_actions_addchdir_np(&actions_, "/"));
    // Whatever the checker blocks or ignores is no business of the command's.
    sigset_t signals;
    ::sigemptyset(&signals);
    keep(::posix_spawnattr_setsigmask(&attributes_, &signals));
    ::sigfillset(&signals);
    ::sigdelset(&signals, SIGKILL);
    ::sigdelset(&signals, SIGSTOP);
    keep(::posix_spawnattr_setsigdefault(&attributes_, &signals));
    keep(::posix_spawnattr_setflags(
        &attributes_,
        static_cast<short>(POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF)));
  }

  int run(const CommandRequest& request, pid_t& pid) {
    if (error_ != 0) return error_;
    if (request.command.empty()) return ENOENT;
    std::string path = kCommandPath;
    std::vector<std::string> arguments = request.command;
    std::vector<std::string> variables = request.variables;
    std::vector<char*> argv;
    for (std::string& argument : arguments)
      argv.push_back(argument.data());
    argv.push_back(nullptr);
    std::vector<char*> environment{path.data()};
    for (std::string& variable : variables)
      environment.push_back(variable.data());
    environment.push_back(nullptr);
    return ::posix_spawn(&pid, argv[0], &actions_, &attributes_, argv.data(), environment.data());
  }

 private:
  void keep(int error) noexcept {
    if (error_ == 0) error_ = error;
  }

  posix_spawn_file_actions_t actions_{};
  posix_spawnattr_t attributes_{};
  int error_ = 0;
};

// The kernel sends readers that asked for it a signal, of their choice, when a pipe's last writer
// is gone. Whom it is for can be said only once it is there: a checker that is killed in the
// instant between its start and `tie` leaves it to itself.
bool load(const Fd& lifeline) {
  return ::fcntl(lifeline.get(), F_SETSIG, SIGKILL) == 0 &&
         ::fcntl(lifeline.get(), F_SETFL, O_ASYNC) == 0;
}
bool tie(const Fd& lifeline, pid_t group) {
  return ::fcntl(lifeline.get(), F_SETOWN, -group) == 0;
}

}  // namespace

class CommandProbe::Impl {
 public:
  Impl(Loop& loop, CommandHandler& handler, std::size_t max_running,
       std::chrono::milliseconds stuck_after)
      : loop_(loop), handler_(handler), max_running_(max_running), stuck_after_(stuck_after) {
    // Whoever started us may have left SIGCHLD ignored, and then nobody learns how a command ended.
    struct sigaction action{};
    if (::sigaction(SIGCHLD, nullptr, &action) != 0) return;
    if (action.sa_handler != SIG_IGN && (action.sa_flags & SA_NOCLDWAIT) == 0) return;
    action = {};
    action.sa_handler = SIG_DFL;
    ::sigaction(SIGCHLD, &action, nullptr);
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  ~Impl() {
    for (auto& [id, one] : running_) {
      stop_watching(one);
      ::kill(-one.pid, SIGKILL);
    }
    const auto limit = std::chrono::steady_clock::now() + std::chrono::milliseconds(kGoodbyeMs);
    for (auto& [id, one] : running_) {
      pollfd ended{one.process.get(), POLLIN, 0};
      const auto left =
          std::chrono::ceil<std::chrono::milliseconds>(limit - std::chrono::steady_clock::now());
      ::poll(&ended, 1, static_cast<int>(std::max<std::int64_t>(left.count(), 0)));
      siginfo_t info{};
      ::waitid(P_PIDFD, static_cast<id_t>(one.process.get()), &info, WEXITED | WNOHANG);
    }
  }

  Started start(const CommandRequest& request) {
    if (full()) return {0, EAGAIN};
    Pipe output;
    Pipe lifeline;
    if (const int error = make_pipe(output); error != 0) return {0, error};
    if (const int error = make_pipe(lifeline); error != 0) return {0, error};
    if (::fcntl(output.reading.get(), F_SETFL, O_NONBLOCK) != 0) return {0, errno};
    if (!load(lifeline.reading)) return {0, errno};
    Spawn spawn;
    spawn.set_up(output.writing.get(), lifeline.reading.get());
    pid_t pid = -1;
    if (const int error = spawn.run(request, pid); error != 0) return {0, error};
    // Its pid cannot be another's: nobody but us waits for it.
    const bool tied = tie(lifeline.reading, pid);
    Fd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0U)));
    if (!tied || !process) {
      const int error = errno;
      ::kill(-pid, SIGKILL);
      ::waitpid(pid, nullptr, 0);
      return {0, error};
    }
    const Id id = ++last_id_;
    Running& one = running_[id];
    one.pid = pid;
    one.user = request.user;
    one.max_output = request.max_output_bytes;
    one.process = std::move(process);
    one.output = std::move(output.reading);
    one.lifeline = std::move(lifeline.writing);
    loop_.watch(one.output.get(), [this, id] { on_output(id); });
    loop_.watch(one.process.get(), [this, id] { on_end(id); });
    return {id, 0};
  }

  [[nodiscard]] bool full() const noexcept { return running_.size() >= max_running_; }
  [[nodiscard]] std::size_t running() const noexcept { return running_.size(); }
  [[nodiscard]] std::size_t stuck() const noexcept {
    const auto now = std::chrono::steady_clock::now();
    std::size_t count = 0;
    for (const auto& [id, one] : running_)
      count += one.killed && now - *one.killed >= stuck_after_ ? 1 : 0;
    return count;
  }

  std::string cancel(Id id) {
    const auto found = running_.find(id);
    if (found == running_.end()) return {};
    Running& one = found->second;
    if (!std::exchange(one.cancelled, true)) read_all(one);
    kill_all(one);
    return to_note(one.printed);
  }

 private:
  struct Running {
    pid_t pid = -1;
    std::uint64_t user = 0;
    std::uint32_t max_output = 0;
    bool cancelled = false;
    bool too_much = false;
    std::optional<std::chrono::steady_clock::time_point> killed;
    Fd process;
    Fd output;
    Fd lifeline;
    std::string printed;
  };

  void on_output(Id id) {
    const auto found = running_.find(id);
    if (found == running_.end()) return;
    read_output(found->second, kReadsAtOnce);
    if (found->second.too_much) kill_all(found->second);
  }

  // At most so many times, and never much more than may come.
  void read_output(Running& one, std::size_t times) {
    std::array<char, kReadBytes> bytes;  // NOLINT: filled by the kernel
    for (std::size_t n = 0; n < times && one.output && !one.too_much; ++n) {
      const ssize_t got = ::read(one.output.get(), bytes.data(), bytes.size());
      if (got < 0 && errno == EINTR) continue;
      if (got < 0 && errno == EAGAIN) return;
      if (got <= 0) return stop_reading(one);
      const std::size_t room = one.max_output - one.printed.size();
      one.too_much = static_cast<std::size_t>(got) > room;
      one.printed.append(bytes.data(), std::min(static_cast<std::size_t>(got), room));
    }
  }
  void read_all(Running& one) { read_output(one, one.max_output + 2); }

  void stop_reading(Running& one) {
    if (!one.output) return;
    loop_.unwatch(one.output.get());
    one.output.close();
  }

  void stop_watching(Running& one) {
    stop_reading(one);
    loop_.unwatch(one.process.get());
  }

  // Its end is reported as any other.
  void kill_all(Running& one) {
    stop_reading(one);
    if (!one.killed) one.killed = std::chrono::steady_clock::now();
    ::kill(-one.pid, SIGKILL);
  }

  void on_end(Id id) {
    const auto found = running_.find(id);
    if (found == running_.end()) return;
    Running& one = found->second;
    read_all(one);
    // What it has left behind goes too, and goes first: until we have taken note of the command's
    // end nobody else can get its number.
    ::kill(-one.pid, SIGKILL);
    siginfo_t info{};
    const int waited =
        ::waitid(P_PIDFD, static_cast<id_t>(one.process.get()), &info, WEXITED | WNOHANG);
    if (waited == 0 && info.si_pid == 0) return;  // not yet
    stop_watching(one);
    const Running ended = std::move(one);
    running_.erase(found);
    if (!ended.cancelled) handler_.on_command_end(ended.user, judge(ended, waited, info));
  }

  static CheckResult judge(const Running& one, int waited, const siginfo_t& info) {
    CheckResult result;
    result.note = to_note(one.printed);
    if (one.too_much) {
      result.reason = Reason::bad_response;
      result.note = to_note("more than " + std::to_string(one.max_output) +
                            " bytes of output: " + result.note);
    } else if (waited != 0) {
      // Somebody else in this process has waited for it: how it ended nobody can know.
      result.reason = Reason::bad_exit;
      result.detail = -1;
    } else if (info.si_code == CLD_EXITED) {
      result.reason = info.si_status == 0 ? Reason::passed : Reason::bad_exit;
      result.detail = info.si_status;
    } else {
      result.reason = Reason::bad_exit;
      result.detail = 128 + info.si_status;
      const std::string end = "killed by signal " + std::to_string(info.si_status);
      result.note = to_note(result.note.empty() ? end : end + ": " + result.note);
    }
    return result;
  }

  Loop& loop_;
  CommandHandler& handler_;
  std::size_t max_running_;
  std::chrono::milliseconds stuck_after_;
  Id last_id_ = 0;
  std::unordered_map<Id, Running> running_;
};

CommandProbe::CommandProbe(Loop& loop, CommandHandler& handler, std::size_t max_running,
                           std::chrono::milliseconds stuck_after)
    : impl_(std::make_unique<Impl>(loop, handler, max_running, stuck_after)) {}
CommandProbe::~CommandProbe() = default;

CommandProbe::Started CommandProbe::start(const CommandRequest& request) {
  return impl_->start(request);
}
bool CommandProbe::full() const noexcept {
  return impl_->full();
}
std::size_t CommandProbe::running() const noexcept {
  return impl_->running();
}
std::size_t CommandProbe::stuck() const noexcept {
  return impl_->stuck();
}
std::string CommandProbe::cancel(Id id) {
  return impl_->cancel(id);
}

std::vector<std::string> command_variables(const InstanceSettings& instance,
                                           const shm::Endpoint& peer) {
  const std::string written = peer.to_text();
  const std::size_t colon = written.rfind(':');
  std::string address = written.substr(0, colon);
  if (address.size() > 2 && address.front() == '[') address = address.substr(1, address.size() - 2);
  return {"BALLAST_INSTANCE=" + (instance.text.empty() ? written : instance.text),
          "BALLAST_ADDRESS=" + address, "BALLAST_PORT=" + std::to_string(peer.port)};
}

}  // namespace ballast::checker
