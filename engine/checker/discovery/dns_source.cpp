// A look is a set of questions; when all are answered, or have failed, it is judged as a whole.
#include "engine/checker/discovery/dns_source.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "engine/checker/discovery/dns_services.hpp"

namespace ballast::checker {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::size_t kQuestionsAtOnce = 32;
constexpr std::array<DnsType, 2> kFamilies{DnsType::a, DnsType::aaaa};
constexpr int kSpreadPercent = 10;
constexpr std::size_t kShownFailures = 3;

std::string spelt(std::string name) {
  for (char& c : name)
    c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  if (name.ends_with('.')) name.pop_back();
  return name;
}

const char* to_text(DnsType type) {
  return type == DnsType::a ? "A" : type == DnsType::aaaa ? "AAAA" : "SRV";
}

DnsType family_of(const shm::Endpoint& address) {
  return address.family == shm::Family::ipv4 ? DnsType::a : DnsType::aaaa;
}

}  // namespace

DnsSource::DnsSource(Loop& loop, std::shared_ptr<DnsClient> client, SourceSettings settings)
    : loop_(loop),
      client_(std::move(client)),
      settings_(std::move(settings)),
      name_(spelt(settings_.name)),
      random_(std::random_device{}()) {}

DnsSource::~DnsSource() {
  for (const DnsClient::Id id : pending_)
    client_->cancel(id);
  if (timer_) loop_.timers().destroy(*timer_);
}

void DnsSource::start(OnDiscovered on_discovered) {
  on_discovered_ = std::move(on_discovered);
  timer_ = loop_.timers().create([this] { look(); });
  look_in(milliseconds(0));
}

void DnsSource::refresh() {
  must_report_ = true;
  again_ = looking_;
  if (timer_ && !looking_) look_in(milliseconds(0));
}

void DnsSource::look_in(milliseconds time) {
  loop_.timers().arm(*timer_, std::chrono::steady_clock::now() + time);
}

void DnsSource::look() {
  if (looking_) return;
  looking_ = true;
  services_.clear();
  answered_.clear();
  failed_.clear();
  ttl_s_.reset();
  negative_ttl_s_.reset();
  no_such_name_ = false;
  addresses_ = 0;
  excess_.clear();
  if (settings_.kind == SourceSettings::Kind::dns_srv) {
    waiting_.emplace_back(name_, DnsType::srv);
  } else {
    for (const DnsType family : kFamilies)
      waiting_.emplace_back(name_, family);
  }
  ask_more();
}

void DnsSource::ask_more() {
  while (!waiting_.empty() && pending_.size() < kQuestionsAtOnce) {
    Question question = std::move(waiting_.front());
    waiting_.pop_front();
    ask(std::move(question));
  }
  if (pending_.empty()) finish();
}

void DnsSource::ask(Question question) {
  const std::string name = question.first;
  const DnsType type = question.second;
  // Its number is known only afterwards, and it is never answered before that.
  auto id = std::make_shared<DnsClient::Id>(0);
  *id = client_->query(name, type,
                       [this, id, asked = std::move(question)](const DnsClient::Answer& answer) {
                         pending_.erase(*id);
                         on_answer(asked, answer);
                         ask_more();
                       });
  pending_.insert(*id);
}

void DnsSource::hold(std::optional<std::uint32_t> ttl_s) {
  if (ttl_s) ttl_s_ = std::min(ttl_s_.value_or(*ttl_s), *ttl_s);
}

void DnsSource::on_answer(const Question& question, const DnsClient::Answer& answer) {
  if (!answer.error.empty()) {
    failed_.emplace_back(question, answer.error);
    return;
  }
  const DnsMessage& message = answer.message;
  if (message.rcode == kDnsNoSuchName && question.first == name_) no_such_name_ = true;
  if (message.negative_ttl_s) {
    negative_ttl_s_ =
        std::min(negative_ttl_s_.value_or(*message.negative_ttl_s), *message.negative_ttl_s);
  }
  if (question.second == DnsType::srv) return take_services(message);
  addresses_ += message.addresses.size();
  if (addresses_ > kMaxInstances) {
    excess_ = "more than " + std::to_string(kMaxInstances) + " addresses";
    waiting_.clear();
    answered_.clear();
  }
  if (!excess_.empty()) return;
  hold(message.ttl_s);
  Addresses& addresses = answered_[question];
  for (const DnsAddress& found : message.addresses) {
    // Whoever's they are: what leads there is the server's to follow.
    if (family_of(found.address) == question.second) addresses.push_back(found.address);
  }
}

