// Prometheus's text exposition format, version 0.0.4, written into a string: HELP and TYPE of a
// family, then its samples. Who calls sees to it that a family's samples follow each other. Values
// come from mapped files, so any bytes may be in a label: they are escaped, and what is not UTF-8
// is replaced, for one bad name would make a scraper refuse the whole page.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace ballast::checker {

enum class MetricType : std::uint8_t { counter, gauge, histogram };

// Appends `name="value"`, after a comma if there is something already.
void append_label(std::string& labels, std::string_view name, std::string_view value);

// "0.0015", "1.0": what a histogram's label `le` says of a bucket's upper end in microseconds.
[[nodiscard]] std::string bound_text(std::uint64_t us);

class Exposition {
 public:
  explicit Exposition(std::string& out) noexcept : out_(out) {}

  void family(std::string_view name, MetricType type, std::string_view help);
  // `labels` as append_label() makes them; may be empty.
  void sample(std::string_view name, std::string_view labels, std::uint64_t value);
  void sample(std::string_view name, std::string_view labels, std::int64_t value);
  void sample(std::string_view name, std::string_view labels, double value);

 private:
  void begin(std::string_view name, std::string_view labels);

  std::string& out_;
};

}  // namespace ballast::checker
