// One suite for both backends of the loop: whatever holds for io_uring holds for epoll.
#include "engine/checker/loop/loop.hpp"

#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/support/full_listener.hpp"
#include "tests/support/loops.hpp"
#include "tests/support/tiny_server.hpp"

namespace ballast::checker {
namespace {

using std::chrono::milliseconds;
using tests::Behaviour;
using tests::on_each_backend;
using tests::TinyServer;

struct Event {
  enum Kind : std::uint8_t { connect, data, end } kind;
  StreamId stream;
  std::uint64_t user;
  int error = 0;
};

class Recorder final : public StreamHandler {
 public:
  void on_connect(StreamId stream, std::uint64_t user) override {
    events.push_back({Event::connect, stream, user});
    if (then) then(events.back());
  }
  void on_data(StreamId stream, std::uint64_t user, std::string_view bytes) override {
    received += bytes;
    events.push_back({Event::data, stream, user});
    if (then) then(events.back());
  }
  void on_end(StreamId stream, std::uint64_t user, int error) override {
    events.push_back({Event::end, stream, user, error});
    if (then) then(events.back());
  }
  [[nodiscard]] std::size_t count(Event::Kind kind) const {
    return static_cast<std::size_t>(std::count_if(
        events.begin(), events.end(), [kind](const Event& e) { return e.kind == kind; }));
  }

  std::vector<Event> events;
  std::string received;
  std::function<void(const Event&)> then;
};

struct Fixture {
  explicit Fixture(Backend backend, std::size_t max_streams = 0) {
    auto made = make_loop({backend, max_streams, nullptr});
    REQUIRE(made);
    loop = std::move(*made);
  }
  void until(const std::function<bool()>& done) const { tests::turn_until(*loop, done); }
  StreamId open(const shm::Endpoint& peer, std::string first = {}, std::uint64_t user = 0) {
    return loop->open({peer, first.empty() ? nullptr : std::make_shared<const std::string>(first),
                       true, &recorder, user});
  }

