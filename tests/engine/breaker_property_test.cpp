// All rules of the breaker together against a model that keeps the same things in plain variables,
// and on words that hold anything.
#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include "engine/breaker.hpp"
#include "shm/layout.hpp"
#include "tests/support/breaker_world.hpp"
#include "tests/support/property.hpp"

using namespace ballast;
using namespace ballast::engine;
using namespace ballast::tests;

TEST_CASE("words keep what is packed into them") {
  CHECK(tests::holds("breaker", [] {
    const auto word = *rc::gen::arbitrary<std::uint64_t>();
    if ((word & 3) == 3) {
      RC_ASSERT(unpack_breaker(word).state == BreakerState::closed);
    } else {
      RC_ASSERT(pack(unpack_breaker(word)) == word);
    }
    RC_ASSERT(pack(unpack_window(word)) == word);
    RC_ASSERT(pack(unpack_budget(word)) == word);
    RC_ASSERT(pack(unpack_permit(word)) == word);
  }));
}

namespace {

// The same rules, said once more in plain variables, without words, bits or races.
struct Plain {
  enum class Is { closed, open, trial };
  Is is = Is::closed;
  unsigned failures = 0;
  unsigned level = 0;
  std::uint64_t closed_at = kStart;
  std::uint64_t opened_at = 0;
  std::uint64_t permit_end = 0;
  std::vector<std::uint64_t> recent;  // times of failures, for a window that is never rotated
};

constexpr std::array<std::uint64_t, 3> kOpenMs = {100, 200, 300};
std::uint64_t open_ms_of(unsigned level) {
  return kOpenMs[std::min<unsigned>(level, 3) - 1];
}

}  // namespace

