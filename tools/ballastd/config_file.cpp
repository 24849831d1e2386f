// Gets a configuration off the disk, and asks the system about groups.
#include <fcntl.h>
#include <grp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "tools/ballastd/config.hpp"

namespace ballast::tools {

std::optional<std::uint32_t> group_in_system(const std::string& group) {
  std::vector<char> buffer(1024);
  ::group entry{};
  ::group* found = nullptr;
  while (getgrnam_r(group.c_str(), &entry, buffer.data(), buffer.size(), &found) == ERANGE &&
         buffer.size() < (std::size_t{1} << 20)) {
    buffer.resize(buffer.size() * 2);
  }
  if (found == nullptr) return std::nullopt;
  return found->gr_gid;
}

namespace {

ConfigResult failed(Diagnostic error) {
  ConfigResult result;
  result.errors.push_back(std::move(error));
  return result;
}

}  // namespace

ConfigResult read_config_file(const std::string& path, const ConfigEnvironment& environment) {
  const auto system_error = [&](const char* what) {
    return failed(diagnose_file(path, std::string(what) + " (" + std::strerror(errno) + ")",
                                "check the path and its permissions"));
  };
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return system_error("cannot be opened");
  struct stat about{};
  if (fstat(descriptor, &about) == 0 && S_ISDIR(about.st_mode)) {
    close(descriptor);
    return failed(diagnose_file(path, "is a directory", "give the configuration file itself"));
  }
  std::string text;
  std::array<char, 65536> buffer;
  while (text.size() <= kMaxConfigBytes) {
    const ssize_t got = read(descriptor, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      const ConfigResult result = system_error("cannot be read");
      close(descriptor);
      return result;
    }
    if (got == 0) break;
    text.append(buffer.data(), static_cast<std::size_t>(got));
  }
  close(descriptor);
  if (text.size() > kMaxConfigBytes) {
    return failed(diagnose_file(path,
                                "is larger than " + std::to_string(kMaxConfigBytes >> 20) + " MiB",
                                "split it over several namespaces"));
  }
  return read_config_text(path, std::move(text), environment);
}

}  // namespace ballast::tools
