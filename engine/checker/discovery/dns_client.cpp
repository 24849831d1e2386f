// One c-ares channel a server, so that it is known which of them said what. Their descriptors are
// in an epoll instance of their own, which the loop watches as one.
#include "engine/checker/discovery/dns_client.hpp"

#include <ares.h>
#include <arpa/nameser.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <deque>
#include <map>
#include <optional>
#include <utility>

namespace ballast::checker {
namespace {

// What passes through networks unharmed; longer answers come over TCP.
constexpr int kDatagramBytes = 1232;
constexpr int kEventsAtOnce = 64;
constexpr unsigned short kDnsPort = 53;

// c-ares wants to be set up once a process.
int library_status() {
  static const int status = ares_library_init(ARES_LIB_INIT_ALL);
  return status;
}

// Servers of /etc/resolv.conf.
std::vector<std::string> system_servers() {
  std::vector<std::string> out;
  ares_channel channel = nullptr;
  if (ares_init(&channel) != ARES_SUCCESS) return out;
  ares_addr_port_node* first = nullptr;
  if (ares_get_servers_ports(channel, &first) == ARES_SUCCESS) {
    for (const ares_addr_port_node* node = first; node != nullptr; node = node->next) {
      shm::Endpoint endpoint;
      endpoint.family = node->family == AF_INET ? shm::Family::ipv4 : shm::Family::ipv6;
      std::memcpy(endpoint.address.data(), &node->addr, node->family == AF_INET ? 4 : 16);
      endpoint.port = static_cast<std::uint16_t>(node->udp_port != 0 ? node->udp_port : kDnsPort);
      out.push_back(endpoint.to_text());
    }
    ares_free_data(first);
  }
  ares_destroy(channel);
  return out;
}

}  // namespace

struct DnsClient::Impl {
  Impl(Loop& on, std::vector<std::string> addresses)
      : loop(on), configured(std::move(addresses)), epoll(epoll_create1(EPOLL_CLOEXEC)) {
    timer = loop.timers().create([this] { process(); });
    if (epoll >= 0) loop.watch(epoll, [this] { process(); });
    set_up();
  }

