// Pinned processes that measure together. The parent forks them, they meet at barriers in shared
// memory, and leave their figures there. A process that fails or is killed ends the whole run, so
// that nobody waits at a barrier for the dead.
#pragma once

#include <sys/mman.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <new>
#include <span>
#include <stdexcept>
#include <vector>

namespace ballast::bench {

// The processors that this process may use.
[[nodiscard]] std::vector<int> processors();
// Keeps the calling process on one processor: the `rank`-th of those, going round.
void pin(unsigned rank);

// Anonymous memory that forked processes share. Zeroed; whole pages of its own.
template <class T>
class SharedArray {
 public:
  explicit SharedArray(std::size_t count) : count_(count) {
    void* memory =
        ::mmap(nullptr, bytes(), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    data_ = static_cast<T*>(memory);
    for (std::size_t i = 0; i < count; ++i)
      new (data_ + i) T();
  }
  SharedArray(const SharedArray&) = delete;
  SharedArray& operator=(const SharedArray&) = delete;
  ~SharedArray() { ::munmap(data_, bytes()); }

  [[nodiscard]] T& operator[](std::size_t i) const noexcept { return data_[i]; }
  [[nodiscard]] T* data() const noexcept { return data_; }
  [[nodiscard]] std::size_t size() const noexcept { return count_; }

 private:
  [[nodiscard]] std::size_t bytes() const noexcept { return count_ * sizeof(T); }
  T* data_;
  std::size_t count_;
};

// Where a fixed number of processes wait for each other, spinning, since they are about to be
// timed. Lies in shared memory.
class Barrier {
 public:
  void wait(unsigned parties) noexcept;

 private:
  std::atomic<std::uint32_t> arrived_{0};
  std::atomic<std::uint32_t> phase_{0};
};

// Runs `body(rank)` in `count` forked processes, each pinned to a processor of its own, and waits
// for all. Throws if one of them did not end well; the others are then killed.
void run_processes(unsigned count, const std::function<void(unsigned rank)>& body);

// A forked process that runs until it is told to stop. Killed if this is destroyed before.
class Child {
 public:
  explicit Child(const std::function<void()>& body);
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child();

  void kill() noexcept;  // SIGKILL, and waits until it is gone
  void signal(int number) const noexcept;
  // Waits for it to end by itself; throws if it failed.
  void join();

 private:
  int pid_ = -1;
};

}  // namespace ballast::bench
