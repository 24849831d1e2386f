// fork and exec, and what /proc says of a process.
#include "bench/support/program.hpp"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "bench/support/clock.hpp"
#include "bench/support/processes.hpp"

namespace ballast::bench {

namespace {

constexpr int kPriority = 10;
constexpr std::uint64_t kTryingNs = 200'000'000;

std::string read_file(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// The first figure of a schedstat file: nanoseconds on a processor.
std::uint64_t run_ns(const std::string& directory) {
  return std::strtoull(read_file(directory + "/schedstat").c_str(), nullptr, 10);
}

// The threads of a process, by their directories under /proc.
std::vector<std::string> threads_of(pid_t pid) {
  const std::string base = "/proc/" + std::to_string(pid) + "/task";
  std::vector<std::string> out;
  DIR* directory = ::opendir(base.c_str());
  if (directory == nullptr) return out;
  while (const dirent* entry = ::readdir(directory)) {  // NOLINT: nobody else reads this stream
    if (entry->d_name[0] != '.') out.push_back(base + "/" + entry->d_name);
  }
  ::closedir(directory);
  return out;
}

std::uint64_t ksoftirqd_ns(int processor) {
  static const std::string wanted_prefix = "ksoftirqd/";
  const std::string wanted = wanted_prefix + std::to_string(processor);
  DIR* proc = ::opendir("/proc");
  if (proc == nullptr) return 0;
  std::uint64_t out = 0;
  while (const dirent* entry = ::readdir(proc)) {  // NOLINT: nobody else reads this stream
    const std::string directory = std::string("/proc/") + entry->d_name;
    if (entry->d_name[0] < '1' || entry->d_name[0] > '9') continue;
    if (read_file(directory + "/comm") == wanted + "\n") out += run_ns(directory);
  }
  ::closedir(proc);
  return out;
}

// The column `softirq` of a processor in /proc/stat.
std::uint64_t stat_softirq_ns(int processor) {
  std::istringstream stat(read_file("/proc/stat"));
  const std::string wanted = "cpu" + std::to_string(processor);
  for (std::string line; std::getline(stat, line);) {
    std::istringstream words(line);
    std::string name;
    words >> name;
    if (name != wanted) continue;
    std::uint64_t value = 0;
    for (int column = 0; column < 7; ++column)
      words >> value;
    return value * (1'000'000'000U / static_cast<std::uint64_t>(::sysconf(_SC_CLK_TCK)));
  }
  return 0;
}

// Sends datagrams to itself for a while: nearly half of that is soft interrupts. If a process's
// run time leaves them out, it falls well short of the time that went by.
bool try_softirqs() {
  const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  sockaddr_in self{};
  self.sin_family = AF_INET;
  self.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof self;
  if (fd < 0 || ::bind(fd, reinterpret_cast<const sockaddr*>(&self), length) != 0 ||
      ::getsockname(fd, reinterpret_cast<sockaddr*>(&self), &length) != 0) {
    throw std::runtime_error("cannot make a socket");
  }
  const bool alone = run_at_real_time();
  timespec used{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
  const std::uint64_t used_before = static_cast<std::uint64_t>(used.tv_sec) * 1'000'000'000U +
                                    static_cast<std::uint64_t>(used.tv_nsec);
  const std::uint64_t from = monotonic_ns();
  char byte = 'x';
  while (monotonic_ns() < from + kTryingNs) {
    ::sendto(fd, &byte, 1, 0, reinterpret_cast<const sockaddr*>(&self), length);
    ::recv(fd, &byte, 1, 0);
  }
  const std::uint64_t passed = monotonic_ns() - from;
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
  const std::uint64_t spent = static_cast<std::uint64_t>(used.tv_sec) * 1'000'000'000U +
                              static_cast<std::uint64_t>(used.tv_nsec) - used_before;
  ::close(fd);
  return !alone || spent > passed / 10 * 9;
}

}  // namespace

bool run_at_real_time(pid_t pid) noexcept {
  sched_param parameters{};
  parameters.sched_priority = kPriority;
  return ::sched_setscheduler(pid, SCHED_FIFO, &parameters) == 0;
}

void allow_descriptors() noexcept {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max = std::max<rlim_t>(limit.rlim_max, 131'072);
  if (::setrlimit(RLIMIT_NOFILE, &limit) == 0) return;
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

Program::Program(const ProgramOptions& options) : output_(options.output) {
  std::vector<char*> argv;
  for (const std::string& word : options.argv)
    argv.push_back(const_cast<char*>(word.c_str()));  // execv takes them so and changes nothing
  argv.push_back(nullptr);
  static_cast<void>(processors());
  std::fflush(nullptr);
  pid_ = ::fork();
  if (pid_ < 0) throw std::runtime_error("fork failed");
  if (pid_ > 0) return;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  const int out = ::open(output_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (out >= 0) {
    ::dup2(out, STDOUT_FILENO);
    ::dup2(out, STDERR_FILENO);
  }
  allow_descriptors();
  if (options.pinned) pin(options.rank);
  if (options.real_time) run_at_real_time();
  ::execv(argv[0], argv.data());
  std::fprintf(stderr, "cannot start %s: %s\n", argv[0], std::strerror(errno));
  ::_exit(127);
}

Program::~Program() {
  kill();
}

bool Program::alive() noexcept {
  if (pid_ < 0) return false;
  if (::waitpid(pid_, nullptr, WNOHANG) == 0) return true;
  pid_ = -1;
  return false;
}

void Program::signal(int number) noexcept {
  if (pid_ > 0) ::kill(pid_, number);
}

void Program::kill() noexcept {
  if (pid_ < 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

std::uint64_t Program::cpu_ns() const {
  std::uint64_t sum = 0;
  for (const std::string& thread : threads_of(pid_))
    sum += run_ns(thread);
  return sum;
}

std::uint64_t Program::resident_bytes() const {
  const std::string status = read_file("/proc/" + std::to_string(pid_) + "/status");
  const auto found = status.find("VmRSS:");
  if (found == std::string::npos) return 0;
  return std::strtoull(status.c_str() + found + 6, nullptr, 10) * 1024;
}

std::uint64_t softirq_ns(unsigned rank) {
  const std::vector<int> all = processors();
  const int processor = all[rank % all.size()];
  return ksoftirqd_ns(processor) + (run_time_holds_softirqs() ? 0 : stat_softirq_ns(processor));
}

bool run_time_holds_softirqs() {
  static const bool holds = [] {
    const SharedArray<std::uint8_t> answer(1);
    Child child([&] { answer[0] = try_softirqs() ? 1 : 0; });
    child.join();
    return answer[0] == 1;
  }();
  return holds;
}

std::string tail_of(const std::string& path, std::size_t bytes) {
  const std::string text = read_file(path);
  return text.substr(text.size() - std::min(bytes, text.size()));
}

}  // namespace ballast::bench
