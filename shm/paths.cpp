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

namespace {

// The id in a name such as "table.7"; 0 if it is no such name.
std::uint64_t id_in(std::string_view name, std::string_view prefix) {
  if (!name.starts_with(prefix)) return 0;
  std::uint64_t id = 0;
  const char* const last = name.data() + name.size();
  const auto [stop, error] = std::from_chars(name.data() + prefix.size(), last, id);
  return error == std::errc{} && stop == last ? id : 0;
}

std::vector<std::string> names_in(const std::string& directory) {
  std::vector<std::string> names;
  std::error_code code;
  for (fs::directory_iterator it(directory, code), end; !code && it != end; it.increment(code))
    names.push_back(it->path().filename().string());
  return names;
}

}  // namespace

std::vector<std::uint64_t> list_segments(const std::string& directory) {
  std::vector<std::uint64_t> found;
  for (const std::string& name : names_in(directory)) {
    if (const std::uint64_t id = id_in(name, "table."); id != 0) found.push_back(id);
  }
  std::sort(found.begin(), found.end());
  return found;
}

void remove_unfinished(const std::string& directory) {
  std::error_code code;
  for (const std::string& name : names_in(directory)) {
    const std::uint64_t id = id_in(name, "workers.");
    // A segment is made workers file first and removed table first.
    const bool half = id != 0 && !fs::exists(table_path(directory, id), code) && !code;
    if (half || name.find(".new.") != std::string::npos)
      fs::remove(fs::path(directory) / name, code);
  }
}

}  // namespace ballast::shm
