// JSON to changes and back, and the steps of a replacement that survives a failing machine.
#include "engine/checker/control/changes_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <nlohmann/json.hpp>
#include <stdexcept>

namespace ballast::checker {
namespace {

using nlohmann::json;

constexpr std::array kAdmins{shm::Admin::ready, shm::Admin::drain, shm::Admin::maintenance};

// What is wrong, said at the place where it is found; never leaves this file.
struct Wrong : std::runtime_error {
  using std::runtime_error::runtime_error;
};

std::string shown(const std::string& text) {
  constexpr std::size_t kShown = 80;
  return json(text.substr(0, kShown)).dump(-1, ' ', false, json::error_handler_t::replace);
}

const json::object_t& object_in(const json& value, const std::string& where) {
  if (!value.is_object()) throw Wrong(where + " is not an object");
  return value.get_ref<const json::object_t&>();
}

std::uint32_t number_in(const json& value, std::uint64_t low, std::uint64_t high,
                        const std::string& where) {
  if (!value.is_number_unsigned() || value.get<std::uint64_t>() < low ||
      value.get<std::uint64_t>() > high) {
    throw Wrong(where + " is not a number from " + std::to_string(low) + " to " +
                std::to_string(high));
  }
  return value.get<std::uint32_t>();
}

const std::string& text_in(const json& value, const std::string& where) {
  if (!value.is_string()) throw Wrong(where + " is not a string");
  return value.get_ref<const std::string&>();
}

shm::Admin admin_in(const json& value, const std::string& where) {
  const std::string& text = text_in(value, where);
  for (const shm::Admin admin : kAdmins) {
    if (text == shm::to_text(admin)) return admin;
  }
  throw Wrong(where + " is " + shown(text) + ", which is none of ready, drain and maintenance");
}

engine::Strategy strategy_in(const json& value, const std::string& where) {
  const std::string& text = text_in(value, where);
  for (const engine::StrategyName& name : engine::kStrategies) {
    if (text == name.text) return name.strategy;
  }
  throw Wrong(where + " is " + shown(text) + ", which is no strategy");
}

InstanceSettings added_in(const json& value, const shm::Endpoint& endpoint,
                          const std::string& where) {
  InstanceSettings instance;
  instance.endpoint = endpoint;
  instance.text = endpoint.to_text();
  for (const auto& [key, field] : object_in(value, where)) {
    const std::string here = where + "." + key;
    if (key == "text") {
      instance.text = text_in(field, here);
    } else if (key == "weight") {
      instance.weight = number_in(field, 1, kMaxWeight, here);
    } else if (key == "tier") {
      instance.tier = number_in(field, 0, kMaxTier, here);
    } else if (key == "zone") {
      instance.zone = text_in(field, here);
    } else if (key == "admin") {
      instance.admin = admin_in(field, here);
    } else {
      throw Wrong(where + " has the unknown field " + shown(key));
    }
  }
  return instance;
}

InstanceChange change_in(const json& value, const shm::Endpoint& endpoint,
                         const std::string& where) {
  InstanceChange change;
  for (const auto& [key, field] : object_in(value, where)) {
    const std::string here = where + "." + key;
    if (key == "added") {
      change.added = true;
      change.instance = added_in(field, endpoint, here);
    } else if (key == "removed") {
      if (!field.is_boolean()) throw Wrong(here + " is neither true nor false");
      change.removed = field.get<bool>();
    } else if (key == "admin") {
      change.admin = admin_in(field, here);
    } else if (key == "weight") {
      change.weight = number_in(field, 1, kMaxWeight, here);
    } else {
      throw Wrong(where + " has the unknown field " + shown(key));
    }
  }
  return change;
}

void read_service(const std::string& name, const json& value, RuntimeChanges& changes) {
  if (name.empty() || name.size() > kMaxServiceNameBytes)
    throw Wrong(shown(name) + " is not the name of a service");
  for (const auto& [key, field] : object_in(value, name)) {
    if (key == "strategy") {
      changes.strategies[name] = strategy_in(field, name + ".strategy");
    } else if (key == "instances") {
      for (const auto& [text, change] : object_in(field, name + ".instances")) {
        const auto endpoint = shm::parse_endpoint(text);
        if (!endpoint)
          throw Wrong(name + ": " + shown(text) + " is not an address such as 10.0.0.1:80");
        changes.instances[name][endpoint->to_text()] = change_in(change, *endpoint, text);
      }
    } else {
      throw Wrong(name + " has the unknown field " + shown(key));
    }
  }
}

json to_json(const InstanceChange& change) {
  json out = json::object();
  if (change.added) {
    json& added = out["added"];
    added = {{"text", change.instance.text}, {"weight", change.instance.weight}};
    if (change.instance.tier != 0) added["tier"] = change.instance.tier;
    if (!change.instance.zone.empty()) added["zone"] = change.instance.zone;
    if (change.instance.admin != shm::Admin::ready)
      added["admin"] = shm::to_text(change.instance.admin);
  }
  if (change.removed) out["removed"] = true;
  if (change.admin) out["admin"] = shm::to_text(*change.admin);
  if (change.weight) out["weight"] = *change.weight;
  return out;
}

shm::Error unreadable(shm::ErrorKind kind, const std::string& path, const std::string& why) {
  return {kind, 0, "read operators' changes from", path,
          why + "; repair the file or move it away, then reload"};
}

// The directory's entry must reach the disk too.
int sync_directory(const std::string& path) {
  const auto slash = path.rfind('/');
  const std::string directory = slash == std::string::npos ? "."
                                : slash == 0               ? "/"
                                                           : path.substr(0, slash);
  const int fd = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return errno;
  const int code = ::fsync(fd) == 0 || errno == EINVAL ? 0 : errno;
  ::close(fd);
  return code;
}

int write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t wrote = ::write(fd, text.data(), text.size());
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) return errno;
    text.remove_prefix(static_cast<std::size_t>(wrote));
  }
  return ::fsync(fd) == 0 || errno == EINVAL ? 0 : errno;
}

}  // namespace

