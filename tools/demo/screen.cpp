// What the demo shows while it runs: see screen.hpp.
#include "tools/demo/screen.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "tools/demo/clock.hpp"

namespace ballast::tools::demo {
namespace {

constexpr std::uint64_t kLiveOnTerminalNs = 100'000'000;
constexpr std::uint64_t kLiveElsewhereNs = 1'000'000'000;

bool is_terminal() noexcept {
  const char* kind = std::getenv("TERM");
  return isatty(STDOUT_FILENO) != 0 && kind != nullptr && std::string_view(kind) != "dumb";
}

// Cuts a text with escape sequences to so many columns; the sequences take none.
std::string cut(std::string_view text, std::size_t columns) {
  std::string out;
  std::size_t column = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\033') {
      const std::size_t end = text.find('m', i);
      if (end == std::string_view::npos) break;
      out += text.substr(i, end - i + 1);
      i = end;
    } else if (column < columns) {
      out += text[i];
      ++column;
    }
  }
  return out;
}

std::size_t terminal_columns() noexcept {
  winsize size{};
  return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

}  // namespace

Screen::Screen()
    : terminal_(is_terminal()),
      colours_(terminal_ && std::getenv("NO_COLOR") == nullptr),
      begin_ns_(now_ns()) {}

void Screen::print_event(Tone tone, const std::string& text) {
  clear_live();
  fmt::print("{}  {}\n", paint(Tone::faint, fmt::format("{:7.3f} s", seconds())),
             paint(tone, text));
  std::fflush(stdout);
}

void Screen::line(std::string_view text) {
  clear_live();
  fmt::print("{}\n", text);
}

bool Screen::wants_live() const noexcept {
  return now_ns() - live_ns_ >= (terminal_ ? kLiveOnTerminalNs : kLiveElsewhereNs);
}

void Screen::live(const std::string& text) {
  if (!wants_live()) return;
  live_ns_ = now_ns();
  const std::string whole =
      fmt::format("{}  {}", paint(Tone::faint, fmt::format("{:7.3f} s", seconds())), text);
  if (terminal_) {
    fmt::print("\r\033[K{}", cut(whole, terminal_columns() - 1));
    live_shown_ = true;
  } else {
    fmt::print("{}\n", whole);
  }
  std::fflush(stdout);
}

void Screen::clear_live() {
  if (!live_shown_) return;
  fmt::print("\r\033[K");
  std::fflush(stdout);
  live_shown_ = false;
}

std::string Screen::paint(Tone tone, std::string_view text) const {
  const char* code = "";
  switch (tone) {
    case Tone::plain:
      break;
    case Tone::good:
      code = "32";
      break;
    case Tone::bad:
      code = "31";
      break;
    case Tone::faint:
      code = "2";
      break;
    case Tone::bold:
      code = "1";
      break;
  }
  if (!colours_ || *code == '\0') return std::string(text);
  return fmt::format("\033[{}m{}\033[0m", code, text);
}

double Screen::seconds() const noexcept {
  return static_cast<double>(now_ns() - begin_ns_) / 1e9;
}

std::string grouped(std::uint64_t number) {
  std::string text = fmt::format("{}", number);
  for (std::size_t at = text.size(); at > 3;) {
    at -= 3;
    text.insert(at, ",");
  }
  return text;
}

std::string duration(std::uint64_t ns) {
  const auto value = static_cast<double>(ns);
  if (ns < 1'000'000) return fmt::format("{:.0f} us", value / 1e3);
  if (ns < 1'000'000'000) return fmt::format("{:.1f} ms", value / 1e6);
  return fmt::format("{:.2f} s", value / 1e9);
}

std::string duration_or_none(std::uint64_t ns) {
  return ns == 0 ? "none" : duration(ns);
}

}  // namespace ballast::tools::demo
