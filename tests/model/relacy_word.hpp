// A word of shared memory as Relacy sees it. `Word` has the members of std::atomic that shm's
// templates use, so shm/generation.hpp and shm/row_protocol.hpp are explored as they are compiled
// for production. A word can be told to weaken every order it is given (for the sabotaged
// variants), and a thread can be told to die after some stores: from then on nothing that it
// stores happens, which is what SIGKILL looks like to everyone else.
#pragma once

#include <doctest/doctest.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <source_location>
#include <streambuf>
#include <string>

// Before relacy.hpp, which takes some of the standard's names for macros.
#include "shm/generation.hpp"
#include "shm/row_protocol.hpp"

namespace ballast::model {

enum class Orders { as_written, relaxed_stores, relaxed_loads };

// Relacy numbers the orders as libstdc++ and libc++ do.
static_assert(static_cast<int>(std::memory_order_relaxed) == 0);
static_assert(static_cast<int>(std::memory_order_acquire) == 2);
static_assert(static_cast<int>(std::memory_order_release) == 3);
static_assert(static_cast<int>(std::memory_order_seq_cst) == 5);

}  // namespace ballast::model

#include <relacy/relacy.hpp>
#undef assert
#undef calloc
#undef delete
#undef errno
#undef free
#undef malloc
#undef memory_order_acq_rel
#undef memory_order_acquire
#undef memory_order_consume
#undef memory_order_relaxed
#undef memory_order_release
#undef memory_order_seq_cst
#undef new
#undef realloc

namespace ballast::model {

static_assert(rl::mo_acquire == 2 && rl::mo_release == 3 && rl::mo_seq_cst == 5);

// Which threads of the explored program will die, and when. One program runs at a time.
class Mortality {
 public:
  static constexpr unsigned kThreads = 8;
  static constexpr unsigned kNever = ~0U;

  void reset() noexcept { left_.fill(kNever); }
  // The calling thread dies after one of its next 0..most stores, or, as one choice more, never.
  void may_die_within(unsigned most) {
    const unsigned choice = rl::rand(most + 2);
    left_[rl::thread_index()] = choice > most ? kNever : choice;
  }
  [[nodiscard]] bool dead() const noexcept { return left_[rl::thread_index()] == 0; }
  void count_store() noexcept {
    unsigned& left = left_[rl::thread_index()];
    if (left != kNever) --left;
  }

 private:
  std::array<unsigned, kThreads> left_{};
};
inline Mortality mortality;

template <Orders kOrders = Orders::as_written>
class Word {
 public:
  using Where = std::source_location;

  std::uint64_t load(std::memory_order order, Where where = Where::current()) const {
    const bool weak = kOrders == Orders::relaxed_loads || mortality.dead();
    return value_.load(weak ? rl::mo_relaxed : translate(order), info(where));
  }
  void store(std::uint64_t value, std::memory_order order, Where where = Where::current()) {
    if (mortality.dead()) return;
    mortality.count_store();
    const bool weak = kOrders == Orders::relaxed_stores;
    value_.store(value, weak ? rl::mo_relaxed : translate(order), info(where));
  }
  // A dead thread's swap changes nothing, and looks done so that it leaves its loop.
  bool compare_exchange_strong(std::uint64_t& expected, std::uint64_t desired,
                               std::memory_order success, std::memory_order failure,
                               Where where = Where::current()) {
    if (mortality.dead()) return true;
    const auto made = kOrders == Orders::as_written ? translate(success) : rl::mo_relaxed;
    const bool swapped = value_.compare_exchange_strong(expected, desired, made, info(where),
                                                        translate(failure), info(where));
    if (swapped) mortality.count_store();
    return swapped;
  }
  std::uint64_t fetch_add(std::uint64_t more, std::memory_order order,
                          Where where = Where::current()) {
    if (mortality.dead()) return value_.load(rl::mo_relaxed, info(where));
    mortality.count_store();
    const auto made = kOrders == Orders::as_written ? translate(order) : rl::mo_relaxed;
    return value_.fetch_add(more, made, info(where));
  }
  // Weakened, it keeps the other half of its order.
  std::uint64_t exchange(std::uint64_t value, std::memory_order order,
                         Where where = Where::current()) {
    if (mortality.dead()) return value_.load(rl::mo_relaxed, info(where));
    mortality.count_store();
    auto made = translate(order);
    if (kOrders == Orders::relaxed_stores) made = rl::mo_acquire;
    if (kOrders == Orders::relaxed_loads) made = rl::mo_release;
    return value_.exchange(value, made, info(where));
  }
  // The value before the threads start, which all of them see.
  void preset(std::uint64_t value) { value_.store(value, rl::mo_relaxed, info(Where::current())); }

