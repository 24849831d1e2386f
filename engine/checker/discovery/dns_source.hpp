// Instances from DNS: the addresses of a name (A and AAAA), or its services (SRV), whose priorities
// become tiers and whose weights become weights. It looks again when the answer's time to live is
// over, and in growing steps after a failure. A part of a look that fails (one family, one of many
// targets) is filled from the last good look; a look of which nothing is known, or that leads to
// more than anybody can take, is a failure, and the last good set stays with whoever listens.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "engine/checker/discovery/dns_client.hpp"
#include "engine/checker/discovery/source.hpp"

namespace ballast::checker {

// Limits of what an answer says about itself.
inline constexpr std::chrono::seconds kMinDnsTtl{1};
inline constexpr std::chrono::seconds kMaxDnsTtl{300};
inline constexpr std::chrono::seconds kMaxNegativeDnsTtl{30};
inline constexpr std::chrono::seconds kDefaultNegativeDnsTtl{5};
// After the first failure, and at most; each is twice the one before.
inline constexpr std::chrono::seconds kMinDnsRetry{1};
inline constexpr std::chrono::seconds kMaxDnsRetry{30};
// Different targets of the services of an answer; each is one pod of a headless service, say.
inline constexpr std::size_t kMaxDnsTargets = 1024;

class DnsSource final : public Source {
 public:
  DnsSource(Loop& loop, std::shared_ptr<DnsClient> client, SourceSettings settings);
  ~DnsSource() override;

  void start(OnDiscovered on_discovered) override;
  void refresh() override;

 private:
  using Addresses = std::vector<shm::Endpoint>;  // without a port
  using Question = std::pair<std::string, DnsType>;

  void look();
  void ask(Question question);
  void ask_more();
  void on_answer(const Question& question, const DnsClient::Answer& answer);
  void take_services(const DnsMessage& message);
  void finish();
  [[nodiscard]] Discovered instances_found();
  void report(Discovered found);
  void look_in(std::chrono::milliseconds time);
  void hold(std::optional<std::uint32_t> ttl_s);

  Loop& loop_;
  const std::shared_ptr<DnsClient> client_;
  const SourceSettings settings_;
  const std::string name_;  // as DnsMessage spells names
  OnDiscovered on_discovered_;
  std::optional<Timers::Id> timer_;
  std::minstd_rand random_;  // spreads looks; nothing depends on what it says
  std::uint32_t failures_ = 0;
  bool must_report_ = true;
  bool again_ = false;  // asked for while looking
  std::optional<Discovered> reported_;
  std::map<Question, Addresses> known_;  // of the last good look

  // The look under way.
  bool looking_ = false;
  std::set<DnsClient::Id> pending_;
  std::deque<Question> waiting_;
  std::vector<DnsService> services_;
  std::map<Question, Addresses> answered_;
  std::vector<std::pair<Question, std::string>> failed_;
  std::optional<std::uint32_t> ttl_s_;
  std::optional<std::uint32_t> negative_ttl_s_;
  bool no_such_name_ = false;
  std::size_t addresses_ = 0;  // of all answers together
  std::string excess_;         // why it is more than is taken; empty: it is not
};

}  // namespace ballast::checker
