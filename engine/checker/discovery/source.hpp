// Where a service's instances come from besides the configuration: one small unit a kind of source,
// all behind this interface, so that the next one is easy. A source looks for itself (a watched
// file, a name's time to live) and reports whole sets. It never reports a set that it could not
// read to the end: then it reports a failure, and whoever listens keeps the last good set.
//
// One thread: everything is called from, and called back on, the loop's.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/checker/loop/loop.hpp"
#include "engine/checker/settings.hpp"

namespace ballast::checker {

// What a source found at one look.
struct Discovered {
  std::vector<InstanceSettings> instances;  // meaningless with an error
  std::string error;  // for people, names the file, line or server; empty: none
};

class Source {
 public:
  using OnDiscovered = std::function<void(Discovered)>;

  virtual ~Source() = default;
  Source() = default;
  Source(const Source&) = delete;
  Source& operator=(const Source&) = delete;

  // Looks, now and from now on; called once. Reports every look that differs from the one before,
  // and every one that failed; never from inside this call.
  virtual void start(OnDiscovered on_discovered) = 0;
  // Looks again soon, whatever the time.
  virtual void refresh() = 0;
};

// Never null; a source that cannot work reports so.
[[nodiscard]] std::unique_ptr<Source> make_source(Loop& loop, const SourceSettings& settings);

}  // namespace ballast::checker
