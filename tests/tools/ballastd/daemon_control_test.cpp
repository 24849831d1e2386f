// Operators at work: a real ballastd, the real `ballast`, and workers that pick meanwhile.
#include <doctest/doctest.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "engine/text/unix_socket.hpp"
#include "tests/support/attached.hpp"
#include "tests/support/child.hpp"
#include "tests/support/skip.hpp"
#include "tests/tools/ballastd/daemon_process.hpp"

using ballast::tests::Attached;
using ballast::tests::Process;
using nlohmann::json;

namespace {

struct Said {
  int status = 0;
  std::string text;  // stdout and stderr
};

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// A namespace with a service "web" of four instances that nobody checks.
struct Stage {
  Stage() { write(service()); }

  void write(const std::string& text) const { std::ofstream(config()) << text; }
  [[nodiscard]] static std::string service(int instances = 4) {
    std::string list;
    for (int n = 1; n <= instances; ++n)
      list += (n == 1 ? "\"" : ", \"") + address(n) + "\"";
    return "[service.web]\ninstances = [" + list + "]\ncheck.kind = \"none\"\n";
  }
  [[nodiscard]] static std::string address(int n) {
    return "127.0.0.1:" + std::to_string(1000 + n);
  }
  [[nodiscard]] std::string config() const { return dir.path() + "/ballast.toml"; }
  [[nodiscard]] std::string files() const { return dir.path() + "/files"; }
  [[nodiscard]] std::vector<std::string> run(const std::vector<std::string>& more = {}) const {
    std::vector<std::string> arguments{"--config", config(), "--directory", files()};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }
  // `ballast ARGUMENTS --dir ...`
  [[nodiscard]] Said ballast(const std::string& arguments) const {
    const std::string command =
        std::string(BALLAST) + " " + arguments + " --dir " + files() + " 2>&1";
    FILE* const pipe = popen(command.c_str(), "r");
    REQUIRE(pipe != nullptr);
    Said said;
    std::array<char, 4096> buffer{};
    while (const std::size_t got = fread(buffer.data(), 1, buffer.size(), pipe))
      said.text.append(buffer.data(), got);
    const int status = pclose(pipe);
    said.status = WIFEXITED(status) ? WEXITSTATUS(status) : 1000;
    return said;
  }
  [[nodiscard]] json answer(const std::string& arguments) const {
    const Said said = ballast(arguments + " --json");
    const json parsed = json::parse(said.text, nullptr, false);
    REQUIRE_MESSAGE(parsed.is_object(), said.text);
    return parsed;
  }
  [[nodiscard]] pid_t daemon_pid() const { return answer("status").at("pid").get<pid_t>(); }

  ballast::tests::TempDir dir;
};

std::uint16_t pick(const Attached& worker, int key) {
  ballast_pick_t pick = BALLAST_PICK_INIT;
  if (worker.pick("key " + std::to_string(key), pick) != BALLAST_OK) return 0;
  ballast_report(worker.handle, &pick, BALLAST_SUCCESS, -1);
  return pick.port;
}
std::set<std::uint16_t> ports(const Attached& worker) {
  std::set<std::uint16_t> seen;
  for (int key = 0; key < 1'000; ++key)
    seen.insert(pick(worker, key));
  return seen;
}

// A pick that is in flight at the instance with this port.
ballast_pick_t hold(const Attached& worker, std::uint16_t port) {
  ballast_pick_t held = BALLAST_PICK_INIT;
  for (int key = 0; held.port != port; ++key) {
    REQUIRE(worker.pick("key " + std::to_string(key), held) == BALLAST_OK);
    if (held.port != port) ballast_report(worker.handle, &held, BALLAST_SUCCESS, -1);
  }
  return held;
}

// A worker process that has picked, and is stopped wherever it is after that.
struct StoppedWorker {
  explicit StoppedWorker(const std::string& files) {
    std::array<int, 2> ends{};
    REQUIRE(pipe(ends.data()) == 0);
    pid = fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      const Attached worker(files);
      pick(worker, 1);
      if (write(ends[1], "x", 1) != 1) _exit(1);
      volatile bool forever = true;
      while (forever) {
      }
    }
    close(ends[1]);
    char byte = 0;
    CHECK(read(ends[0], &byte, 1) == 1);
    close(ends[0]);
    CHECK(kill(pid, SIGSTOP) == 0);
    int status = 0;
    CHECK(waitpid(pid, &status, WUNTRACED) == pid);
  }
  StoppedWorker(const StoppedWorker&) = delete;
  StoppedWorker& operator=(const StoppedWorker&) = delete;
  ~StoppedWorker() {
    kill(pid, SIGKILL);
    ballast::tests::exit_of(pid);
  }

  pid_t pid = -1;
};

}  // namespace

