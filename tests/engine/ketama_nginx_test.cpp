// Every key picked through the shared library goes where a real nginx sends it: `hash ...
// consistent` over servers of several weights, listed in two orders, with a server marked down,
// with a dead one that costs a retry, and with addresses that have no port or are no IPv4. Skipped
// (exit 77) without nginx.
#include <ballast.h>
#include <doctest/doctest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "engine/ketama.hpp"
#include "tests/support/attached.hpp"
#include "tests/support/nginx.hpp"
#include "tests/support/published.hpp"
#include "tests/support/skip.hpp"

using namespace ballast::engine;

namespace {

constexpr std::size_t kKeys = 12000;

// Keys as a header can carry them: any bytes but NUL and line ends, no space at either end.
std::vector<std::string> header_keys() {
  std::vector<std::string> keys = {"a",
                                   "0",
                                   "\x01",
                                   "\x7f",
                                   "\xff\xfe\xfd",
                                   "a b",
                                   "a\tb",
                                   "\xc3\xa9t\xc3\xa9",
                                   "%41",
                                   "{}[]\"'\\",
                                   std::string(1000, 'x')};
  std::mt19937 random(20260722);
  while (keys.size() < kKeys / 2) {
    std::string key;
    for (std::size_t size = 1 + random() % 40; key.size() < size;) {
      const char c = static_cast<char>(random());
      if (c != '\0' && c != '\n' && c != '\r' && c != ' ' && c != '\t') key += c;
    }
    keys.push_back(key);
  }
  while (keys.size() < kKeys)
    keys.push_back("user:" + std::to_string(keys.size()));
  std::sort(keys.begin(), keys.end());
  keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
  return keys;
}

// Keys as they stand in a URL: nginx hashes $arg_k as it came, undecoded.
std::vector<std::string> argument_keys() {
  std::vector<std::string> keys = {"%20", "%00%ff", "a+b", "a=b", "a%26b", "\"", "\x80\x81", "~"};
  for (int i = 0; i < 2000; ++i)
    keys.push_back("/p%2f" + std::to_string(i * 7919));
  return keys;
}

struct Answer {
  std::string peer;  // "X-Peer" header: $upstream_addr, one address a try
  std::string body;  // the name of the server that answered
};

// Sends the requests in batches on one connection and reads the answers in order.
class Client {
 public:
  explicit Client(const ballast::tests::Nginx& nginx) : fd_(nginx.connect_front()) {}
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  ~Client() { close(fd_); }

  std::vector<Answer> ask(const std::string& path, const std::vector<std::string>& keys,
                          bool as_argument = false) {
    std::vector<Answer> answers;
    for (std::size_t from = 0; from < keys.size(); from += kBatch) {
      const std::size_t to = std::min(keys.size(), from + kBatch);
      std::string out;
      for (std::size_t i = from; i < to; ++i) {
        out += "GET " + path + (as_argument ? "?k=" + keys[i] : "") + " HTTP/1.1\r\nHost: x\r\n" +
               (as_argument ? "" : "X-Key: " + keys[i] + "\r\n") + "\r\n";
      }
      for (std::size_t sent = 0; sent < out.size();) {
        const ssize_t n = send(fd_, out.data() + sent, out.size() - sent, MSG_NOSIGNAL);
        REQUIRE(n > 0);
        sent += static_cast<std::size_t>(n);
      }
      for (std::size_t i = from; i < to; ++i)
        answers.push_back(read_answer());
    }
    return answers;
  }

 private:
  static constexpr std::size_t kBatch = 32;

  void read_more() {
    char chunk[16384];
    const ssize_t n = recv(fd_, chunk, sizeof chunk, 0);
    REQUIRE(n > 0);
    buffer_.append(chunk, static_cast<std::size_t>(n));
  }
  static std::string header(const std::string& head, const std::string& name) {
    const auto at = head.find("\r\n" + name + ": ");
    if (at == std::string::npos) return {};
    const auto from = at + name.size() + 4;
    return head.substr(from, head.find("\r\n", from) - from);
  }
  Answer read_answer() {
    std::size_t end;
    while ((end = buffer_.find("\r\n\r\n")) == std::string::npos)
      read_more();
    const std::string head = buffer_.substr(0, end + 2);
    const auto length = std::strtoul(header(head, "Content-Length").c_str(), nullptr, 10);
    while (buffer_.size() < end + 4 + length)
      read_more();
    Answer answer{header(head, "X-Peer"), buffer_.substr(end + 4, length)};
    buffer_.erase(0, end + 4 + length);
    return answer;
  }