std::string changes_to_text(const RuntimeChanges& changes) {
  json services = json::object();
  for (const auto& [name, strategy] : changes.strategies)
    services[name]["strategy"] = engine::to_text(strategy);
  for (const auto& [name, instances] : changes.instances) {
    for (const auto& [text, change] : instances)
      services[name]["instances"][text] = to_json(change);
  }
  const json whole{{"version", kChangesVersion}, {"services", std::move(services)}};
  return whole.dump(1, ' ', false, json::error_handler_t::replace) + "\n";
}

shm::Result<RuntimeChanges> changes_from_text(const std::string& path, std::string_view text) {
  using shm::ErrorKind;
  try {
    const json whole = json::parse(text);
    const json::object_t& fields = object_in(whole, "the file");
    const auto version = fields.find("version");
    if (version == fields.end() || !version->second.is_number_unsigned())
      throw Wrong("it has no version");
    if (const auto number = version->second.get<std::uint64_t>(); number != kChangesVersion) {
      return unreadable(ErrorKind::incompatible, path,
                        "it is of version " + std::to_string(number) +
                            ", and this ballastd knows only version " +
                            std::to_string(kChangesVersion));
    }
    RuntimeChanges changes;
    for (const auto& [key, value] : fields) {
      if (key == "version") continue;
      if (key != "services") throw Wrong("it has the unknown field " + shown(key));
      for (const auto& [name, service] : object_in(value, "services"))
        read_service(name, service, changes);
    }
    return changes;
  } catch (const json::parse_error& error) {
    // "[json.exception.parse_error.101] parse error at line 1, column 5: ...": from "at" on.
    const std::string what = error.what();
    const auto at = what.find("parse error");
    return unreadable(ErrorKind::corrupt, path,
                      "it is no JSON: " + what.substr(at == std::string::npos ? 0 : at, 300));
  } catch (const json::exception& error) {
    return unreadable(ErrorKind::corrupt, path, error.what());
  } catch (const Wrong& wrong) {
    return unreadable(ErrorKind::corrupt, path, wrong.what());
  }
}

shm::Result<RuntimeChanges> read_changes_file(const std::string& path) {
  constexpr const char* kRead = "read operators' changes from";
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0 && errno == ENOENT) return RuntimeChanges{};
  if (fd < 0) return shm::system_error(errno, kRead, path, "check its permissions");
  struct stat about{};
  if (::fstat(fd, &about) == 0 && !S_ISREG(about.st_mode)) {
    ::close(fd);
    return unreadable(shm::ErrorKind::corrupt, path, "it is not a regular file");
  }
  std::string text;
  std::array<char, 65536> buffer;
  for (;;) {
    const ssize_t got = ::read(fd, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      const int code = errno;
      ::close(fd);
      return shm::system_error(code, kRead, path);
    }
    if (got == 0) break;
    text.append(buffer.data(), static_cast<std::size_t>(got));
    if (text.size() > kMaxChangesBytes) {
      ::close(fd);
      return unreadable(shm::ErrorKind::corrupt, path,
                        "it is larger than " + std::to_string(kMaxChangesBytes >> 20) + " MiB");
    }
  }
  ::close(fd);
  return changes_from_text(path, text);
}

shm::Status write_changes_file(const std::string& path, std::string_view text) {
  constexpr const char* kKeep = "keep operators' changes in";
  // The publisher clears away what a checker that died left under such a name.
  const std::string fresh = path + ".new." + std::to_string(::getpid());
  const int fd = ::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
  if (fd < 0) return shm::system_error(errno, kKeep, path, "check its directory");
  int code = write_all(fd, text);
  if (::close(fd) != 0 && code == 0) code = errno;
  if (code == 0 && ::rename(fresh.c_str(), path.c_str()) != 0) code = errno;
  if (code != 0) {
    ::unlink(fresh.c_str());
    return shm::system_error(code, kKeep, path, "make room, or see to its permissions");
  }
  if (const int synced = sync_directory(path); synced != 0)
    return shm::system_error(synced, kKeep, path, "its directory cannot be synchronised");
  return shm::Done{};
}

}  // namespace ballast::checker