TEST_CASE("what operators ask for holds for workers, and over a crash and a reload") {
  const Stage stage;
  auto daemon = std::make_unique<Process>(stage.run());
  daemon->wait_for(" ready");
  const Attached worker(stage.files());
  CHECK(ports(worker) == std::set<std::uint16_t>{1001, 1002, 1003, 1004});

  const Said drained = stage.ballast("drain web " + Stage::address(1) + " --wait");
  CHECK_MESSAGE(drained.status == 0, drained.text);
  CHECK(has(drained.text, "holds from epoch 2"));
  CHECK(has(drained.text, "all 1 worker have seen it"));
  CHECK(ports(worker) == std::set<std::uint16_t>{1002, 1003, 1004});
  CHECK(has(stage.ballast("drain web " + Stage::address(1)).text, "held already, at epoch 2"));
  CHECK(stage.ballast("remove web " + Stage::address(2)).status == 0);
  CHECK(stage.ballast("add web 127.0.0.1:1009 --weight 5").status == 0);
  CHECK(stage.ballast("weight web " + Stage::address(3) + " 7").status == 0);
  CHECK(stage.ballast("strategy web round_robin").status == 0);
  CHECK(ports(worker) == std::set<std::uint16_t>{1003, 1004, 1009});

  // SIGKILL, and another one: nothing is lost.
  daemon->signal(SIGKILL);
  daemon = std::make_unique<Process>(stage.run());
  daemon->wait_for(" ready");
  CHECK(ports(worker) == std::set<std::uint16_t>{1003, 1004, 1009});
  const json status = stage.answer("status web");
  CHECK(status.at("strategy") == "round_robin");
  CHECK(has(stage.ballast("changes").text, "web 127.0.0.1:1009: added"));

  // A reload keeps them; the instance of one is gone by then, which is told.
  stage.write(Stage::service(3).replace(0, 0, ""));
  const Said reloaded = stage.ballast("reload");
  CHECK_MESSAGE(reloaded.status == 0, reloaded.text);
  CHECK(ports(worker) == std::set<std::uint16_t>{1003, 1009});
  stage.write("[service.web]\ninstances = [\"" + Stage::address(3) +
              "\"]\ncheck.kind = \"none\"\n");
  CHECK(has(stage.ballast("reload").text, "acts on nobody at present: web 127.0.0.1:1001"));
  daemon->wait_for("idle_change of=\"web 127.0.0.1:1001\"");
  stage.write("[service.web]\nnonsense = 1\n");
  const Said refused = stage.ballast("reload");
  CHECK(refused.status == 1);
  CHECK(has(refused.text, "unknown key \"nonsense\""));
  stage.write(Stage::service());
  CHECK(stage.ballast("reload").status == 0);
  CHECK(stage.ballast("reset web --wait").status == 0);
  CHECK(ports(worker) == std::set<std::uint16_t>{1001, 1002, 1003, 1004});
  CHECK(has(stage.ballast("changes").text, "operators have changed nothing"));

  daemon->signal(SIGTERM);
  CHECK(daemon->wait_for_exit() == 0);
  CHECK_FALSE(std::filesystem::exists(stage.files() + "/control"));
  const Said nobody = stage.ballast("status");
  CHECK(nobody.status == 1);
  CHECK(has(nobody.text, "no ballastd listens at " + stage.files() + "/control"));
}

