// A worker's handle as a test holds it, through ballast.h.
#pragma once

#include <ballast.h>
#include <doctest/doctest.h>

#include <string>

namespace ballast::tests {

struct Attached {
  ballast_t* handle = nullptr;
  ballast_service_t service = 0;

  explicit Attached(const std::string& directory, const char* name = "web") {
    ballast_options_t options = BALLAST_OPTIONS_INIT;
    options.directory = directory.c_str();
    REQUIRE_MESSAGE(ballast_attach(&options, &handle) == BALLAST_OK, ballast_last_error());
    REQUIRE(ballast_find_service(handle, name, &service) == BALLAST_OK);
  }
  Attached(const Attached&) = delete;
  Attached& operator=(const Attached&) = delete;
  ~Attached() { ballast_detach(handle); }

  ballast_status_t pick(const std::string& key, ballast_pick_t& out,
                        const ballast_pick_options_t* options = nullptr) const {
    return ballast_pick(handle, service, key.data(), key.size(), options, &out);
  }
  [[nodiscard]] ballast_info_t info() const {
    ballast_info_t info = BALLAST_INFO_INIT;
    ballast_info(handle, &info);
    return info;
  }
};

}  // namespace ballast::tests
