// Judges a whole file: what it has at its top, [ballast], and which services there are. It goes on
// after an error, so that one run shows as many as possible.
#include "tools/ballastd/config.hpp"

#include "tools/ballastd/config_keys.hpp"
#include "tools/ballastd/config_metrics.hpp"
#include "tools/ballastd/config_service.hpp"
#include "tools/ballastd/config_tree.hpp"
#include "tools/ballastd/config_walk.hpp"

namespace ballast::tools {
namespace {

using Type = ConfigValue::Type;

// Reads the path of a key, which must be absolute.
void read_path(ConfigWalk& walk, const ConfigValue& table, const char* key, std::string& out) {
  const auto path = walk.read_string(table, key, "a string");
  if (!path) return;
  out = *path;
  if (const auto bad = judge_absolute_path(key, *path)) walk.complain(*table.find(key), *bad);
}

void read_group(ConfigWalk& walk, const ConfigValue& table, const char* key,
                const ConfigEnvironment& environment, std::string& out,
                std::optional<std::uint32_t>& gid) {
  const auto group = walk.read_string(table, key, "the name of a group");
  if (!group) return;
  out = *group;
  gid = environment.find_group(*group);
  if (!gid) {
    walk.complain(*table.find(key), {"there is no group " + in_quotes(*group),
                                     "add it with groupadd, or name one that exists"});
  }
}

void read_ballast(ConfigWalk& walk, const ConfigValue& root, const ConfigEnvironment& environment,
                  checker::Settings& settings) {
  const ConfigValue* ballast = root.find("ballast");
  if (ballast == nullptr || !walk.want_table(*ballast, "ballast", "ballast")) return;
  walk.judge_keys(*ballast, {}, "[ballast]", keys::ballast());
  if (const auto name = walk.read_string(*ballast, "namespace", "a string")) {
    settings.name_space = *name;
    if (const auto bad = judge_name("namespace", *name)) {
      walk.complain(*ballast->find("namespace"), *bad);
    }
  }
  read_path(walk, *ballast, "directory", settings.directory);
  read_path(walk, *ballast, "sticky_key_file", settings.sticky_key_file);
  read_path(walk, *ballast, "control_socket", settings.control_socket);
  read_path(walk, *ballast, "state_file", settings.state_file);
  read_group(walk, *ballast, "workers_group", environment, settings.workers_group,
             settings.workers_gid);
  read_group(walk, *ballast, "control_group", environment, settings.control_group,
             settings.control_gid);
  if (const auto zone = walk.read_string(*ballast, "zone", "a string")) {
    settings.zone = *zone;
    if (const auto bad = judge_name("zone", *zone)) walk.complain(*ballast->find("zone"), *bad);
  }
  read_fields(walk, *ballast, keys::ballast_fields(), settings);
}

// A key that is missing is not missed when another is misspelt: it may be that one.
void read_services(ConfigWalk& walk, const ConfigValue& root, bool all_known,
                   const ConfigEnvironment& environment, checker::Settings& settings) {
  const ConfigValue* services = root.find("service");
  if (services == nullptr) {
    if (!all_known) return;
    walk.complain_of_file(
        {"no service is configured", "add [service.NAME] with instances = [\"HOST:PORT\"]"});
    return;
  }
  if (!services->is(Type::table)) {
    walk.wrong_type(*services, "service", "a table for each service: [service.NAME]");
    return;
  }
  if (services->entries.size() > checker::kMaxServices) {
    const auto& [name, value] = services->entries[checker::kMaxServices];
    walk.complain({std::to_string(services->entries.size()) + " services are configured",
                   "the limit is " + std::to_string(checker::kMaxServices)},
                  {{walk.key_span(value, name), "the first one too many"}});
    return;
  }
  ServiceReader reader(walk, environment, settings);
  for (const auto& [name, value] : services->entries)
    reader.read(name, value);
}

ConfigResult failed(Diagnostic error) {
  ConfigResult result;
  result.errors.push_back(std::move(error));
  return result;
}

}  // namespace

ConfigResult read_config_text(const std::string& name, std::string text,
                              const ConfigEnvironment& environment) {
  const SourceText source(name, std::move(text));
  if (auto bad = source.check_text()) return failed(std::move(*bad));
  const ConfigTree tree = parse_toml(source);
  if (!tree.root) return failed(*tree.error);
  ConfigWalk walk(source);
  checker::Settings settings;
  const bool all_known = walk.judge_keys(*tree.root, {}, "the file", keys::root());
  read_ballast(walk, *tree.root, environment, settings);
  read_metrics(walk, *tree.root, settings);
  read_services(walk, *tree.root, all_known, environment, settings);
  ConfigResult result;
  result.errors = walk.take_errors();
  if (result.errors.empty()) result.settings = std::move(settings);
  return result;
}

}  // namespace ballast::tools