TEST_CASE("with a directory for state they outlive a restart of the machine") {
  const Stage stage;
  const std::string state = stage.dir.path() + "/state";
  std::filesystem::create_directory(state);
  std::vector<std::string> more;
  SUBCASE("an option names it") {
    more = {"--state", state};
  }
  SUBCASE("systemd does") {
    ::setenv("STATE_DIRECTORY", (state + ":/nowhere").c_str(), 1);
  }
  const auto start = [&] {
    auto daemon = std::make_unique<Process>(stage.run(more));
    daemon->wait_for(" ready");
    return daemon;
  };
  auto daemon = start();
  CHECK(stage.ballast("drain web " + Stage::address(1)).status == 0);
  CHECK(std::filesystem::exists(state + "/default.changes"));
  daemon->signal(SIGTERM);
  CHECK(daemon->wait_for_exit() == 0);
  std::filesystem::remove_all(stage.files());
  daemon = start();
  CHECK(has(stage.ballast("changes").text, Stage::address(1)));
  ::unsetenv("STATE_DIRECTORY");
}

TEST_CASE("a drain waits for what is in flight, and for workers that may be in a pick") {
  const Stage stage;
  Process daemon(stage.run());
  daemon.wait_for(" ready");
  const Attached worker(stage.files());
  ballast_pick_t held = hold(worker, 1001);
  const Said late = stage.ballast("drain web " + Stage::address(1) + " --wait --timeout 50ms");
  CHECK(late.status == 4);
  CHECK(has(late.text, "1 requests are in flight"));
  std::thread report([&] {
    while (!has(stage.ballast("status web").text, "drain"))
      std::this_thread::yield();
    ballast_report(worker.handle, &held, BALLAST_SUCCESS, -1);
  });
  const Said done = stage.ballast("drain web " + Stage::address(1) + " --wait --timeout 50s");
  report.join();
  CHECK_MESSAGE(done.status == 0, done.text);
  CHECK(has(done.text, "nothing is in flight"));

  const StoppedWorker busy(stage.files());
  const Said stopped = stage.ballast("drain web " + Stage::address(2) + " --wait --timeout 200ms");
  CHECK(stopped.status == 4);
  CHECK_MESSAGE(has(stopped.text, "pid " + std::to_string(busy.pid) + " (stopped)"), stopped.text);
  kill(busy.pid, SIGCONT);
  CHECK(stage.ballast("drain web " + Stage::address(2) + " --wait --timeout 50s").status == 0);
}

TEST_CASE("an ejection is waited for too: who might be in a pick, and what is in flight") {
  const Stage stage;
  Process daemon(stage.run());
  daemon.wait_for(" ready");
  const Attached worker(stage.files());
  ballast_pick_t held = hold(worker, 1001);
  const std::string eject = "eject web " + Stage::address(1) + " --for 5m --wait --timeout ";
  const Said late = stage.ballast(eject + "50ms");
  CHECK_MESSAGE(late.status == 4, late.text);
  CHECK(has(late.text, "1 requests are in flight"));
  ballast_report(worker.handle, &held, BALLAST_SUCCESS, -1);
  const Said done = stage.ballast(eject + "50s");
  CHECK_MESSAGE(done.status == 0, done.text);
  CHECK(has(done.text, "all 1 worker have seen it (1 had nothing to see), nothing is in flight"));
  const Said back = stage.ballast("eject web " + Stage::address(1) + " --for 0 --wait");
  CHECK_MESSAGE(back.status == 0, back.text);

  // One that has read the newest epoch, and is stopped wherever it is.
  const StoppedWorker busy(stage.files());
  const Said stopped =
      stage.ballast("eject web " + Stage::address(2) + " --for 5m --wait --timeout 200ms");
  CHECK(stopped.status == 4);
  CHECK_MESSAGE(has(stopped.text, "pid " + std::to_string(busy.pid) + " (stopped)"), stopped.text);
}

TEST_CASE("two operators at once: every change has an epoch of its own, and none is lost") {
  const Stage stage;
  Process daemon(stage.run());
  daemon.wait_for(" ready");
  constexpr int kChanges = 10;
  std::array<std::vector<std::uint64_t>, 2> epochs;
  std::array<std::thread, 2> operators;
  for (std::size_t who = 0; who < operators.size(); ++who) {
    operators[who] = std::thread([&, who] {
      for (int n = 0; n < kChanges; ++n) {
        const std::string port = std::to_string(2000 + 100 * who + static_cast<unsigned>(n));
        const Said said = stage.ballast("add web 127.0.0.1:" + port + " --json");
        const json answer = json::parse(said.text, nullptr, false);
        if (answer.is_object() && answer.value("ok", false))
          epochs[who].push_back(answer.at("epochs").at("web").get<std::uint64_t>());
      }
    });
  }
  for (std::thread& one : operators)
    one.join();
  std::set<std::uint64_t> all;
  for (const auto& one : epochs) {
    CHECK(one.size() == kChanges);
    CHECK(std::is_sorted(one.begin(), one.end()));
    all.insert(one.begin(), one.end());
  }
  CHECK(all.size() == 2 * kChanges);
  CHECK(stage.answer("status web").at("instances").size() == 4 + 2 * kChanges);
}

