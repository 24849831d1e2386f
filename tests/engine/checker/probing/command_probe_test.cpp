// Real commands, good and bad, on both backends: what they get, how they end, and that nothing of
// them stays.
#include "engine/checker/probing/command_probe.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "engine/checker/probing/note.hpp"
#include "tests/support/loops.hpp"
#include "tests/support/temp_dir.hpp"

namespace ballast::checker {
namespace {

using tests::on_each_backend;
using tests::TempDir;

struct Fixture final : CommandHandler {
  explicit Fixture(Backend backend, std::size_t max_running = kMaxCommands) {
    auto made = make_loop({backend, 0, nullptr});
    REQUIRE(made);
    loop = std::move(*made);
    probe = std::make_unique<CommandProbe>(*loop, *this, max_running);
  }
  void on_command_end(std::uint64_t user, CheckResult result) override {
    ended.emplace_back(user, std::move(result));
  }
  CommandProbe::Id start(std::vector<std::string> command, std::uint64_t user = 0) {
    CommandRequest request;
    request.command = std::move(command);
    request.user = user;
    request.max_output_bytes = max_output_bytes;
    const auto started = probe->start(request);
    REQUIRE_MESSAGE(started.error == 0, std::strerror(started.error));
    return started.id;
  }
  // How `script`, run by a shell, ends.
  CheckResult run(const std::string& script) {
    const std::size_t before = ended.size();
    start({"/bin/sh", "-c", script});
    until([&] { return ended.size() > before; });
    return ended.back().second;
  }
  void until(const std::function<bool()>& done) const { tests::turn_until(*loop, done); }

