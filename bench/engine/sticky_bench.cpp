// Suite `strategies`: what a sticky token costs, through the shared library, over a pick and its
// report without one: one that is honoured where it was made, one of another host that gave its
// slots otherwise (found once, then remembered, or searched for each time where there are more than
// a handle remembers), one of a foreign key, what cannot be a token; and making one. One process,
// Maglev; docs/sticky.md has the figures.
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "bench/engine/cases.hpp"
#include "bench/engine/worker.hpp"
#include "bench/support/keys.hpp"
#include "bench/support/namespace.hpp"
#include "bench/support/paired.hpp"
#include "engine/ballast.h"
#include "tests/support/temp_dir.hpp"

namespace ballast::bench {

namespace {

constexpr std::uint64_t kLatencyUs = 250;
constexpr std::string_view kKey =
    "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
constexpr std::string_view kForeignKey =
    "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff101112131415161718191a1b1c1d1e1f";

// A namespace whose service has a sticky key, and a handle on it.
class Host {
 public:
  enum class Slots { in_order, reversed };

  Host(std::size_t instances, std::string_view key, Slots slots) {
    const std::string file = directory_.path() + "/sticky.key";
    std::ofstream(file) << key;
    if (::chmod(file.c_str(), 0600) != 0) throw std::runtime_error("chmod " + file);
    checker::Settings settings = settings_of(instances, engine::Strategy::maglev);
    settings.sticky_key_file = file;
    auto& listed = settings.services.front().instances;
    if (slots == Slots::reversed) std::reverse(listed.begin(), listed.end());
    publisher_ = open_publisher(directory_.path() + "/files", settings);
    for (const checker::PublishedInstance& instance : publisher_->instances()) {
      publisher_->set_health(instance.slot, instance.incarnation, shm::Health::up,
                             shm::Reason::passed);
    }
    const std::string files = directory_.path() + "/files";
    ballast_options_t options = BALLAST_OPTIONS_INIT;
    options.directory = files.c_str();
    if (ballast_attach(&options, &handle_) != BALLAST_OK ||
        ballast_find_service(handle_, kServiceName, &service_) != BALLAST_OK) {
      throw std::runtime_error(ballast_last_error());
    }
  }
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;
  ~Host() { ballast_detach(handle_); }

  // What a request costs; `token` empty: without one. Returns the reason.
  std::uint8_t request(const Key& key, std::string_view token) noexcept {
    ballast_pick_options_t options = BALLAST_PICK_OPTIONS_INIT;
    options.sticky = token.data();
    options.sticky_length = token.size();
    ballast_pick_t pick = BALLAST_PICK_INIT;
    if (ballast_pick(handle_, service_, key.bytes, key.size, token.empty() ? nullptr : &options,
                     &pick) == BALLAST_OK) {
      ballast_report(handle_, &pick, BALLAST_SUCCESS, kLatencyUs);
    }
    return pick.reason;
  }

  // The token of the instance that the key falls on.
  std::string token_of(const Key& key) {
    ballast_pick_t pick = BALLAST_PICK_INIT;
    std::array<char, BALLAST_STICKY_TEXT> text{};
    if (ballast_pick(handle_, service_, key.bytes, key.size, nullptr, &pick) != BALLAST_OK ||
        ballast_sticky_token(handle_, service_, &pick, text.data(), text.size()) != BALLAST_OK) {
      throw std::runtime_error("no sticky token");
    }
    ballast_report(handle_, &pick, BALLAST_SUCCESS, kLatencyUs);
    return text.data();
  }

  // A pick whose token is made again and again.
  ballast_pick_t pick_of(const Key& key) noexcept {
    ballast_pick_t pick = BALLAST_PICK_INIT;
    ballast_pick(handle_, service_, key.bytes, key.size, nullptr, &pick);
    ballast_report(handle_, &pick, BALLAST_SUCCESS, kLatencyUs);
    return pick;
  }
  void make_token(const ballast_pick_t& pick,
                  std::array<char, BALLAST_STICKY_TEXT>& text) noexcept {
    ballast_sticky_token(handle_, service_, &pick, text.data(), text.size());
  }

