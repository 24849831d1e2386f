// Verbs and options with CLI11; what is misspelt gets the nearest right one, which CLI11 2.1 lacks.
#include "tools/ballast/cli.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <span>
#include <string_view>
#include <thread>
#include <vector>

#include "engine/inspect/rates.hpp"
#include "engine/inspect/snapshot.hpp"
#include "engine/text/spelling.hpp"
#include "shm/host.hpp"
#include "shm/names.hpp"
#include "shm/paths.hpp"
#include "tools/ballast/bridge.hpp"
#include "tools/ballast/control_verbs.hpp"
#include "tools/ballast/duration.hpp"
#include "tools/ballast/events.hpp"
#include "tools/ballast/render.hpp"

namespace ballast::tools {
namespace {

constexpr std::array<std::string_view, 3> kVerbs{"dump", "workers", "events"};
constexpr std::array<std::string_view, 11> kOptions{
    "--json",     "--dir",   "--help",  "--version", "--follow", "--service",
    "--instance", "--since", "--lines", "--over",    "--watch"};

// How far apart two readings are: rates of less say little, and nobody waits for longer.
constexpr std::chrono::milliseconds kShortestOver{100};
constexpr std::chrono::milliseconds kLongestOver{3'600'000};

// Cursor home, and nothing below it.
constexpr const char* kCleared = "\x1b[H\x1b[2J";

struct Request {
  bool json = false;
  std::string directory;
  std::string name_space;
  EventsRequest events;
  std::string since;
  std::string over;
  bool watch = false;
};

CLI::App* add_verb(CLI::App& app, const char* name, const char* about, Request& request) {
  CLI::App* verb = app.add_subcommand(name, about);
  verb->add_flag("--json", request.json, "for programs; docs/operations.md lists the fields");
  verb->add_option("--dir", request.directory, "the directory of the files, also of copied ones");
  verb->add_option("NAMESPACE", request.name_space, "the namespace (default: \"default\")");
  return verb;
}

void add_events_verb(CLI::App& app, Request& request) {
  CLI::App* verb = add_verb(app, "events", "what happened: the last transitions", request);
  EventsRequest& events = request.events;
  verb->add_flag("-f,--follow", events.follow, "go on with those to come");
  verb->add_option("--service", events.service, "only of this service");
  verb->add_option("--instance", events.instance, "only of this instance, as ADDRESS:PORT");
  verb->add_option("--since", request.since, "only since then: 90s, 10m, 2h, 3d, or a time (UTC)");
  verb->add_option("-n,--lines", events.count, "the last so many (default: all; 10 with --follow)");
}

void add_dump_verb(CLI::App& app, Request& request) {
  CLI::App* verb = add_verb(app, "dump", "the checker, the services and every instance", request);
  verb->add_option("--over", request.over,
                   "look twice, so long apart (2s, 500ms, 1m): what a second brought");
  verb->add_flag("-w,--watch", request.watch, "again and again, each --over (default: 2s)");
}

std::string suggestion(std::string_view word, std::span<const std::string_view> known) {
  const std::string_view nearest = engine::nearest_word(word, known);
  return nearest.empty() ? "see ballast --help" : "did you mean " + std::string(nearest) + "?";
}

CliOutput wrong(const std::string& what) {
  return {2, {}, "ballast: " + what + "\n"};
}

// The namespaces of this machine, for whoever mistyped one.
std::string other_namespaces() {
  namespace fs = std::filesystem;
  constexpr std::size_t kShown = 10;
  std::vector<std::string> names;
  std::error_code code;
  const fs::path root = fs::path(shm::default_directory("x")).parent_path();
  for (fs::directory_iterator it(root, code), end; !code && it != end; it.increment(code)) {
    std::error_code ignored;
    if (fs::exists(it->path() / "locator", ignored)) names.push_back(it->path().filename());
  }
  std::sort(names.begin(), names.end());
  if (names.empty()) return {};
  std::string text = "; there is";
  for (std::size_t i = 0; i < std::min(names.size(), kShown); ++i) {
    text += (i == 0 ? " " : ", ") + names[i];
  }
  return text + (names.size() > kShown ? ", ..." : "");
}

CliOutput not_read(const shm::Error& error, const std::string& directory, bool by_name) {
  if (error.code != ENOENT) return {1, {}, "ballast: " + error.to_text() + "\n"};
  return {1,
          {},
          "ballast: no Ballast files in " + directory +
              ": start ballastd, or say where they are with --dir" +
              (by_name ? other_namespaces() : "") + "\n"};
}

CliOutput show_events_of(const std::string& directory, bool by_name, const Request& request,
                         Colours colours, const Writer& write) {
  EventsRequest wanted = request.events;
  wanted.json = request.json;
  if (!request.since.empty()) {
    const auto since = parse_since(request.since, shm::realtime_ns());
    if (!since) {
      return wrong("--since \"" + request.since.substr(0, 80) +
                   "\" is no time: write 90s, 10m, 2h, 3d or 2026-11-24T06:38:50");
    }
    wanted.since_ns = *since;
  }
  auto log = inspect::EventLog::open(directory);
  if (!log) return not_read(log.error(), directory, by_name);
  CliOutput output;
  if (!log->warning().empty()) output.errors = "ballast: " + log->warning() + "\n";
  show_events(*log, wanted, colours, [&](std::string_view text) {
    if (write) return write(text);
    output.out += text;
    return !wanted.follow;  // nobody could ever see the end
  });
  return output;
}

// The place of a namespace, or what is wrong with how it was given.
std::optional<CliOutput> bad_place(const std::string& directory, const std::string& name_space) {
  if (!directory.empty() && !name_space.empty())
    return wrong("both --dir and a namespace are given: leave one out");
  if (name_space.find('/') != std::string::npos)
    return wrong("\"" + name_space + "\" is a path: give it with --dir");
  if (!name_space.empty() && shm::judge_name(name_space) != shm::NameFault::none) {
    return wrong("no namespace can have that name: use " + std::string(shm::kNameRule));
  }
  return std::nullopt;
}

CliOutput control(const std::string& verb, const ControlOptions& options, const Writer& write) {
  if (auto bad = bad_place(options.directory, options.name_space)) return *bad;
  const bool by_name = options.directory.empty();
  const std::string name = options.name_space.empty() ? shm::kDefaultNamespace : options.name_space;
  ControlPlace place;
  place.directory = by_name ? shm::default_directory(name) : options.directory;
  if (by_name && options.socket.empty()) place.others = other_namespaces();
  return run_control_verb(verb, options, place, write);
}

CliOutput bridge(const BridgeOptions& options) {
  if (auto bad = bad_place(options.directory, options.name_space)) return *bad;
  return run_bridge(options,
                    !options.directory.empty()
                        ? options.directory
                        : shm::default_directory(options.name_space.empty() ? shm::kDefaultNamespace
                                                                            : options.name_space));
}

CliOutput read_and_render(const std::string& verb, const Request& request, const Screen& screen,
                          const Writer& write) {
  if (auto bad = bad_place(request.directory, request.name_space)) return *bad;
  const std::string name = request.name_space.empty() ? shm::kDefaultNamespace : request.name_space;
  const bool by_name = request.directory.empty();
  const std::string directory = by_name ? shm::default_directory(name) : request.directory;
  const Colours colours =
      screen.is_terminal && std::getenv("NO_COLOR") == nullptr ? Colours::yes : Colours::no;
  if (verb == "events") return show_events_of(directory, by_name, request, colours, write);
  auto snapshot = read_snapshot(directory);
  if (!snapshot) return not_read(snapshot.error(), directory, by_name);
  if (verb != "dump") {
    return {0,
            request.json ? workers_json(*snapshot) : workers_text(*snapshot, colours, screen.width),
            {}};
  }
  const auto dump = [&](const Snapshot& one) {
    return request.json ? dump_json(one) : dump_text(one, colours, screen.width);
  };
  if (request.over.empty() && !request.watch) return {0, dump(*snapshot), {}};
  const auto over = parse_duration(request.over.empty() ? "2s" : request.over);
  if (!over || *over < kShortestOver || *over > kLongestOver) {
    return wrong("--over \"" + request.over.substr(0, 80) +
                 "\" is no time from 100ms to 1h: write 500ms, 2s or 1m");
  }
  CliOutput output;
  for (bool goes_on = true; goes_on;) {
    std::this_thread::sleep_for(*over);
    auto next = read_snapshot(directory);
    if (!next) return not_read(next.error(), directory, by_name);
    Snapshot shown = *next;
    inspect::add_rates(*snapshot, shown);
    snapshot = std::move(next);
    if (!request.watch || !write) {
      output.out = dump(shown);
      return output;  // without a writer nobody could ever see the end
    }
    goes_on = write((screen.is_terminal && !request.json ? kCleared : "") + dump(shown));
  }
  return output;
}

}  // namespace

CliOutput run_cli(std::vector<std::string> arguments, const Screen& screen, const Writer& write) {
  CLI::App app(
      "Shows what Ballast's shared memory says, which needs no checker, and asks a running "
      "ballastd.",
      "ballast");
  app.set_version_flag("--version", std::string("ballast ") + BALLAST_VERSION);
  app.require_subcommand(1);
  Request request;
  add_dump_verb(app, request);
  add_verb(app, "workers", "the rows of the workers and their owners", request);
  add_events_verb(app, request);
  ControlOptions options;
  add_control_verbs(app, options);
  BridgeOptions bridge_of;
  add_bridge_verb(app, bridge_of);
  std::vector<std::string_view> verbs(kVerbs.begin(), kVerbs.end());
  verbs.insert(verbs.end(), control_verbs().begin(), control_verbs().end());
  verbs.push_back(kBridgeVerb);
  std::vector<std::string_view> known(kOptions.begin(), kOptions.end());
  known.insert(known.end(), control_options().begin(), control_options().end());
  known.insert(known.end(), bridge_options().begin(), bridge_options().end());

  if (arguments.empty()) return {2, {}, app.help()};
  const std::string verb = arguments.front();
  if (!verb.starts_with('-') && std::find(verbs.begin(), verbs.end(), verb) == verbs.end()) {
    return wrong("unknown command \"" + verb.substr(0, 80) + "\": " + suggestion(verb, verbs));
  }
  std::reverse(arguments.begin(), arguments.end());  // as CLI11 wants them
  try {
    app.parse(arguments);
  } catch (const CLI::CallForHelp&) {
    return {0, app.help(), {}};
  } catch (const CLI::CallForVersion& version) {
    return {0, std::string(version.what()) + "\n", {}};
  } catch (const CLI::ExtrasError&) {
    const auto left = app.remaining(/*recurse=*/true);
    const std::string extra = left.empty() ? "" : left.front();
    return wrong("unexpected argument \"" + extra.substr(0, 80) +
                 "\": " + suggestion(extra, known));
  } catch (const CLI::ParseError& error) {
    return wrong(std::string(error.what()) + ": see ballast --help");
  }
  const std::string asked = app.get_subcommands().front()->get_name();
  if (asked == kBridgeVerb) return bridge(bridge_of);
  const auto controls = control_verbs();
  if (std::find(controls.begin(), controls.end(), asked) != controls.end())
    return control(asked, options, write);
  return read_and_render(asked, request, screen, write);
}

}  // namespace ballast::tools
