// ballastd as a process: signals, reloads, second checkers, hand-overs. It is driven by its own log
// lines.
#include <ballast.h>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
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
#include "tests/support/skip.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/support/tiny_server.hpp"
#include "tests/tools/ballastd/daemon_process.hpp"

using ballast::tests::Behaviour;
using ballast::tests::Process;
using ballast::tests::Setting;
using ballast::tests::TinyServer;

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

// In a file system of 8 MiB that only this thread and what it starts can see.
void take_over_without_room() {
  const ballast::tests::TempDir small;
  if (::unshare(CLONE_NEWNS) != 0 ||
      ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
      ::mount("none", small.path().c_str(), "tmpfs", 0, "size=8m") != 0) {
    return ballast::tests::skip("this process may not mount a file system of its own");
  }
  const Setting setting;
  const std::vector<std::string> run{"--config", setting.file(), "--directory",
                                     small.path() + "/files"};
  {
    Process first(run);
    first.wait_for(" ready");
    first.signal(SIGTERM);
    CHECK(first.wait_for_exit() == 0);
  }
  const std::string filler = small.path() + "/filler";
  {
    std::ofstream file(filler, std::ios::binary);
    const std::string block(4096, 'x');
    while (file.write(block.data(), block.size()).flush()) {
    }
  }
  std::string many = "[service.many]\ncheck.kind = \"none\"\ninstances = [";
  for (int n = 1; n <= 200; ++n)
    many += (n == 1 ? "\"127.5.0." : ", \"127.5.0.") + std::to_string(n) + ":80\"";
  setting.write(setting.service() + many + "]\n");
  Process second(run);
  const std::string told = second.wait_for("settings_not_published");
  CHECK(told.find("--shm-size") != std::string::npos);
  CHECK(told.find("instances_left_out=200") != std::string::npos);
  second.wait_for(" ready");
  // What fits goes on being checked, and once there is room all of it holds.
  second.signal(SIGHUP);
  second.wait_for("reload_failed");
  std::filesystem::remove(filler);
  second.signal(SIGHUP);
  CHECK(second.wait_for(" reloaded").find("instances=201") != std::string::npos);
  second.signal(SIGTERM);
  CHECK(second.wait_for_exit() == 0);
  ::umount(small.path().c_str());
}

}  // namespace

TEST_CASE("no room for new settings at the start: the last good ones go on") {
  std::thread(take_over_without_room).join();
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
