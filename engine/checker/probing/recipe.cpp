// The choice of what a check's bytes travel over, by its settings.
#include "engine/checker/probing/recipe.hpp"

#include <algorithm>
#include <utility>

namespace ballast::checker {

namespace {

// How long after the last instance what was made of its settings may stay.
constexpr auto kSweep = std::chrono::seconds(10);

}  // namespace

std::shared_ptr<const Recipe> make_recipe(Streams& plain, Streams& encrypted,
                                          const CheckSettings& settings) {
  auto recipe = std::make_shared<Recipe>();
  recipe->settings = settings;
  recipe->streams = &plain;
  if (settings.kind == CheckKind::http) recipe->request = RequestText(settings);
  if (settings.tls.enabled) {
    auto tls = TlsClient::make(settings.tls, settings.kind);
    recipe->streams = tls ? &encrypted : nullptr;
    if (tls) recipe->tls = std::move(*tls);
  }
  if (!settings.body_contains.empty() || !settings.body_regex.empty()) {
    recipe->body = std::make_unique<const BodyRule>(settings);
  }
  const bool is_redis = settings.kind == CheckKind::tcp && settings.preset == Preset::redis;
  recipe->reuses = settings.kind == CheckKind::grpc || is_redis ||
                   (settings.kind == CheckKind::http && settings.keep_alive);
  recipe->watches = settings.kind == CheckKind::tcp && settings.tcp_sentinel && !is_redis;
  return recipe;
}

RecipeBook::~RecipeBook() {
  if (sweep_) loop_.timers().destroy(*sweep_);
}

std::shared_ptr<const Recipe> RecipeBook::get(const CheckSettings& settings) {
  // A service's instances are added one after the other, so that it is mostly the last one.
  const auto found = std::find_if(recipes_.rbegin(), recipes_.rend(),
                                  [&](const auto& one) { return one->settings == settings; });
  if (found != recipes_.rend()) return *found;
  // Not as soon as the last one lets go: that may be called from within a recipe's streams.
  if (!sweep_) sweep_ = loop_.timers().create([this] { sweep(); });
  loop_.timers().arm(*sweep_, std::chrono::steady_clock::now() + kSweep);
  return recipes_.emplace_back(make_recipe(loop_, encrypted_, settings));
}

void RecipeBook::sweep() {
  std::erase_if(recipes_, [](const auto& one) { return one.use_count() == 1; });
  if (!recipes_.empty()) loop_.timers().arm(*sweep_, std::chrono::steady_clock::now() + kSweep);
}

std::string peer_name(const CheckSettings& check, const InstanceSettings& instance) {
  if (!check.tls.server_name.empty()) return check.tls.server_name;
  std::string name = check.host;
  if (name.empty()) name = instance.text;
  if (name.empty()) name = instance.endpoint.to_text();
  // "[::1]:80" and "host:80", but not a bare "::1".
  if (name.front() == '[') return name.substr(1, name.find(']') - 1);
  if (std::count(name.begin(), name.end(), ':') == 1) name.erase(name.find(':'));
  return name;
}

}  // namespace ballast::checker
