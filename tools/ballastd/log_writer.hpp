// Gets log lines out without making anybody wait: a thread writes them, and whoever logs only puts
// them into a queue of limited size. Where nobody reads (a full pipe, a stopped terminal, a journal
// that hangs), lines are lost and counted, and that is said once writing goes on. Used by log.cpp;
// if the process dies, so do the lines that were not written yet.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

namespace ballast::tools {

// Of lines that wait to be written.
inline constexpr std::size_t kMaxQueuedLogBytes = std::size_t{1} << 20;

class LogWriter {
 public:
  // `lost_line` makes the line that tells of lost ones; it is called on the writing thread.
  using LostLine = std::function<std::string(std::uint64_t lines)>;

  // Writes to `descriptor`, which must stay open. Without a thread to be had every line is written
  // at once.
  LogWriter(int descriptor, LostLine lost_line);
  // What is not written by then is lost, and a write that hangs is left to hang.
  ~LogWriter();
  LogWriter(const LogWriter&) = delete;
  LogWriter& operator=(const LogWriter&) = delete;

  // A whole line, with its newline. From any thread.
  void put(std::string_view line);
  // Waits until all is written, but not for longer than this. False: it took too long.
  bool flush(std::chrono::milliseconds patience);

 private:
  struct Shared;
  std::shared_ptr<Shared> shared_;  // with the thread, which may outlive this
};

}  // namespace ballast::tools
