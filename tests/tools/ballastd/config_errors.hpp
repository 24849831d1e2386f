// What the tests of wrong configurations have in common: a file's text in, the errors out, with a
// resolver and groups of the test's own.
#pragma once

#include <doctest/doctest.h>

#include <string>

#include "tools/ballastd/config.hpp"

namespace ballast::tests {

inline tools::ConfigResult read_text(const std::string& text) {
  tools::ConfigEnvironment environment;
  environment.resolve = [](const std::string& host) -> tools::Parsed<shm::Endpoint> {
    if (host == "here") return *shm::parse_endpoint("127.0.0.1:1");
    return tools::Complaint{"cannot resolve \"" + host + "\" (Name or service not known)",
                            "correct the name"};
  };
  environment.find_group = [](const std::string& group) {
    return group == "www-data" ? std::optional<std::uint32_t>(33) : std::nullopt;
  };
  return tools::read_config_text("f.toml", text, environment);
}

inline std::string errors_of(const std::string& text) {
  const tools::ConfigResult result = read_text(text);
  CHECK_FALSE(result.settings.has_value());
  std::string all;
  for (const auto& error : result.errors) {
    CHECK(error.line.find('\n') == std::string::npos);
    CHECK(error.text.substr(0, error.line.size()) == error.line);
    all += (all.empty() ? "" : "\n") + error.text;
  }
  return all;
}

}  // namespace ballast::tests