TEST_CASE("changes that cannot be kept hold, and the answer says so") {
  const Stage stage;
  const std::string folder = stage.dir.path() + "/state";
  stage.write("[ballast]\nstate_file = \"" + folder + "/changes.json\"\n" + Stage::service());
  Process daemon(stage.run());
  daemon.wait_for(" ready");
  const Said unkept = stage.ballast("drain web " + Stage::address(1));
  CHECK(unkept.status == 3);
  CHECK(has(unkept.text, "holds from epoch 2"));
  CHECK(has(unkept.text, "will not outlive this ballastd"));
  CHECK(has(unkept.text, folder));
  daemon.wait_for("changes_not_kept");
  CHECK(has(stage.ballast("status").text, "changes are not kept"));
  std::filesystem::create_directory(folder);
  CHECK(stage.ballast("drain web " + Stage::address(2)).status == 0);
  daemon.wait_for("changes_kept");
  std::ifstream file(folder + "/changes.json");
  const json kept = json::parse(file);
  CHECK(kept.at("services").at("web").at("instances").size() == 2);
}

TEST_CASE("a file of changes that cannot be understood is left alone until somebody sees to it") {
  const Stage stage;
  const std::string path = stage.dir.path() + "/changes.json";
  stage.write("[ballast]\nstate_file = \"" + path + "\"\n" + Stage::service());
  const std::string newer = R"({"version": 2, "services": {}})";
  std::ofstream(path) << newer;
  Process daemon(stage.run());
  daemon.wait_for("changes_unreadable");
  daemon.wait_for(" ready");
  const Said refused = stage.ballast("drain web " + Stage::address(1));
  CHECK(refused.status == 1);
  CHECK(has(refused.text, "version 2"));
  CHECK(has(refused.text, path));
  Process second(stage.run({"--handover"}));
  CHECK(second.wait_for_exit() == 1);
  CHECK(has(second.seen(), "version 2"));
  std::ifstream file(path);
  CHECK(std::string(std::istreambuf_iterator<char>(file), {}) == newer);
  std::ofstream(path) << R"({"version":1,"services":{"web":{"instances":{"127.0.0.1:1002":)"
                         R"({"admin":"drain"}}}}})";
  CHECK(stage.ballast("reload").status == 0);
  CHECK(has(stage.ballast("changes").text, "web 127.0.0.1:1002: drain"));
  CHECK(stage.ballast("drain web " + Stage::address(1)).status == 0);
}

TEST_CASE("a reload that would write changes over others is refused") {
  const Stage stage;
  Process daemon(stage.run());
  daemon.wait_for(" ready");
  CHECK(stage.ballast("drain web " + Stage::address(1)).status == 0);
  const std::string path = stage.dir.path() + "/others.json";
  const std::string others = R"({"version":1,"services":{"api":{"strategy":"ketama"}}})";
  std::ofstream(path) << others;
  stage.write("[ballast]\nstate_file = \"" + path + "\"\n" + Stage::service());
  const Said refused = stage.ballast("reload");
  CHECK(refused.status == 1);
  CHECK_MESSAGE(has(refused.text, "there are other ones in it"), refused.text);
  CHECK(stage.ballast("drain web " + Stage::address(2)).status == 0);
  std::ifstream file(path);
  CHECK(std::string(std::istreambuf_iterator<char>(file), {}) == others);
  std::filesystem::remove(path);
  CHECK(stage.ballast("reload").status == 0);
  CHECK(stage.ballast("drain web " + Stage::address(3)).status == 0);
  CHECK(std::filesystem::exists(path));
}