  ~Impl() {
    queries.clear();  // what the channels still call back finds nobody
    tear_down();
    loop.timers().destroy(timer);
    if (epoll < 0) return;
    loop.unwatch(epoll);
    close(epoll);
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  struct Server {
    std::string text;
    ares_channel channel = nullptr;
    std::string error;  // why there is no channel
  };
  struct Query {
    std::string name;
    DnsType type = DnsType::a;
    OnAnswer on_answer;
    std::size_t asked = 0;  // servers
    std::size_t server = 0;
    std::string errors;
  };
  // What c-ares hands back to us.
  struct Ask {
    Impl* impl;
    Id id;
  };
  struct Outcome {
    Id id;
    int status;
    std::vector<std::uint8_t> bytes;
  };

  void set_up() {
    auto texts = configured.empty() ? system_servers() : configured;
    if (texts.size() > kMaxNameServers) texts.resize(kMaxNameServers);
    for (std::string& text : texts) {
      Server server;
      server.text = std::move(text);
      server.error = open_channel(server);
      servers.push_back(std::move(server));
    }
    first = 0;
  }

  void tear_down() {
    for (const Server& server : servers) {
      if (server.channel != nullptr) ares_destroy(server.channel);
    }
    servers.clear();
  }

  std::string open_channel(Server& server) {
    if (epoll < 0) return "no descriptor is left";
    if (library_status() != ARES_SUCCESS) return ares_strerror(library_status());
    ares_options options{};
    options.flags = ARES_FLAG_EDNS | ARES_FLAG_NOCHECKRESP | ARES_FLAG_NOSEARCH;
    options.timeout = static_cast<int>(kFirstTry.count());
    options.tries = kTries;
    options.ednspsz = kDatagramBytes;
    options.sock_state_cb = [](void* self, ares_socket_t fd, int readable, int writable) {
      static_cast<Impl*>(self)->want(fd, readable != 0, writable != 0);
    };
    options.sock_state_cb_data = this;
    // Without ARES_OPT_DOMAINS and the like c-ares reads the system's files for them, which is
    // harmless: names are asked for as they are.
    int status = ares_init_options(&server.channel, &options,
                                   ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES |
                                       ARES_OPT_EDNSPSZ | ARES_OPT_SOCK_STATE_CB);
    if (status == ARES_SUCCESS) {
      status = ares_set_servers_ports_csv(server.channel, server.text.c_str());
      if (status != ARES_SUCCESS) ares_destroy(server.channel);
    }
    if (status == ARES_SUCCESS) return {};
    server.channel = nullptr;
    return ares_strerror(status);
  }

  void want(int fd, bool readable, bool writable) const {
    epoll_event event{};
    event.events = (readable ? EPOLLIN : 0U) | (writable ? EPOLLOUT : 0U);
    event.data.fd = fd;
    if (event.events == 0) {
      epoll_ctl(epoll, EPOLL_CTL_DEL, fd, nullptr);
    } else if (epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event) != 0 && errno == ENOENT) {
      // Should it fail, the query times out.
      static_cast<void>(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
    }
  }

  Id query(const std::string& name, DnsType type, OnAnswer on_answer) {
    if (reset_due && queries.empty()) {
      tear_down();
      set_up();
      reset_due = false;
    }
    const Id id = next_id++;
    queries.emplace(id, Query{name, type, std::move(on_answer), 0, first, {}});
    ask(id);
    schedule();
    return id;
  }

  // Asks the query's server; the outcome comes to `outcomes`, perhaps at once.
  void ask(Id id) {
    const Query& query = queries.at(id);
    if (servers.empty() || servers[query.server].channel == nullptr) {
      outcomes.push_back({id, ARES_ENOTINITIALIZED, {}});
      return;
    }
    ares_query(
        servers[query.server].channel, query.name.c_str(), ns_c_in, static_cast<int>(query.type),
        [](void* arg, int status, int /*timeouts*/, unsigned char* bytes, int count) {
          const std::unique_ptr<Ask> asked(static_cast<Ask*>(arg));
          Impl& self = *asked->impl;
          if (!self.queries.contains(asked->id)) return;
          Outcome outcome{asked->id, status, {}};
          if (bytes != nullptr && count > 0) outcome.bytes.assign(bytes, bytes + count);
          self.outcomes.push_back(std::move(outcome));
        },
        new Ask{this, id});  // NOLINT(cppcoreguidelines-owning-memory): c-ares gives it back once
  }

  void process() {
    if (epoll >= 0) {
      std::array<epoll_event, kEventsAtOnce> events;  // NOLINT: filled by the kernel
      const int n = epoll_wait(epoll, events.data(), kEventsAtOnce, 0);
      for (int i = 0; i < n; ++i) {
        const auto& event = events[static_cast<std::size_t>(i)];
        const bool readable = (event.events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0;
        const bool writable = (event.events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) != 0;
        // Each channel looks among its own sockets only.
        for (const Server& server : servers) {
          if (server.channel == nullptr) continue;
          ares_process_fd(server.channel, readable ? event.data.fd : ARES_SOCKET_BAD,
                          writable ? event.data.fd : ARES_SOCKET_BAD);
        }
      }
    }
    for (const Server& server : servers) {  // times that are up
      if (server.channel != nullptr)
        ares_process_fd(server.channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    }
    // Those that are called back may ask again; that is for the next turn.
    for (std::size_t n = outcomes.size(); n > 0; --n) {
      const Outcome outcome = std::move(outcomes.front());
      outcomes.pop_front();
      take(outcome);
    }
    schedule();
  }

  void schedule() {
    std::optional<Timers::TimePoint> when;
    const auto now = std::chrono::steady_clock::now();
    if (!outcomes.empty()) when = now;
    for (const Server& server : servers) {
      if (server.channel == nullptr) continue;
      timeval time{};
      if (ares_timeout(server.channel, nullptr, &time) == nullptr) continue;
      const auto due = now + std::chrono::seconds(time.tv_sec) +
                       std::chrono::microseconds(time.tv_usec) + std::chrono::milliseconds(1);
      when = std::min(when.value_or(due), due);
    }
    if (when) {
      loop.timers().arm(timer, *when);
    } else {
      loop.timers().disarm(timer);
    }
  }

  void take(const Outcome& outcome) {
    const auto found = queries.find(outcome.id);
    if (found == queries.end()) return;
    Query& query = found->second;
    if (auto message = judge(query, outcome)) {
      first = query.server;
      finish(found, {std::move(*message), {}});
      return;
    }
    if (++query.asked < servers.size()) {
      query.server = (query.server + 1) % servers.size();
      ask(outcome.id);
      return;
    }
    reset_due = reset_due || configured.empty();
    finish(found, {{}, std::exchange(query.errors, {})});
  }

  // The message if it is an answer; else adds to the query's errors.
  std::optional<DnsMessage> judge(Query& query, const Outcome& outcome) {
    std::string what;
    if (!outcome.bytes.empty()) {
      auto message = parse_dns_message(outcome.bytes);
      if (message && (message->rcode == kDnsNoError || message->rcode == kDnsNoSuchName) &&
          !message->truncated) {
        return message;
      }
      what = !message             ? "the answer is damaged"
             : message->truncated ? "the answer is cut off, also over TCP"
                                  : dns_rcode_text(message->rcode);
    } else if (outcome.status == ARES_ETIMEOUT) {
      what = "no answer";
    } else if (servers.empty()) {
      what = "no name server is configured in /etc/resolv.conf";
    } else {
      const std::string& error = servers[query.server].error;
      what = !error.empty()                        ? error
             : outcome.status == ARES_ECONNREFUSED ? "nobody listens, or it cannot be reached"
             : outcome.status == ARES_EBADNAME     ? "the name is not one of DNS"
                                                   : ares_strerror(outcome.status);
    }
    if (!query.errors.empty()) query.errors += "; ";
    if (!servers.empty()) query.errors += servers[query.server].text + ": ";
    query.errors += what;
    return std::nullopt;
  }

  void finish(std::map<Id, Query>::iterator found, Answer answer) {
    const OnAnswer on_answer = std::move(found->second.on_answer);
    queries.erase(found);
    on_answer(std::move(answer));
  }

  Loop& loop;
  const std::vector<std::string> configured;
  int epoll;
  Timers::Id timer = 0;
  std::vector<Server> servers;
  std::size_t first = 0;  // the server to begin with: the last one that answered
  bool reset_due = false;
  std::map<Id, Query> queries;
  Id next_id = 1;
  std::deque<Outcome> outcomes;
};

DnsClient::DnsClient(Loop& loop, std::vector<std::string> servers)
    : impl_(std::make_unique<Impl>(loop, std::move(servers))) {}
DnsClient::~DnsClient() = default;

DnsClient::Id DnsClient::query(const std::string& name, DnsType type, OnAnswer on_answer) {
  return impl_->query(name, type, std::move(on_answer));
}
void DnsClient::cancel(Id id) {
  impl_->queries.erase(id);
}

}  // namespace ballast::checker
