// Connections and answers with Asio and Beast, all on the one thread; see server.hpp. Descriptors
// are made by hand where they must not be inherited by commands that the checker starts.
#include "engine/checker/metrics/server.hpp"

#include <pthread.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "engine/checker/metrics/page.hpp"
#include "engine/checker/metrics/survey.hpp"

namespace ballast::checker {
namespace {

namespace net = boost::asio;
namespace http = boost::beast::http;
using boost::system::error_code;
using net::ip::tcp;
using std::chrono::steady_clock;

constexpr std::size_t kPiece = std::size_t{64} << 10;
constexpr int kSendBuffer = 128 << 10;  // of the kernel, for each connection
constexpr int kBacklog = 128;
constexpr int kNice = 10;
// Of the time until the next reading, what part a reading may take.
constexpr double kReadingPause = 10;
// The loop reports once a second.
constexpr std::chrono::seconds kReportLimit{3};
constexpr std::chrono::milliseconds kAcceptPause{200};

constexpr std::string_view kText = "text/plain; charset=utf-8";
constexpr std::string_view kExposition = "text/plain; version=0.0.4; charset=utf-8";

shm::Error failed(const char* what, const shm::Endpoint& where, int code) {
  std::string advice;
  if (code == EADDRINUSE) advice = "another program listens there: choose another metrics.listen";
  if (code == EADDRNOTAVAIL) advice = "no address of this machine: change metrics.listen";
  if (code == EACCES) advice = "a port below 1024 needs a privilege: choose a higher one";
  return shm::system_error(code, what, where.to_text(), advice);
}

class Descriptor {
 public:
  explicit Descriptor(int fd) noexcept : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  [[nodiscard]] int get() const noexcept { return fd_; }
  int release() noexcept { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

shm::Result<Descriptor> listen_at(const shm::Endpoint& where) {
  sockaddr_storage address{};
  const socklen_t length = where.to_sockaddr(address);
  Descriptor fd(socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (fd.get() < 0) return failed("make a socket for", where, errno);
  const int on = 1;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), length) != 0 ||
      listen(fd.get(), kBacklog) != 0) {
    return failed("listen at", where, errno);
  }
  return fd;
}

shm::Endpoint bound_to(int fd, shm::Endpoint wanted) {
  sockaddr_storage address{};
  socklen_t length = sizeof address;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) == 0) {
    wanted.port = ntohs(address.ss_family == AF_INET6
                            ? reinterpret_cast<const sockaddr_in6&>(address).sin6_port
                            : reinterpret_cast<const sockaddr_in&>(address).sin_port);
  }
  return wanted;
}

}  // namespace

class MetricsServer::Impl {
 public:
  Impl(MetricsOptions options, Mailbox<LoopReport>& mailbox, Descriptor listener)
      : options_(std::move(options)),
        mailbox_(mailbox),
        surveyor_(options_.directory, options_.max_instances, options_.version),
        acceptor_(io_),
        accept_pause_(io_) {
    options_.listen = bound_to(listener.get(), options_.listen);
    acceptor_.assign(protocol(), listener.get());
    listener_ = listener.release();
    // The thread is to take no signal from those who wait for it.
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    thread_ = std::thread([this] { run(); });
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }
  ~Impl() {
    io_.stop();
    thread_.join();
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  // From the thread of the owner. The listener is closed for good, and its address free, before
  // the thread knows; the number stays its own until the acceptor is destroyed.
  void retire() noexcept {
    shutdown(listener_, SHUT_RDWR);
    io_.stop();
  }
  // Relaxed: joining the thread orders, this only tells that it will not take long.
  [[nodiscard]] bool ended() const noexcept { return ended_.load(std::memory_order_relaxed); }

  [[nodiscard]] const shm::Endpoint& address() const noexcept { return options_.listen; }

 private:
  class Session;

  [[nodiscard]] tcp protocol() const {
    return options_.listen.family == shm::Family::ipv6 ? tcp::v6() : tcp::v4();
  }

  void run() {
    pthread_setname_np(pthread_self(), "metrics");
    if (setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), kNice) != 0 && options_.on_trouble) {
      options_.on_trouble(
          shm::system_error(errno, "lower the priority of", "the metrics thread",
                            "readings for scrapes compete with the checks; a filter of system "
                            "calls must allow setpriority"));
    }
    accept_next();
    // Sums count from the first reading on.
    first_reading();
    while (!io_.stopped()) {
      try {
        io_.run();
      } catch (const std::exception&) {
        // Out of memory, most likely: the conversation that met it has ended, the others go on.
      }
    }
    ended_.store(true, std::memory_order_relaxed);
  }

  void first_reading() {
    if (mailbox_.take().in_charge) {
      survey();
      return;
    }
    first_pause_.expires_after(kAcceptPause);
    first_pause_.async_wait([this](error_code error) {
      if (!error && !last_) first_reading();
    });
  }

  // A reading that is young enough, or a new one.
  std::shared_ptr<const Survey> survey() {
    const auto now = steady_clock::now();
    if (last_ && now < reuse_until_) return last_;
    last_ = surveyor_.survey(mailbox_.take());
    reuse_until_ = now + std::chrono::duration_cast<steady_clock::duration>(
                             std::chrono::duration<double>(kReadingPause * last_->cost_seconds));
    return last_;
  }

  [[nodiscard]] std::pair<unsigned, std::string_view> health() {
    const LoopReport& report = mailbox_.take();
    if (!report.in_charge) return {503, "not in charge\n"};
    if (steady_clock::now() - report.made > kReportLimit)
      return {503, "the checker stands still\n"};
    return {200, "ok\n"};
  }

  void accept_next() {
    acceptor_.async_wait(tcp::acceptor::wait_read, [this](error_code error) {
      if (!error) accept_all();
    });
  }

  void accept_all();

  // Room for one more: whoever waits for a request, or else for its answer to be taken, for the
  // longest time has to go.
  void make_room();

  MetricsOptions options_;
  Mailbox<LoopReport>& mailbox_;
  Surveyor surveyor_;
  std::shared_ptr<const Survey> last_;
  steady_clock::time_point reuse_until_;
  std::vector<std::weak_ptr<Session>> sessions_;
  net::io_context io_{1};
  tcp::acceptor acceptor_;
  net::steady_timer accept_pause_;
  net::steady_timer first_pause_{io_};
  int listener_ = -1;  // the acceptor's
  std::atomic<bool> ended_{false};
  std::thread thread_;
};

