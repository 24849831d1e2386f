// ballastd as a process: signals, reloads, second checkers, hand-overs. It is driven by its own log
// lines; the limits only keep a broken build from hanging.
#include <ballast.h>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "shm/lease.hpp"
#include "shm/mapped_file.hpp"
#include "shm/paths.hpp"
#include "shm/views.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/support/tiny_server.hpp"

namespace {

using ballast::tests::Behaviour;
using ballast::tests::TempDir;
using ballast::tests::TinyServer;

constexpr int kLimitMs = 30'000;

// A ballastd of the test's own, killed if the test forgets it.
class Process {
 public:
  explicit Process(std::vector<std::string> arguments) {
    std::array<int, 2> ends{};
    REQUIRE(pipe(ends.data()) == 0);
    pid_ = fork();
    REQUIRE(pid_ >= 0);
    if (pid_ == 0) {
      dup2(ends[1], STDOUT_FILENO);
      dup2(ends[1], STDERR_FILENO);
      close(ends[0]);
      close(ends[1]);
      std::vector<char*> argv;
      std::string program = BALLASTD;
      argv.push_back(program.data());
      for (auto& argument : arguments)
        argv.push_back(argument.data());
      argv.push_back(nullptr);
      execv(program.c_str(), argv.data());
      _exit(127);
    }
    close(ends[1]);
    output_ = ends[0];
  }
  ~Process() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
    close(output_);
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  [[nodiscard]] pid_t pid() const { return pid_; }
  void signal(int number) const { REQUIRE(::kill(pid_, number) == 0); }

  // Reads on until a line contains `text`, and returns that line.
  std::string wait_for(const std::string& text) {
    for (;;) {
      while (!pending_.empty()) {
        const auto end = pending_.find('\n');
        if (end == std::string::npos) break;
        const std::string line = pending_.substr(0, end);
        pending_.erase(0, end + 1);
        seen_ += line + "\n";
        if (line.find(text) != std::string::npos) return line;
      }
      if (!read_more()) {
        FAIL("no line with \"" << text << "\" in:\n" << seen_);
        return {};
      }
    }
  }

  // Everything that is still to come, and the exit status.
  int wait_for_exit() {
    while (read_more()) {
    }
    seen_ += pending_;
    int status = 0;
    waitpid(pid_, &status, 0);
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  [[nodiscard]] const std::string& seen() const { return seen_; }

 private:
  bool read_more() {
    pollfd wanted{output_, POLLIN, 0};
    if (poll(&wanted, 1, kLimitMs) <= 0) return false;
    std::array<char, 4096> buffer;
    const ssize_t got = read(output_, buffer.data(), buffer.size());
    if (got <= 0) return false;
    pending_.append(buffer.data(), static_cast<std::size_t>(got));
    return true;
  }

  pid_t pid_ = -1;
  int output_ = -1;
  std::string pending_;
  std::string seen_;
};

class Setting {
 public:
  Setting()
      : port_(ballast::tests::free_port()),
        server_(Behaviour::good, {ballast::tests::local_endpoint(port_)}) {
    write(service());
  }
  void write(const std::string& text) const { std::ofstream(file()) << text; }
  // From now on a reading of the file takes until the test opens it for writing, as one takes that
  // has to wait for a resolver.
  void make_reading_slow() const {
    std::filesystem::remove(file());
    REQUIRE(mkfifo(file().c_str(), 0600) == 0);
  }
  // Waits until somebody reads the slow file, and keeps them waiting until the result is closed.
  [[nodiscard]] int hold_reader() const {
    const int writer = open(file().c_str(), O_WRONLY | O_CLOEXEC);
    REQUIRE(writer >= 0);
    return writer;
  }
  [[nodiscard]] std::string service(const std::string& name = "checkout") const {
    return "[service." + name + "]\ninstances = [\"" + address() + "\"]\n";
  }
  [[nodiscard]] std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  [[nodiscard]] std::string file() const { return dir_.path() + "/ballast.toml"; }
  [[nodiscard]] std::string directory() const { return dir_.path() + "/files"; }
  [[nodiscard]] std::vector<std::string> run(const std::vector<std::string>& more = {}) const {
    std::vector<std::string> arguments{"--config", file(), "--directory", directory()};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }

