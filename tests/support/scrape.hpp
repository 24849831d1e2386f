// A scraper for tests: speaks HTTP by hand, so that it can also do what no scraper should, and
// reads pages of metrics.
#pragma once

#include <doctest/doctest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <map>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>

#include "shm/endpoint.hpp"

namespace ballast::tests {

inline constexpr int kScrapeLimitMs = 60'000;

// A connection; what fails, fails the test.
class Scraper {
 public:
  // `receive_buffer`: of the kernel, to be slow sooner; 0: as it is.
  explicit Scraper(const shm::Endpoint& where, int receive_buffer = 0) {
    sockaddr_storage address{};
    const socklen_t length = where.to_sockaddr(address);
    fd_ = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    REQUIRE(fd_ >= 0);
    if (receive_buffer != 0)
      setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    REQUIRE(connect(fd_, reinterpret_cast<const sockaddr*>(&address), length) == 0);
  }
  ~Scraper() { close(fd_); }
  Scraper(const Scraper&) = delete;
  Scraper& operator=(const Scraper&) = delete;

  // False when the other side has closed.
  bool send(std::string_view bytes) const {
    return ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL) ==
           static_cast<ssize_t>(bytes.size());
  }
  // More of what comes; false at the end.
  bool receive(std::string& into) const {
    pollfd wanted{fd_, POLLIN, 0};
    REQUIRE_MESSAGE(poll(&wanted, 1, kScrapeLimitMs) > 0, "nothing came");
    std::array<char, 65536> buffer;
    const ssize_t got = recv(fd_, buffer.data(), buffer.size(), 0);
    if (got <= 0) return false;
    into.append(buffer.data(), static_cast<std::size_t>(got));
    return true;
  }
  // Without reading anything.
  void wait_for_reset() const {
    pollfd wanted{fd_, 0, 0};
    REQUIRE_MESSAGE(poll(&wanted, 1, kScrapeLimitMs) > 0, "was not let go");
  }
  [[nodiscard]] std::string until_end() const {
    std::string all;
    while (receive(all)) {
    }
    return all;
  }
  // Up to and with `mark`.
  [[nodiscard]] std::string until(std::string_view mark) const {
    std::string all;
    while (all.find(mark) == std::string::npos)
      REQUIRE_MESSAGE(receive(all), "ended early: " << all);
    return all;
  }

 private:
  int fd_ = -1;
};

struct Answer {
  int status = 0;
  std::string head;
  std::string body;
};

inline std::string without_chunks(std::string_view text) {
  std::string body;
  for (;;) {
    const std::size_t line = text.find("\r\n");
    REQUIRE(line != std::string_view::npos);
    const std::size_t size = std::strtoul(std::string(text.substr(0, line)).c_str(), nullptr, 16);
    if (size == 0) return body;
    REQUIRE(text.size() >= line + 2 + size + 2);
    body.append(text.substr(line + 2, size));
    text.remove_prefix(line + 2 + size + 2);
  }
}

inline Answer parse_answer(const std::string& text) {
  const std::size_t end = text.find("\r\n\r\n");
  REQUIRE_MESSAGE(end != std::string::npos, text);
  Answer answer{std::atoi(text.c_str() + 9), text.substr(0, end + 2), text.substr(end + 4)};
  if (answer.head.find("chunked") != std::string::npos && !answer.body.empty())
    answer.body = without_chunks(answer.body);
  return answer;
}

inline Answer get(const shm::Endpoint& where, const std::string& path) {
  const Scraper scraper(where);
  REQUIRE(scraper.send("GET " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
  return parse_answer(scraper.until_end());
}

// The samples of a page, by name and labels as they stand there.
class Samples {
 public:
  explicit Samples(const std::string& page) {
    std::istringstream lines(page);
    for (std::string line; std::getline(lines, line);) {
      if (line.starts_with('#')) continue;
      const std::size_t blank = line.rfind(' ');
      REQUIRE(blank != std::string::npos);
      const bool is_new = values_.emplace(line.substr(0, blank), line.substr(blank + 1)).second;
      CHECK_MESSAGE(is_new, "twice: " << line);
    }
  }
  [[nodiscard]] std::optional<double> find(const std::string& sample) const {
    const auto found = values_.find(sample);
    if (found == values_.end()) return std::nullopt;
    return std::strtod(found->second.c_str(), nullptr);
  }
  [[nodiscard]] double at(const std::string& sample) const {
    const auto value = find(sample);
    REQUIRE_MESSAGE(value, "no sample " << sample);
    return *value;
  }
  [[nodiscard]] std::size_t size() const { return values_.size(); }

 private:
  std::map<std::string, std::string> values_;
};

}  // namespace ballast::tests