TEST_CASE("two namespaces with one control_socket: the second one waits for it") {
  const Stage stage;
  const std::string path = stage.dir.path() + "/control";
  stage.write("[ballast]\ncontrol_socket = \"" + path + "\"\n" + Stage::service());
  Process first(stage.run());
  first.wait_for(" ready");
  Process second({"--config", stage.config(), "--directory", stage.dir.path() + "/second"});
  second.wait_for("control_failed");
  CHECK(has(second.seen(), "another process listens there"));
  second.wait_for(" ready");
  first.signal(SIGTERM);
  CHECK(first.wait_for_exit() == 0);
  second.wait_for("control_listens");
  CHECK(std::filesystem::exists(path));
}

TEST_CASE("a hand-over that was asked for: no request fails, no change is lost") {
  const Stage stage;
  Process daemon(stage.run());
  daemon.wait_for(" ready");
  CHECK(stage.ballast("drain web " + Stage::address(1)).status == 0);
  std::atomic<bool> stop{false};
  std::atomic<int> asked{0};
  std::atomic<int> failed{0};
  std::thread other([&] {
    while (!stop.load(std::memory_order_relaxed)) {
      const int n = asked.fetch_add(1, std::memory_order_relaxed);
      const std::string verb = n % 2 == 0 ? "maint" : "ready";
      if (stage.ballast(verb + " web " + Stage::address(2)).status != 0)
        failed.fetch_add(1, std::memory_order_relaxed);
    }
  });
  while (asked.load(std::memory_order_relaxed) < 3)
    std::this_thread::yield();
  const Said handed = stage.ballast("handover");
  CHECK_MESSAGE(handed.status == 0, handed.text);
  const int before = asked.load(std::memory_order_relaxed);
  while (asked.load(std::memory_order_relaxed) < before + 3)
    std::this_thread::yield();
  stop.store(true, std::memory_order_relaxed);
  other.join();
  CHECK(failed.load(std::memory_order_relaxed) == 0);
  const pid_t successor = stage.daemon_pid();
  CHECK(successor != daemon.pid());
  CHECK(has(stage.ballast("changes").text, "web 127.0.0.1:1001: drain"));

  // One that cannot take over leaves the running one in charge.
  stage.write("[service.web]\n");
  const Said failing = stage.ballast("handover");
  CHECK(failing.status == 1);
  CHECK(has(failing.text, "the successor ended with status 1 before it took over"));
  CHECK(stage.daemon_pid() == successor);
  kill(successor, SIGTERM);
  daemon.wait_for("checker_left");  // of the first
  daemon.wait_for("checker_left");
}

TEST_CASE("a client that leaves half a line does not hold up others") {
  const Stage stage;
  Process daemon(stage.run());
  daemon.wait_for(" ready");
  const auto connected = ballast::engine::connect_unix(stage.files() + "/control");
  REQUIRE(connected);
  REQUIRE(write(*connected, "{\"verb\":", 8) == 8);
  CHECK(stage.ballast("status").status == 0);
  close(*connected);
}

TEST_CASE("others are told who may") {
  if (geteuid() != 0) return ballast::tests::skip("only root can be another user");
  const Stage stage;
  Process daemon(stage.run());
  daemon.wait_for(" ready");
  std::filesystem::permissions(stage.dir.path(), std::filesystem::perms(0755));
  std::filesystem::permissions(stage.files() + "/control", std::filesystem::perms(0666));
  const std::string path = stage.files() + "/control";
  const int status = ballast::tests::as_nobody([&] {
    const auto connected = ballast::engine::connect_unix(path);
    if (!connected) return 1;
    const std::string asks = "{\"verb\":\"status\"}\n{\"verb\":\"reload\"}\n";
    if (write(*connected, asks.data(), asks.size()) < 0) return 2;
    std::string answers;
    std::array<char, 4096> buffer{};
    while (std::count(answers.begin(), answers.end(), '\n') < 2) {
      const ssize_t got = read(*connected, buffer.data(), buffer.size());
      if (got <= 0) return 3;
      answers.append(buffer.data(), static_cast<std::size_t>(got));
    }
    if (!has(answers, R"("pid":)")) return 4;  // questions are answered
    return has(answers, R"("code":"not_allowed")") ? 0 : 5;
  });
  CHECK(status == 0);
}
