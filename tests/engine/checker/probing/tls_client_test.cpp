// What can be wrong with the files of TLS, told before anything is checked.
#include "engine/checker/probing/tls_client.hpp"

#include <doctest/doctest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include <filesystem>
#include <string>

#include "tests/support/certificates.hpp"
#include "tests/support/temp_dir.hpp"

namespace ballast::checker {
namespace {

using tests::write_file;

// The error of reading and using these settings; empty path and detail if there is none.
shm::Error error_of(TlsSettings settings) {
  settings.enabled = true;
  if (auto status = read_tls_files(settings); !status) return status.error();
  auto client = TlsClient::make(settings, CheckKind::http);
  return client ? shm::Error{} : client.error();
}

bool says(const shm::Error& error, const std::string& path, const std::string& part) {
  INFO(error.to_text());
  CHECK(error.path == path);
  CHECK(error.to_text().find(part) != std::string::npos);
  return true;
}

struct Files {
  tests::TempDir directory;
  tests::Authority authority{"An Authority"};
  tests::Pem mine = authority.sign({"client", {}, -60, 3600});
  std::string ca = write_file(directory.path(), "ca.pem", authority.certificate());
  std::string certificate = write_file(directory.path(), "client.pem", mine.certificate);
  std::string key = write_file(directory.path(), "client.key", mine.key);

  std::string file(const std::string& text) { return write_file(directory.path(), "odd", text); }
};

TEST_CASE("good files, apart and in one") {
  Files files;
  TlsSettings settings;
  settings.ca_file = files.ca;
  CHECK(error_of(settings).path.empty());
  settings.certificate_file = files.certificate;
  settings.key_file = files.key;
  CHECK(error_of(settings).path.empty());
  settings.key_file.clear();
  settings.certificate_file = files.file(files.mine.key + files.mine.certificate);
  CHECK(error_of(settings).path.empty());
  settings.verify = false;
  settings.ca_file.clear();
  CHECK(error_of(settings).path.empty());
}

TEST_CASE("trust") {
  Files files;
  TlsSettings settings;
  settings.ca_file = files.directory.path() + "/none.pem";
  CHECK(says(error_of(settings), settings.ca_file, "No such file"));
  settings.ca_file = files.directory.path();
  CHECK(says(error_of(settings), settings.ca_file, "is not a file"));
  settings.ca_file = files.file("");
  CHECK(says(error_of(settings), settings.ca_file, "holds no certificate"));
  settings.ca_file = files.key;
  CHECK(says(error_of(settings), settings.ca_file, "holds no certificate"));
  std::string broken = files.authority.certificate();
  broken[broken.size() / 2] = '!';
  settings.ca_file = files.file(files.authority.certificate() + broken);
  CHECK(says(error_of(settings), settings.ca_file, "number 2 cannot be read"));
  settings.ca_file = files.file(std::string(kMaxPemBytes + 1, ' '));
  CHECK(says(error_of(settings), settings.ca_file, "longer than 4 MiB"));
}

TEST_CASE("the client's own certificate") {
  Files files;
  TlsSettings settings;
  settings.ca_file = files.ca;
  settings.certificate_file = files.certificate;
  CHECK(says(error_of(settings), files.certificate, "holds no private key, and no key file"));
  settings.key_file = files.certificate;
  CHECK(says(error_of(settings), files.certificate, "holds no private key in PEM"));
  settings.key_file = files.file(files.authority.sign({"other", {}, -60, 3600}).key);
  CHECK(says(error_of(settings), settings.key_file, "not that of the certificate in"));
  settings.certificate_file = files.key;
  CHECK(says(error_of(settings), files.key, "holds no certificate"));
  settings.certificate_file.clear();
  settings.key_file = files.key;
  CHECK(says(error_of(settings), files.key, "there is no certificate to this key"));

  EVP_PKEY* key = EVP_EC_gen("P-256");
  const std::string locked = files.directory.path() + "/locked.key";
  FILE* file = std::fopen(locked.c_str(), "w");
  PEM_write_PrivateKey(file, key, EVP_aes_128_cbc(), nullptr, 0, nullptr,
                       const_cast<char*>("secret"));
  std::fclose(file);
  EVP_PKEY_free(key);
  settings.certificate_file = files.certificate;
  settings.key_file = locked;
  CHECK(says(error_of(settings), locked, "is encrypted"));
}

TEST_CASE("protocols") {
  Files files;
  TlsSettings settings;
  settings.ca_file = files.ca;
  settings.alpn = {""};
  CHECK(says(error_of(settings), "", "1 to 255 bytes"));
  settings.alpn = {std::string(256, 'x')};
  CHECK(says(error_of(settings), "", "1 to 255 bytes"));
  settings.alpn = std::vector<std::string>(kMaxAlpn + 1, "x");
  CHECK(says(error_of(settings), "", "more than 8"));
}

TEST_CASE("a file that has changed is a changed setting") {
  Files files;
  TlsSettings before;
  before.ca_file = files.ca;
  REQUIRE(read_tls_files(before));
  TlsSettings again = before;
  REQUIRE(read_tls_files(again));
  CHECK(before == again);
  CHECK(&before.ca.get() == &again.ca.get());  // one text for all
  write_file(files.directory.path(), "ca.pem", tests::Authority("Another").certificate());
  REQUIRE(read_tls_files(again));
  CHECK_FALSE(before == again);
}

TEST_CASE("with no file of its own, what the system trusts") {
  TlsSettings settings;
  const std::string bundle = "/etc/ssl/certs/ca-certificates.crt";
  if (!std::filesystem::exists(bundle)) {
    CHECK(error_of(settings).detail.find("ca-certificates") != std::string::npos);
    return;
  }
  CHECK(error_of(settings).path.empty());
  REQUIRE(read_tls_files(settings));
  CHECK(settings.ca.get().find("BEGIN CERTIFICATE") != std::string::npos);
}

}  // namespace
}  // namespace ballast::checker
