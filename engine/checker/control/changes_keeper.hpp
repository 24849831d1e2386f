// Keeps operators' changes in their file without making the loop wait for the disk: a short-lived
// thread writes the newest changes as a whole, and whoever asked is told when a writing that has
// theirs is done. Changes that come meanwhile are written together by the next one.
//
// Owned and called by the loop's thread. If the process dies, the file has the changes of the last
// writing that was told to be done, or later ones.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <thread>

#include "engine/checker/control/changes_file.hpp"
#include "engine/checker/loop/loop.hpp"
#include "shm/result.hpp"

namespace ballast::checker {

class ChangesKeeper {
 public:
  // Of all changes up to number `upto`: whether they are in the file now.
  using Done = std::function<void(std::uint64_t upto, const shm::Status&)>;

  // `loop` must outlive the keeper. Without a descriptor or a thread to be had it writes at once.
  ChangesKeeper(Loop& loop, Done done);
  // Waits for a writing under way; nobody is told of it.
  ~ChangesKeeper();
  ChangesKeeper(const ChangesKeeper&) = delete;
  ChangesKeeper& operator=(const ChangesKeeper&) = delete;

  // Where from now on. Writes nothing by itself.
  void set_path(std::string path) { path_ = std::move(path); }
  [[nodiscard]] const std::string& path() const noexcept { return path_; }

  // Returns this change's number; `done` is told of it later, never from inside this call.
  std::uint64_t keep(RuntimeChanges changes);

  // Nothing is being written, or about to be.
  [[nodiscard]] bool is_idle() const noexcept { return told_ == asked_; }

  // Writes what is not written yet, and waits for it; `done` is told before it returns.
  void finish();

 private:
  void start();
  void write();
  void on_written();
  void tell();

  Loop& loop_;
  const Done done_;
  std::string path_;
  int written_ = -1;  // an eventfd, written by the thread as its last act
  std::thread thread_;
  Timers::Id retry_;
  std::uint64_t asked_ = 0;    // number of the newest change
  std::uint64_t started_ = 0;  // what the writing under way has
  std::uint64_t told_ = 0;
  RuntimeChanges newest_;
  // Handed to the thread when it starts, and back when it is joined.
  std::string writing_path_;
  RuntimeChanges writing_;
  shm::Status result_ = shm::Done{};
};

}  // namespace ballast::checker
