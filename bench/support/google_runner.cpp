// Running the cases by Google Benchmark.
#include <benchmark/benchmark.h>

#include <cstdio>
#include <exception>

#include "bench/support/runner.hpp"

namespace ballast::bench {

namespace {

// Google Benchmark's own lines would say how long a case took as a whole, which nobody asks for.
class Errors : public benchmark::BenchmarkReporter {
 public:
  bool ReportContext(const Context&) override { return true; }
  void ReportRuns(const std::vector<Run>& runs) override {
    for (const Run& run : runs) {
      if (!run.error_occurred) continue;
      any_ = true;
      std::fprintf(stderr, "%s: %s\n", run.run_name.function_name.c_str(),
                   run.error_message.c_str());
    }
  }
  [[nodiscard]] bool any() const noexcept { return any_; }

 private:
  bool any_ = false;
};

void run_once(benchmark::State& state, const Runnable& one) {
  for ([[maybe_unused]] auto _ : state) {
    std::fprintf(stderr, "%s ...\n", one.id.c_str());
    try {
      one.run();
    } catch (const std::exception& error) {
      state.SkipWithError(error.what());
      break;
    }
  }
}

}  // namespace

Ran run_cases(int argc, char** argv, const std::vector<Runnable>& cases) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return Ran::bad_arguments;
  for (const Runnable& one : cases) {
    benchmark::RegisterBenchmark(one.id.c_str(), [&one](benchmark::State& state) {
      run_once(state, one);
    })->Iterations(1);
  }
  Errors errors;
  benchmark::RunSpecifiedBenchmarks(&errors);
  return errors.any() ? Ran::some_failed : Ran::all;
}

}  // namespace ballast::bench
