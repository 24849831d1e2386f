// Many requests at a time on one thread, with C++20's coroutines over epoll: one balancer for the
// thread, and each pick lives in the coroutine that made it. A coroutine that ends early, for
// whatever reason, gives its pick back as abandoned. Usage: coroutines DIRECTORY SERVICE REQUESTS
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <ballast.hpp>
#include <chrono>
#include <coroutine>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <list>
#include <string>
#include <string_view>

namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::seconds kPatience{2};  // for each step of a request
constexpr int kAtOnce = 256;

// A coroutine that starts at once and cleans up after itself.
struct Task {
  struct promise_type {
    Task get_return_object() noexcept { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() noexcept {}
    void unhandled_exception() noexcept { std::terminate(); }
  };
};

class Loop {
 public:
  // `co_await loop.ready(fd, EPOLLIN)`: true once it is, false if that took too long or cannot be
  // waited for.
  struct Ready {
    Loop& loop;
    int fd;
    std::uint32_t events;
    bool in_time = true;
    Clock::time_point deadline{};
    std::coroutine_handle<> coroutine{};
    std::list<Ready*>::iterator place{};

    [[nodiscard]] bool await_ready() const noexcept { return false; }
    bool await_suspend(std::coroutine_handle<> waiting) {
      epoll_event event{};
      event.events = events | EPOLLONESHOT;
      event.data.ptr = this;
      in_time = epoll_ctl(loop.epoll_, EPOLL_CTL_ADD, fd, &event) == 0;
      if (!in_time) return false;  // it goes on at once
      coroutine = waiting;
      deadline = Clock::now() + kPatience;
      place = loop.waiting_.insert(loop.waiting_.end(), this);
      return true;
    }
    [[nodiscard]] bool await_resume() const noexcept { return in_time; }
  };

  Loop() : epoll_(epoll_create1(EPOLL_CLOEXEC)) {}
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;
  ~Loop() { close(epoll_); }

  [[nodiscard]] Ready ready(int fd, std::uint32_t events) { return Ready{*this, fd, events}; }

  // Waits for something to happen, and lets those go on to whom it does.
  void step() {
    if (waiting_.empty()) return;
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(waiting_.front()->deadline - Clock::now());
    std::array<epoll_event, 64> events;
    const int count = epoll_wait(epoll_, events.data(), events.size(),
                                 static_cast<int>(std::max<std::int64_t>(left.count(), 0)));
    for (int i = 0; i < count; ++i)
      wake(static_cast<Ready*>(events[static_cast<std::size_t>(i)].data.ptr), true);
    while (!waiting_.empty() && waiting_.front()->deadline <= Clock::now())
      wake(waiting_.front(), false);
  }

 private:
  void wake(Ready* ready, bool in_time) {
    waiting_.erase(ready->place);
    epoll_ctl(epoll_, EPOLL_CTL_DEL, ready->fd, nullptr);
    ready->in_time = in_time;
    ready->coroutine.resume();  // and `ready` is gone
  }

  int epoll_;
  std::list<Ready*> waiting_;  // in the order of their deadlines, since all have the same patience
};

// A connection to the instance of a pick.
class Connection {
 public:
  explicit Connection(const ballast::Pick& pick) {
    sockaddr_storage address{};
    const socklen_t length = pick.sockaddr(address);
    fd_ = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    // In progress, or what else is wrong shows when it is to be written to.
    if (is_open())
      static_cast<void>(!connect(fd_, reinterpret_cast<const ::sockaddr*>(&address), length));
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection() {
    if (is_open()) close(fd_);
  }

  [[nodiscard]] bool is_open() const noexcept { return fd_ >= 0; }
  [[nodiscard]] int fd() const noexcept { return fd_; }
  [[nodiscard]] bool send(std::string_view text) const noexcept {
    return ::send(fd_, text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size());
  }
  [[nodiscard]] ballast::Outcome read_status() const noexcept {
    std::array<char, 1024> answer{};
    const ssize_t got = recv(fd_, answer.data(), answer.size(), 0);
    if (got <= 0) return ballast::Outcome::reset;
    const std::string_view text(answer.data(), static_cast<std::size_t>(got));
    return text.starts_with("HTTP/1.1 2") ? ballast::Outcome::success
                                          : ballast::Outcome::server_error;
  }

 private:
  int fd_ = -1;
};

struct Tally {
  int running = 0;
  int answered = 0;
};

Task request(Loop& loop, ballast::Service service, std::string key, Tally& tally) {
  ballast::Pick pick = service.pick(key);
  if (!pick) co_return;  // pick.status() says why: answer 503
  ++tally.running;
  const auto begin = Clock::now();
  const Connection connection(pick);
  // Without a socket of our own nothing is known of the instance.
  auto outcome = connection.is_open() ? ballast::Outcome::timeout : ballast::Outcome::abandoned;
  if (connection.is_open() && co_await loop.ready(connection.fd(), EPOLLOUT)) {
    outcome = ballast::Outcome::connect_failure;
    if (connection.send("GET / HTTP/1.1\r\nHost: backend\r\n\r\n")) {
      outcome = co_await loop.ready(connection.fd(), EPOLLIN) ? connection.read_status()
                                                              : ballast::Outcome::timeout;
    }
  }
  pick.report(outcome, std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - begin));
  if (outcome == ballast::Outcome::success) ++tally.answered;
  --tally.running;
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 4) return 2;
  auto balancer = ballast::Balancer::in_directory(argv[1]);
  const ballast::Service service = balancer.service(argv[2]);
  Loop loop;
  Tally tally;
  for (int i = 0; i < std::atoi(argv[3]); ++i) {
    request(loop, service, "user:" + std::to_string(i), tally);
    while (tally.running >= kAtOnce)
      loop.step();
  }
  while (tally.running > 0)
    loop.step();
  std::cout << tally.answered << " answered\n";
  return 0;
} catch (const ballast::Error& error) {
  std::cout << error.what() << '\n';
  return 1;
}