  int fd_;
  std::string buffer_;
};

std::string upstream(const std::string& name, const std::vector<Member>& members,
                     const std::string& key, const std::map<std::string, std::string>& extra = {}) {
  std::string out = "upstream " + name + " { hash " + key + " consistent;\n";
  for (const Member& m : members) {
    const auto more = extra.find(m.text);
    out += "server " + m.text + " weight=" + std::to_string(m.weight) + " max_fails=0" +
           (more == extra.end() ? "" : " " + more->second) + ";\n";
  }
  return out + "keepalive 64; }\n";
}

// Where the published service sends the keys, picked through the shared library. Instance `down`,
// by its place in the list, is marked down.
std::vector<std::uint16_t> ours(const std::vector<Member>& members,
                                const std::vector<std::string>& keys,
                                std::optional<std::size_t> down = {}) {
  using namespace ballast;
  checker::ServiceSettings service;
  service.name = "web";
  service.policy.strategy = Strategy::ketama;
  service.check.first_check = checker::FirstCheck::up;
  for (const Member& m : members) {
    service.instances.push_back({*shm::parse_endpoint(m.text), m.text, m.weight});
  }
  tests::Published published(tests::settings_of({service}));
  if (down) published.set_usable(0, *down, false);
  std::map<std::uint32_t, std::uint16_t> name_of;
  for (std::size_t i = 0; i < members.size(); ++i) {
    name_of[published.find(0, i).slot] = members[i].slot;
  }
  tests::Attached worker(published.directory());
  std::vector<std::uint16_t> out;
  for (const std::string& key : keys) {
    ballast_pick_t pick = BALLAST_PICK_INIT;
    REQUIRE(worker.pick(key, pick) == BALLAST_OK);
    out.push_back(name_of.at(pick.slot));
    REQUIRE(ballast_abandon(worker.handle, &pick) == BALLAST_OK);
  }
  return out;
}

// The same for addresses that cannot be published, from the ring alone.
std::vector<std::uint16_t> from_ring(const std::vector<Member>& members,
                                     const std::vector<std::string>& keys) {
  const auto ring = build_ketama(members);
  REQUIRE(ring.has_value());
  std::vector<std::uint16_t> out;
  for (const std::string& key : keys) {
    out.push_back(ring->slots[find_ketama(ring->points, ring->index, ketama_hash(key))]);
  }
  return out;
}

void compare(const char* what, const std::vector<Answer>& answers,
             const std::vector<std::uint16_t>& expected) {
  CAPTURE(what);
  REQUIRE(answers.size() == expected.size());
  std::size_t differing = 0;
  std::map<std::string, int> keys_of;
  for (std::size_t i = 0; i < answers.size(); ++i) {
    differing += answers[i].body != std::to_string(expected[i]) ? 1 : 0;
    ++keys_of[answers[i].body];
  }
  CHECK(differing == 0);
  CHECK(keys_of.size() >= 5);
  std::printf("%s: %zu keys, %zu elsewhere than nginx's\n", what, answers.size(), differing);
}

}  // namespace

