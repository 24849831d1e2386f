// All sources of all services: starts and stops them as the configuration says, judges what each
// reports, and hands on what may count as a set. A failure leaves the last good set in place, and
// so does an empty answer that nobody is to believe yet. Knows for each source how it is doing, for
// people. The sets themselves are the roster's.
//
// One thread: the loop's. If the process dies, the table keeps what was last found, and the next
// one begins with that.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/checker/discovery/source.hpp"
#include "engine/checker/publishing/transition.hpp"
#include "engine/checker/settings.hpp"
#include "shm/result.hpp"

namespace ballast::checker {

// How one source is doing.
struct SourceStatus {
  std::string service;
  std::size_t source = 0;  // its index in ServiceSettings::sources
  SourceSettings::Kind kind = SourceSettings::Kind::file;
  std::string name;            // a file's path, or the name in DNS
  bool answered = false;       // it has reported a set since it was started
  std::size_t instances = 0;   // in the set that counts, which may be from before the start
  std::string error;           // why that set is not the newest; empty: it is
  std::string note;            // what else people should know of it; often empty
  std::uint64_t failures = 0;  // looks that failed
  std::uint64_t changes = 0;   // sets that were handed on
  // For how long the set has been out of date, since when it is the same; none: since ever.
  std::optional<std::chrono::milliseconds> failing_for;
  std::optional<std::chrono::milliseconds> unchanged_for;
};

// "file", "dns", "srv": as in the configuration.
[[nodiscard]] const char* to_text(SourceSettings::Kind kind) noexcept;

class SourceSet {
 public:
  using OnTransition = std::function<void(Transition)>;
  using OnSet = std::function<void(const std::string& service, std::size_t source,
                                   std::vector<InstanceSettings> instances)>;

  // An empty answer that is to be believed is looked at again so much later.
  static constexpr Milliseconds kSecondLook{2000};
  // And for a set that could not be published.
  static constexpr Milliseconds kRefusedLook{30'000};

  // `loop` must outlive this. Neither may call back.
  SourceSet(Loop& loop, OnSet on_set, OnTransition on_transition);
  ~SourceSet();
  SourceSet(const SourceSet&) = delete;
  SourceSet& operator=(const SourceSet&) = delete;

  // Starts the sources that are new, ends those that are gone. One that is the same goes on, also
  // when it has another index by now. One that changed in its place inherits the set.
  void configure(const std::vector<ServiceSettings>& services);

  // What became of the set that the source handed on last. One that was refused is a failure: what
  // counted before it counts again, and the source is asked for it again after kRefusedLook.
  void judged(const std::string& service, std::size_t source, const shm::Status& status);

  // Before the source has reported anything: a set of so many instances is there from before the
  // start, to be kept like any other.
  void inherit(const std::string& service, std::size_t source, std::size_t instances);

  // All look again soon.
  void refresh();

  // Whether every source of the service has reported something.
  [[nodiscard]] bool has_heard_from_all(const std::string& service) const;
  [[nodiscard]] std::vector<SourceStatus> statuses() const;

 private:
  struct Entry;

  void start(Entry& entry);
  void on_discovered(Entry& entry, Discovered found);
  void on_empty(Entry& entry, Discovered found);
  void take(Entry& entry, Discovered found);
  void recover(Entry& entry);
  void look_again_in(Entry& entry, Milliseconds time);
  void fail(Entry& entry, std::string why);
  void tell(const Entry& entry, shm::EventKind kind, Level level,
            std::vector<std::pair<std::string, std::string>> also) const;

  Loop& loop_;
  OnSet on_set_;
  OnTransition on_transition_;
  SourceContext context_;
  std::vector<std::unique_ptr<Entry>> entries_;  // last: gone before what the sources use
};

}  // namespace ballast::checker
