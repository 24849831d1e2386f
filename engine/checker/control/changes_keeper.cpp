// The writing thread and its end.
#include "engine/checker/control/changes_keeper.hpp"

#include <sys/eventfd.h>
#include <unistd.h>

#include <exception>
#include <system_error>
#include <utility>

namespace ballast::checker {

ChangesKeeper::ChangesKeeper(Loop& loop, Done done)
    : loop_(loop),
      done_(std::move(done)),
      written_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)),
      retry_(loop.timers().create([this] {
        if (!thread_.joinable()) start();
      })) {
  if (written_ >= 0) loop_.watch(written_, [this] { on_written(); });
}

ChangesKeeper::~ChangesKeeper() {
  if (thread_.joinable()) thread_.join();
  loop_.timers().destroy(retry_);
  if (written_ < 0) return;
  loop_.unwatch(written_);
  ::close(written_);
}

std::uint64_t ChangesKeeper::keep(RuntimeChanges changes) {
  newest_ = std::move(changes);
  ++asked_;
  // At the next turn, with what else comes in this one.
  if (!thread_.joinable()) loop_.timers().arm(retry_, std::chrono::steady_clock::now());
  return asked_;
}

void ChangesKeeper::start() {
  if (started_ == asked_) return;
  started_ = asked_;
  writing_ = newest_;
  writing_path_ = path_;
  if (written_ >= 0) {
    try {
      thread_ = std::thread([this] { write(); });
      return;
    } catch (const std::system_error&) {  // no thread: the loop waits for the disk this time
    }
  }
  write();
  tell();
}

void ChangesKeeper::write() {
  try {
    result_ = write_changes_file(writing_path_, changes_to_text(writing_));
  } catch (const std::exception& error) {
    result_ = shm::Error{shm::ErrorKind::system, 0, "keep operators' changes in", writing_path_,
                         error.what()};
  }
  const std::uint64_t one = 1;
  // Cannot fail: the counter is far from full. The joining orders `result_`, not this.
  if (written_ >= 0) static_cast<void>(::write(written_, &one, sizeof one));
}

void ChangesKeeper::on_written() {
  std::uint64_t count = 0;
  if (::read(written_, &count, sizeof count) != sizeof count || !thread_.joinable()) return;
  thread_.join();
  tell();
  if (!thread_.joinable()) start();
}

void ChangesKeeper::tell() {
  told_ = started_;
  const shm::Status result = std::exchange(result_, shm::Done{});
  done_(told_, result);
}

void ChangesKeeper::finish() {
  if (thread_.joinable()) {
    thread_.join();
    tell();
  }
  if (started_ == asked_) return;
  started_ = asked_;
  writing_ = newest_;
  writing_path_ = path_;
  write();
  tell();
}

}  // namespace ballast::checker
