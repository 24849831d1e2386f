// Every family of metrics: its name, type and help, and how its samples are made of a survey. Five
// tables, by what a family has samples of; page.cpp walks them, docs/metrics.md lists them for
// people, and a test compares the two. Pure.
#pragma once

#include <concepts>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "engine/checker/metrics/exposition.hpp"
#include "engine/checker/metrics/survey.hpp"

namespace ballast::checker {

// Where a family puts its samples.
class Samples {
 public:
  Samples(Exposition& to, std::string_view name) noexcept : to_(to), name_(name) {}

  // `labels` as append_label() makes them.
  void put(std::string_view labels, double value) { to_.sample(name_, labels, value); }
  void put(std::string_view labels, std::integral auto value) { put_as(name_, labels, value); }
  // Of a histogram: `suffix` is "_sum", say.
  void put_part(std::string_view suffix, std::string_view labels, double value) {
    to_.sample(std::string(name_).append(suffix), labels, value);
  }
  void put_part(std::string_view suffix, std::string_view labels, std::uint64_t value) {
    to_.sample(std::string(name_).append(suffix), labels, value);
  }

 private:
  template <std::integral Number>
  void put_as(std::string_view name, std::string_view labels, Number value) {
    if constexpr (std::signed_integral<Number>) {
      to_.sample(name, labels, std::int64_t{value});
    } else {
      to_.sample(name, labels, std::uint64_t{value});
    }
  }

  Exposition& to_;
  std::string_view name_;
};

template <class Subject>
struct Family {
  std::string_view name;
  MetricType type = MetricType::gauge;
  std::string_view help;
  void (*write)(Samples&, const Subject&) = nullptr;
};

// Of this process.
[[nodiscard]] std::span<const Family<Survey>> own_families() noexcept;
// Of checks, by service and kind.
[[nodiscard]] std::span<const Family<CheckCounts>> check_families() noexcept;
// Of the table as a whole; they have no samples where it cannot be read.
[[nodiscard]] std::span<const Family<Survey>> table_families() noexcept;
[[nodiscard]] std::span<const Family<ServiceSurvey>> service_families() noexcept;
[[nodiscard]] std::span<const Family<InstanceSurvey>> instance_families() noexcept;

}  // namespace ballast::checker
