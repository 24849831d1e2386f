// A server's loop of picks and reports through ballast.h, as a module of its own, so that the same
// loop can be linked with the library in three ways and all be measured in one process.
#pragma once

#include <cstdint>

#include "bench/support/keys.hpp"

namespace ballast::bench {

// Plain functions, since each module has its own library behind them.
struct LinkedLoop {
  void* (*open)(const char* directory, const char* service);  // null: ask `error`
  const char* (*error)();
  // Picks and reports that many times, through the keys again and again.
  void (*run)(void* loop, const Key* keys, std::uint64_t operations);
  void (*close)(void* loop);
};

}  // namespace ballast::bench

extern "C" {
ballast::bench::LinkedLoop ballast_bench_loop_shared();
ballast::bench::LinkedLoop ballast_bench_loop_static();
ballast::bench::LinkedLoop ballast_bench_loop_lto();
}
