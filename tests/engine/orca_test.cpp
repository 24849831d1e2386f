// A backend's own report of its load: what is read of it, what is refused, and how it is kept.
#include "engine/orca.hpp"

#include <doctest/doctest.h>

#include <string>

#include "tests/support/property.hpp"

using namespace ballast::engine;
using ballast::tests::holds;

namespace {

constexpr ReportedLoad kUntouched{1, 2, 3};

OrcaResult result_of(std::string_view header) {
  ReportedLoad load = kUntouched;
  const OrcaResult result = parse_orca(header, load);
  if (result != OrcaResult::ok) CHECK(load == kUntouched);
  return result;
}

ReportedLoad load_of(std::string_view header) {
  ReportedLoad load;
  CAPTURE(header);
  CHECK(parse_orca(header, load) == OrcaResult::ok);
  return load;
}

}  // namespace

TEST_CASE("a report as backends send it") {
  CHECK(load_of("TEXT cpu_utilization=0.3, mem_utilization=0.8, application_utilization=0.9, "
                "rps_fractional=10.0, eps=1, named_metrics.kv_cache=0.4") ==
        ReportedLoad{90'000, 100, 100'000});
  CHECK(load_of("TEXT cpu_utilization=0.3") == ReportedLoad{30'000, 0, 0});
  CHECK(load_of("TEXT rps_fractional=12.34") == ReportedLoad{0, 123, 0});
  // As Envoy writes it, and with blanks wherever they may be.
  CHECK(load_of("TEXT cpu_utilization:0.25,rps_fractional:2e2,eps:5e-1") ==
        ReportedLoad{25'000, 2000, 2500});
  CHECK(load_of(" TEXT  cpu_utilization = 0.25 ,\trps_fractional= 200 ") ==
        ReportedLoad{25'000, 2000, 0});
}

TEST_CASE("the application's own utilisation counts before the processor's") {
  CHECK(load_of("TEXT application_utilization=0.5,cpu_utilization=0.1").utilisation == 50'000);
  CHECK(load_of("TEXT cpu_utilization=0.1,application_utilization=0.0").utilisation == 10'000);
  CHECK(load_of("TEXT rps=7,cpu_utilization=1").qps_tenths == 70);
  CHECK(load_of("TEXT rps=7,rps_fractional=6.5").qps_tenths == 65);
}

TEST_CASE("what is not used is still read") {
  CHECK(load_of("TEXT cpu_utilization=1,some_day=3,named_metrics.a=1,named_metrics.a=2") ==
        ReportedLoad{100'000, 0, 0});
  CHECK(result_of("TEXT cpu_utilization=1,some_day=x") == OrcaResult::malformed);
  CHECK(result_of("TEXT cpu_utilization=1,mem_utilization=nan") == OrcaResult::malformed);
}

TEST_CASE("a report that says nothing") {
  for (const char* header : {"TEXT mem_utilization=0.5", "TEXT cpu_utilization=0", "TEXT eps=5",
                             "TEXT cpu_utilization=-0", "TEXT named_metrics.x=1"}) {
    CAPTURE(header);
    CHECK(result_of(header) == OrcaResult::nothing);
  }
}

TEST_CASE("forms that are not read") {
  for (const char* header :
       {"", " ", "TEXT", "text cpu_utilization=1", "cpu_utilization=0.3",
        "JSON {\"cpu_utilization\": 0.3}", "BIN CZqZmZmZmdk/", "CZqZmZmZmdk/"}) {
    CAPTURE(header);
    CHECK(result_of(header) == OrcaResult::unsupported);
  }
}

TEST_CASE("what is wrong is refused as a whole") {
  for (const char* entry : {"cpu_utilization",
                            "cpu_utilization=",
                            "cpu_utilization= ",
                            "=1",
                            " =1",
                            "=",
                            "cpu_utilization==1",
                            "cpu_utilization=1=2",
                            "cpu_utilization=1 2",
                            "cpu_utilization=0x1",
                            "cpu_utilization=+1",
                            "cpu_utilization=-0.1",
                            "cpu_utilization=nan",
                            "cpu_utilization=-nan",
                            "cpu_utilization=inf",
                            "cpu_utilization=-inf",
                            "cpu_utilization=infinity",
                            "cpu_utilization=1e999",
                            "cpu_utilization=1e",
                            "cpu_utilization=1;eps=2",
                            "eps=-1",
                            "",
                            ",",
                            "eps=1,eps=1",
                            "cpu_utilization=0.1,cpu_utilization:0.2"}) {
    CAPTURE(entry);
    CHECK(result_of("TEXT " + std::string(entry)) != OrcaResult::ok);
    const std::string among = "TEXT rps_fractional=5," + std::string(entry);
    CHECK(result_of(among) == OrcaResult::malformed);
    CHECK(result_of(among + ",rps=3") == OrcaResult::malformed);
  }
  CHECK(result_of(std::string_view("TEXT cpu_utilization=1\0", 23)) == OrcaResult::malformed);
}

TEST_CASE("numbers are brought within their limits") {
  CHECK(load_of("TEXT cpu_utilization=10.48575").utilisation == kMaxReportedUtilisation);
  CHECK(load_of("TEXT cpu_utilization=1e300").utilisation == kMaxReportedUtilisation);
  CHECK(load_of("TEXT cpu_utilization=1e-300").utilisation == 1);
  CHECK(load_of("TEXT rps_fractional=1e300").qps_tenths == kMaxReportedQpsTenths);
  CHECK(load_of("TEXT rps_fractional=1e-9").qps_tenths == 1);
  CHECK(load_of("TEXT rps_fractional=1e-300,eps=1e300").error_ppm == kMaxReportedErrorPpm);
  CHECK(load_of("TEXT rps_fractional=1000,eps=1000").error_ppm == 1'000'000);
  CHECK(load_of("TEXT rps_fractional=1000,eps=0").error_ppm == 0);
}

TEST_CASE("a header has a limit") {
  std::string header = "TEXT cpu_utilization=0.5";
  header += std::string(kMaxOrcaBytes - header.size(), ' ');
  CHECK(result_of(header) == OrcaResult::ok);
  CHECK(result_of(header + " ") == OrcaResult::too_long);
}

TEST_CASE("a report survives its word, and none is 0") {
  CHECK(pack(ReportedLoad{}) == 0);
  CHECK(holds("word", [] {
    const ReportedLoad load{*rc::gen::inRange<std::uint32_t>(0, kMaxReportedUtilisation + 1),
                            *rc::gen::inRange<std::uint32_t>(0, kMaxReportedQpsTenths + 1),
                            *rc::gen::inRange<std::uint32_t>(0, kMaxReportedErrorPpm + 1)};
    RC_ASSERT(unpack_reported_load(pack(load)) == load);
  }));
  CHECK(holds("any word",
              [](std::uint64_t word) { RC_ASSERT(pack(unpack_reported_load(word)) == word); }));
}
