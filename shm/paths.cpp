// Names of a namespace's files, and the directory they are in.
#include "shm/paths.hpp"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <string_view>
#include <system_error>

namespace ballast::shm {

namespace fs = std::filesystem;

std::string default_directory(const std::string& name_space) {
  return "/dev/shm/ballast/" + name_space;
}

std::string locator_path(const std::string& directory) {
  return directory + "/locator";
}

std::string table_path(const std::string& directory, std::uint64_t segment) {
  return directory + "/table." + std::to_string(segment);
}

std::string workers_path(const std::string& directory, std::uint64_t segment) {
  return directory + "/workers." + std::to_string(segment);
}

Status make_directory(const std::string& directory) {
  std::error_code code;
  fs::create_directories(directory, code);
  if (code) {
    return system_error(code.value(), "create the directory", directory,
                        "choose another with `directory`, or run as a user who may write there");
  }
  return Done{};
}

std::vector<std::uint64_t> list_segments(const std::string& directory) {
  std::vector<std::uint64_t> found;
  std::error_code code;
  for (fs::directory_iterator it(directory, code), end; !code && it != end; it.increment(code)) {
    const std::string name = it->path().filename().string();
    constexpr std::string_view kPrefix = "table.";
    if (!name.starts_with(kPrefix)) continue;
    std::uint64_t id = 0;
    const char* const last = name.data() + name.size();
    const auto [stop, error] = std::from_chars(name.data() + kPrefix.size(), last, id);
    if (error == std::errc{} && stop == last && id != 0) found.push_back(id);
  }
  std::sort(found.begin(), found.end());
  return found;
}

void remove_unfinished(const std::string& directory) {
  std::error_code code;
  std::vector<fs::path> unfinished;
  for (fs::directory_iterator it(directory, code), end; !code && it != end; it.increment(code)) {
    if (it->path().filename().string().find(".new.") != std::string::npos) {
      unfinished.push_back(it->path());
    }
  }
  for (const auto& path : unfinished)
    fs::remove(path, code);
}

}  // namespace ballast::shm
