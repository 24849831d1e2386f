// The table as `ballast bridge haproxy` answers from it: read from the mapped files at most every
// kMaxAgeMs, whatever the number of questions, so ten thousand servers that ask each second cost a
// few readings. Takes no lock and writes nothing. Fails static: if the checker is silent its last
// verdicts stand, and if nothing can be read there are no answers, so that HAProxy keeps what it
// has. What is said in the log is said once, when it begins to hold.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "engine/inspect/snapshot.hpp"
#include "tools/ballast/bridge_answer.hpp"

namespace ballast::tools {

class BridgeTable {
 public:
  static constexpr std::uint64_t kMaxAgeMs = 200;
  // Instances that have left are remembered, so that HAProxy drains them: at most so many.
  static constexpr std::size_t kMaxLeft = 65'536;
  using Log = std::function<void(const std::string&)>;

  // `log` gets lines for people.
  BridgeTable(std::string directory, Log log);

  // The answer to a line, with its newline; empty: say nothing, and close. `now_ms` is any clock
  // that only goes forward.
  [[nodiscard]] std::string answer(std::string_view line, std::uint64_t now_ms);

  // Instances that are in the table now, for the log.
  [[nodiscard]] std::size_t size() const noexcept { return present_; }

 private:
  struct Key {
    std::string service;
    std::array<std::uint64_t, 3> endpoint{};
    friend bool operator==(const Key&, const Key&) = default;
  };
  struct Hash {
    std::size_t operator()(const Key& key) const noexcept;
  };
  struct Known {
    AgentFacts facts;
    std::uint64_t reading = 0;  // when it was last seen
  };

  void refresh(std::uint64_t now_ms);
  bool read();
  void note_checker(inspect::CheckerState state);
  // About what is asked wrongly, by anybody: at most one line every kQuietMs.
  void complain(const std::string& what, std::uint64_t now_ms);

  std::string directory_;
  Log log_;
  std::unordered_map<Key, Known, Hash> known_;
  std::size_t present_ = 0;
  std::uint64_t reading_ = 0;
  std::uint64_t read_at_ms_ = 0;
  bool was_read_ = false;     // ever
  bool is_readable_ = false;  // at the last try
  inspect::CheckerState checker_ = inspect::CheckerState::running;
  std::uint64_t complained_at_ms_ = 0;
  std::uint64_t complaints_ = 0;  // not shown since
};

}  // namespace ballast::tools
