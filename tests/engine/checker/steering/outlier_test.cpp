// Outlier detection rule by rule, on small sets, and its limits over random services.
#include "engine/checker/steering/outlier.hpp"

#include <doctest/doctest.h>

#include <set>

#include "tests/support/property.hpp"

namespace ballast::checker {
namespace {

OutlierSample healthy(std::uint64_t requests = 1000) {
  return {.successes = requests,
          .failures = 0,
          .latency_sum_us = requests * 10'000,
          .latency_count = requests,
          .candidate = true};
}
OutlierSample failing(std::uint64_t percent, std::uint64_t requests = 1000) {
  OutlierSample s = healthy(requests);
  s.failures = requests * percent / 100;
  s.successes = requests - s.failures;
  return s;
}
OutlierSample slow(std::uint64_t latency_us, std::uint64_t requests = 1000) {
  OutlierSample s = healthy(requests);
  s.latency_sum_us = requests * latency_us;
  return s;
}
std::vector<OutlierSample> many(std::size_t n, const OutlierSample& sample = healthy()) {
  return std::vector<OutlierSample>(n, sample);
}
// Asks whether an ejection is over, and ends it then.
Ejection::End finish(Ejection& e, std::uint32_t rise, std::uint64_t now_ms) {
  const Ejection::End end = e.due(rise, now_ms);
  if (end != Ejection::End::not_yet) e.end(now_ms);
  return end;
}

std::vector<OutlierVerdict> find(const std::vector<OutlierSample>& samples,
                                 std::size_t places = 100) {
  return find_outliers({}, samples, places);
}

TEST_CASE("nothing to compare is nobody to eject") {
  CHECK(find({}).empty());
  CHECK(find({failing(100)}).empty());
  CHECK(find(many(2)).empty());
  CHECK(find(many(100)).empty());
  CHECK(find(many(10, healthy(0))).empty());
}

TEST_CASE("a success rate far below the mean") {
  auto samples = many(10);
  samples[7] = failing(40);
  const auto verdicts = find(samples);
  REQUIRE(verdicts.size() == 1);
  CHECK(verdicts[0].instance == 7);
  CHECK(verdicts[0].reason == OutlierReason::success_rate);
  CHECK(verdicts[0].value == doctest::Approx(60));
  // mean 96 %, sigma 12 %: 96 - 1.9 * 12
  CHECK(verdicts[0].limit == doctest::Approx(73.2));
}

TEST_CASE("the success rate needs five instances of a hundred requests") {
  auto samples = many(5);
  samples[0] = failing(40);
  CHECK(find(samples).size() == 1);
  samples[4] = healthy(99);
  CHECK(find(samples).empty());
  samples[4] = healthy();
  samples[0] = failing(40, 99);
  CHECK(find(samples).empty());
  samples = many(4);
  samples[0] = failing(40);
  CHECK(find(samples).empty());
}

TEST_CASE("what is far in standard deviations, but no worse in practice, stays") {
  auto samples = many(10, healthy(10'000));
  samples[3] = failing(3, 10'000);
  CHECK(find(samples).empty());
}

TEST_CASE("what chance does to few requests is no outlier") {
  // Everybody fails 30 %; of 100 requests one had 42 failures, 2.6 standard errors off.
  auto samples = many(10, failing(30, 100));
  samples[3] = failing(42, 100);
  CHECK(find(samples).empty());
  samples = many(10, failing(30, 10'000));
  samples[3] = failing(42, 10'000);
  CHECK(find(samples).size() == 1);
}

TEST_CASE("a failure percentage, with many instances") {
  auto samples = many(10, healthy(60));  // too few requests for the success rate
  samples[2] = failing(90, 60);
  const auto verdicts = find(samples);
  REQUIRE(verdicts.size() == 1);
  CHECK(verdicts[0].instance == 2);
  CHECK(verdicts[0].reason == OutlierReason::failure_percentage);
  samples[2] = failing(90, 40);
  CHECK(find(samples).empty());
  samples[2] = failing(80, 60);
  CHECK(find(samples).empty());
}

TEST_CASE("two and three instances: the sick one goes if the others are well, else nobody") {
  for (const std::size_t n : {2UL, 3UL, 4UL}) {
    CAPTURE(n);
    auto samples = many(n);
    samples[1] = failing(95);
    REQUIRE(find(samples).size() == 1);
    CHECK(find(samples)[0].instance == 1);
    samples[0] = failing(90);
    if (n < 4) CHECK(find(samples).empty());  // what is left is not well
    for (auto& s : samples)
      s = failing(95);
    CHECK(find(samples).empty());
    // Nobody knows whether the other one works: it had no traffic.
    samples = many(n, healthy(0));
    samples[1] = failing(100);
    CHECK(find(samples).empty());
  }
}

TEST_CASE("a failure that everybody shares is not an instance's") {
  CHECK(find(many(20, failing(90))).empty());
  CHECK(find(many(20, failing(100))).empty());
}

TEST_CASE("three times the median of the others is slow, with enough requests") {
  auto samples = many(5);
  samples[4] = slow(31'000);
  auto verdicts = find(samples);
  REQUIRE(verdicts.size() == 1);
  CHECK(verdicts[0].instance == 4);
  CHECK(verdicts[0].reason == OutlierReason::latency);
  CHECK(verdicts[0].value == doctest::Approx(31'000));
  CHECK(verdicts[0].limit == doctest::Approx(30'000));
  samples[4] = slow(29'000);
  CHECK(find(samples).empty());
  samples[4] = slow(31'000, 99);
  CHECK(find(samples).empty());
}

TEST_CASE("everybody slow is nobody slow; of two nobody can say which") {
  CHECK(find(many(5, slow(900'000))).empty());
  CHECK(find({slow(10'000), slow(500'000)}).empty());
  CHECK(find({slow(10'000), slow(500'000), slow(510'000)}).empty());
  CHECK(find({slow(10'000), slow(500'000), slow(11'000)}).size() == 1);
  // Microseconds: a neighbouring zone is not an outlier.
  CHECK(find({slow(200), slow(1'900), slow(210), slow(220)}).empty());
}

TEST_CASE("the median of the others is that of a sort without the one") {
  CHECK(tests::holds("the median of the others is that of a sort without the one", [] {
    std::vector<OutlierSample> samples;
    const auto n = *rc::gen::inRange<std::size_t>(3, 12);
    for (std::size_t i = 0; i < n; ++i)
      samples.push_back(slow(*rc::gen::inRange<std::uint64_t>(1'000, 200'000)));
    std::set<std::size_t> expected;
    for (std::size_t i = 0; i < n; ++i) {
      std::vector<double> others;
      for (std::size_t k = 0; k < n; ++k) {
        if (k != i) others.push_back(static_cast<double>(samples[k].latency_sum_us) / 1000);
      }
      std::sort(others.begin(), others.end());
      const std::size_t m = others.size();
      const double median = (others[(m - 1) / 2] + others[m / 2]) / 2;
      const double mine = static_cast<double>(samples[i].latency_sum_us) / 1000;
      if (mine > std::max(3 * median, median + 2'000)) expected.insert(i);
    }
    std::set<std::size_t> found;
    for (const auto& v : find(samples))
      found.insert(v.instance);
    RC_ASSERT(found == expected);
  }));
}

TEST_CASE("who is not in use counts for nothing") {
  auto samples = many(10);
  samples[7] = failing(100);
  samples[7].candidate = false;
  CHECK(find(samples).empty());
}

TEST_CASE("the worst first, within the places there are") {
  auto samples = many(20);
  samples[1] = slow(90'000);
  samples[2] = failing(90);
  samples[3] = failing(100);
  const auto verdicts = find(samples, 2);
  REQUIRE(verdicts.size() == 2);
  CHECK(verdicts[0].instance == 3);
  CHECK(verdicts[1].instance == 2);
  CHECK(find(samples).size() == 3);
  CHECK(find(samples, 0).empty());
}

TEST_CASE("each rule can be switched off") {
  auto samples = many(10);
  samples[1] = slow(90'000);
  samples[2] = failing(100);
  OutlierSettings off;
  off.success_rate_sigma_tenths = 0;
  off.failure_percent = 0;
  off.latency_factor_tenths = 0;
  CHECK(find_outliers(off, samples, 9).empty());
  off.latency_factor_tenths = 30;
  CHECK(find_outliers(off, samples, 9).size() == 1);
}

TEST_CASE("random services: never more than there are places, never the last, never twice") {
  CHECK(tests::holds(
      "random services: never more than there are places, never the last, never twice", [] {
        const auto n = *rc::gen::inRange<std::size_t>(0, 30);
        std::vector<OutlierSample> samples;
        std::size_t candidates = 0;
        for (std::size_t i = 0; i < n; ++i) {
          OutlierSample s;
          s.successes = *rc::gen::inRange<std::uint64_t>(0, 400);
          s.failures = *rc::gen::inRange<std::uint64_t>(0, 400);
          s.latency_count = s.successes;
          s.latency_sum_us = s.successes * *rc::gen::inRange<std::uint64_t>(0, 1'000'000);
          s.candidate = *rc::gen::inRange(0, 4) != 0;
          candidates += s.candidate ? 1 : 0;
          samples.push_back(s);
        }
        const auto places = *rc::gen::inRange<std::size_t>(0, 30);
        const auto verdicts = find_outliers({}, samples, places);
        RC_ASSERT(verdicts.size() <= places);
        RC_ASSERT(verdicts.empty() || verdicts.size() < candidates);
        std::set<std::size_t> seen;
        for (const auto& v : verdicts) {
          RC_ASSERT(v.instance < n);
          RC_ASSERT(samples[v.instance].candidate);
          RC_ASSERT(v.reason != OutlierReason::none);
          RC_ASSERT(seen.insert(v.instance).second);
        }
      }));
}

TEST_CASE("an ejection lasts 30 s times how often, 300 s at most, and its jitter") {
  const OutlierSettings settings;
  Ejection e;
  std::uint64_t now = 1'000;
  for (std::uint64_t times = 1; times <= 12; ++times) {
    e.begin(settings, now, 0);
    CHECK(e.active());
    CHECK(e.times() == times);
    CHECK(e.until_ms() - now == std::min<std::uint64_t>(30'000 * times, 300'000));
    CHECK(finish(e, 2, e.until_ms() - 1) == Ejection::End::not_yet);
    now = e.until_ms();
    CHECK(finish(e, 2, now) == Ejection::End::by_time);
    CHECK_FALSE(e.active());
  }
  Ejection jittered;
  jittered.begin(settings, 0, 0.5);
  CHECK(jittered.until_ms() == 31'500);
}

TEST_CASE("passing checks in a row end it: rise times as many as ejections") {
  const OutlierSettings settings;
  Ejection e;
  e.begin(settings, 0, 0);
  e.on_check(true);
  CHECK(finish(e, 2, 10'000) == Ejection::End::not_yet);
  e.on_check(false);
  e.on_check(true);
  CHECK(finish(e, 2, 10'010) == Ejection::End::not_yet);
  e.on_check(true);
  CHECK(finish(e, 2, 10'020) == Ejection::End::by_checks);
  e.begin(settings, 20'000, 0);
  for (int i = 0; i < 3; ++i)
    e.on_check(true);
  CHECK(finish(e, 2, 30'000) == Ejection::End::not_yet);
  e.on_check(true);
  CHECK(finish(e, 2, 30'010) == Ejection::End::by_checks);
}

TEST_CASE("checks that passed all along do not end an ejection before an interval is over") {
  OutlierSettings settings;
  Ejection e;
  e.begin(settings, 1'000, 0);
  for (int i = 0; i < 10; ++i)
    e.on_check(true);
  CHECK(finish(e, 2, 10'999) == Ejection::End::not_yet);
  CHECK(finish(e, 2, 11'000) == Ejection::End::by_checks);
  settings.ejection = Milliseconds(500);  // the time still ends it
  e = {};
  e.begin(settings, 0, 0);
  CHECK(finish(e, 2, 500) == Ejection::End::by_time);
}

TEST_CASE("ejections are forgotten one by one while it stays") {
  const OutlierSettings settings;
  Ejection e;
  e.begin(settings, 0, 0);
  e.end(1'000);
  e.begin(settings, 2'000, 0);
  CHECK(e.times() == 2);
  e.forget(settings, 500'000);  // still ejected: nothing is forgotten
  CHECK(e.times() == 2);
  e.end(500'000);
  e.forget(settings, 529'999);
  CHECK(e.times() == 2);
  e.forget(settings, 530'000);
  CHECK(e.times() == 1);
  e.forget(settings, 530'000 + 29'999);
  CHECK(e.times() == 1);
  e.forget(settings, 530'000 + 900'000);
  CHECK(e.times() == 0);
  e.begin(settings, 2'000'000, 0);
  CHECK(e.until_ms() == 2'030'000);
}

TEST_CASE("a successor goes on with an ejection, and not with one of another clock") {
  const OutlierSettings settings;
  Ejection adopted(settings, 3, 50'000, 20'000);
  CHECK(adopted.active());
  CHECK(adopted.until_ms() == 50'000);
  CHECK(adopted.times() == 3);
  CHECK(finish(adopted, 2, 50'000) == Ejection::End::by_time);
  CHECK_FALSE(Ejection(settings, 3, 10'000, 20'000).active());
  CHECK_FALSE(Ejection(settings, 3, 20'000 + 331'000, 20'000).active());
  CHECK(Ejection(settings, 3, 20'000 + 329'000, 20'000).active());
}

}  // namespace
}  // namespace ballast::checker
