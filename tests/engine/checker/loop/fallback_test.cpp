// io_uring refused, as container engines do it: a child process puts a seccomp filter on itself
// that fails io_uring_setup, and the prober must do its work on epoll and say so once. Also what
// happens when descriptors run out under a running prober.
#include <doctest/doctest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/checker/probing/prober.hpp"
#include "tests/support/child.hpp"
#include "tests/support/loops.hpp"
#include "tests/support/tiny_server.hpp"

namespace ballast::checker {
namespace {

using tests::Behaviour;
using tests::hourly;
using tests::in_child;
using tests::TinyServer;

// Every later io_uring_setup of this process fails with `error`. Irrevocable.
bool refuse_io_uring(int error) {
  const auto number = static_cast<std::uint32_t>(SYS_io_uring_setup);
  std::array<sock_filter, 4> code = {{
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<std::uint32_t>(error)),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  }};
  const sock_fprog program{static_cast<unsigned short>(code.size()), code.data()};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

TEST_CASE("io_uring refused: epoll does the work, and the log says so once") {
  for (const int error : {EPERM, EACCES, ENOSYS, ENOMEM, EINVAL}) {
    CAPTURE(error);
    const auto endpoint = tests::local_endpoint(tests::free_port());
    TinyServer server(Behaviour::good, {endpoint});
    const int status = in_child([&] {
      if (!refuse_io_uring(error)) return 77;
      std::vector<std::string> log;
      LoopOptions options;
      options.log = [&log](std::string_view line) { log.emplace_back(line); };
      auto loop = make_loop(options);
      if (!loop) return 1;
      if ((*loop)->backend() != Backend::epoll) return 2;
      std::vector<Verdict> verdicts;
      Prober prober(
          **loop, {}, [&](InstanceId, const Verdict& verdict) { verdicts.push_back(verdict); },
          nullptr);
      prober.add(1, InstanceSettings{endpoint, "", 1}, hourly());
      while (verdicts.empty())
        (*loop)->run_once(std::chrono::seconds(1));
      if (!verdicts[0].healthy) return 3;
      kill(server.pid(), SIGKILL);
      while (verdicts.size() < 2)
        (*loop)->run_once(std::chrono::seconds(1));
      if (verdicts[1].healthy) return 4;
      if (log.size() != 1) return 5;
      if (log[0].find("epoll") == std::string::npos) return 6;
      // Who insists on io_uring is told why not.
      options.backend = Backend::io_uring;
      const auto insisted = make_loop(options);
      if (insisted) return 7;
      if (insisted.error().code != error || insisted.error().detail.empty()) return 8;
      return log.size() == 1 ? 0 : 9;
    });
    if (status == 77) {
      tests::skip("no seccomp filters here");
      return;
    }
    CHECK(status == 0);
  }
}

TEST_CASE("no descriptors left: nobody is blamed, the log complains once, and it recovers") {
  const auto endpoint = tests::local_endpoint(tests::free_port());
  TinyServer server(Behaviour::good, {endpoint});
  auto loop = make_loop({Backend::epoll, 0, nullptr});
  REQUIRE(loop);
  std::vector<Verdict> verdicts;
  std::vector<std::string> log;
  std::size_t checks = 0;
  ProberOptions options;
  options.log = [&log](std::string_view line) { log.emplace_back(line); };
  Prober prober(
      **loop, options, [&](InstanceId, const Verdict& verdict) { verdicts.push_back(verdict); },
      [&](InstanceId, const CheckResult&) { ++checks; });
  CheckSettings check;
  check.interval = Milliseconds(10);
  check.fast_interval = Milliseconds(2);
  check.timeout = std::chrono::seconds(20);
  check.keep_alive = false;

  rlimit before{};
  REQUIRE(getrlimit(RLIMIT_NOFILE, &before) == 0);
  rlimit none = before;
  none.rlim_cur = 0;
  prober.add(1, InstanceSettings{endpoint, "", 1}, check, Health::up);
  while (checks < 3)
    (*loop)->run_once(std::chrono::milliseconds(10));
  REQUIRE(setrlimit(RLIMIT_NOFILE, &none) == 0);
  while (prober.stats().no_result < 20)
    (*loop)->run_once(std::chrono::milliseconds(10));
  REQUIRE(setrlimit(RLIMIT_NOFILE, &before) == 0);
  CHECK(verdicts.empty());
  REQUIRE(log.size() == 1);
  CHECK(log[0].find("Too many open files") != std::string::npos);
  CHECK(log[0].find(endpoint.to_text()) != std::string::npos);
  const std::size_t so_far = checks;
  while (checks < so_far + 3)
    (*loop)->run_once(std::chrono::milliseconds(10));
  CHECK(verdicts.empty());
}

}  // namespace
}  // namespace ballast::checker