// What comes along with the services need not be asked for.
void DnsSource::take_services(const DnsMessage& message) {
  hold(message.ttl_s);
  services_ = message.services;
  std::set<std::string> targets;
  for (const DnsService& service : services_) {
    if (!service.target.empty()) targets.insert(service.target);
  }
  if (targets.size() > kMaxDnsTargets) {
    excess_ = std::to_string(targets.size()) + " targets: at most " +
              std::to_string(kMaxDnsTargets) + " are looked up";
    return;
  }
  addresses_ += message.additional.size();
  std::set<std::string> told;
  for (const DnsAddress& found : message.additional) {
    if (!targets.contains(found.name)) continue;
    answered_[{found.name, family_of(found.address)}].push_back(found.address);
    told.insert(found.name);
  }
  for (const std::string& target : targets) {
    if (told.contains(target)) continue;
    for (const DnsType family : kFamilies)
      waiting_.emplace_back(target, family);
  }
}

Discovered DnsSource::instances_found() {
  std::map<std::string, Addresses> by_name;
  for (const auto& [question, addresses] : answered_) {
    auto& all = by_name[question.first];
    all.insert(all.end(), addresses.begin(), addresses.end());
  }
  if (settings_.kind == SourceSettings::Kind::dns_srv) return to_instances(services_, by_name);
  Discovered found;
  std::vector<InstanceSettings>& instances = found.instances;
  for (const shm::Endpoint& address : by_name[name_])
    instances.push_back(instance_at(address, settings_.port));
  put_in_order(instances);
  return found;
}

void DnsSource::finish() {
  looking_ = false;
  std::string failures;
  bool partial = false;
  for (std::size_t i = 0; i < failed_.size(); ++i) {
    const auto& [question, error] = failed_[i];
    if (const auto known = known_.find(question); known != known_.end()) {
      answered_[question] = known->second;
    } else {
      partial = true;
    }
    if (i < kShownFailures) {
      failures.append(failures.empty() ? "" : ", ").append(to_text(question.second));
      failures.append(" of ").append(question.first).append(" (").append(error).append(")");
    }
  }
  if (failed_.size() > kShownFailures) {
    failures += " and " + std::to_string(failed_.size() - kShownFailures) + " more";
  }
  const bool services_failed = !failed_.empty() && failed_.front().first.second == DnsType::srv;
  std::vector<InstanceSettings> instances;
  if (!services_failed && excess_.empty()) {
    Discovered found = instances_found();
    excess_ = std::move(found.error);
    instances = std::move(found.instances);
  }
  const bool all_failed = services_failed || (settings_.kind == SourceSettings::Kind::dns_address &&
                                              failed_.size() == kFamilies.size());

  milliseconds next;
  if (failed_.empty() && excess_.empty()) {
    failures_ = 0;
    const bool empty = instances.empty();
    const auto ttl = empty ? negative_ttl_s_ : ttl_s_;
    const auto limit = empty ? kMaxNegativeDnsTtl : kMaxDnsTtl;
    const seconds unsaid = empty ? kDefaultNegativeDnsTtl : kMinDnsTtl;
    next = std::clamp(ttl ? seconds(*ttl) : unsaid, kMinDnsTtl, limit);
  } else {
    const std::uint32_t doublings = std::min(failures_++, 5U);
    next = std::min(kMinDnsRetry * (1 << doublings), kMaxDnsRetry);
  }
  const auto spread = static_cast<int>(next.count() * kSpreadPercent / 100);
  if (spread > 0) next += milliseconds(std::uniform_int_distribution(0, spread)(random_));

  if (!excess_.empty()) {
    report({{}, name_ + ": " + excess_, {}});
  } else if (!failed_.empty() && (all_failed || instances.empty())) {
    report({{}, "cannot look up " + failures, {}});
  } else {
    known_ = std::move(answered_);
    Discovered found;
    found.partial = partial;
    if (!failures.empty()) {
      found.note = "kept what was known of " + failures;
    } else if (instances.empty()) {
      found.note = name_ + (no_such_name_ ? " does not exist (NXDOMAIN)" : " has no addresses");
    }
    found.instances = std::move(instances);
    report(std::move(found));
  }
  answered_.clear();
  services_.clear();
  look_in(std::exchange(again_, false) ? milliseconds(0) : next);
}

void DnsSource::report(Discovered found) {
  if (found.error.empty() && !must_report_ && reported_ == found) return;
  must_report_ = false;
  reported_ = found;
  on_discovered_(std::move(found));
}

}  // namespace ballast::checker
