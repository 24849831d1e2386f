// The reading thread and its end.
#include "tools/ballastd/config_reader.hpp"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>
#include <exception>
#include <system_error>
#include <utility>

namespace ballast::tools {
namespace {

ConfigResult failed(const std::string& path, const std::string& why) {
  ConfigResult result;
  result.errors.push_back(
      diagnose_file(path, "cannot be read again (" + why + ")", "make room and send SIGHUP again"));
  return result;
}

}  // namespace

ConfigReader::ConfigReader(checker::Loop& loop, std::string path, Read read, Done done)
    : loop_(loop),
      path_(std::move(path)),
      read_(std::move(read)),
      done_(std::move(done)),
      finished_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
  if (finished_ >= 0) loop_.watch(finished_, [this] { finish(); });
}

ConfigReader::~ConfigReader() {
  if (thread_.joinable()) thread_.join();
  if (finished_ < 0) return;
  loop_.unwatch(finished_);
  close(finished_);
}

void ConfigReader::request() {
  if (busy()) {
    again_ = true;
  } else {
    start();
  }
}

void ConfigReader::start() {
  again_ = false;
  if (finished_ < 0) {
    done_(failed(path_, "no descriptor is left"));
    return;
  }
  try {
    thread_ = std::thread([this] { read(); });
  } catch (const std::system_error& error) {
    done_(failed(path_, std::string("no thread: ") + error.what()));
  }
}

void ConfigReader::read() {
  try {
    result_ = read_(path_);
  } catch (const std::exception& error) {
    result_ = failed(path_, error.what());
  }
  const std::uint64_t one = 1;
  // Cannot fail: the counter is far from full. The joining orders `result_`, not this.
  static_cast<void>(write(finished_, &one, sizeof one));
}

void ConfigReader::finish() {
  std::uint64_t count = 0;
  if (::read(finished_, &count, sizeof count) != sizeof count || !busy()) return;
  thread_.join();
  const bool again = again_;
  done_(std::exchange(result_, {}));
  if (again && !busy()) start();
}

}  // namespace ballast::tools
