// Certificates of a test's own, as PEM: an authority, and what it signs. P-256, so that making one
// takes a millisecond, unless RSA is what is asked for.
#pragma once

#include <memory>
#include <string>
#include <vector>

namespace ballast::tests {

struct Pem {
  std::string certificate;
  std::string key;
};

struct Wish {
  std::string common_name;
  std::vector<std::string> names;  // "DNS:a.example", "IP:127.0.0.1"
  long from_seconds = -3600;       // relative to now
  long until_seconds = 3600;
  bool rsa = false;
};

class Authority {
 public:
  explicit Authority(const std::string& common_name);
  ~Authority();
  Authority(const Authority&) = delete;
  Authority& operator=(const Authority&) = delete;

  [[nodiscard]] const std::string& certificate() const noexcept { return certificate_; }
  [[nodiscard]] Pem sign(const Wish& wish) const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
  std::string certificate_;
};

// Writes `text` to DIR/NAME and returns that path.
std::string write_file(const std::string& directory, const std::string& name,
                       const std::string& text);

}  // namespace ballast::tests