// One connection. It lives as long as something of it is pending.
class MetricsServer::Impl::Session : public std::enable_shared_from_this<Session> {
 public:
  Session(Impl& server, tcp::socket socket)
      : server_(server), socket_(std::move(socket)), deadline_(socket_.get_executor()) {}

  void start() { await_request(server_.options_.conversation); }

  // Whatever it still had to get is given up: a peer that takes nothing must not hold memory.
  void cut_off() {
    error_code ignored;
    socket_.set_option(net::socket_base::linger(true, 0), ignored);
    end();
  }
  void end() {
    error_code ignored;
    deadline_.cancel(ignored);
    socket_.close(ignored);
  }

  // Who goes first when there is no room.
  [[nodiscard]] std::pair<bool, steady_clock::time_point> rank() const {
    return {answering_, moved_};
  }

 private:
  template <class F>
  auto then(F&& f) {
    return [self = shared_from_this(), f = std::forward<F>(f)](error_code error, auto&&...) {
      self->moved_ = steady_clock::now();
      f(error);
    };
  }

  void allow(steady_clock::duration time) {
    deadline_.expires_after(time);
    deadline_.async_wait([self = shared_from_this()](error_code error) {
      if (!error) self->cut_off();
    });
  }

  void await_request(steady_clock::duration patience) {
    answering_ = false;
    allow(patience);
    if (buffer_.size() != 0) {
      read_request();
      return;
    }
    socket_.async_wait(tcp::socket::wait_read, then([this](error_code error) {
                         if (error) return end();
                         allow(server_.options_.conversation);
                         read_request();
                       }));
  }

  void read_request() {
    parser_.emplace();
    parser_->header_limit(kMaxScrapeBytes);
    http::async_read_header(socket_, buffer_, *parser_,
                            then([this](error_code error) { on_request(error); }));
  }

  void on_request(error_code error) {
    answering_ = true;
    if (error) {
      // A parser's error is the scraper's; of any other the connection is no more.
      if (error.category() != http::make_error_code(http::error::bad_method).category() ||
          error == http::error::end_of_stream || error == http::error::partial_message) {
        return end();
      }
      keep_ = false;
      return answer(error == http::error::header_limit ? 431 : 400, "bad request\n");
    }
    const auto& request = parser_->get();
    // What has a body is answered without reading it, and the connection not used again.
    keep_ = request.keep_alive() && parser_->is_done();
    version11_ = request.version() == 11;
    is_head_ = request.method() == http::verb::head;
    if (!is_head_ && request.method() != http::verb::get) {
      return answer(405, "only GET and HEAD\n", "Allow: GET, HEAD\r\n");
    }
    const std::string_view target(request.target().data(), request.target().size());
    const std::string_view path = target.substr(0, target.find('?'));
    if (path == "/metrics") return answer_metrics();
    if (path == "/health") {
      const auto [status, text] = server_.health();
      return answer(status, text);
    }
    if (path == "/") return answer(200, "ballastd: /metrics and /health\n");
    answer(404, "not found: there are /metrics and /health\n");
  }

  static std::string_view phrase(unsigned status) {
    const auto text = http::obsolete_reason(static_cast<http::status>(status));
    return {text.data(), text.size()};
  }

  [[nodiscard]] std::string head(unsigned status, std::string_view type) const {
    std::string text = "HTTP/1.1 " + std::to_string(status) + " ";
    text.append(phrase(status)).append("\r\nContent-Type: ").append(type);
    text.append("\r\nCache-Control: no-store\r\nConnection: ");
    text.append(keep_ ? "keep-alive" : "close").append("\r\n");
    return text;
  }

