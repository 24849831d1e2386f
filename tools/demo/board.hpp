// What the demo's processes tell each other: one block of anonymous memory, made before the workers
// are forked and shared by all of them. Each worker writes its own counts, the main process writes
// the orders; anybody reads. A killed worker's counts stay as it left them, and are good: every
// figure is one word. All accesses are relaxed, since no figure says anything about another one.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>

namespace ballast::tools::demo {

inline constexpr std::size_t kServers = 6;
inline constexpr std::size_t kWorkers = 4;
inline constexpr std::size_t kKeys = 10'000;
inline constexpr unsigned kNobody = kServers;  // instead of a server's index
inline constexpr std::size_t kOutcomes = 9;    // by ballast::Outcome

using Figure = std::atomic<std::uint64_t>;
static_assert(Figure::is_always_lock_free);

inline std::uint64_t get(const Figure& figure) noexcept {
  return figure.load(std::memory_order_relaxed);
}
inline void set(Figure& figure, std::uint64_t value) noexcept {
  figure.store(value, std::memory_order_relaxed);
}
// For a figure with one writer.
inline void add(Figure& figure, std::uint64_t more = 1) noexcept {
  set(figure, get(figure) + more);
}

// What one worker counts. On cache lines of its own.
struct alignas(128) WorkerFigures {
  Figure requests;       // finished, well or badly
  Figure retries;        // requests whose first attempt failed
  Figure client_errors;  // requests that failed after the retry too
  Figure misplaced;      // answered by another server than the picked one: its own X-Server says so
  Figure asking;         // 1 + the server whose answer is awaited; 0: none
  Figure held;           // requests sent by order and left waiting
  Figure slowest_us;
  // When a key of the victim first fell elsewhere since one last fell on the victim; 0: not since.
  Figure avoided_ns;
  Figure first_error_ns;                // when a server first answered that it had failed; 0: never
  std::array<Figure, kServers> served;  // requests that each server answered well
  std::array<Figure, kServers> chosen_ns;      // when a first pick last fell on each server
  std::array<Figure, kOutcomes> bad_attempts;  // attempts that failed, by outcome
};

struct Board {
  Figure stop;                        // 1: finish the request at hand and leave
  std::array<Figure, kWorkers> hold;  // how many requests a worker shall leave waiting
  std::array<WorkerFigures, kWorkers> workers;
  Figure watching;  // 1: look, before each request, whether the victim is still picked
  // Set before the workers start: the server that will be killed, and the server of each key.
  std::uint64_t victim;
  std::array<std::uint8_t, kKeys> owner;
  std::array<std::atomic<std::uint8_t>, kKeys> moved;  // 1: not the victim's, but seen elsewhere
};

// The board's memory, given back at the end.
class SharedBoard {
 public:
  SharedBoard();
  SharedBoard(const SharedBoard&) = delete;
  SharedBoard& operator=(const SharedBoard&) = delete;
  ~SharedBoard();
  Board* operator->() const noexcept { return board_; }
  Board& operator*() const noexcept { return *board_; }

 private:
  Board* board_;
};

// Sums over workers.
std::uint64_t total(const Board& board, Figure WorkerFigures::* figure) noexcept;
std::uint64_t total_served(const Board& board, std::size_t server) noexcept;
std::uint64_t total_bad_attempts(const Board& board, std::size_t outcome) noexcept;
std::uint64_t count_moved(const Board& board) noexcept;

// The text of a key: its number is all that varies.
std::string key_text(std::size_t key);

}  // namespace ballast::tools::demo
