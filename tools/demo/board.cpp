// The memory that the demo's processes share: see board.hpp.
#include "tools/demo/board.hpp"

#include <fmt/format.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <new>

#include "tools/demo/failure.hpp"

namespace ballast::tools::demo {

SharedBoard::SharedBoard() {
  void* memory =
      mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED)
    throw Failure(fmt::format("cannot share memory with the workers: {}", std::strerror(errno)));
  board_ = new (memory) Board();
}

SharedBoard::~SharedBoard() {
  munmap(board_, sizeof(Board));
}

std::uint64_t total(const Board& board, Figure WorkerFigures::* figure) noexcept {
  std::uint64_t sum = 0;
  for (const WorkerFigures& worker : board.workers)
    sum += get(worker.*figure);
  return sum;
}

std::uint64_t total_served(const Board& board, std::size_t server) noexcept {
  std::uint64_t sum = 0;
  for (const WorkerFigures& worker : board.workers)
    sum += get(worker.served[server]);
  return sum;
}

std::uint64_t total_bad_attempts(const Board& board, std::size_t outcome) noexcept {
  std::uint64_t sum = 0;
  for (const WorkerFigures& worker : board.workers)
    sum += get(worker.bad_attempts[outcome]);
  return sum;
}

std::uint64_t count_moved(const Board& board) noexcept {
  std::uint64_t count = 0;
  for (const auto& moved : board.moved)
    count += moved.load(std::memory_order_relaxed);
  return count;
}

std::string key_text(std::size_t key) {
  return fmt::format("user:{:05}", key);
}

}  // namespace ballast::tools::demo
