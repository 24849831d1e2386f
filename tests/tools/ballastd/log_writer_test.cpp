// Lines of the log into pipes that are read at once, later, or not at all.
#include "tools/ballastd/log_writer.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <sstream>
#include <string>

namespace ballast::tools {
namespace {

struct Pipe {
  Pipe() { REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0); }
  ~Pipe() {
    for (const int end : ends)
      ::close(end);
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;

  // Until what has come ends with `end`.
  std::string read_until(const std::string& end) const {
    std::string text;
    while (!text.ends_with(end)) {
      pollfd wanted{ends[0], POLLIN, 0};
      REQUIRE(::poll(&wanted, 1, 60'000) == 1);
      std::array<char, 65536> bytes{};
      const ssize_t got = ::read(ends[0], bytes.data(), bytes.size());
      REQUIRE(got > 0);
      text.append(bytes.data(), static_cast<std::size_t>(got));
    }
    return text;
  }

  std::array<int, 2> ends{};
};

std::string lost_line(std::uint64_t lines) {
  return "lost " + std::to_string(lines) + "\n";
}

constexpr std::chrono::milliseconds kPatience{60'000};

}  // namespace

TEST_CASE("lines come in their order, and all of them") {
  const Pipe pipe;
  LogWriter writer(pipe.ends[1], lost_line);
  std::string all;
  for (int n = 0; n < 100; ++n) {
    const std::string line = "line " + std::to_string(n) + "\n";
    writer.put(line);
    all += line;
  }
  CHECK(writer.flush(kPatience));
  CHECK(pipe.read_until("line 99\n") == all);
}

TEST_CASE("nobody reads: nobody waits, lines are lost, and once somebody reads that is said") {
  const Pipe pipe;
  LogWriter writer(pipe.ends[1], lost_line);
  const std::string line = std::string(99, 'x') + "\n";
  constexpr std::size_t kLines = 4 * kMaxQueuedLogBytes / 100;
  for (std::size_t n = 0; n < kLines; ++n)
    writer.put(line);
  CHECK_FALSE(writer.flush(std::chrono::milliseconds(1)));
  writer.put("gone too\n");
  // Lines that are there, and those that are said to be missing: together all of them.
  std::size_t written = 0;
  std::size_t lost = 0;
  while (written + lost < kLines + 1) {
    std::istringstream lines(pipe.read_until("\n"));
    for (std::string one; std::getline(lines, one);) {
      if (one.starts_with("lost ")) {
        lost += std::stoul(one.substr(5));
      } else {
        ++written;
        CHECK((one.size() == 99 || one == "gone too"));
      }
    }
  }
  CHECK(written + lost == kLines + 1);
  CHECK(lost > 0);
  writer.put("well again\n");
  CHECK(pipe.read_until("well again\n") == "well again\n");
  CHECK(writer.flush(kPatience));
}

TEST_CASE("the end does not wait for somebody who does not read") {
  const Pipe pipe;
  const int kept = ::dup(pipe.ends[1]);  // the thread may have it for longer than the test
  LogWriter writer(kept, lost_line);
  const std::string line = std::string(99, 'x') + "\n";
  for (std::size_t n = 0; n < kMaxQueuedLogBytes / 100; ++n)
    writer.put(line);
  CHECK_FALSE(writer.flush(std::chrono::milliseconds(1)));
}

TEST_CASE("a descriptor that somebody has made non-blocking") {
  const Pipe pipe;
  REQUIRE(::fcntl(pipe.ends[1], F_SETFL, O_NONBLOCK) == 0);
  LogWriter writer(pipe.ends[1], lost_line);
  const std::string line = std::string(99, 'x') + "\n";
  for (int n = 0; n < 2000; ++n)
    writer.put(line);
  writer.put("end\n");
  CHECK(pipe.read_until("end\n").size() == 200'004);
}

}  // namespace ballast::tools