 private:
  static rl::memory_order translate(std::memory_order order) noexcept {
    return static_cast<rl::memory_order>(order);
  }
  static rl::debug_info info(const Where& where) noexcept {
    return {where.function_name(), where.file_name(), where.line()};
  }

  rl::atomic<std::uint64_t> value_;
};

// A kernel lock: nothing fails but for somebody holding it, and death frees it.
class KernelLock {
 public:
  KernelLock() { mutex_.init(false, false, false, /*failing_try_lock=*/false, RL_INFO); }
  ~KernelLock() { mutex_.deinit(RL_INFO); }
  KernelLock(const KernelLock&) = delete;
  KernelLock& operator=(const KernelLock&) = delete;

  void lock() { mutex_.lock(RL_INFO); }
  bool try_lock() { return mutex_.try_lock_exclusive(RL_INFO); }
  void unlock() { mutex_.unlock(RL_INFO); }

 private:
  struct Tag;
  rl::generic_mutex<Tag> mutex_;
};

// Where Relacy writes. It replaces operator new while a program runs, so a string stream that grows
// then would be freed by the wrong allocator. Keeps the first part, drops the rest.
class FixedOutput : public std::streambuf {
 public:
  FixedOutput() { clear(); }
  void clear() { setp(bytes_.data(), bytes_.data() + bytes_.size()); }
  [[nodiscard]] std::string text() const { return {pbase(), pptr()}; }

 private:
  int_type overflow(int_type c) override { return traits_type::not_eof(c); }

  std::array<char, 1 << 16> bytes_{};
};

struct Explored {
  rl::test_result_e result = rl::test_result_success;
  std::uint64_t iterations = 0;
  std::string report;  // of the failing execution, if there is one
};

// Runs `Suite` under random scheduling `iterations` times, or, with 0, through every schedule and
// every choice of what a load may return. Seeds are the iteration numbers, so a failure repeats.
template <class Suite>
Explored explore(std::uint64_t iterations) {
  static FixedOutput output;
  static FixedOutput progress;
  output.clear();
  progress.clear();
  std::ostream output_stream(&output);
  std::ostream progress_stream(&progress);
  rl::test_params parameters;
  parameters.iteration_count = iterations;
  parameters.search_type = iterations == 0 ? rl::sched_full : rl::sched_random;
  parameters.output_stream = &output_stream;
  parameters.progress_stream = &progress_stream;
  rl::simulate<Suite>(parameters);
  std::cout << Suite::name() << ": " << rl::test_result_str(parameters.test_result) << " after "
            << parameters.stop_iteration << " executions"
            << (iterations == 0 ? " (full search)" : "") << std::endl;
  return {parameters.test_result, parameters.stop_iteration, output.text()};
}

// A sabotaged model, which some execution must show to be wrong.
template <class Model>
void must_be_caught(std::uint64_t iterations) {
  const Explored explored = explore<Model>(iterations);
  CHECK_MESSAGE(explored.result == rl::test_result_user_assert_failed, Model::name());
}

template <class Model>
void must_hold(std::uint64_t iterations) {
  const Explored explored = explore<Model>(iterations);
  CHECK_MESSAGE(explored.result == rl::test_result_success, explored.report);
}

}  // namespace ballast::model