  std::unique_ptr<Loop> loop;
  Recorder recorder;
};

shm::Endpoint fresh() {
  return tests::local_endpoint(tests::free_port());
}

const std::string kRequest = "GET / HTTP/1.1\r\n\r\n";
const std::string kAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

TEST_CASE("connects, sends, receives, sends again, and hears of the end") {
  on_each_backend([](Backend backend) {
    const auto endpoint = fresh();
    TinyServer server(Behaviour::good, {endpoint});
    Fixture f(backend);
    const StreamId stream = f.open(endpoint, kRequest, 42);
    CHECK(f.loop->open_streams() == 1);
    f.until([&] { return f.recorder.received == kAnswer; });
    REQUIRE(f.recorder.events.size() >= 2);
    CHECK(f.recorder.events[0].kind == Event::connect);
    f.loop->send(stream, std::make_shared<const std::string>(kRequest));
    f.until([&] { return f.recorder.received == kAnswer + kAnswer; });
    server.kill();
    f.until([&] { return f.recorder.count(Event::end) == 1; });
    const Event last = f.recorder.events.back();
    CHECK(last.kind == Event::end);
    CHECK(last.error == 0);
    for (const Event& event : f.recorder.events) {
      CHECK(event.user == 42);
      CHECK(event.stream == stream);
    }
    f.until([&] { return f.loop->open_streams() == 0; });
    // All of these are about a stream that is gone.
    f.loop->send(stream, std::make_shared<const std::string>(kRequest));
    f.loop->close(stream);
    f.loop->close({});
    f.loop->run_once({});
    CHECK(f.recorder.events.back().kind == Event::end);
  });
}

TEST_CASE("a doubtful connection is refused, or works as any other") {
  on_each_backend([](Backend backend) {
    const auto endpoint = fresh();
    Fixture f(backend);
    const auto request = std::make_shared<const std::string>(kRequest);
    static_cast<void>(f.loop->open({endpoint, request, true, &f.recorder, 7, /*doubtful=*/true}));
    f.until([&] { return f.recorder.count(Event::end) == 1; });
    CHECK(f.recorder.events.back().error == ECONNREFUSED);
    CHECK(f.recorder.count(Event::connect) == 0);
    const TinyServer server(Behaviour::good, {endpoint});
    const StreamId stream =
        f.loop->open({endpoint, request, true, &f.recorder, 8, /*doubtful=*/true});
    f.until([&] { return f.recorder.received == kAnswer; });
    CHECK(f.recorder.count(Event::connect) == 1);
    f.loop->close(stream);
    f.until([&] { return f.loop->open_streams() == 0; });
  });
}

TEST_CASE("streams that end abruptly, one after the other, hear nothing of each other") {
  on_each_backend([](Backend backend) {
    const auto good = fresh();
    const auto unhealthy = fresh();
    const auto nobody = fresh();
    const auto six = tests::local_endpoint(tests::free_port(shm::Family::ipv6), shm::Family::ipv6);
    const TinyServer server(Behaviour::good, {good, six});
    const TinyServer other(Behaviour::unhealthy, {unhealthy});
    // So few places that sockets of one family must make room for those of the other.
    Fixture f(backend, 2);
    const auto ask = [&](const shm::Endpoint& peer) {
      f.recorder = {};
      OpenRequest request{peer, std::make_shared<const std::string>(kRequest), true, &f.recorder,
                          0};
      request.abrupt = true;
      const StreamId stream = f.loop->open(request);
      f.until([&] { return f.recorder.received.size() >= 36 || f.recorder.count(Event::end) > 0; });
      f.loop->close(stream);
      f.until([&] { return f.loop->open_streams() == 0; });
      return f.recorder.received.substr(0, 12);
    };
    for (int round = 0; round < 20; ++round) {
      CHECK(ask(good) == "HTTP/1.1 200");
      CHECK(ask(nobody).empty());
      CHECK(f.recorder.events.back().error == ECONNREFUSED);
      CHECK(ask(unhealthy) == "HTTP/1.1 503");
      if (round % 3 == 0) CHECK(ask(six) == "HTTP/1.1 200");
    }
    // A connection that is given up while it waits for its answer leaves nothing behind either.
    const tests::TinyServer silent(Behaviour::hangs, {nobody});
    for (int round = 0; round < 5; ++round) {
      f.recorder = {};
      OpenRequest request{nobody, std::make_shared<const std::string>(kRequest), true, &f.recorder,
                          0};
      request.abrupt = true;
      const StreamId stream = f.loop->open(request);
      if (round > 0) f.until([&] { return f.recorder.count(Event::connect) == 1; });
      f.loop->close(stream);
      f.until([&] { return f.loop->open_streams() == 0; });
      CHECK(ask(good) == "HTTP/1.1 200");
      CHECK(f.recorder.received == kAnswer);
    }
  });
}

TEST_CASE("a bare connection that ends abruptly") {
  on_each_backend([](Backend backend) {
    const auto endpoint = fresh();
    const auto nobody = fresh();
    const TinyServer server(Behaviour::good, {endpoint});
    Fixture f(backend);
    for (int round = 0; round < 20; ++round) {
      f.recorder = {};
      OpenRequest request{round % 4 == 3 ? nobody : endpoint, nullptr, false, &f.recorder, 0};
      request.abrupt = true;
      const StreamId stream = f.loop->open(request);
      f.until([&] { return !f.recorder.events.empty(); });
      CHECK(f.recorder.events.front().kind == (round % 4 == 3 ? Event::end : Event::connect));
      f.loop->close(stream);
    }
    f.until([&] { return f.loop->open_streams() == 0; });
  });
}

TEST_CASE("failures to connect, told later and never from within open") {
  on_each_backend([](Backend backend) {
    Fixture f(backend);
    const StreamId refused = f.open(fresh(), kRequest, 1);
    const StreamId nowhere = f.open(shm::Endpoint{}, kRequest, 2);
    const StreamId silent = f.open(shm::Endpoint{}, kRequest, 3);
    CHECK(f.recorder.events.empty());
    f.loop->close(silent);
    f.until([&] { return f.recorder.count(Event::end) == 2; });
    for (const Event& event : f.recorder.events) {
      CHECK(event.kind == Event::end);
      CHECK(event.error == (event.user == 1 ? ECONNREFUSED : EAFNOSUPPORT));
      CHECK(event.stream == (event.user == 1 ? refused : nowhere));
    }
    f.until([&] { return f.loop->open_streams() == 0; });
  });
}

TEST_CASE("more streams than allowed") {
  on_each_backend([](Backend backend) {
    const auto endpoint = fresh();
    TinyServer server(Behaviour::good, {endpoint});
    Fixture f(backend, 3);
    CHECK(f.loop->max_streams() == 3);
    std::vector<StreamId> streams;
    for (std::uint64_t i = 0; i < 5; ++i)
      streams.push_back(f.open(endpoint, kRequest, i));
    f.until([&] {
      return f.recorder.count(Event::end) == 2 && f.recorder.received.size() == 3 * kAnswer.size();
    });
    for (const Event& event : f.recorder.events) {
      if (event.kind == Event::end) CHECK((event.user >= 3 && event.error == EMFILE));
    }
    f.loop->close(streams[0]);
    f.until([&] { return f.loop->open_streams() == 2; });
    f.open(endpoint, kRequest, 9);
    f.until([&] { return f.recorder.received.size() == 4 * kAnswer.size(); });
  });
}

TEST_CASE("no event follows a close, wherever it comes from") {
  on_each_backend([](Backend backend) {
    const auto endpoint = fresh();
    TinyServer server(Behaviour::good, {endpoint});
    Fixture f(backend);
    // Before anything, on connect, on data.
    f.loop->close(f.open(endpoint, kRequest, 1));
    f.recorder.then = [&](const Event& event) {
      if (event.user == 2) f.loop->close(event.stream);
      if (event.user == 3 && event.kind == Event::data) f.loop->close(event.stream);
    };
    f.open(endpoint, kRequest, 2);
    f.open(endpoint, kRequest, 3);
    const StreamId waiting = f.open(endpoint, {}, 4);
    f.until([&] { return f.loop->open_streams() == 1; });
    f.loop->close(waiting);
    f.until([&] { return f.loop->open_streams() == 0; });
    std::array<int, 5> seen{};
    for (const Event& event : f.recorder.events)
      ++seen[event.user];
    CHECK(seen[1] == 0);
    CHECK(seen[2] == 1);
    CHECK(seen[3] == 2);
    CHECK(seen[4] <= 1);
    CHECK(f.recorder.count(Event::end) == 0);
  });
}

TEST_CASE("a large payload goes out whole, a flood comes in until it is closed") {
  on_each_backend([](Backend backend) {
    const auto good = fresh();
    const auto flooding = fresh();
    TinyServer server(Behaviour::good, {good});
    TinyServer other(Behaviour::endless_body, {flooding});
    Fixture f(backend);
    f.open(good, std::string(8'000'000, 'x') + "\r\n\r\n", 1);
    f.until([&] { return f.recorder.received == kAnswer; });
    f.recorder.then = [&](const Event& event) {
      if (f.recorder.received.size() > 3'000'000) f.loop->close(event.stream);
    };
    f.open(flooding, kRequest, 2);
    f.until([&] { return f.recorder.received.size() > 3'000'000; });
    f.until([&] { return f.loop->open_streams() == 1; });
  });
}

TEST_CASE("payloads that are sent at once go out one after the other") {
  on_each_backend([](Backend backend) {
    const auto good = fresh();
    TinyServer server(Behaviour::good, {good});
    Fixture f(backend);
    // Larger than any socket buffer, so that the others find it on its way.
    f.recorder.then = [&](const Event& event) {
      if (event.kind != Event::connect) return;
      for (const char* part : {"\r", "\n\r", "\n"})
        f.loop->send(event.stream, std::make_shared<const std::string>(part));
    };
    f.open(good, std::string(8'000'000, 'x'));
    f.until([&] { return f.recorder.received == kAnswer; });
  });
}

TEST_CASE("a reset is told as such") {
  on_each_backend([](Backend backend) {
    const auto endpoint = fresh();
    TinyServer server(Behaviour::resets_at_once, {endpoint});
    Fixture f(backend);
    f.open(endpoint, kRequest);
    f.until([&] { return f.recorder.count(Event::end) == 1; });
    const int error = f.recorder.events.back().error;
    CHECK((error == ECONNRESET || error == EPIPE));
  });
}

TEST_CASE("more streams at once than the queues are long") {
  on_each_backend([](Backend backend) {
    constexpr std::size_t kStreams = 3000;
    const auto endpoint = fresh();
    TinyServer server(Behaviour::good, {endpoint});
    Fixture f(backend);
    for (std::size_t i = 0; i < kStreams; ++i)
      f.open(endpoint, kRequest, i);
    f.until([&] { return f.recorder.received.size() == kStreams * kAnswer.size(); });
    server.kill();
    f.until([&] { return f.recorder.count(Event::end) == kStreams; });
    f.until([&] { return f.loop->open_streams() == 0; });
    CHECK(f.recorder.count(Event::connect) == kStreams);
  });
}

TEST_CASE("timers fire in order, once, and can be moved, disarmed and destroyed") {
  on_each_backend([](Backend backend) {
    Fixture f(backend);
    Timers& timers = f.loop->timers();
    std::string order;
    const auto now = std::chrono::steady_clock::now();
    const Timers::Id c = timers.create([&] { order += 'c'; });
    const Timers::Id a = timers.create([&] { order += 'a'; });
    const Timers::Id b = timers.create([&] { order += 'b'; });
    const Timers::Id never = timers.create([&] { order += 'x'; });
    CHECK_FALSE(timers.next().has_value());
    timers.arm(c, now + milliseconds(3));
    timers.arm(a, now + milliseconds(100000));
    timers.arm(a, now + milliseconds(1));
    timers.arm(b, now + milliseconds(2));
    timers.arm(never, now);
    CHECK(timers.next() == now);
    timers.disarm(never);
    CHECK(timers.next() == now + milliseconds(1));
    f.until([&] { return order.size() == 3; });
    CHECK(order == "abc");
    CHECK_FALSE(timers.next().has_value());

    // Destroyed by itself, and by another that is due in the same turn.
    Timers::Id self = 0;
    self = timers.create([&] {
      timers.destroy(self);
      order += 's';
    });
    const Timers::Id victim = timers.create([&] { order += 'v'; });
    const Timers::Id killer = timers.create([&] {
      timers.destroy(victim);
      order += 'k';
    });
    timers.arm(self, now);
    timers.arm(killer, now + milliseconds(1));
    timers.arm(victim, now + milliseconds(2));
    timers.run_due(now + milliseconds(3));
    CHECK(order == "abcsk");

    // One that arms itself for the past runs once a turn.
    Timers::Id again = 0;
    int runs = 0;
    again = timers.create([&] {
      ++runs;
      timers.arm(again, now);
    });
    timers.arm(again, now);
    timers.run_due(now + milliseconds(5));
    timers.run_due(now + milliseconds(5));
    CHECK(runs == 2);
    timers.destroy(again);
  });
}

TEST_CASE("ten thousand timers, against sorting") {
  Timers timers;
  const Timers::TimePoint base{};
  std::vector<std::pair<int, std::size_t>> expected;
  std::vector<std::size_t> fired;
  std::vector<Timers::Id> ids;
  unsigned state = 1;
  for (std::size_t i = 0; i < 10000; ++i) {
    ids.push_back(timers.create([&fired, i] { fired.push_back(i); }));
  }
  for (int pass = 0; pass < 3; ++pass) {
    expected.clear();
    for (std::size_t i = 0; i < ids.size(); ++i) {
      state = state * 1664525 + 1013904223;
      timers.arm(ids[i], base + milliseconds(state >> 8));
      expected.emplace_back(static_cast<int>(state >> 8), i);
    }
  }
  std::sort(expected.begin(), expected.end());
  while (const auto next = timers.next())
    timers.run_due(*next);
  REQUIRE(fired.size() == expected.size());
  for (std::size_t i = 0; i + 1 < fired.size(); ++i) {
    if (expected[i].first != expected[i + 1].first && fired[i] != expected[i].second) {
      FAIL("out of order at ", i);
    }
    if (expected[i].first == expected[i + 1].first) ++i;  // equal times: any order
  }
}

TEST_CASE("a periodic task, a stop, and a run") {
  on_each_backend([](Backend backend) {
    Fixture f(backend);
    int beats = 0;
    const Timers::Id id = f.loop->every(milliseconds(1), [&] {
      if (++beats == 5) f.loop->stop();
    });
    f.loop->run();
    CHECK(beats == 5);
    f.loop->timers().destroy(id);
    // One that ends itself.
    Timers::Id once = 0;
    int runs = 0;
    once = f.loop->every(milliseconds(1), [&] {
      ++runs;
      f.loop->timers().destroy(once);
      f.loop->stop();
    });
    f.loop->run();
    CHECK(runs == 1);
  });
}

TEST_CASE("what was begun in a turn is on its way before a periodic task of that turn") {
  on_each_backend([](Backend backend) {
    const tests::FullListener listener;
    Fixture f(backend);
    StreamId opened;
    const auto opener = f.loop->timers().create([&] { opened = f.open(listener.endpoint()); });
    std::optional<int> arrived;
    const auto task = f.loop->every(milliseconds(3), [&] {
      if (opened && !arrived) arrived = listener.try_accept();
    });
    // Due before the task, and by then so is the task: both in one turn.
    f.loop->timers().arm(opener, std::chrono::steady_clock::now() + milliseconds(1));
    const auto from = std::chrono::steady_clock::now();
    while (std::chrono::steady_clock::now() < from + milliseconds(5)) {
    }
    f.until([&] { return arrived.has_value(); });
    CHECK(*arrived >= 0);
    if (*arrived >= 0) ::close(*arrived);
    f.loop->timers().destroy(task);
    f.loop->timers().destroy(opener);
  });
}

TEST_CASE("a watched descriptor is reported for as long as it is readable") {
  on_each_backend([](Backend backend) {
    Fixture f(backend);
    int pipe_fds[2];
    REQUIRE(pipe(pipe_fds) == 0);
    int calls = 0;
    f.loop->watch(pipe_fds[0], [&] {
      // Not read the first time: it must be told again.
      char byte = 0;
      if (++calls >= 2) CHECK(read(pipe_fds[0], &byte, 1) == 1);
    });
    f.loop->run_once({});
    CHECK(calls == 0);
    REQUIRE(write(pipe_fds[1], "x", 1) == 1);
    f.until([&] { return calls == 2; });
    REQUIRE(write(pipe_fds[1], "y", 1) == 1);
    f.until([&] { return calls == 3; });
    // Replaced, then ended from within.
    int others = 0;
    f.loop->watch(pipe_fds[0], [&] {
      ++others;
      f.loop->unwatch(pipe_fds[0]);
    });
    REQUIRE(write(pipe_fds[1], "z", 1) == 1);
    f.until([&] { return others == 1; });
    for (int i = 0; i < 3; ++i)
      f.loop->run_once(milliseconds(1));
    CHECK(others == 1);
    CHECK(calls == 3);
    f.loop->unwatch(pipe_fds[0]);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
  });
}

TEST_CASE("a loop may end with everything in flight") {
  on_each_backend([](Backend backend) {
    const auto endpoint = fresh();
    TinyServer server(Behaviour::hangs, {endpoint});
    Fixture f(backend);
    for (int i = 0; i < 20; ++i)
      f.open(endpoint, kRequest);
    f.loop->run_once(milliseconds(1));
    for (int i = 0; i < 20; ++i)
      f.open(endpoint, kRequest);
    f.loop.reset();
  });
}

}  // namespace
}  // namespace ballast::checker
