// The ring itself and the buffers into which the kernel receives: made, filled and unmade. Used by
// uring_loop.cpp alone, on one thread; the only header of ours that includes liburing.
#pragma once

#include <liburing.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "engine/checker/loop/loop.hpp"

namespace ballast::checker {

class UringRing {
 public:
  static constexpr unsigned kSubmissions = 4096;
  static constexpr unsigned kCompletions = 32768;
  // A power of two. They are filled in turn, so all of them are resident; with none left a receive
  // ends and is armed again.
  static constexpr unsigned kBuffers = 256;
  static constexpr std::size_t kBufferBytes = 4096;
  static_assert(kBufferBytes == kMaxDatagramBytes);
  static constexpr int kBufferGroup = 1;

  UringRing() = default;
  UringRing(const UringRing&) = delete;
  UringRing& operator=(const UringRing&) = delete;
  ~UringRing() {
    if (ready_) io_uring_queue_exit(&ring_);  // waits for nothing, cancels everything
    if (mapping_ != MAP_FAILED) munmap(mapping_, kMappedBytes);
  }

  // With a table of `files` direct descriptors. An errno, 0 for success.
  int start(unsigned files) {
    io_uring_params params{};
    // Both flags are in the kernel from 6.0 and 6.1 on, as is everything else that is needed: who
    // gets past this call has it all.
    params.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE |
                   IORING_SETUP_CLAMP;
    params.cq_entries = kCompletions;
    int rc = io_uring_queue_init_params(kSubmissions, &ring_, &params);
    if (rc < 0) return -rc;
    ready_ = true;
    rc = io_uring_register_files_sparse(&ring_, files);
    if (rc < 0) return -rc;
    io_uring_register_ring_fd(&ring_);  // saves a little on every call; may fail harmlessly
    return add_buffers();
  }

  [[nodiscard]] io_uring* get() noexcept { return &ring_; }

  // Room for `n` entries in one submission: a chain must not be torn apart.
  void reserve(unsigned n) {
    if (io_uring_sq_space_left(&ring_) < n) io_uring_submit(&ring_);
  }

  io_uring_sqe* next() {
    io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
    while (sqe == nullptr) {
      io_uring_submit(&ring_);
      sqe = io_uring_get_sqe(&ring_);
    }
    return sqe;
  }

  // The n-th of the completions that have come; null if there are not so many.
  [[nodiscard]] const io_uring_cqe* peek(unsigned n) noexcept {
    if (n >= io_uring_cq_ready(&ring_)) return nullptr;
    return &ring_.cq.cqes[(*ring_.cq.khead + n) & *ring_.cq.kring_mask];
  }

  [[nodiscard]] std::string_view buffer(unsigned i, std::size_t bytes) const noexcept {
    return {buffers_ + i * kBufferBytes, bytes};
  }

  void give_back_buffer(unsigned i) noexcept {
    io_uring_buf_ring_add(buffer_ring_, buffers_ + i * kBufferBytes, kBufferBytes,
                          static_cast<unsigned short>(i), io_uring_buf_ring_mask(kBuffers), 0);
    io_uring_buf_ring_advance(buffer_ring_, 1);
  }

 private:
  static constexpr std::size_t kDescriptorBytes = kBuffers * sizeof(io_uring_buf);
  static constexpr std::size_t kMappedBytes = kDescriptorBytes + kBuffers * kBufferBytes;

  // One mapping: the descriptors, which the kernel wants page-aligned, then the buffers.
  int add_buffers() {
    mapping_ =
        mmap(nullptr, kMappedBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapping_ == MAP_FAILED) return errno;
    buffer_ring_ = static_cast<io_uring_buf_ring*>(mapping_);
    buffers_ = static_cast<char*>(mapping_) + kDescriptorBytes;
    io_uring_buf_reg registration{};
    registration.ring_addr = reinterpret_cast<std::uintptr_t>(mapping_);
    registration.ring_entries = kBuffers;
    registration.bgid = kBufferGroup;
    const int rc = io_uring_register_buf_ring(&ring_, &registration, 0);
    if (rc < 0) return -rc;
    io_uring_buf_ring_init(buffer_ring_);
    for (unsigned i = 0; i < kBuffers; ++i) {
      give_back_buffer(i);
    }
    return 0;
  }

  io_uring ring_{};
  bool ready_ = false;
  void* mapping_ = MAP_FAILED;
  io_uring_buf_ring* buffer_ring_ = nullptr;
  char* buffers_ = nullptr;
};

}  // namespace ballast::checker
