// [service.NAME.check.tls]: how a check is encrypted. The files are read here, so that a wrong one
// is an error of the configuration, and a check never reads any.
#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string>

#include "engine/checker/probing/tls_client.hpp"
#include "tools/ballastd/config_keys.hpp"
#include "tools/ballastd/config_service.hpp"
#include "tools/ballastd/peer_words.hpp"

namespace ballast::tools {
namespace {

using checker::TlsSettings;
using Type = ConfigValue::Type;

struct PathKey {
  const char* key;
  std::string TlsSettings::* path;
};
constexpr auto kPaths =
    std::to_array<PathKey>({{"ca_file", &TlsSettings::ca_file},
                            {"certificate_file", &TlsSettings::certificate_file},
                            {"key_file", &TlsSettings::key_file}});

bool is_address(const std::string& name) {
  std::array<unsigned char, sizeof(in6_addr)> out{};
  return inet_pton(AF_INET, name.c_str(), out.data()) == 1 ||
         inet_pton(AF_INET6, name.c_str(), out.data()) == 1;
}

// False after a complaint.
bool read_paths(ConfigWalk& walk, const ConfigValue& table, TlsSettings& tls) {
  bool good = true;
  for (const PathKey& one : kPaths) {
    const ConfigValue* value = table.find(one.key);
    if (value == nullptr) continue;
    const auto path = walk.read_string(table, one.key, "a string");
    good = good && path.has_value();
    if (!path) continue;
    tls.*one.path = *path;
    const auto bad = judge_absolute_path(one.key, *path);
    if (bad) walk.complain(*value, *bad);
    good = good && !bad;
  }
  return good;
}

bool read_alpn(ConfigWalk& walk, const ConfigValue& table, TlsSettings& tls) {
  const ConfigValue* value = table.find("alpn");
  if (value == nullptr) return true;
  const bool strings = value->is(Type::array) &&
                       std::all_of(value->items.begin(), value->items.end(),
                                   [](const ConfigValue& item) { return item.is(Type::string); });
  if (!strings) {
    walk.wrong_type(*value, "alpn", "an array of strings, such as [\"http/1.1\"]");
    return false;
  }
  for (const ConfigValue& item : value->items)
    tls.alpn.push_back(item.string);
  const bool fit = !tls.alpn.empty() && tls.alpn.size() <= checker::kMaxAlpn &&
                   std::all_of(tls.alpn.begin(), tls.alpn.end(), [](const std::string& one) {
                     return !one.empty() && one.size() <= 255;
                   });
  if (!fit) {
    walk.complain(*value, {"alpn is not 1 to 8 protocols of 1 to 255 bytes",
                           "name them as in [\"http/1.1\"], or leave it out"});
  }
  return fit;
}

// Where the setting stands that names the file at fault; else the table as a whole.
void complain_of(ConfigWalk& walk, const ConfigValue& table, const TlsSettings& tls,
                 const shm::Error& error) {
  const std::string why = error.detail.empty() ? std::strerror(error.code) : error.detail;
  for (const PathKey& one : kPaths) {
    const ConfigValue* value = table.find(one.key);
    if (value == nullptr || error.path != tls.*one.path) continue;
    return walk.complain(*value, {std::string(one.key) + " cannot be used (" + why + ")",
                                  "correct the file, or name another"});
  }
  walk.complain(table, {"TLS cannot be used" + (error.path.empty() ? "" : " with " + error.path) +
                            " (" + why + ")",
                        "correct this, or set enabled = false"});
}

}  // namespace

void read_tls(ConfigWalk& walk, const ConfigValue& check_table, const std::string& where,
              checker::CheckSettings& check) {
  const ConfigValue* table = check_table.find("tls");
  if (table == nullptr || !walk.want_table(*table, "tls", where + ".check.tls")) return;
  TlsSettings& tls = check.tls;
  tls.enabled = true;
  bool good = walk.judge_keys(*table, where, "[" + where + ".check.tls]", keys::tls());
  read_fields(walk, *table, keys::tls_fields(), tls);
  if (const auto name = walk.read_string(*table, "server_name", "a string")) {
    tls.server_name = *name;
    const auto bad = is_address(*name) ? std::nullopt : judge_dns_name("server_name", *name);
    if (bad) walk.complain(*table->find("server_name"), *bad);
    good = good && !bad;
  }
  good = read_paths(walk, *table, tls) && good;
  good = read_alpn(walk, *table, tls) && good;
  if (!tls.verify) walk.refuse(*table, "ca_file", "verify is true", "leave out verify = false");
  if (!good || !tls.enabled) return;
  if (const auto status = checker::read_tls_files(tls); !status) {
    return complain_of(walk, *table, tls, status.error());
  }
  const auto client = checker::TlsClient::make(tls, check.kind);
  if (!client) complain_of(walk, *table, tls, client.error());
}

}  // namespace ballast::tools
