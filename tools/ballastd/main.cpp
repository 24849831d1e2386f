// ballastd: the checker as a program. Reads the command line and the configuration; the rest is
// daemon.cpp's.
#include <cstdio>
#include <cstdlib>
#include <span>

#include "tools/ballastd/config.hpp"
#include "tools/ballastd/config_keys.hpp"
#include "tools/ballastd/daemon.hpp"
#include "tools/ballastd/options.hpp"

// For jemalloc, where it is linked: what reading the configuration took is given back at once, not
// after ten seconds; and one thread does nearly all the work.
extern "C" {
extern const char* malloc_conf;
const char* malloc_conf = "narenas:2,dirty_decay_ms:0,muzzy_decay_ms:0";
}

namespace {

using namespace ballast;

int check_only(const tools::Options& options, const checker::Settings& settings) {
  std::size_t instances = 0;
  for (const auto& service : settings.services)
    instances += service.instances.size();
  const std::size_t services = settings.services.size();
  std::printf("%s: fine: %zu service%s, %zu instance%s, namespace %s in %s\n",
              options.config.c_str(), services, services == 1 ? "" : "s", instances,
              instances == 1 ? "" : "s", settings.name_space.c_str(),
              tools::directory_of(options, settings).c_str());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::span<const char* const> arguments(argv + 1, static_cast<std::size_t>(argc - 1));
  const auto parsed = tools::parse_options(arguments);
  if (!parsed.options) {
    std::fprintf(stderr, "ballastd: %s\n", parsed.error.c_str());
    return 2;
  }
  tools::Options options = *parsed.options;
  if (options.state.empty())
    options.state = tools::state_directory_of(std::getenv("STATE_DIRECTORY"));
  if (options.mode == tools::Options::Mode::help) {
    std::fputs(tools::help_text().c_str(), stdout);
    return 0;
  }
  if (options.mode == tools::Options::Mode::version) {
    std::puts("ballastd " BALLAST_VERSION);
    return 0;
  }
  if (options.mode == tools::Options::Mode::defaults) {
    std::fputs(tools::defaults_text().c_str(), stdout);
    return 0;
  }
  auto config = tools::read_config_file(options.config);
  for (const auto& error : config.errors)
    std::fprintf(stderr, "%s\n", error.text.c_str());
  if (!config.settings) return 1;
  if (options.mode == tools::Options::Mode::check) return check_only(options, *config.settings);
  return tools::run_daemon(options, std::move(*config.settings));
}
