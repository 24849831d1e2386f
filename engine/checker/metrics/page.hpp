// A survey as a page of metrics, a piece at a time, so that no page is ever in memory as a whole.
// What is on it stands in families.hpp. Pure: the same survey gives the same bytes.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "engine/checker/metrics/survey.hpp"

namespace ballast::checker {

class Page {
 public:
  explicit Page(std::shared_ptr<const Survey> survey) noexcept : survey_(std::move(survey)) {}

  // Appends the next samples, until `out` is at least `want` bytes long or the page has ended.
  // False: it has.
  bool append(std::string& out, std::size_t want);

 private:
  std::shared_ptr<const Survey> survey_;
  std::size_t family_ = 0;
  std::size_t item_ = 0;  // service or instance within the family
};

}  // namespace ballast::checker
