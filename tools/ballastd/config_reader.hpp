// Reads the configuration again without stopping the checker: looking names up may take as long as
// the system's resolver likes. A short-lived thread reads; the loop's thread is woken by a
// descriptor, joins it and gets the result. The two share nothing else, and never at the same time.
#pragma once

#include <functional>
#include <string>
#include <thread>

#include "engine/checker/loop/loop.hpp"
#include "tools/ballastd/config.hpp"

namespace ballast::tools {

// Owned and called by the loop's thread.
class ConfigReader {
 public:
  using Read = std::function<ConfigResult(const std::string& path)>;  // on the reading thread
  using Done = std::function<void(ConfigResult)>;                     // on the loop's thread

  // `loop` must outlive the reader. `done` may call request(), but not destroy the reader.
  ConfigReader(checker::Loop& loop, std::string path, Read read, Done done);
  // Waits for a reading under way, whose result is dropped.
  ~ConfigReader();
  ConfigReader(const ConfigReader&) = delete;
  ConfigReader& operator=(const ConfigReader&) = delete;

  // Reads the file, and calls `done` with what came of it at a later turn of the loop (at once,
  // with an error, if no thread can be had). Requests that come while one is under way make it read
  // once more afterwards, since the file may have changed behind the reading; both results are
  // handed over, in order.
  void request();

  // Whether a thread is reading, or its result has not been handed over yet.
  [[nodiscard]] bool busy() const noexcept { return thread_.joinable(); }

 private:
  void start();
  void finish();
  void read();

  checker::Loop& loop_;
  const std::string path_;
  const Read read_;
  const Done done_;
  int finished_ = -1;  // an eventfd, written by the thread as its last act
  std::thread thread_;
  bool again_ = false;
  // Written by the thread, read by the loop once it has joined the thread.
  ConfigResult result_;
};

}  // namespace ballast::tools
