// Where a service's instances come from besides the configuration: one small unit a kind of source,
// all behind this interface, so that the next one is easy. A source looks for itself (a watched
// file, a name's time to live) and reports whole sets. It never reports a set that it could not
// read to the end: then it reports a failure, and whoever listens keeps the last good set.
//
// One thread: everything is called from, and called back on, the loop's.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/checker/loop/loop.hpp"
#include "engine/checker/settings.hpp"

namespace ballast::checker {

// What a source found at one look.
struct Discovered {
  std::vector<InstanceSettings> instances;  // meaningless with an error; no endpoint twice
  std::string error;     // for people, names the file, line or server; empty: none
  std::string note;      // for people, about a set that is no error: why it is empty, what was kept
  bool partial = false;  // of a part of it nothing is known, now or from an earlier look

  friend bool operator==(const Discovered&, const Discovered&) = default;
};

class Source {
 public:
  using OnDiscovered = std::function<void(Discovered)>;

  virtual ~Source() = default;
  Source() = default;
  Source(const Source&) = delete;
  Source& operator=(const Source&) = delete;

  // Looks, now and from now on; called once. Reports every look that differs from the one before,
  // and every one that failed; never from inside this call. Whoever is called back must not destroy
  // the source from there.
  virtual void start(OnDiscovered on_discovered) = 0;
  // Looks again soon, whatever the time, and reports what it finds even if that is nothing new.
  virtual void refresh() = 0;
};

// Whom sources of a process share: an inotify instance, channels to name servers. Must outlive
// them.
class SourceContext {
 public:
  explicit SourceContext(Loop& loop);
  ~SourceContext();
  SourceContext(const SourceContext&) = delete;
  SourceContext& operator=(const SourceContext&) = delete;

  // Never null; a source that cannot work reports so.
  [[nodiscard]] std::unique_ptr<Source> make(const SourceSettings& settings);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Whether this build can ask name servers.
[[nodiscard]] bool has_dns_sources() noexcept;

// Puts a set into the one order that does not depend on the source's, and leaves one instance of
// each endpoint: the first.
void put_in_order(std::vector<InstanceSettings>& instances);

}  // namespace ballast::checker
