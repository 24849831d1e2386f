// A handful of options, each with a value or without; a misspelt one gets the nearest right one.
#include "tools/ballastd/options.hpp"

#include <array>
#include <string_view>

#include "engine/text/spelling.hpp"

namespace ballast::tools {
namespace {

constexpr std::array<std::string_view, 8> kOptions{"--config", "--check",    "--directory",
                                                   "--state",  "--handover", "--defaults",
                                                   "--help",   "--version"};

ParsedOptions wrong(std::string error) {
  return {std::nullopt, std::move(error)};
}

}  // namespace

ParsedOptions parse_options(std::span<const char* const> arguments) {
  Options options;
  bool check = false;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    std::string_view name = arguments[i];
    if (name == "-h") name = "--help";
    std::optional<std::string> value;
    if (const auto equals = name.find('=');
        name.starts_with("--") && equals != std::string_view::npos) {
      value = name.substr(equals + 1);
      name = name.substr(0, equals);
    }
    const bool wants_value =
        name == "--config" || name == "--check" || name == "--directory" || name == "--state";
    if (wants_value) {
      if (!value && i + 1 < arguments.size()) value = arguments[++i];
      if (!value || value->empty()) {
        const char* example = name == "--directory" ? " /run/ballast"
                              : name == "--state"   ? " /var/lib/ballast"
                                                    : " ballast.toml";
        return wrong(std::string(name) + " needs a value: " + std::string(name) + example);
      }
      if (name == "--directory") {
        options.directory = *value;
        continue;
      }
      if (name == "--state") {
        options.state = *value;
        continue;
      }
      if (!options.config.empty()) return wrong("more than one configuration: give one file");
      check = check || name == "--check";
      options.config = *value;
    } else if (value) {
      return wrong(std::string(name) + " takes no value: leave out \"=" + *value + "\"");
    } else if (name == "--handover") {
      options.handover = true;
    } else if (name == "--help") {
      options.mode = Options::Mode::help;
      return {options, {}};
    } else if (name == "--defaults") {
      options.mode = Options::Mode::defaults;
      return {options, {}};
    } else if (name == "--version") {
      options.mode = Options::Mode::version;
      return {options, {}};
    } else {
      const auto nearest = engine::nearest_word(name, kOptions);
      return wrong(
          "unknown argument \"" + std::string(name.substr(0, 80)) + "\": " +
          (nearest.empty() ? "see ballastd --help" : "did you mean " + std::string(nearest) + "?"));
    }
  }
  if (options.config.empty()) return wrong("no configuration: give one with --config FILE");
  if (!options.directory.empty() && options.directory.front() != '/') {
    return wrong("--directory " + options.directory + " is not an absolute path: start it with /");
  }
  if (!options.state.empty() && options.state.front() != '/')
    return wrong("--state " + options.state + " is not an absolute path: start it with /");
  if (check) options.mode = Options::Mode::check;
  return {options, {}};
}

std::string state_directory_of(const char* environment) {
  const std::string_view all = environment == nullptr ? "" : environment;
  const std::string_view first = all.substr(0, all.find(':'));
  return first.starts_with('/') ? std::string(first) : std::string();
}

std::string help_text() {
  return "Usage: ballastd --config FILE [--directory DIR] [--state DIR] [--handover]\n"
         "       ballastd --check FILE | --defaults\n"
         "\n"
         "Checks the instances of every service in FILE and publishes what it finds in shared\n"
         "memory, for any number of worker processes to pick from.\n"
         "\n"
         "  --config FILE     run with this configuration (TOML)\n"
         "  --check FILE      only judge the file: exit 0 if it is right, 1 if it is not\n"
         "  --defaults        print every key that FILE may have, its default and its limits\n"
         "  --directory DIR   where the shared files are, instead of what FILE says\n"
         "  --state DIR       where operators' changes are kept, unless FILE says; best on a disk\n"
         "  --handover        check everything first, then take over from a running ballastd\n"
         "  --help, --version\n"
         "\n"
         "Signals: SIGHUP reads FILE again; SIGTERM and SIGINT leave in order.\n";
}

}  // namespace ballast::tools
