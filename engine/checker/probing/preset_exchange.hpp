// Ready-made conversations with servers of well-known kinds, each the least that shows that the
// server does its work and minds nothing: no login that succeeds is needed, and no log of theirs
// fills with half connections where that can be helped.
//   redis     PING; a server that asks for a password answers, too. Kept for the next check.
//   postgres  a start-up message, as pg_isready sends it; passes with any answer but that the
//   server
//             takes no connections (starting, stopping, recovering, full)
//   mysql     greeting, login without a password, quit; passes when the login is judged either way,
//             fails when the server takes no connections (too many, host blocked)
//   smtp      greeting, EHLO, QUIT
// Owned by the prober, one for every instance that is checked so. What comes may be hostile.
#pragma once

#include <string>

#include "engine/checker/probing/exchange.hpp"

namespace ballast::checker {

// Who says to a database that it is. It need not exist.
inline constexpr const char* kPresetUser = "ballast";

class PresetExchange final : public Exchange {
 public:
  // What is kept of an answer; a longer one is another than is expected.
  static constexpr std::size_t kMaxAnswerBytes = 16 * 1024;

  // `preset` is not none.
  explicit PresetExchange(Preset preset) : preset_(preset) {}

  [[nodiscard]] Payload begin(bool new_connection) override;
  [[nodiscard]] bool answered() const noexcept override { return answered_; }
  [[nodiscard]] Step on_bytes(std::string_view bytes) override;
  [[nodiscard]] Step on_close() override;
  [[nodiscard]] Unasked on_unasked(std::string_view bytes) override;
  [[nodiscard]] CheckResult on_timeout() override;

 private:
  [[nodiscard]] Step on_redis();
  [[nodiscard]] Step on_postgres();
  [[nodiscard]] Step on_mysql();
  [[nodiscard]] Step on_smtp();
  // The answer that has come whole is dealt with: says `reply`, and waits for the next one.
  [[nodiscard]] Step say(std::string reply);
  [[nodiscard]] Step pass(std::string goodbye = {});
  [[nodiscard]] Step fail(std::string_view what);
  [[nodiscard]] CheckResult unexpected(std::string_view what) const;

  Preset preset_;
  bool answered_ = false;
  unsigned said_ = 0;   // how many answers have been dealt with
  std::string answer_;  // what has come since
};

}  // namespace ballast::checker