 private:
  tests::TempDir directory_;
  std::unique_ptr<checker::Publisher> publisher_;
  ballast_t* handle_ = nullptr;
  ballast_service_t service_ = 0;
};

// One token for each of the first keys, as many as there are instances.
std::vector<std::string> tokens_of(Host& host, const std::vector<Key>& keys, std::size_t count) {
  std::vector<std::string> tokens;
  for (std::size_t i = 0; i < count; ++i)
    tokens.push_back(host.token_of(keys[i]));
  return tokens;
}

PairedPlan plan_of(std::uint64_t base, std::uint64_t subject) {
  PairedPlan plan;
  plan.base_operations = base;
  plan.subject_operations = subject;
  return plan;
}

// Requests without a token against requests with the tokens in turn, all with the same outcome.
PairedResult with_tokens(std::size_t instances, const std::vector<std::string>& tokens,
                         std::uint8_t reason, std::uint64_t operations) {
  return run_paired(plan_of(8000, operations), [&](unsigned rank) {
    const auto host = std::make_shared<Host>(instances, kKey, Host::Slots::in_order);
    const auto keys = std::make_shared<std::vector<Key>>(make_keys(KeyOrder::runs, rank + 1));
    for (const std::string& token : tokens) {
      if (host->request(keys->front(), token) != reason)
        throw std::runtime_error("a token is not taken as it should be");
    }
    return Contenders{[=](std::uint64_t n) {
                        over_keys(*keys, n, [&](const Key& key) { return host->request(key, {}); });
                      },
                      [=, &tokens](std::uint64_t n) {
                        std::size_t next = 0;
                        over_keys(*keys, n, [&](const Key& key) {
                          const std::string& token = tokens[next];
                          next = next + 1 == tokens.size() ? 0 : next + 1;
                          return host->request(key, token);
                        });
                      }};
  });
}

PairedResult making_a_token() {
  return run_paired(plan_of(8000, 1000), [&](unsigned rank) {
    const auto host = std::make_shared<Host>(100, kKey, Host::Slots::in_order);
    const auto keys = std::make_shared<std::vector<Key>>(make_keys(KeyOrder::runs, rank + 1));
    const ballast_pick_t pick = host->pick_of(keys->front());
    return Contenders{[=](std::uint64_t n) {
                        over_keys(*keys, n, [&](const Key& key) { return host->request(key, {}); });
                      },
                      [=](std::uint64_t n) {
                        std::array<char, BALLAST_STICKY_TEXT> text{};
                        for (std::uint64_t i = 0; i < n; ++i) {
                          host->make_token(pick, text);
                          keep(text[0]);
                        }
                      }};
  });
}

void add(Rows& rows, const std::string& id, const PairedResult& result) {
  rows.add({id + "_ns", result.subject_ns, "ns", Better::lower, {}});
}

}  // namespace

void add_sticky_cases(Suite& suite) {
  suite.add("cost.sticky", [](Rows& rows) {
    const std::vector<Key> keys = make_keys(KeyOrder::runs, 1);
    const auto made_by = [&](std::size_t instances, std::string_view key, Host::Slots slots) {
      Host host(instances, key, slots);
      return tokens_of(host, keys, instances);
    };
    const auto here = made_by(100, kKey, Host::Slots::in_order);
    const PairedResult honoured = with_tokens(100, here, BALLAST_STICKY, 1000);
    rows.add({"cost.sticky_none_ns", honoured.base_ns, "ns", Better::lower, {}});
    add(rows, "cost.sticky_honoured", honoured);
    const auto there = made_by(100, kKey, Host::Slots::reversed);
    add(rows, "cost.sticky_of_another_host", with_tokens(100, there, BALLAST_STICKY, 1000));
    const auto many = made_by(1000, kKey, Host::Slots::reversed);
    add(rows, "cost.sticky_searched_n1000", with_tokens(1000, many, BALLAST_STICKY, 1000));
    const auto foreign = made_by(100, kForeignKey, Host::Slots::in_order);
    add(rows, "cost.sticky_of_a_foreign_key", with_tokens(100, foreign, BALLAST_STICKY_LOST, 1000));
    add(rows, "cost.sticky_no_token_at_all",
        with_tokens(100, {"not a token"}, BALLAST_STICKY_LOST, 2000));
    add(rows, "cost.sticky_made", making_a_token());
  });
}

}  // namespace ballast::bench
