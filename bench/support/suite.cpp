// Rows, the table, and the JSON file.
#include "bench/support/suite.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "bench/support/runner.hpp"

namespace ballast::bench {

namespace {

bool is_met(const Row& row) {
  return row.better == Better::lower ? row.spread.value <= row.goal->limit
                                     : row.spread.value >= row.goal->limit;
}

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.*f", value < 10 ? 3 : value < 100 ? 2 : 1, value);
  return text;
}

void print_table(const Rows& rows) {
  std::size_t width = 2;
  for (const Row& row : rows.all())
    width = std::max(width, row.id.size());
  std::printf("\n%-*s %10s %-4s %10s %10s %5s  %-12s\n", static_cast<int>(width), "id", "value",
              "unit", "low", "high", "runs", "goal");
  for (const Row& row : rows.all()) {
    std::string goal;
    if (row.goal) goal = row.goal->text + (is_met(row) ? "  met" : "  MISSED");
    std::printf("%-*s %10s %-4s %10s %10s %5zu  %s\n", static_cast<int>(width), row.id.c_str(),
                number(row.spread.value).c_str(), row.unit.c_str(), number(row.spread.low).c_str(),
                number(row.spread.high).c_str(), row.spread.runs, goal.c_str());
  }
  for (const std::string& note : rows.notes())
    std::printf("note: %s\n", note.c_str());
}

// Ids, units and goals are plain text of ours: nothing in them needs escaping.
bool write_json(const std::filesystem::path& path, const Rows& rows) {
  std::FILE* file = std::fopen(path.c_str(), "w");
  if (file == nullptr) {
    std::fprintf(stderr,
                 "bench: cannot write %s; set BALLAST_BENCH_DIR to a directory that can "
                 "be written\n",
                 path.c_str());
    return false;
  }
  std::fputs("[", file);
  const char* separator = "\n";
  for (const Row& row : rows.all()) {
    std::fprintf(file,
                 "%s  {\"id\": \"%s\", \"value\": %.6g, \"unit\": \"%s\", \"goal\": \"%s\", "
                 "\"better\": \"%s\", \"low\": %.6g, \"high\": %.6g, \"runs\": %zu}",
                 separator, row.id.c_str(), row.spread.value, row.unit.c_str(),
                 row.goal ? row.goal->text.c_str() : "",
                 row.better == Better::lower ? "lower" : "higher", row.spread.low, row.spread.high,
                 row.spread.runs);
    separator = ",\n";
  }
  std::fputs("\n]\n", file);
  return std::fclose(file) == 0;
}

std::filesystem::path output_directory() {
  if (const char* named = std::getenv("BALLAST_BENCH_DIR")) return named;
  const std::filesystem::path usual = "build/bench";
  std::error_code ignored;
  return std::filesystem::is_directory(usual, ignored) ? usual : ".";
}

}  // namespace

void Rows::add_worst(const std::string& id, Better better, const Goal& goal) {
  const Row* worst = nullptr;
  for (const Row& row : rows_) {
    if (!row.id.starts_with(id + "/")) continue;
    const bool worse =
        worst == nullptr || (better == Better::lower ? row.spread.value > worst->spread.value
                                                     : row.spread.value < worst->spread.value);
    if (worse) worst = &row;
  }
  if (worst != nullptr) add({id, worst->spread, worst->unit, better, goal});
}

int Suite::run(int argc, char** argv) {
  Rows rows;
  std::vector<Runnable> runnable;
  for (const Named& named : cases_)
    runnable.push_back({named.id, [&rows, &named] { named.body(rows); }});
  const Ran ran = run_cases(argc, argv, runnable);
  const int status = ran == Ran::all ? 0 : 1;
  if (rows.all().empty()) return status;  // only listed, or nothing chosen
  print_table(rows);
  const auto path = output_directory() / (name_ + ".json");
  std::error_code ignored;
  if (path.has_parent_path()) std::filesystem::create_directories(path.parent_path(), ignored);
  if (!write_json(path, rows)) return 1;
  std::printf("wrote %s\n", path.c_str());
  return status;
}

}  // namespace ballast::bench