  std::uint32_t max_output_bytes = 4096;
  std::unique_ptr<Loop> loop;
  std::unique_ptr<CommandProbe> probe;
  std::vector<std::pair<std::uint64_t, CheckResult>> ended;
};

std::string contents(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// One that has ended and that nobody has taken note of does not run.
bool is_running(int pid) {
  const std::string stat = contents("/proc/" + std::to_string(pid) + "/stat");
  const std::size_t name_end = stat.rfind(')');
  if (name_end == std::string::npos) return false;
  const char state = stat[name_end + 2];
  return state != 'Z' && state != 'X';
}

// The pids that a script has written into a file, a line each, once there are `n`.
std::vector<int> pids_in(const std::string& path, std::size_t n) {
  std::ifstream file(path);
  std::vector<int> pids;
  for (int pid = 0; file >> pid;)
    pids.push_back(pid);
  if (pids.size() < n) pids.clear();
  return pids;
}

std::size_t open_descriptors() {
  const std::filesystem::directory_iterator all("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

bool has_children() {
  siginfo_t info{};
  return ::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

TEST_CASE("an exit status of 0 passes, another does not, and what was printed is noted") {
  on_each_backend([](Backend backend) {
    const std::size_t before = open_descriptors();
    {
      Fixture f(backend);
      CheckResult result = f.run("echo fine; echo really >&2");
      CHECK(result.passed());
      CHECK(result.detail == 0);
      CHECK(result.note == "fine really");
      result = f.run("printf 'out of\\tdisk\\001\\033[31m\\n'; exit 3");
      CHECK(result.reason == Reason::bad_exit);
      CHECK(result.detail == 3);
      CHECK(result.note == "out of disk??[31m");
      result = f.run("kill -9 $$");
      CHECK(result.reason == Reason::bad_exit);
      CHECK(result.detail == 128 + 9);
      CHECK(result.note == "killed by signal 9");
      result = f.run("echo oops; kill -TERM $$");
      CHECK(result.detail == 128 + 15);
      CHECK(result.note == "killed by signal 15: oops");
      CHECK(f.probe->running() == 0);
      CHECK_FALSE(has_children());
    }
    CHECK(open_descriptors() == before);
  });
}

TEST_CASE("a command gets its arguments as they are, and nothing else of ours") {
  on_each_backend([](Backend backend) {
    Fixture f(backend);
    ::setenv("BALLAST_TEST_SECRET", "secret", 1);
    InstanceSettings instance;
    instance.text = "backend1:8080";
    CommandRequest request;
    request.command = {"/usr/bin/env"};
    request.variables = command_variables(instance, *shm::parse_endpoint("[::1]:8081"));
    REQUIRE(f.probe->start(request).error == 0);
    f.until([&] { return f.ended.size() == 1; });
    CHECK(f.ended[0].second.note ==
          to_note(std::string(kCommandPath) +
                  " BALLAST_INSTANCE=backend1:8080 BALLAST_ADDRESS=::1 BALLAST_PORT=8081"));
    instance.text.clear();
    CHECK(command_variables(instance, *shm::parse_endpoint("127.0.0.1:80")) ==
          std::vector<std::string>{"BALLAST_INSTANCE=127.0.0.1:80", "BALLAST_ADDRESS=127.0.0.1",
                                   "BALLAST_PORT=80"});

    // No shell looks at them.
    f.start({"/bin/echo", "$HOME", "; exit 1", "*"});
    f.until([&] { return f.ended.size() == 2; });
    CHECK(f.ended[1].second.note == "$HOME ; exit 1 *");

    // Standard input is empty, the directory is the root, a descriptor that we forgot to close on
    // exec is closed, and what this thread blocks or ignores is neither.
    const int forgotten = ::fcntl(0, F_DUPFD, 50);  // NOLINT: that is the point
    REQUIRE(forgotten >= 50);
    sigset_t blocked;
    sigset_t was;
    ::sigemptyset(&blocked);
    ::sigaddset(&blocked, SIGTERM);
    ::pthread_sigmask(SIG_BLOCK, &blocked, &was);
    ::signal(SIGUSR1, SIG_IGN);
    const std::string fd = "/proc/$$/fd/" + std::to_string(forgotten);
    CHECK(f.run("cat; pwd; test -e " + fd + " || echo closed").note == "/ closed");
    CHECK(f.run("kill -TERM $$").detail == 128 + 15);
    CHECK(f.run("kill -USR1 $$").detail == 128 + 10);
    ::signal(SIGUSR1, SIG_DFL);
    ::pthread_sigmask(SIG_SETMASK, &was, nullptr);
    ::close(forgotten);
  });
}

TEST_CASE("a command that was killed and has not ended is counted, since it keeps its place") {
  on_each_backend([](Backend backend) {
    Fixture f(backend);
    CommandProbe probe(*f.loop, f, 2, std::chrono::milliseconds(0));
    CommandRequest request;
    request.command = {"/bin/sleep", "100"};
    const auto first = probe.start(request);
    REQUIRE(first.error == 0);
    CHECK(probe.stuck() == 0);
    probe.cancel(first.id);
    // Its end has not been looked at yet.
    CHECK(probe.running() == 1);
    CHECK(probe.stuck() == 1);
    f.until([&] { return probe.running() == 0; });
    CHECK(probe.stuck() == 0);
    // One that was killed just now is on its way.
    CommandProbe patient(*f.loop, f, 2);
    const auto second = patient.start(request);
    REQUIRE(second.error == 0);
    patient.cancel(second.id);
    CHECK(patient.stuck() == 0);
    f.until([&] { return patient.running() == 0; });
  });
}

TEST_CASE("what cannot be started says so, and no shell is asked either") {
  on_each_backend([](Backend backend) {
    const TempDir dir;
    const auto write = [&](const char* name, const char* text, mode_t mode) {
      const std::string path = dir.path() + "/" + name;
      std::ofstream(path) << text;
      ::chmod(path.c_str(), mode);
      return path;
    };
    const std::size_t before = open_descriptors();
    {
      Fixture f(backend);
      const std::size_t with_loop = open_descriptors();
      const auto error_of = [&](std::vector<std::string> command) {
        CommandRequest request;
        request.command = std::move(command);
        return f.probe->start(request).error;
      };
      CHECK(error_of({"/no/such/program"}) == ENOENT);
      CHECK(error_of({write("plain", "#!/bin/sh\n", 0644)}) == EACCES);
      CHECK(error_of({dir.path()}) == EACCES);
      CHECK(error_of({write("shebang", "#!/no/such/shell\n", 0755)}) != 0);
      CHECK(error_of({write("text", "echo hello\n", 0755)}) != 0);
      CHECK(error_of({}) == ENOENT);
      CHECK(f.probe->running() == 0);
      CHECK_FALSE(has_children());
      CHECK(open_descriptors() == with_loop);
    }
    CHECK(open_descriptors() == before);
  });
}

TEST_CASE("one that prints without end is killed") {
  on_each_backend([](Backend backend) {
    Fixture f(backend);
    f.start({"/usr/bin/yes"}, 7);
    f.until([&] { return f.ended.size() == 1; });
    CHECK(f.ended[0].first == 7);
    const CheckResult& result = f.ended[0].second;
    CHECK(result.reason == Reason::bad_response);
    CHECK(result.note.starts_with("more than 4096 bytes of output: y y"));
    CHECK(result.note.size() <= kMaxNoteBytes);
    CHECK_FALSE(has_children());

    // Just as much as may be, and one byte more, in one go and at its very end.
    CHECK(f.run("head -c 4096 /dev/zero").passed());
    CHECK(f.run("head -c 4097 /dev/zero").reason == Reason::bad_response);
    f.max_output_bytes = 100'000;
    CHECK(f.run("head -c 60000 /dev/zero").passed());
  });
}

TEST_CASE("one that hangs is given up, with all that it has started") {
  on_each_backend([](Backend backend) {
    const TempDir dir;
    const std::string file = dir.path() + "/pids";
    Fixture f(backend);
    const auto id = f.start({"/bin/sh", "-c",
                             "trap '' TERM INT HUP; echo waiting; sleep 1000 & "
                             "echo $$ $! > " +
                                 file + "; wait"});
    std::vector<int> pids;
    f.until([&] { return !(pids = pids_in(file, 2)).empty(); });
    CHECK(f.probe->cancel(id) == "waiting");
    f.until([&] { return f.probe->running() == 0; });
    CHECK_FALSE(has_children());
    f.until([&] { return !is_running(pids[0]) && !is_running(pids[1]); });
    CHECK(f.ended.empty());
    CHECK(f.probe->cancel(id).empty());
    CHECK(f.probe->cancel(0).empty());
  });
}

TEST_CASE("what an ended command has left running is killed, and its end is the end") {
  on_each_backend([](Backend backend) {
    const TempDir dir;
    const std::string file = dir.path() + "/pids";
    Fixture f(backend);
    const CheckResult result = f.run("sleep 1000 & echo $! > " + file + "; echo done");
    CHECK(result.passed());
    CHECK(result.note == "done");
    const std::vector<int> pids = pids_in(file, 1);
    REQUIRE(pids.size() == 1);
    f.until([&] { return !is_running(pids[0]); });
  });
}

TEST_CASE("no more at once than may be, and places come free") {
  on_each_backend([](Backend backend) {
    Fixture f(backend, 3);
    std::vector<CommandProbe::Id> ids;
    for (int i = 0; i < 3; ++i)
      ids.push_back(f.start({"/bin/sleep", "1000"}));
    CHECK(f.probe->full());
    CommandRequest request;
    request.command = {"/bin/true"};
    CHECK(f.probe->start(request).error == EAGAIN);
    f.probe->cancel(ids[1]);
    f.until([&] { return !f.probe->full(); });
    CHECK(f.run("echo again").note == "again");
    CHECK(f.probe->running() == 2);
    // A probe that ends leaves nothing, not even to be waited for.
    f.probe.reset();
    CHECK_FALSE(has_children());
  });
}

TEST_CASE("hundreds, one after the other and many at once, leave nothing behind") {
  on_each_backend([](Backend backend) {
    Fixture f(backend);
    const std::size_t before = open_descriptors();
    std::size_t started = 0;
    while (f.ended.size() < 200) {
      while (!f.probe->full() && started < 200)
        f.start({"/bin/true"}, started++);
      f.loop->run_once(std::chrono::milliseconds(20));
    }
    std::vector<bool> seen(200);
    for (const auto& [user, result] : f.ended) {
      CHECK(result.passed());
      CHECK_FALSE(seen[user]);
      seen[user] = true;
    }
    CHECK_FALSE(has_children());
    f.loop->run_once({});  // what is no longer watched is let go of with the next turn
    CHECK(open_descriptors() == before);
  });
}

TEST_CASE("a handler may start the next one and cancel others") {
  on_each_backend([](Backend backend) {
    struct Chain final : CommandHandler {
      void on_command_end(std::uint64_t user, CheckResult result) override {
        CHECK(result.passed());
        ended = user;
        probe->cancel(other);
        if (user == 3) return;
        CommandRequest request;
        request.command = {"/bin/true"};
        request.user = user + 1;
        CHECK(probe->start(request).error == 0);
      }
      CommandProbe* probe = nullptr;
      CommandProbe::Id other = 0;
      std::uint64_t ended = 0;
    } chain;
    auto loop = make_loop({backend, 0, nullptr});
    REQUIRE(loop);
    CommandProbe probe(**loop, chain);
    chain.probe = &probe;
    CommandRequest request;
    request.command = {"/bin/sleep", "1000"};
    chain.other = probe.start(request).id;
    request.command = {"/bin/true"};
    request.user = 1;
    REQUIRE(probe.start(request).error == 0);
    tests::turn_until(**loop, [&] { return chain.ended == 3 && probe.running() == 0; });
  });
}

TEST_CASE("SIGCHLD left ignored by whoever started us does not matter") {
  on_each_backend([](Backend backend) {
    ::signal(SIGCHLD, SIG_IGN);
    Fixture f(backend);
    CHECK(f.run("exit 4").detail == 4);
    ::signal(SIGCHLD, SIG_DFL);
  });
}

TEST_CASE("a checker that is killed takes its commands with it") {
  on_each_backend([](Backend backend) {
    const TempDir dir;
    const std::string file = dir.path() + "/pids";
    // Orphans become ours, so that they can be told from those of others.
    REQUIRE(::prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
    const pid_t checker = ::fork();
    if (checker == 0) {
      struct Ignored final : CommandHandler {
        void on_command_end(std::uint64_t, CheckResult) override {}
      } ignored;
      auto loop = make_loop({backend, 0, nullptr});
      if (!loop) ::_exit(1);
      CommandProbe probe(**loop, ignored);
      CommandRequest request;
      // Each holds, for a moment, what the others' lives hang on.
      request.command = {"/bin/sleep", "1000"};
      if (probe.start(request).error != 0 || probe.start(request).error != 0) ::_exit(1);
      request.command = {"/bin/sh", "-c", "sleep 1000 & echo $$ $! > " + file + "; wait"};
      if (probe.start(request).error != 0) ::_exit(1);
      std::ofstream(dir.path() + "/started").close();
      ::alarm(60);
      for (;;)
        (*loop)->run_once(std::chrono::seconds(1));
    }
    const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    std::vector<int> pids;
    const auto all_started = [&] {
      pids = pids_in(file, 2);
      return !pids.empty() && std::filesystem::exists(dir.path() + "/started");
    };
    while (!all_started()) {
      REQUIRE(std::chrono::steady_clock::now() < limit);
      ::usleep(1000);
    }
    CHECK(is_running(pids[0]));
    CHECK(is_running(pids[1]));
    ::kill(checker, SIGKILL);
    // All of them end: the checker, the shell, three sleepers.
    int dead = 0;
    while (dead < 5) {
      REQUIRE_MESSAGE(std::chrono::steady_clock::now() < limit, "commands outlive the checker");
      if (::waitpid(-1, nullptr, WNOHANG) > 0) {
        ++dead;
      } else {
        ::usleep(1000);
      }
    }
    CHECK_FALSE(has_children());
    ::prctl(PR_SET_CHILD_SUBREAPER, 0);
  });
}

TEST_CASE("notes are short and printable") {
  CHECK(to_note("").empty());
  CHECK(to_note(" \r\n\t ").empty());
  CHECK(to_note("  a \n b\t") == "a b");
  CHECK(to_note("\x01\x7f\xc3\xa4 z") == "???? z");
  CHECK(to_note(std::string_view("a\0b", 3)) == "a?b");
  CHECK(to_note(std::string(kMaxNoteBytes, 'x')) == std::string(kMaxNoteBytes, 'x'));
  const std::string cut = to_note(std::string(kMaxNoteBytes + 1, 'x'));
  CHECK(cut == std::string(kMaxNoteBytes - 3, 'x') + "...");
  CHECK(to_note(std::string(kMaxNoteBytes - 1, 'x') + " yy").size() == kMaxNoteBytes);
}

}  // namespace
}  // namespace ballast::checker
