// The one place that knows every kind of source.
#include "engine/checker/discovery/source.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "engine/checker/discovery/file_source.hpp"
#include "engine/checker/discovery/path_watch.hpp"

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

 private:
  std::unique_ptr<PathWatch> paths_;  // made for the first who wants it
};

SourceContext::SourceContext(Loop& loop) : impl_(std::make_unique<Impl>(loop)) {}
SourceContext::~SourceContext() = default;

std::unique_ptr<Source> SourceContext::make(const SourceSettings& settings) {
  switch (settings.kind) {
    case SourceSettings::Kind::file:
      return std::make_unique<FileSource>(impl_->loop, impl_->paths(), settings.path);
    case SourceSettings::Kind::dns_address:
    case SourceSettings::Kind::dns_srv:
      break;
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
