// The queue and its thread.
#include "tools/ballastd/log_writer.hpp"

#include <poll.h>
#include <pthread.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <csignal>
#include <system_error>
#include <utility>

namespace ballast::tools {

namespace {

// As many whole lines as a pipe takes in one piece, so that those of other processes do not mix
// with them; at least one.
std::string_view next_piece(std::string_view rest) noexcept {
  const std::size_t last = rest.substr(0, PIPE_BUF).rfind('\n');
  return rest.substr(0, (last != std::string_view::npos ? last : rest.find('\n')) + 1);
}

void write_whole(int descriptor, std::string_view rest) noexcept {
  while (!rest.empty()) {
    const std::string_view piece = next_piece(rest);
    const ssize_t written =
        ::write(descriptor, rest.data(), piece.empty() ? rest.size() : piece.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0 && errno == EAGAIN) {
      // Somebody else who has the same pipe or terminal has made it so.
      pollfd wanted{descriptor, POLLOUT, 0};
      ::poll(&wanted, 1, -1);
      continue;
    }
    if (written <= 0) return;
    rest.remove_prefix(static_cast<std::size_t>(written));
  }
}

}  // namespace

struct LogWriter::Shared {
  int descriptor = -1;
  LostLine lost_line;
  bool has_thread = false;
  std::mutex mutex;
  std::condition_variable more;     // something to write, or the end
  std::condition_variable written;  // nothing left
  std::string queue;                // whole lines
  std::uint64_t lost = 0;           // after those in `queue`
  bool writing = false;
  bool ending = false;

  void run() {
    pthread_setname_np(pthread_self(), "log");
    std::string batch;
    std::unique_lock lock(mutex);
    for (;;) {
      more.wait(lock, [this] { return ending || !queue.empty() || lost != 0; });
      if (queue.empty() && lost == 0) return;
      batch.clear();
      std::swap(batch, queue);
      const std::uint64_t missing = std::exchange(lost, 0);
      writing = true;
      lock.unlock();
      write_whole(descriptor, batch);
      if (missing != 0) write_whole(descriptor, lost_line(missing));
      if (batch.capacity() > kMaxQueuedLogBytes / 16) batch = {};
      lock.lock();
      writing = false;
      if (queue.empty() && lost == 0) written.notify_all();
    }
  }
};

LogWriter::LogWriter(int descriptor, LostLine lost_line) : shared_(std::make_shared<Shared>()) {
  shared_->descriptor = descriptor;
  shared_->lost_line = std::move(lost_line);
  // The thread is to take no signal from those who wait for it.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  try {
    shared_->has_thread = true;
    std::thread([shared = shared_] { shared->run(); }).detach();
  } catch (const std::system_error&) {
    shared_->has_thread = false;
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

LogWriter::~LogWriter() {
  const std::lock_guard lock(shared_->mutex);
  shared_->ending = true;
  shared_->queue.clear();
  shared_->lost = 0;
  shared_->more.notify_all();
}

void LogWriter::put(std::string_view line) {
  if (!shared_->has_thread) return write_whole(shared_->descriptor, line);
  const std::lock_guard lock(shared_->mutex);
  if (shared_->lost != 0 || shared_->queue.size() + line.size() > kMaxQueuedLogBytes) {
    ++shared_->lost;
    return;
  }
  shared_->queue += line;
  shared_->more.notify_one();
}

bool LogWriter::flush(std::chrono::milliseconds patience) {
  std::unique_lock lock(shared_->mutex);
  return shared_->written.wait_for(lock, patience, [this] {
    return shared_->queue.empty() && shared_->lost == 0 && !shared_->writing;
  });
}

}  // namespace ballast::tools
