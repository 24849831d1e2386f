// What an operator asks for over the control socket: one line of JSON, read strictly, since a field
// that is misspelt must not be passed over. Pure; the bytes are a stranger's. docs/control.md
// describes the requests to people.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "engine/checker/settings.hpp"

namespace ballast::checker {

inline constexpr std::size_t kMaxRequestBytes = std::size_t{64} << 10;
inline constexpr std::size_t kMaxIdBytes = 64;
inline constexpr std::size_t kMaxRequestInstances = 256;
inline constexpr Milliseconds kMaxWait{3'600'000};
inline constexpr Milliseconds kDefaultWait{30'000};
inline constexpr Milliseconds kMaxEjection{86'400'000};

enum class Verb : std::uint8_t {
  add,
  remove,
  drain,
  ready,
  maint,
  weight,
  strategy,
  eject,
  reset,
  reload,
  handover,
  status,
  sources,
  changes,
  wait,
  help,
};

struct VerbInfo {
  Verb verb;
  const char* name;
  bool writes;               // only for those who may change something
  std::string_view needs;    // fields, with blanks between
  std::string_view accepts;  // besides
  const char* about;
};
[[nodiscard]] std::span<const VerbInfo> verbs();
[[nodiscard]] const VerbInfo& info_of(Verb verb);

struct Request {
  Verb verb = Verb::help;
  std::string id;  // the client's, as JSON; empty: none
  std::string service;
  std::vector<std::string> instances;  // as the client named them
  std::optional<std::uint32_t> weight;
  std::optional<std::uint32_t> tier;
  std::optional<std::string> zone;
  std::optional<std::string> name;  // what ketama hashes and a check's Host header says
  std::optional<shm::Admin> admin;
  std::optional<engine::Strategy> strategy;
  std::optional<Milliseconds> duration;  // of an ejection; 0 takes it back
  std::optional<std::uint64_t> epoch;
  Milliseconds timeout = kDefaultWait;
  bool progress = false;
  bool state = false;  // waits for a change of states, such as an ejection, which has no epoch
};

// Why a request is not done; `code` is for programs.
struct Refusal {
  std::string code;
  std::string text;
  std::string id;  // of the request, if that could be read
};

[[nodiscard]] std::variant<Request, Refusal> parse_request(std::string_view line);

}  // namespace ballast::checker
