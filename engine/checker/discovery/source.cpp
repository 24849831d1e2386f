// The one place that knows every kind of source.
#include "engine/checker/discovery/source.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <utility>

#include "engine/checker/discovery/file_source.hpp"
#include "engine/checker/discovery/path_watch.hpp"
#ifdef BALLAST_DNS
#include "engine/checker/discovery/dns_client.hpp"
#include "engine/checker/discovery/dns_source.hpp"
#endif

namespace ballast::checker {
namespace {

// Of a kind that this build does not have.
class MissingSource final : public Source {
 public:
  MissingSource(Loop& loop, std::string why) : loop_(loop), why_(std::move(why)) {}
  ~MissingSource() override {
    if (started_) loop_.timers().destroy(timer_);
  }

  void start(OnDiscovered on_discovered) override {
    timer_ = loop_.timers().create(
        [this, report = std::move(on_discovered)] { report({{}, why_, {}}); });
    started_ = true;
    refresh();
  }
  void refresh() override {
    if (started_) loop_.timers().arm(timer_, std::chrono::steady_clock::now());
  }

 private:
  Loop& loop_;
  std::string why_;
  Timers::Id timer_ = 0;
  bool started_ = false;
};

}  // namespace

struct SourceContext::Impl {
  explicit Impl(Loop& on) : loop(on) {}

  Loop& loop;
  PathWatch& paths() {
    if (!paths_) paths_ = std::make_unique<PathWatch>(loop);
    return *paths_;
  }
#ifdef BALLAST_DNS
  // Of those servers; it goes with the last source that asks them.
  std::shared_ptr<DnsClient> client(const std::vector<std::string>& servers) {
    auto client = clients_[servers].lock();
    if (!client) clients_[servers] = client = std::make_shared<DnsClient>(loop, servers);
    return client;
  }
#endif

 private:
  std::unique_ptr<PathWatch> paths_;  // made for the first who wants it
#ifdef BALLAST_DNS
  std::map<std::vector<std::string>, std::weak_ptr<DnsClient>> clients_;
#endif
};

SourceContext::SourceContext(Loop& loop) : impl_(std::make_unique<Impl>(loop)) {}
SourceContext::~SourceContext() = default;

bool has_dns_sources() noexcept {
#ifdef BALLAST_DNS
  return true;
#else
  return false;
#endif
}

std::unique_ptr<Source> SourceContext::make(const SourceSettings& settings) {
  switch (settings.kind) {
    case SourceSettings::Kind::file:
      return std::make_unique<FileSource>(impl_->loop, impl_->paths(), settings.path);
    case SourceSettings::Kind::dns_address:
    case SourceSettings::Kind::dns_srv:
#ifdef BALLAST_DNS
      return std::make_unique<DnsSource>(impl_->loop, impl_->client(settings.servers), settings);
#else
      break;
#endif
  }
  return std::make_unique<MissingSource>(impl_->loop, "this ballastd is built without DNS sources");
}

void put_in_order(std::vector<InstanceSettings>& instances) {
  using Key = std::pair<std::array<std::uint64_t, 3>, std::size_t>;
  std::vector<Key> keys;
  keys.reserve(instances.size());
  for (std::size_t i = 0; i < instances.size(); ++i)
    keys.emplace_back(instances[i].endpoint.to_words(), i);
  std::sort(keys.begin(), keys.end());
  std::vector<InstanceSettings> ordered;
  ordered.reserve(instances.size());
  for (std::size_t i = 0; i < keys.size(); ++i) {
    if (i > 0 && keys[i].first == keys[i - 1].first) continue;
    ordered.push_back(std::move(instances[keys[i].second]));
  }
  instances = std::move(ordered);
}

}  // namespace ballast::checker