  void answer(unsigned status, std::string_view body, std::string_view more = {}) {
    out_ = head(status, kText);
    out_.append(more).append("Content-Length: ").append(std::to_string(body.size()));
    out_.append("\r\n\r\n");
    if (!is_head_) out_.append(body);
    net::async_write(socket_, net::buffer(out_),
                     then([this](error_code error) { finished(error); }));
  }

  void answer_metrics() {
    // HTTP/1.0 knows no chunks: there the end of the connection is the end of the page.
    keep_ = keep_ && version11_;
    out_ = head(200, kExposition);
    out_ += version11_ ? "Transfer-Encoding: chunked\r\n\r\n" : "\r\n";
    if (!is_head_) page_.emplace(server_.survey());
    send_piece();
  }

  // What is in `out_`, and behind it the next piece of the page.
  void send_piece() {
    bool last = true;
    if (page_) {
      piece_.clear();
      last = !page_->append(piece_, kPiece);
      if (last) page_.reset();
      if (version11_ && !piece_.empty()) {
        std::array<char, 20> digits;
        const auto end = std::to_chars(digits.data(), digits.data() + digits.size(),
                                       std::uint64_t{piece_.size()}, 16);
        out_.append(digits.data(), end.ptr).append("\r\n");
        piece_ += "\r\n";
      }
      if (version11_ && last) piece_ += "0\r\n\r\n";
    }
    const std::array<net::const_buffer, 2> both{net::buffer(out_), net::buffer(piece_)};
    net::async_write(socket_, both, then([this, last](error_code error) {
                       out_.clear();
                       if (error || last) {
                         piece_ = {};
                         return finished(error);
                       }
                       send_piece();
                     }));
  }

  void finished(error_code error) {
    page_.reset();
    if (error || !keep_) {
      // What was sent arrives, also when the scraper has sent what nobody read.
      socket_.shutdown(tcp::socket::shutdown_send, error);
      return end();
    }
    await_request(kIdleScraper);
  }

  Impl& server_;
  tcp::socket socket_;
  net::steady_timer deadline_;
  steady_clock::time_point moved_ = steady_clock::now();
  bool answering_ = false;
  bool keep_ = false;
  bool version11_ = true;
  bool is_head_ = false;
  boost::beast::flat_buffer buffer_{kMaxScrapeBytes};
  std::optional<http::request_parser<http::empty_body>> parser_;
  std::optional<Page> page_;
  std::string out_;
  std::string piece_;
};

void MetricsServer::Impl::accept_all() {
  for (;;) {
    const int fd =
        accept4(acceptor_.native_handle(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
      if (errno == EINTR || errno == ECONNABORTED) continue;
      if (errno == EAGAIN || errno == EWOULDBLOCK) return accept_next();
      // No descriptors, no memory: not again at once.
      accept_pause_.expires_after(kAcceptPause);
      accept_pause_.async_wait([this](error_code error) {
        if (!error) accept_next();
      });
      return;
    }
    Descriptor descriptor(fd);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &kSendBuffer, sizeof kSendBuffer);
    make_room();
    tcp::socket socket(io_);
    error_code error;
    socket.assign(protocol(), descriptor.get(), error);
    if (error) continue;
    descriptor.release();
    const auto session = std::make_shared<Session>(*this, std::move(socket));
    sessions_.push_back(session);
    session->start();
  }
}

void MetricsServer::Impl::make_room() {
  std::erase_if(sessions_, [](const auto& session) { return session.expired(); });
  if (sessions_.size() < kMaxScrapers) return;
  std::shared_ptr<Session> first;
  for (const auto& weak : sessions_) {
    const auto session = weak.lock();
    if (session && (!first || session->rank() < first->rank())) first = session;
  }
  if (!first) return;
  first->cut_off();
  std::erase_if(sessions_, [&](const auto& session) { return session.lock() == first; });
}

MetricsServer::MetricsServer(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
MetricsServer::~MetricsServer() = default;

void MetricsServer::retire() noexcept {
  impl_->retire();
}
bool MetricsServer::ended() const noexcept {
  return impl_->ended();
}
const shm::Endpoint& MetricsServer::address() const noexcept {
  return impl_->address();
}

shm::Result<std::unique_ptr<MetricsServer>> MetricsServer::start(MetricsOptions options,
                                                                 Mailbox<LoopReport>& mailbox) try {
  auto listener = listen_at(options.listen);
  if (!listener) return listener.error();
  return std::unique_ptr<MetricsServer>(
      new MetricsServer(std::make_unique<Impl>(std::move(options), mailbox, std::move(*listener))));
} catch (const std::exception& error) {
  return shm::Error{shm::ErrorKind::system, 0, "start the metrics thread", {}, error.what()};
}

}  // namespace ballast::checker
