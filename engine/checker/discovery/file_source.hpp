// Instances from a JSON file (file_targets.hpp), watched: replaced by rename it is read at once,
// written in place once the writing pauses. Links are followed, also those that change on the way
// (ConfigMaps), and so is a directory that comes later or is replaced. Every few seconds it looks
// for itself, for file systems that tell nothing. A file that is missing, unreadable, too large,
// half written or not a file is a failure: the last good set stays with whoever listens.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "engine/checker/discovery/path_watch.hpp"
#include "engine/checker/discovery/source.hpp"

namespace ballast::checker {

class FileSource final : public Source {
 public:
  // Both must outlive the source.
  FileSource(Loop& loop, PathWatch& watch, std::string path);
  ~FileSource() override;

  void start(OnDiscovered on_discovered) override;
  void refresh() override;

  // A file that is written to without a pause is read nevertheless after kPatience.
  static constexpr Milliseconds kQuiet{50};
  static constexpr Milliseconds kPatience{2000};
  static constexpr Milliseconds kPoll{5000};  // looks that nothing has called for
  // Between looks, at least, so that a file that is replaced without a pause leaves the loop time
  // for everybody else; and that many times as long as the look before took.
  static constexpr Milliseconds kMinGap{20};
  static constexpr int kPauseFactor = 4;

 private:
  using Clock = std::chrono::steady_clock;

  // The file that was read last: while it is the same there is nothing to read.
  struct Signature {
    std::uint64_t device = 0;
    std::uint64_t inode = 0;
    std::int64_t bytes = 0;
    std::int64_t modified_ns = 0;
    std::int64_t changed_ns = 0;
    friend bool operator==(const Signature&, const Signature&) = default;
  };
  struct Bytes {
    std::string text;
    std::string error;
    bool unsettled = false;  // it was written to meanwhile
  };

  void on_event(std::uint32_t mask, std::string_view name, bool of_directory);
  // At the latest at `when`.
  void look_by(Clock::time_point when);
  void put_off(Clock::time_point now);
  void look();
  void look_and_report();
  void follow_paths();
  [[nodiscard]] std::optional<Bytes> read_file();
  void report(Discovered found);

  Loop& loop_;
  PathWatch& watch_;
  const std::string path_;
  std::string directory_;
  std::string name_;
  OnDiscovered on_discovered_;
  std::optional<Timers::Id> timer_;
  Clock::time_point due_{};
  Clock::time_point not_before_{};
  PathWatch::Id directory_watch_ = 0;
  PathWatch::Id file_watch_ = 0;
  std::optional<Clock::time_point> restless_since_;  // written to, and not quiet yet
  bool must_read_ = true;                            // whatever the signature says
  bool must_report_ = true;                          // whatever was reported last
  std::optional<Signature> seen_;                    // of what was parsed last; none: look again
  std::optional<std::uint64_t> reported_;            // hash of the good text
};

}  // namespace ballast::checker
