// Where the time of a check on a kept connection goes, by perf's samples of the running ballastd:
// its own code, and in the kernel sending, receiving, and the soft interrupts that a process causes
// by sending (over loopback they are the receiver's side too, and lie within sending for the most
// part). Without perf, or where it may not look, there are no rows but a note that says so.
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>

#include "bench/engine/checker/cases.hpp"
#include "bench/engine/checker/contenders.hpp"
#include "bench/engine/checker/states.hpp"
#include "bench/engine/checker/targets.hpp"
#include "tests/support/tiny_server.hpp"

namespace ballast::bench {

namespace {

struct Shares {
  double user = 0;                          // of all samples, 0..1
  std::map<std::string, double> functions;  // of the kernel, with all that they call
};

std::string output_of(const std::string& command) {
  std::FILE* pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) return {};
  std::string text;
  std::array<char, 4096> part{};
  while (const std::size_t n = std::fread(part.data(), 1, part.size(), pipe))
    text.append(part.data(), n);
  return ::pclose(pipe) == 0 ? text : std::string();
}

// Lines of `perf report --children`: what it calls included, itself alone, [k] or [.], the name.
Shares read_report(const std::string& text) {
  Shares out;
  double all = 0;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    double children = 0, self = 0;
    std::array<char, 2> where{};
    std::array<char, 128> name{};
    if (std::sscanf(line.c_str(), " %lf%% %lf%% [%1[k.]] %127s", &children, &self, where.data(),
                    name.data()) != 4) {
      continue;
    }
    all += self;
    if (where[0] == '.') out.user += self;
    if (where[0] == 'k') out.functions[name.data()] = children / 100;
  }
  if (all > 0) out.user /= all;
  return out;
}

void bench_shares(Rows& rows) {
  const std::uint16_t port = tests::free_port();
  const Targets targets({.port = port, .rank = kTargetsRank});
  BallastChecker checker(
      {.checks = Checks::http_keepalive, .instances = scale().instances, .port = port});
  States states(checker.segments());
  states.wait_for(scale().instances, "the instances did not come up");
  std::this_thread::sleep_for(std::chrono::seconds(2));  // after the first checks
  const std::string data = checker.directory() + "/perf.data";
  output_of("perf record -q -e cpu-clock -F 4000 -g -p " + std::to_string(checker.program().pid()) +
            " -o " + data + " -- sleep 5 2>/dev/null");
  const Shares shares = read_report(
      output_of("perf report -q --children -g none --percent-limit 0.01 --sort sym -i " + data +
                " 2>/dev/null"));
  if (shares.functions.empty()) {
    rows.note("check.kept_share: perf is not there, or may not look");
    return;
  }
  const auto add = [&](const char* name, double share) {
    rows.add({std::string("check.kept_share/") + name, spread_of({share}), "", Better::lower, {}});
  };
  const auto first_of = [&](std::initializer_list<const char*> names) {
    for (const char* const name : names)  // as kernels call it
      if (const auto found = shares.functions.find(name); found != shares.functions.end())
        return found->second;
    return 0.0;
  };
  add("user", shares.user);
  add("kernel", 1 - shares.user);
  add("kernel_send", first_of({"io_send", "io_sendmsg", "sock_sendmsg", "tcp_sendmsg"}));
  add("kernel_receive", first_of({"io_recv", "io_recvmsg", "sock_recvmsg", "tcp_recvmsg"}));
  add("kernel_soft_interrupts", first_of({"__do_softirq", "handle_softirqs"}));
}

}  // namespace

void add_share_cases(Suite& suite) {
  suite.add("check.kept_share", bench_shares);
}

}  // namespace ballast::bench
