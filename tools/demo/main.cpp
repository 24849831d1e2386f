// ballast-demo: six nginx servers, ballastd over them and four worker processes that send real
// requests; then servers, workers and the checker are killed, and no client notices. It measures
// what it claims, shows it while it happens, and exits 0 if everything that should be zero is, 1 if
// not, 2 if something could not start, 130 if it was interrupted. Nothing is left behind.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <exception>
#include <filesystem>

#include "tools/demo/failure.hpp"
#include "tools/demo/stage.hpp"
#include "tools/demo/story.hpp"
#include "tools/demo/summary.hpp"

namespace {

using namespace ballast::tools::demo;  // NOLINT(google-build-using-namespace): its own program

constexpr unsigned kShortestSeconds = 4;
constexpr unsigned kLongestSeconds = 22;

void handle_signals() {
  struct sigaction action{};
  action.sa_handler = [](int) { interrupted = 1; };
  for (const int signal : {SIGINT, SIGTERM, SIGHUP})
    sigaction(signal, &action, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
}

std::string beside_this_program() {
  std::error_code ignored;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", ignored);
  return (self.parent_path().parent_path() / "ballastd" / "ballastd").string();
}

int run(const StoryOptions& options) {
  SharedBoard board;
  Screen screen;
  const Findings found = tell(options, board, screen);
  print_summary(found, *board, screen);
  fmt::print("{}\n", machine_line(found, *board));
  std::fflush(stdout);
  if (const std::string text = complaint(found, *board); !text.empty()) {
    fmt::print(stderr, "ballast-demo: {}\n", text);
    return 1;
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  StoryOptions options;
  options.ballastd = beside_this_program();
  unsigned seconds = options.traffic_ms / 1000;
  CLI::App app{"Kills servers, workers and the checker under real traffic; no client notices."};
  app.add_option("--seconds", seconds, "how long the traffic runs, about")
      ->check(CLI::Range(kShortestSeconds, kLongestSeconds))
      ->capture_default_str();
  app.add_option("--ballastd", options.ballastd, "the checker's program")->capture_default_str();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  options.traffic_ms = seconds * 1000;

  handle_signals();
  try {
    if (access(options.ballastd.c_str(), X_OK) != 0)
      throw Failure(
          fmt::format("{} is not there; build it with: tools/dev build", options.ballastd));
    return run(options);
  } catch (const Interrupted&) {
    fmt::print(stderr, "ballast-demo: interrupted; everything it started has ended\n");
    return 130;
  } catch (const std::exception& error) {
    fmt::print(stderr, "ballast-demo: {}\n", error.what());
    return 2;
  }
}
