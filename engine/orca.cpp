// Reading ORCA's text header. Sources: Envoy's source/common/orca/orca_parser.cc for the formats
// and what it refuses, gRPC A51 and A58 for the names and which utilisation counts.
#include "engine/orca.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <optional>
#include <system_error>

namespace ballast::engine {

namespace {

enum Metric : unsigned { application, cpu, memory, rps_fractional, rps, eps, metric_count };

constexpr std::array<std::string_view, metric_count> kNames = {"application_utilization",
                                                               "cpu_utilization",
                                                               "mem_utilization",
                                                               "rps_fractional",
                                                               "rps",
                                                               "eps"};

constexpr std::string_view kText = "TEXT ";

constexpr bool is_blank(char c) noexcept {
  return c == ' ' || c == '\t';
}

constexpr std::string_view trimmed(std::string_view text) noexcept {
  while (!text.empty() && is_blank(text.front()))
    text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back()))
    text.remove_suffix(1);
  return text;
}

std::optional<double> number_of(std::string_view text) noexcept {
  double value = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc{} || stop != end || !std::isfinite(value) || value < 0)
    return std::nullopt;
  return value;
}

// `value` times `scale`, rounded, in 1..`most`; 0 stays 0.
std::uint32_t scaled(double value, double scale, std::uint32_t most) noexcept {
  if (!(value > 0)) return 0;
  const double rounded = std::round(std::min(value, static_cast<double>(most)) * scale);
  return static_cast<std::uint32_t>(std::clamp(rounded, 1.0, static_cast<double>(most)));
}

}  // namespace

const char* to_text(OrcaResult result) noexcept {
  switch (result) {
    case OrcaResult::ok:
      return "ok";
    case OrcaResult::nothing:
      return "the report says nothing of use";
    case OrcaResult::unsupported:
      return "only the TEXT format is read";
    case OrcaResult::malformed:
      return "not a list of name=number";
    case OrcaResult::too_long:
      return "too long";
  }
  return "unknown";
}

OrcaResult parse_orca(std::string_view header, ReportedLoad& out) noexcept {
  if (header.size() > kMaxOrcaBytes) return OrcaResult::too_long;
  std::string_view rest = trimmed(header);
  if (!rest.starts_with(kText)) return OrcaResult::unsupported;
  rest.remove_prefix(kText.size());

  std::array<double, metric_count> values{};
  std::array<bool, metric_count> seen{};
  for (bool more = true; more;) {
    const std::size_t comma = rest.find(',');
    more = comma != std::string_view::npos;
    const std::string_view entry = rest.substr(0, comma);
    if (more) rest.remove_prefix(comma + 1);

    const std::size_t between = entry.find_first_of("=:");
    if (between == std::string_view::npos) return OrcaResult::malformed;
    const std::string_view name = trimmed(entry.substr(0, between));
    const std::optional<double> value = number_of(trimmed(entry.substr(between + 1)));
    if (name.empty() || !value) return OrcaResult::malformed;
    for (unsigned metric = 0; metric < metric_count; ++metric) {
      if (name != kNames[metric]) continue;
      if (seen[metric]) return OrcaResult::malformed;
      seen[metric] = true;
      values[metric] = *value;
    }
  }

  const double utilisation = values[application] > 0 ? values[application] : values[cpu];
  const double qps = values[rps_fractional] > 0 ? values[rps_fractional] : values[rps];
  if (!(utilisation > 0) && !(qps > 0)) return OrcaResult::nothing;
  out.utilisation = scaled(utilisation, 1e5, kMaxReportedUtilisation);
  out.qps_tenths = scaled(qps, 10, kMaxReportedQpsTenths);
  // Without requests there is no rate of errors.
  out.error_ppm = qps > 0 ? scaled(values[eps] / qps, 1e6, kMaxReportedErrorPpm) : 0;
  return OrcaResult::ok;
}

}  // namespace ballast::engine
