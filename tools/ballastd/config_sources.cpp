// [[service.NAME.sources]]: where instances come from besides the configuration.
#include <algorithm>
#include <array>

#include "engine/checker/discovery/source.hpp"
#include "tools/ballastd/config_keys.hpp"
#include "tools/ballastd/config_service.hpp"

namespace ballast::tools {
namespace {

using checker::SourceSettings;
using Type = ConfigValue::Type;
using Kind = SourceSettings::Kind;

struct KindKey {
  const char* key;
  Kind kind;
};
constexpr std::array<KindKey, 3> kKindKeys{
    {{"file", Kind::file}, {"dns", Kind::dns_address}, {"srv", Kind::dns_srv}}};

// The one key that says of what kind a source is; null after a complaint.
const KindKey* find_kind(ConfigWalk& walk, const ConfigValue& table, bool all_known) {
  const KindKey* found = nullptr;
  for (const KindKey& candidate : kKindKeys) {
    const ConfigValue* value = table.find(candidate.key);
    if (value == nullptr) continue;
    if (found != nullptr) {
      walk.complain({"a source has " + in_quotes(found->key) + " and " + in_quotes(candidate.key),
                     "make two sources of it"},
                    {{walk.key_span(*value, candidate.key), "here"}});
      return nullptr;
    }
    found = &candidate;
  }
  if (found == nullptr && all_known) {
    walk.complain(table, {"this source does not say where to look",
                          "add file = \"/PATH\", dns = \"NAME\" or srv = \"NAME\""});
  }
  return found;
}

void read_servers(ConfigWalk& walk, const ConfigValue& table, SourceSettings& source) {
  const ConfigValue* servers = table.find("servers");
  if (servers == nullptr) return;
  if (!servers->is(Type::array) || servers->items.empty()) {
    walk.complain(*servers, {"servers is no list of name servers",
                             "write [\"ADDRESS\"], or leave it out for the system's"});
    return;
  }
  if (servers->items.size() > checker::kMaxNameServers) {
    walk.complain(*servers, {std::to_string(servers->items.size()) + " name servers",
                             "use at most " + std::to_string(checker::kMaxNameServers)});
    return;
  }
  for (const ConfigValue& item : servers->items) {
    if (!item.is(Type::string)) {
      walk.wrong_type(item, "a name server", "a string: \"ADDRESS\" or \"ADDRESS:PORT\"");
    } else if (const auto bad = judge_name_server(item.string)) {
      walk.complain(item, *bad);
    } else {
      source.servers.push_back(item.string);
    }
  }
}

void read_dns(ConfigWalk& walk, const ConfigValue& table, const KindKey& kind,
              SourceSettings& source) {
  const ConfigValue& at = *table.find(kind.key);
  if (!checker::has_dns_sources()) {
    walk.complain(
        at, {"this ballastd is built without DNS sources", "use a file, or build it with c-ares"});
  }
  if (const auto name = walk.read_string(table, kind.key, "a name in DNS")) {
    source.name = *name;
    if (const auto bad = judge_dns_name(kind.key, *name)) walk.complain(at, *bad);
  }
  read_servers(walk, table, source);
  if (kind.kind == Kind::dns_srv) {
    walk.refuse(table, "port", "the source is of kind \"dns\"",
                "leave it to the answer, which has the ports");
  } else if (table.find("port") == nullptr) {
    walk.complain(at, {"a name in DNS has addresses, but no port",
                       "add port = 80, or whatever the instances listen on"});
  }
}

// Nothing after a complaint that leaves nothing to go on with.
std::optional<SourceSettings> read_source(ConfigWalk& walk, const ConfigValue& table,
                                          const std::string& where) {
  const bool all_known = walk.judge_keys(table, where, "[[" + where + ".sources]]", keys::source());
  SourceSettings source;
  read_fields(walk, table, keys::source_fields(), source);
  const KindKey* kind = find_kind(walk, table, all_known);
  if (kind == nullptr) return std::nullopt;
  source.kind = kind->kind;
  if (kind->kind != Kind::file) {
    read_dns(walk, table, *kind, source);
    return source;
  }
  if (const auto path = walk.read_string(table, "file", "the path of a file")) {
    source.path = *path;
    if (const auto bad = judge_absolute_path("file", *path)) {
      walk.complain(*table.find("file"), *bad);
    }
  }
  for (const char* key : {"port", "servers"})
    walk.refuse(table, key, "the source is a name in DNS", "write the port with each target");
  return source;
}

}  // namespace

void read_sources(ConfigWalk& walk, const ConfigValue& service, const std::string& where,
                  checker::ServiceSettings& out) {
  const ConfigValue* sources = service.find("sources");
  if (sources == nullptr) return;
  if (!sources->is(Type::array)) {
    walk.wrong_type(*sources, "sources", "tables: [[" + where + ".sources]]");
    return;
  }
  if (sources->items.empty() || sources->items.size() > checker::kMaxSources) {
    walk.complain(*sources, {std::to_string(sources->items.size()) + " sources",
                             "use 1 to " + std::to_string(checker::kMaxSources)});
    return;
  }
  for (const ConfigValue& item : sources->items) {
    if (!item.is(Type::table)) {
      walk.wrong_type(item, "a source", "a table: { file = \"/PATH\" }");
      continue;
    }
    auto source = read_source(walk, item, where);
    if (!source) continue;
    if (std::find(out.sources.begin(), out.sources.end(), *source) != out.sources.end()) {
      walk.complain(item, {"the same source twice", "remove one of them"});
      continue;
    }
    out.sources.push_back(std::move(*source));
  }
}

}  // namespace ballast::tools