TEST_CASE("any sequence of events does what the model says") {
  CHECK(tests::holds("breaker against model", [] {
    Policy policy;
    policy.breaker_consecutive = *rc::gen::inRange<std::uint32_t>(1, 4);
    policy.breaker_rate_percent = 0;
    policy.breaker_open_ms = 100;
    policy.breaker_open_max_ms = 300;
    policy.breaker_jitter_percent = 0;
    policy.breaker_trial_ms = 50;
    constexpr std::size_t kInstances = 4;
    World w(kInstances, policy);
    std::array<Plain, kInstances> model{};
    struct Held {
      std::size_t instance;
      std::uint32_t stamp;
      std::uint64_t end;
      bool current;
    };
    std::vector<Held> held;
    const std::uint32_t cap = *rc::gen::inRange<std::uint32_t>(0, 4);
    const auto out = [&model] {
      std::uint32_t count = 0;
      for (const Plain& p : model)
        count += p.is == Plain::Is::closed ? 0 : 1;
      return count;
    };
    const auto outdate = [&held](std::size_t instance) {
      for (Held& h : held)
        h.current = h.current && h.instance != instance;
    };
    const int steps = *rc::gen::inRange(1, 120);
    for (int step = 0; step < steps; ++step) {
      const auto i = *rc::gen::inRange<std::size_t>(0, kInstances);
      Plain& p = model[i];
      Record& r = w.all[i];
      const BreakerOwner owner{kTenant, static_cast<std::uint32_t>(i)};
      switch (*rc::gen::inRange(0, 8)) {
        case 0:
          w.now += *rc::gen::inRange<std::uint64_t>(0, 120);
          break;
        case 1:
          note_success(r.words(), kTenant);
          if (p.is == Plain::Is::closed) p.failures = 0;
          break;
        case 2:
        case 3: {
          const Noted noted = note_failure(r.words(), owner, policy, w.budget, cap, w.clock());
          if (p.is != Plain::Is::closed) {
            RC_ASSERT(noted == Noted::nothing);
          } else if (++p.failures < policy.breaker_consecutive) {
            RC_ASSERT(noted == Noted::counted);
          } else if (out() >= cap) {
            RC_ASSERT(noted == Noted::refused);
          } else {
            RC_ASSERT(noted == Noted::opened);
            const bool calm = p.level == 0 || w.now - p.closed_at > 2 * open_ms_of(p.level);
            p.level = calm ? 1 : p.level + 1;
            p.is = Plain::Is::open;
            p.opened_at = w.now + open_ms_of(p.level);
            p.failures = 0;
          }
          break;
        }
        case 4: {
          const auto stamp = take_permit(r.words(), kTenant, policy, 1, 1, w.clock());
          const bool due = (p.is == Plain::Is::open && w.now >= p.opened_at) ||
                           (p.is == Plain::Is::trial && w.now >= p.permit_end);
          RC_ASSERT(stamp.has_value() == due);
          if (!due) break;
          outdate(i);
          p.is = Plain::Is::trial;
          p.permit_end = w.now + 50;
          held.push_back({i, *stamp, p.permit_end, true});
          break;
        }
        case 5:
        case 6: {
          if (held.empty()) break;
          const auto which = *rc::gen::inRange<std::size_t>(0, held.size());
          const Held h = held[which];
          held.erase(held.begin() + static_cast<std::ptrdiff_t>(which));
          Plain& q = model[h.instance];
          const auto effect = *rc::gen::element(Effect::success, Effect::failure, Effect::none);
          const Noted noted = decide_trial(w.all[h.instance].words(),
                                           {kTenant, static_cast<std::uint32_t>(h.instance)},
                                           policy, h.stamp, effect, 0, w.budget, w.clock());
          if (!h.current) {
            RC_ASSERT(noted == Noted::nothing);
          } else if (effect == Effect::success) {
            RC_ASSERT(noted == Noted::closed);
            q.is = Plain::Is::closed;
            q.closed_at = w.now;
            q.failures = 0;
          } else {
            RC_ASSERT(noted == Noted::opened);
            q.is = Plain::Is::open;
            if (effect == Effect::failure) q.level = std::min(q.level + 1, 63U);
            q.opened_at = effect == Effect::failure ? w.now + open_ms_of(q.level) : w.now;
          }
          break;
        }
        default: {
          // A count: nothing to repair here, but closed breakers are touched.
          RC_ASSERT(w.count_again());
          for (std::size_t k = 0; k < kInstances; ++k) {
            if (model[k].is == Plain::Is::closed) model[k].closed_at = w.state(k).until_ms;
          }
          break;
        }
      }
      RC_ASSERT(w.out() == out());
      for (std::size_t k = 0; k < kInstances; ++k) {
        const Gate gate = breaker_allows(w.all[k].breaker, kTenant, policy, w.clock());
        const Plain& q = model[k];
        const bool due = (q.is == Plain::Is::open && w.now >= q.opened_at) ||
                         (q.is == Plain::Is::trial && w.now >= q.permit_end);
        RC_ASSERT(gate ==
                  (q.is == Plain::Is::closed ? Gate::closed : (due ? Gate::due : Gate::open)));
      }
    }
  }));
}

TEST_CASE("random words never hang or reach outside") {
  CHECK(tests::holds("damaged", [] {
    World w(2);
    w.now = *rc::gen::arbitrary<std::uint64_t>() >> 20;
    shm::PolicyRecord damage{};
    for (shm::Word64& word : damage.values)
      word.store(*rc::gen::arbitrary<std::uint64_t>(), std::memory_order_relaxed);
    w.policy = get_policy(damage);
    Record& r = w.all[0];
    for (int i = 0; i < 20; ++i) {
      for (shm::Word64* word : {&r.breaker, &r.window, &r.permit, &w.budget})
        word->store(*rc::gen::arbitrary<std::uint64_t>(), std::memory_order_relaxed);
      const std::uint32_t tenant = w.state().tenant;
      const BreakerOwner owner{tenant, 0};
      static_cast<void>(note_failure(r.words(), owner, w.policy, w.budget, 1, w.clock()));
      note_success(r.words(), tenant);
      add_successes(r.window);
      static_cast<void>(note_pushback(r.words(), owner, w.policy, 1, w.budget, ~0U, w.clock()));
      if (const auto stamp = take_permit(r.words(), tenant, w.policy, 0, 0, w.clock())) {
        static_cast<void>(decide_trial(r.words(), owner, w.policy, *stamp, Effect::failure, 0,
                                       w.budget, w.clock()));
      }
      static_cast<void>(w.count_again());
    }
  }));
}
