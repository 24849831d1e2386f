// The choice of what a check's bytes travel over, by its settings.
#include "engine/checker/probing/recipe.hpp"

#include <algorithm>

namespace ballast::checker {

std::shared_ptr<const Recipe> make_recipe(Loop& loop, const CheckSettings& settings) {
  auto recipe = std::make_shared<Recipe>();
  recipe->settings = settings;
  recipe->streams = &loop;
  if (!settings.body_contains.empty() || !settings.body_regex.empty()) {
    recipe->body = std::make_unique<const BodyRule>(settings);
  }
  recipe->reuses =
      settings.kind == CheckKind::grpc || (settings.kind == CheckKind::http && settings.keep_alive);
  recipe->watches = settings.kind == CheckKind::tcp && settings.tcp_sentinel;
  return recipe;
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