 private:
  TempDir dir_;
  std::uint16_t port_;
  TinyServer server_;
};

}  // namespace

TEST_CASE("it starts, finds its server, and leaves in order on SIGTERM and SIGINT") {
  const Setting setting;
  for (const int number : {SIGTERM, SIGINT}) {
    Process daemon(setting.run());
    daemon.wait_for(" ready");
    if (number == SIGTERM) {
      const std::string up = daemon.wait_for("instance_up");
      CHECK(up.find("service=checkout instance=" + setting.address()) != std::string::npos);
    }
    daemon.signal(number);
    daemon.wait_for(number == SIGTERM ? "because=SIGTERM" : "because=SIGINT");
    CHECK(daemon.wait_for_exit() == 0);
    CHECK(daemon.seen().ends_with("left\n"));
  }
}

TEST_CASE("SIGHUP reads the file again; a wrong file leaves everything as it is") {
  const Setting setting;
  Process daemon(setting.run());
  daemon.wait_for("instance_up");
  setting.write(setting.service() + setting.service("second"));
  daemon.signal(SIGHUP);
  CHECK(daemon.wait_for("reloaded").ends_with("services=2 instances=2"));
  CHECK(daemon.wait_for("instance_up").find("service=second") != std::string::npos);

  setting.write(setting.service() + "intervall = \"1s\"\nweight = 3\n");
  daemon.signal(SIGHUP);
  CHECK(daemon.wait_for("reload_failed").find(":3:1: unknown key \\\"intervall\\\"") !=
        std::string::npos);
  CHECK(daemon.wait_for("reload_failed").find(":4:1: unknown key \\\"weight\\\"") !=
        std::string::npos);

  setting.write(setting.service() + setting.service("second") + setting.service("third"));
  daemon.signal(SIGHUP);
  CHECK(daemon.wait_for("reloaded").ends_with("services=3 instances=3"));
  CHECK(daemon.wait_for("instance_up").find("service=third") != std::string::npos);
  CHECK(daemon.seen().find("instance_down") == std::string::npos);
  daemon.signal(SIGTERM);
  CHECK(daemon.wait_for_exit() == 0);
}

TEST_CASE("while the file is read again everything goes on") {
  const Setting setting;
  std::optional<TinyServer> second;
  const std::uint16_t port = ballast::tests::free_port();
  second.emplace(Behaviour::good, std::vector{ballast::tests::local_endpoint(port)});
  const std::string both = setting.service() +
                           "[service.second]\ninstances = [\"127.0.0.1:" + std::to_string(port) +
                           "\"]\n";
  setting.write(both);
  Process daemon(setting.run());
  daemon.wait_for("instance_up");
  daemon.wait_for("instance_up");
  setting.make_reading_slow();
  daemon.signal(SIGHUP);
  const int writer = setting.hold_reader();
  second.reset();
  CHECK(daemon.wait_for("instance_down").find("service=second") != std::string::npos);
  daemon.signal(SIGHUP);  // reads once more afterwards
  const std::string text = setting.service();
  REQUIRE(write(writer, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  close(writer);
  CHECK(daemon.wait_for("reloaded").ends_with("services=1 instances=1"));
  setting.write(both);
  CHECK(daemon.wait_for("reloaded").ends_with("services=2 instances=2"));
  daemon.signal(SIGTERM);
  CHECK(daemon.wait_for_exit() == 0);
}

TEST_CASE("a reading of the file keeps nobody from leaving") {
  const Setting setting;
  Process old(setting.run());
  old.wait_for("instance_up");
  const std::string other = setting.directory() + ".toml";
  std::filesystem::copy_file(setting.file(), other);
  setting.make_reading_slow();
  old.signal(SIGHUP);
  const int writer = setting.hold_reader();
  Process fresh({"--config", other, "--directory", setting.directory(), "--handover"});
  old.wait_for("because=handover");
  CHECK(old.wait_for_exit() == 0);
  CHECK(old.seen().ends_with("left\n"));
  close(writer);
  fresh.wait_for(" ready");
  std::filesystem::remove(other);
  REQUIRE(mkfifo(other.c_str(), 0600) == 0);
  fresh.signal(SIGHUP);
  const int second_writer = open(other.c_str(), O_WRONLY | O_CLOEXEC);
  fresh.signal(SIGTERM);
  CHECK(fresh.wait_for_exit() == 0);
  CHECK(fresh.seen().ends_with("left\n"));
  close(second_writer);
}

TEST_CASE("a reload that would move the files is refused") {
  const Setting setting;
  setting.write("[ballast]\ndirectory = \"" + setting.directory() + "\"\n" + setting.service());
  Process daemon({"--config", setting.file()});
  daemon.wait_for(" ready");
  setting.write("[ballast]\ndirectory = \"" + setting.directory() + "2\"\n" + setting.service());
  daemon.signal(SIGHUP);
  CHECK(daemon.wait_for("reload_failed").find("start another ballastd for it") !=
        std::string::npos);
}

TEST_CASE("a second checker is told who holds the lease, and since when") {
  const Setting setting;
  Process daemon(setting.run());
  daemon.wait_for(" ready");
  Process second(setting.run());
  const std::string line = second.wait_for("failed");
  CHECK(line.find("pid " + std::to_string(daemon.pid()) + " has held it since 20") !=
        std::string::npos);
  CHECK(line.find("--handover") != std::string::npos);
  CHECK(second.wait_for_exit() == 1);
}

TEST_CASE("a hand-over") {
  const Setting setting;
  Process old(setting.run());
  old.wait_for("instance_up");
  Process fresh(setting.run({"--handover"}));
  fresh.wait_for("handover_requested term=1");
  old.wait_for("because=handover");
  CHECK(old.wait_for_exit() == 0);
  CHECK(fresh.wait_for("segment_adopted").find("term=2") != std::string::npos);
  fresh.wait_for(" ready");
  CHECK(fresh.seen().find("instance_") == std::string::npos);  // nothing flapped
  fresh.signal(SIGTERM);
  CHECK(fresh.wait_for_exit() == 0);
}

TEST_CASE("a hand-over asks again when a third one has taken over, or taken back the request") {
  using namespace ballast::shm;
  const Setting setting;
  auto old = Lease::acquire(setting.directory(), Lease::Wait::no);
  REQUIRE(old);
  const auto file =
      MappedFile::open(locator_path(setting.directory()), MappedFile::Access::read_write, true);
  REQUIRE(file);
  const auto locator = open_locator_writable(*file, BootCheck::required);
  REQUIRE(locator);
  Process fresh(setting.run({"--handover"}));
  fresh.wait_for("handover_requested term=1");
  (*locator)->term.store(2);  // as if the lease had changed hands between two looks
  fresh.wait_for("handover_requested term=2");
  CHECK((*locator)->handover_term.load() == 2);
  Lease::withdraw_handover(setting.directory(), 2);
  while ((*locator)->handover_term.load() != 2)
    std::this_thread::yield();
  old->leave();
  CHECK(fresh.wait_for("segment_created").find("term=3") != std::string::npos);
  fresh.wait_for(" ready");
}

TEST_CASE("a hand-over from nobody is a start") {
  const Setting setting;
  Process fresh(setting.run({"--handover"}));
  fresh.wait_for("segment_created");
  fresh.wait_for(" ready");
}

TEST_CASE("a killed checker is succeeded") {
  const Setting setting;
  {
    Process daemon(setting.run());
    daemon.wait_for("instance_up");
    daemon.signal(SIGKILL);
    CHECK(daemon.wait_for_exit() == 128 + SIGKILL);
  }
  Process next(setting.run());
  CHECK(next.wait_for("segment_adopted").find("term=2") != std::string::npos);
  next.wait_for(" ready");
  CHECK(next.seen().find("instance_") == std::string::npos);
}

TEST_CASE("judging a file") {
  const Setting setting;
  Process fine({"--check", setting.file()});
  CHECK(fine.wait_for_exit() == 0);
  CHECK(fine.seen() == setting.file() +
                           ": fine: 1 service, 1 instance, namespace default in "
                           "/dev/shm/ballast/default\n");
  setting.write("[service.a]\ninstances = []\n");
  Process wrong({"--check", setting.file()});
  CHECK(wrong.wait_for_exit() == 1);
  CHECK(wrong.seen() == setting.file() +
                            ":2:13: instances of service \"a\" is empty: add an address, or remove "
                            "the service\n   |\n 2 | instances = []\n   |             ^~ here\n");
  Process usage({"--chek", setting.file()});
  CHECK(usage.wait_for_exit() == 2);
  Process version({"--version"});
  CHECK(version.wait_for_exit() == 0);
  CHECK(version.seen().starts_with("ballastd "));
}

TEST_CASE("what keeps it from starting is said in one line") {
  const Setting setting;
  Process nowhere({"--config", setting.file(), "--directory", "/proc/ballast"});
  CHECK(nowhere.wait_for("failed").find("/proc/ballast") != std::string::npos);
  CHECK(nowhere.wait_for_exit() == 1);
  setting.write("[ballast]\nworkers_group = \"ballast-no-such-group\"\n" + setting.service());
  Process group(setting.run());
  CHECK(group.wait_for_exit() == 1);
  CHECK(group.seen().find(":2:17: there is no group \"ballast-no-such-group\"") !=
        std::string::npos);
}

namespace {

// The reason of a worker's pick, which is reported at once; -1 if it failed.
int reason_of_pick(ballast_t* worker, ballast_service_t service, const std::string& token,
                   std::string* renewed = nullptr) {
  ballast_pick_options_t options = BALLAST_PICK_OPTIONS_INIT;
  options.sticky = token.data();
  options.sticky_length = token.size();
  ballast_pick_t pick = BALLAST_PICK_INIT;
  if (ballast_pick(worker, service, "key", 3, &options, &pick) != BALLAST_OK) return -1;
  std::array<char, BALLAST_STICKY_TEXT> text{};
  ballast_sticky_token(worker, service, &pick, text.data(), text.size());
  if (renewed != nullptr) *renewed = text.data();
  ballast_abandon(worker, &pick);
  return pick.reason;
}

}  // namespace

TEST_CASE("sticky keys come from a file, and follow it at a reload") {
  const Setting setting;
  const std::string key = setting.file() + ".key";
  const std::string first = "0123456789abcdef0123456789abcdeffedcba9876543210fedcba9876543210";
  const std::string second = "f123456789abcdef0123456789abcdeffedcba9876543210fedcba9876543210";
  const auto write_key = [&](const std::string& lines, mode_t mode) {
    std::ofstream(key) << lines;
    REQUIRE(chmod(key.c_str(), mode) == 0);
  };
  setting.write("[ballast]\nsticky_key_file = \"" + key + "\"\n" + setting.service());
  {
    write_key(first, 0644);
    Process refused(setting.run());
    CHECK(refused.wait_for("failed").find(key + ": its mode is 0644") != std::string::npos);
    CHECK(refused.wait_for_exit() == 1);
    CHECK(refused.seen().find(first.substr(0, 8)) == std::string::npos);
  }
  write_key(first, 0600);
  std::optional<Process> daemon(std::in_place, setting.run());
  daemon->wait_for("instance_up");
  const std::string directory = setting.directory();
  ballast_options_t options = BALLAST_OPTIONS_INIT;
  options.directory = directory.c_str();
  ballast_t* worker = nullptr;
  REQUIRE(ballast_attach(&options, &worker) == BALLAST_OK);
  ballast_service_t service = 0;
  REQUIRE(ballast_find_service(worker, "checkout", &service) == BALLAST_OK);
  std::string token;
  CHECK(reason_of_pick(worker, service, "", &token) == BALLAST_FIRST_CHOICE);
  CHECK(token.size() == 32);
  CHECK(reason_of_pick(worker, service, token) == BALLAST_STICKY);

  write_key(second + "\n" + first + "\n", 0600);
  daemon->signal(SIGHUP);
  daemon->wait_for("reloaded");
  std::string renewed;
  CHECK(reason_of_pick(worker, service, token, &renewed) == BALLAST_STICKY);
  CHECK(renewed != token);

  write_key(second, 0640);
  daemon->signal(SIGHUP);
  CHECK(daemon->wait_for("reload_failed").find("chmod 600") != std::string::npos);
  CHECK(reason_of_pick(worker, service, token) == BALLAST_STICKY);  // as it was

  write_key(second, 0600);
  daemon->signal(SIGHUP);
  daemon->wait_for("reloaded");
  CHECK(reason_of_pick(worker, service, token) == BALLAST_STICKY_LOST);
  CHECK(reason_of_pick(worker, service, renewed) == BALLAST_STICKY);

  daemon->signal(SIGKILL);
  daemon->wait_for_exit();
  CHECK(reason_of_pick(worker, service, renewed) == BALLAST_STICKY);
  daemon.emplace(setting.run());
  daemon->wait_for(" ready");
  CHECK(reason_of_pick(worker, service, renewed) == BALLAST_STICKY);
  ballast_detach(worker);
}
