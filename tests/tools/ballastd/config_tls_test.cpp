// [service.NAME.check.tls]: what it becomes, and what can be wrong with it, files included.
#include <doctest/doctest.h>

#include <string>

#include "tests/support/certificates.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/tools/ballastd/config_errors.hpp"

using ballast::tests::errors_of;
using ballast::tests::read_text;
using ballast::tests::write_file;

namespace {

std::string with_tls(const std::string& keys, const std::string& kind = "http") {
  return "[service.a]\ninstances = [\"1.1.1.1:1\"]\n[service.a.check]\nkind = \"" + kind +
         "\"\n[service.a.check.tls]\n" + keys;
}

// With paths that differ from run to run replaced by DIR.
std::string errors_in(const std::string& directory, const std::string& text) {
  std::string all = errors_of(text);
  for (std::size_t at = 0; (at = all.find(directory)) != std::string::npos;)
    all.replace(at, directory.size(), "DIR");
  return all;
}

TEST_CASE("every key, and the files that they name") {
  const ballast::tests::TempDir dir;
  const ballast::tests::Authority authority("An Authority");
  const ballast::tests::Pem mine = authority.sign({"client", {}, -60, 3600});
  write_file(dir.path(), "ca.pem", authority.certificate());
  write_file(dir.path(), "client.pem", mine.certificate);
  write_file(dir.path(), "client.key", mine.key);
  const auto result = read_text(with_tls("server_name = \"a.example\"\nca_file = \"" + dir.path() +
                                         "/ca.pem\"\ncertificate_file = \"" + dir.path() +
                                         "/client.pem\"\nkey_file = \"" + dir.path() +
                                         "/client.key\"\nalpn = [\"http/1.1\", \"x\"]\n"));
  REQUIRE(result.settings.has_value());
  const auto& tls = result.settings->services[0].check.tls;
  CHECK(tls.enabled);
  CHECK(tls.verify);
  CHECK(tls.server_name == "a.example");
  CHECK(tls.alpn == std::vector<std::string>{"http/1.1", "x"});
  CHECK(tls.ca.get() == authority.certificate());
  CHECK(tls.certificate.get() == mine.certificate);
  CHECK(tls.key.get() == mine.key);
}

TEST_CASE("on with the table, off with a word, and with nothing verified no files are needed") {
  const auto lax = read_text(with_tls("verify = false\nserver_name = \"127.0.0.1\"\n", "tcp"));
  REQUIRE(lax.settings.has_value());
  CHECK(lax.settings->services[0].check.tls.enabled);
  CHECK_FALSE(lax.settings->services[0].check.tls.verify);
  const auto off = read_text(with_tls("enabled = false\nca_file = \"/nowhere\"\n"));
  REQUIRE(off.settings.has_value());
  CHECK_FALSE(off.settings->services[0].check.tls.enabled);
}

TEST_CASE("files that cannot be used are errors at their key") {
  const ballast::tests::TempDir dir;
  const ballast::tests::Authority authority("An Authority");
  const ballast::tests::Pem mine = authority.sign({"client", {}, -60, 3600});
  write_file(dir.path(), "ca.pem", authority.certificate());
  write_file(dir.path(), "client.pem", mine.certificate);
  write_file(dir.path(), "other.key", authority.sign({"other", {}, -60, 3600}).key);
  CHECK(errors_in(dir.path(), with_tls("ca_file = \"" + dir.path() + "/none.pem\"\n"))
            .find("f.toml:6:11: ca_file cannot be used (No such file or directory): correct the "
                  "file, or name another") == 0);
  CHECK(errors_in(dir.path(),
                  with_tls("verify = false\ncertificate_file = \"" + dir.path() +
                           "/client.pem\"\nkey_file = \"" + dir.path() + "/other.key\"\n"))
            .find("f.toml:8:12: key_file cannot be used (its key is not that of the certificate "
                  "in DIR/client.pem): correct the file, or name another") == 0);
}

TEST_CASE("wrong words") {
  CHECK(errors_of(with_tls("verify = \"no\"\nserver_name = \"a b\"\nca_file = \"ca.pem\"\n"
                           "alpn = \"h2\"\nca_fil = 1\n")) ==
        R"~(f.toml:6:10: verify is a string: it must be true or false
   |
 6 | verify = "no"
   |          ^~~~ here
f.toml:7:15: server_name "a b" is not a name in DNS: write one such as "backend.example.com"
   |
 7 | server_name = "a b"
   |               ^~~~~ here
f.toml:8:11: ca_file "ca.pem" is not an absolute path: start it with a slash
   |
 8 | ca_file = "ca.pem"
   |           ^~~~~~~~ here
f.toml:9:8: alpn is a string: it must be an array of strings, such as ["http/1.1"]
   |
 9 | alpn = "h2"
   |        ^~~~ here
f.toml:10:1: unknown key "ca_fil" in [service.a.check.tls]: did you mean "ca_file"?
    |
 10 | ca_fil = 1
    | ^~~~~~ ca_file)~");
  CHECK(
      errors_of(with_tls("verify = false\nca_file = \"/ca.pem\"\nalpn = []\n")) ==
      R"~(f.toml:7:1: ca_file has no meaning unless verify is true: remove it, or leave out verify = false
   |
 7 | ca_file = "/ca.pem"
   | ^~~~~~~ here
f.toml:8:8: alpn is not 1 to 8 protocols of 1 to 255 bytes: name them as in ["http/1.1"], or leave it out
   |
 8 | alpn = []
   |        ^~ here)~");
  CHECK(errors_of("[service.a]\ninstances = [\"1.1.1.1:1\"]\n[service.a.check]\nca_file = \"/x\"\n")
            .find("[service.a.check.tls]") != std::string::npos);
  CHECK(errors_of(with_tls("", "none")).find("tls has no meaning unless kind is") !=
        std::string::npos);
}

}  // namespace
