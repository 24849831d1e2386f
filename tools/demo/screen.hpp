// What the demo shows while it runs: one line an event, each with its time, and below them a line
// of progress that is rewritten in place on a terminal and printed once a second elsewhere. Colours
// only on a terminal, and not if NO_COLOR is set. Only the main process writes.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace ballast::tools::demo {

enum class Tone { plain, good, bad, faint, bold };

class Screen {
 public:
  Screen();
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;
  ~Screen() { clear_live(); }

  template <class... Args>
  void event(Tone tone, fmt::format_string<Args...> text, Args&&... args) {
    print_event(tone, fmt::format(text, std::forward<Args>(args)...));
  }
  // A line without a time, for what is said at the end.
  void line(std::string_view text);
  // Shows progress, as often as is good for the eye; call it as often as you like. `text` may hold
  // painted words.
  void live(const std::string& text);
  // Whether `live` would show anything now: for callers to whom the text costs something.
  [[nodiscard]] bool wants_live() const noexcept;

  [[nodiscard]] std::string paint(Tone tone, std::string_view text) const;
  [[nodiscard]] double seconds() const noexcept;

 private:
  void print_event(Tone tone, const std::string& text);
  void clear_live();

  bool terminal_;
  bool colours_;
  bool live_shown_ = false;
  std::uint64_t begin_ns_;
  std::uint64_t live_ns_ = 0;
};

// "12,345".
std::string grouped(std::uint64_t number);
// "812 us", "3.4 ms", "1.25 s".
std::string duration(std::uint64_t ns);
// The same, or "none" for 0.
std::string duration_or_none(std::uint64_t ns);

}  // namespace ballast::tools::demo
