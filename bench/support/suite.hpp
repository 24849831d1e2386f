// A suite of benchmarks: Google Benchmark registers, lists and filters the cases; each case
// measures in its own way and adds rows here; at the end the suite prints one table and writes
// SUITE.json, a list of {id, value, unit, goal, better, low, high, runs}. Figures never change the
// exit status: a benchmark reports, it does not judge.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "bench/support/statistics.hpp"

namespace ballast::bench {

enum class Better { lower, higher };

struct Goal {
  std::string text;  // as the table shows it: "<= 1.20x"
  double limit = 0;
};

struct Row {
  std::string id;
  Spread spread;
  std::string unit;  // "x", "ns", "ms", ...
  Better better = Better::lower;
  std::optional<Goal> goal;  // none: shown for information
};

class Rows {
 public:
  void add(Row row) { rows_.push_back(std::move(row)); }
  // The row that counts, named `id`: the worst of the rows added so far whose id starts with
  // `id + "/"` and have the unit of `goal`'s row. Nothing if there are none.
  void add_worst(const std::string& id, Better better, const Goal& goal);
  void note(std::string text) { notes_.push_back(std::move(text)); }

  [[nodiscard]] const std::vector<Row>& all() const noexcept { return rows_; }
  [[nodiscard]] const std::vector<std::string>& notes() const noexcept { return notes_; }

 private:
  std::vector<Row> rows_;
  std::vector<std::string> notes_;
};

using Case = std::function<void(Rows&)>;

class Suite {
 public:
  explicit Suite(std::string name) : name_(std::move(name)) {}

  void add(std::string id, Case body) { cases_.push_back({std::move(id), std::move(body)}); }
  // Takes Google Benchmark's flags (--benchmark_filter=REGEX, --benchmark_list_tests=true) and
  // writes into $BALLAST_BENCH_DIR, else build/bench under the working directory if that is there,
  // else the working directory. 0, or 1 if a case failed to measure at all or the file could not be
  // written.
  int run(int argc, char** argv);

 private:
  struct Named {
    std::string id;
    Case body;
  };
  std::string name_;
  std::vector<Named> cases_;
};

}  // namespace ballast::bench