TEST_CASE("every key goes where nginx sends it") {
  if (ballast::tests::find_nginx().empty()) {
    ballast::tests::skip("no nginx in /usr/sbin, /usr/local/sbin or /usr/bin (apt install nginx)");
    return;
  }
  const std::uint32_t weights[] = {1, 2, 3, 5, 10, 1, 40};
  std::vector<Member> members;
  std::string servers;
  for (std::uint16_t slot = 0; slot < std::size(weights); ++slot) {
    const std::string text = "127.0.0." + std::to_string(2 + slot % 4) + ":" +
                             std::to_string(ballast::tests::port_free_everywhere());
    members.push_back({slot, text, weights[slot]});
    servers += "server { listen " + text + "; location / { return 200 \"" + std::to_string(slot) +
               "\"; } }\n";
  }
  std::vector<Member> reordered(members.rbegin(), members.rend());
  std::rotate(reordered.begin(), reordered.begin() + 2, reordered.end());
  // One that refuses connections, in front of the list.
  constexpr std::uint16_t kDead = 99;
  std::vector<Member> with_dead = members;
  with_dead.insert(
      with_dead.begin(),
      {kDead, "127.0.0.1:" + std::to_string(ballast::tests::port_free_everywhere()), 8});
  // Nothing needs to answer here: $upstream_addr says whom nginx chose.
  std::vector<Member> odd = {{0, "127.0.0.9", 1},
                             {1, "127.0.0.10", 2},
                             {2, "127.0.0.10:81", 2},
                             {3, "[::1]:82", 1},
                             {4, "[::1]", 2},
                             {5, "unix:/nonexistent/socket", 1},
                             {6, "unix:/nonexistent/socket:83", 1}};
  const std::vector<std::string> odd_peers = {"127.0.0.9:80",
                                              "127.0.0.10:80",
                                              "127.0.0.10:81",
                                              "[::1]:82",
                                              "[::1]:80",
                                              "unix:/nonexistent/socket",
                                              "unix:/nonexistent/socket"};

  const std::uint16_t front = ballast::tests::port_free_everywhere();
  const std::string http =
      upstream("plain", members, "$http_x_key") + upstream("reordered", reordered, "$http_x_key") +
      upstream("marked", members, "$http_x_key", {{members[4].text, "down"}}) +
      upstream("dead", with_dead, "$http_x_key") + upstream("argument", members, "$arg_k") +
      upstream("odd", odd, "$http_x_key") + servers +
      "server { listen 127.0.0.1:" + std::to_string(front) +
      ";\n"
      "proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_set_header X-Key \"\";\n"
      "add_header X-Peer $upstream_addr always;\n"
      "location = /plain { proxy_pass http://plain/; }\n"
      "location = /reordered { proxy_pass http://reordered/; }\n"
      "location = /marked { proxy_pass http://marked/; }\n"
      "location = /dead { proxy_pass http://dead/; }\n"
      "location = /argument { proxy_pass http://argument/; }\n"
      "location = /odd { proxy_next_upstream off; proxy_pass http://odd/; }\n}\n";
  const ballast::tests::Nginx nginx(http, front);
  Client client(nginx);
  const auto keys = header_keys();
  REQUIRE(keys.size() > 10000);

  const auto plain = client.ask("/plain", keys);
  compare("weighted servers", plain, ours(members, keys));
  const auto other_order = client.ask("/reordered", keys);
  compare("in another order", other_order, ours(reordered, keys));
  compare("in another order, our ring in the first", other_order, ours(members, keys));
  compare("one marked down", client.ask("/marked", keys), ours(members, keys, 4));

  const auto retried = client.ask("/dead", keys);
  compare("one dead and retried", retried, ours(with_dead, keys, 0));
  const auto first_try = ours(with_dead, keys);
  std::size_t retries = 0;
  for (std::size_t i = 0; i < keys.size(); ++i) {
    const bool tried_two = retried[i].peer.find(',') != std::string::npos;
    retries += tried_two ? 1 : 0;
    REQUIRE(tried_two == (first_try[i] == kDead));
  }
  CHECK(retries > keys.size() / 20);

  const auto arguments = argument_keys();
  compare("keys as they stand in the URL", client.ask("/argument", arguments, true),
          ours(members, arguments));

  const auto odd_slots = from_ring(odd, keys);
  const auto odd_answers = client.ask("/odd", keys);
  std::map<std::uint16_t, int> seen;
  std::size_t differing = 0;
  for (std::size_t i = 0; i < keys.size(); ++i) {
    ++seen[odd_slots[i]];
    // nginx takes what follows a second colon of a unix path for the URI: both share a name there.
    differing += odd_answers[i].peer.rfind(odd_peers[odd_slots[i]], 0) == 0 ? 0 : 1;
  }
  CHECK(seen.size() == odd.size());
  CHECK(differing == 0);
  std::printf("addresses without a port, IPv6, unix: %zu keys, %zu elsewhere than nginx's\n",
              keys.size(), differing);
}
