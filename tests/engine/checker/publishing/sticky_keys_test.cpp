// A key file is read if it is what it should be and nobody else may read it; the error says what to
// do. What is published is each service's own key, whole, and only when it changed.
#include "engine/checker/publishing/sticky_keys.hpp"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <atomic>
#include <fstream>
#include <memory>
#include <string>
#include <thread>

#include "engine/sticky_keys.hpp"
#include "tests/support/temp_dir.hpp"

using namespace ballast;
using checker::publish_sticky_keys;
using checker::read_sticky_key_file;
using checker::StickySecrets;

namespace {

const std::string kHex = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const std::string kOther = "F0E1D2C3B4A5968778695A4B3C2D1E0FF0E1D2C3B4A5968778695A4B3C2D1E0F";

engine::StickySecret counted() {
  engine::StickySecret secret{};
  for (std::size_t i = 0; i < secret.size(); ++i)
    secret[i] = static_cast<std::uint8_t>(i);
  return secret;
}

struct KeyFile {
  tests::TempDir dir;
  std::string path = dir.path() + "/sticky.key";

  void write(const std::string& bytes, mode_t mode = 0600) const {
    std::ofstream(path, std::ios::binary) << bytes;
    REQUIRE(chmod(path.c_str(), mode) == 0);
  }
  [[nodiscard]] StickySecrets read() const {
    const auto secrets = read_sticky_key_file(path);
    REQUIRE_MESSAGE(secrets, secrets.error().to_text());
    return *secrets;
  }
  // The error's line; the path is in it.
  [[nodiscard]] std::string error() const {
    const auto secrets = read_sticky_key_file(path);
    REQUIRE_FALSE(secrets);
    const std::string text = secrets.error().to_text();
    CHECK(text.find(path) != std::string::npos);
    CHECK(text.find('\n') == std::string::npos);
    return text;
  }
};

bool says(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("the forms of a key file") {
  const KeyFile file;
  std::string raw;
  for (const std::uint8_t byte : counted())
    raw += static_cast<char>(byte);
  for (const std::string& text : {raw, kHex, kHex + "\n", "\n" + kHex + "\r\n\n", kHex + "  \n"}) {
    file.write(text);
    const StickySecrets secrets = file.read();
    CHECK(secrets.current == counted());
    CHECK_FALSE(secrets.previous);
  }
  file.write(kOther + "\n" + kHex + "\n");
  const StickySecrets two = file.read();
  CHECK(two.previous == counted());
  REQUIRE(two.current);
  CHECK((*two.current)[0] == 0xf0);
  CHECK((*two.current)[31] == 0x0f);
}

TEST_CASE("no path, no secrets") {
  const auto secrets = read_sticky_key_file("");
  REQUIRE(secrets);
  CHECK_FALSE(secrets->current);
}

TEST_CASE("what others may read is refused") {
  const KeyFile file;
  for (const mode_t mode : {0640, 0604, 0644, 0620, 0602, 0666, 0440}) {
    file.write(kHex, mode);
    const std::string error = file.error();
    CHECK(says(error, "chmod 600"));
    CHECK_FALSE(says(error, kHex.substr(0, 8)));
  }
  for (const mode_t mode : {0600, 0400, 0700}) {
    file.write(kHex, mode);
    CHECK(file.read().current);
    REQUIRE(chmod(file.path.c_str(), 0600) == 0);  // so that it can be written again
  }
}

TEST_CASE("what is no key is refused, and never shown") {
  const KeyFile file;
  for (const std::string& text :
       {kHex.substr(1), kHex + "0", kHex.substr(1) + "g", "0x" + kHex, kHex + " " + kHex,
        std::string(31, 'x'), std::string(33, 'x'), kHex + "\nmore", std::string(1000, 'a')}) {
    file.write(text);
    const std::string error = file.error();
    CHECK(says(error, "64 hexadecimal digits"));
    CHECK_FALSE(says(error, kHex.substr(1, 8)));
  }
  file.write(kHex + "\n" + kOther + "\n" + kHex + "\n");
  CHECK(says(file.error(), "line 3 is one too many"));
  file.write("");
  CHECK(says(file.error(), "it is empty"));
  file.write(std::string(64, '0'));
  CHECK(says(file.error(), "easily guessed"));
  file.write(std::string(32, '\0'));
  CHECK(says(file.error(), "easily guessed"));
  file.write(kHex + "\n" + std::string(64, 'a'));
  CHECK(says(file.error(), "easily guessed"));
}

TEST_CASE("what is no file is refused") {
  const KeyFile file;
  CHECK(says(file.error(), "openssl rand"));
  REQUIRE(mkdir(file.path.c_str(), 0700) == 0);
  CHECK(says(file.error(), "no regular file"));
  REQUIRE(rmdir(file.path.c_str()) == 0);
  REQUIRE(mkfifo(file.path.c_str(), 0600) == 0);
  CHECK(says(file.error(), "no regular file"));  // and does not wait for a writer
}

TEST_CASE("keys are published whole, and only when they changed") {
  const auto record = std::make_unique<shm::SharedServiceRecord>();
  CHECK(engine::read_sticky_keys(*record) == engine::StickyKeys{});
  publish_sticky_keys(*record, {}, "web");
  CHECK(record->sticky_epoch == 0);

  engine::StickySecret other = counted();
  other[0] = 99;
  publish_sticky_keys(*record, {counted(), {}}, "web");
  CHECK(record->sticky_epoch == 1);
  const auto first = engine::read_sticky_keys(*record);
  CHECK(first.current == engine::derive_sticky_key(counted(), "web"));
  CHECK_FALSE(engine::is_set(first.previous));
  publish_sticky_keys(*record, {counted(), {}}, "web");
  CHECK(record->sticky_epoch == 1);

  publish_sticky_keys(*record, {other, counted()}, "web");
  CHECK(record->sticky_epoch == 2);
  CHECK(engine::read_sticky_keys(*record).previous == first.current);
  CHECK(engine::read_sticky_keys(*record).current == engine::derive_sticky_key(other, "web"));

  publish_sticky_keys(*record, {}, "web");
  CHECK(engine::read_sticky_keys(*record) == engine::StickyKeys{});
}

TEST_CASE("a checker that died while publishing keys leaves those before") {
  const auto record = std::make_unique<shm::SharedServiceRecord>();
  publish_sticky_keys(*record, {counted(), {}}, "web");
  const auto before = engine::read_sticky_keys(*record);
  record->sticky_keys[0][0] = 4711;  // it had begun to fill the other buffer
  CHECK(engine::read_sticky_keys(*record) == before);
}

TEST_CASE("a worker never mixes the words of two pairs of keys") {
  const auto record = std::make_unique<shm::SharedServiceRecord>();
  const engine::StickyKeys one{{1, 1}, {1, 1}};
  const engine::StickyKeys two{{2, 2}, {2, 2}};
  engine::store_sticky_keys(*record, one);
  std::atomic<bool> writing{false};
  std::atomic<bool> done{false};
  std::thread writer([&] {
    for (int i = 0; !done; ++i) {
      engine::store_sticky_keys(*record, i % 2 == 0 ? two : one);
      writing = true;
    }
  });
  while (!writing)
    std::this_thread::yield();
  int mixed = 0;
  for (int i = 0; i < 2'000'000; ++i) {
    const auto keys = engine::read_sticky_keys(*record);
    // None at all: they never held still, which a writer without a pause can do.
    if (keys != one && keys != two && keys != engine::StickyKeys{}) ++mixed;
  }
  done = true;
  writer.join();
  CHECK(mixed == 0);
}
