// RFC 1035 section 4, RFC 2782 for services. Every length is checked before it is used, and the
// pointers by which names are compressed may only lead backwards.
#include "engine/checker/discovery/dns_message.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace ballast::checker {
namespace {

constexpr std::uint16_t kClassInternet = 1;
constexpr std::size_t kMaxWireName = 255;
// A label each, as many as a name has at most. Without an end to them a message could lead each of
// its names through thousands.
constexpr unsigned kMaxPointers = 127;

class Cursor {
 public:
  Cursor(std::span<const std::uint8_t> bytes, std::size_t at) : bytes_(bytes), at_(at) {}

  [[nodiscard]] bool ok() const { return ok_; }
  [[nodiscard]] std::size_t at() const { return at_; }

  std::uint8_t u8() {
    if (!take(1)) return 0;
    return bytes_[at_ - 1];
  }
  std::uint16_t u16() {
    if (!take(2)) return 0;
    return static_cast<std::uint16_t>(bytes_[at_ - 2] << 8 | bytes_[at_ - 1]);
  }
  std::uint32_t u32() {
    const std::uint32_t high = u16();
    return high << 16 | u16();
  }
  void skip(std::size_t count) { take(count); }

  // A name in the spelling of this page; empty for the root.
  std::string name() {
    std::string out;
    std::size_t at = at_;
    std::size_t lowest = at_;  // of where pointers have led
    std::size_t length = 0;
    unsigned pointers = 0;
    while (ok_) {
      if (at >= bytes_.size()) return fail();
      const std::uint8_t first = bytes_[at];
      if ((first & 0xC0U) == 0xC0U) {
        if (at + 1 >= bytes_.size()) return fail();
        const std::size_t target = std::size_t{first & 0x3FU} << 8 | bytes_[at + 1];
        if (pointers == 0) at_ = at + 2;
        if (target >= lowest || ++pointers > kMaxPointers) return fail();
        lowest = at = target;
        continue;
      }
      if ((first & 0xC0U) != 0) return fail();
      length += std::size_t{first} + 1;
      if (length > kMaxWireName || at + first >= bytes_.size()) return fail();
      if (first == 0) {
        if (pointers == 0) at_ = at + 1;
        break;
      }
      if (!out.empty()) out += '.';
      for (std::size_t i = at + 1; i <= at + first; ++i) {
        const auto c = static_cast<char>(bytes_[i]);
        // Nobody asks for such a name, and it would have to be escaped wherever it is shown.
        if (c <= ' ' || c > '~' || c == '.' || c == '\\') return fail();
        out += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
      }
      at += std::size_t{first} + 1;
    }
    return out;
  }

 private:
  bool take(std::size_t count) {
    ok_ = ok_ && count <= bytes_.size() - at_;
    if (ok_) at_ += count;
    return ok_;
  }
  std::string fail() {
    ok_ = false;
    return {};
  }

  std::span<const std::uint8_t> bytes_;
  std::size_t at_;
  bool ok_ = true;
};

enum class Section : std::uint8_t { answer, authority, additional };

class Reader {
 public:
  explicit Reader(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}

  std::optional<DnsMessage> read() {
    Cursor in(bytes_, 0);
    in.skip(2);  // whose answer it is was judged by whoever received it
    const std::uint16_t flags = in.u16();
    const std::uint16_t questions = in.u16();
    std::array<std::uint16_t, 3> counts{};
    for (auto& count : counts)
      count = in.u16();
    if (!in.ok() || (flags & 0x8000U) == 0) return std::nullopt;
    message_.rcode = static_cast<std::uint8_t>(flags & 0x0FU);
    message_.truncated = (flags & 0x0200U) != 0;
    for (std::uint16_t i = 0; i < questions && in.ok(); ++i) {
      in.name();
      in.skip(4);
    }
    for (std::size_t section = 0; section < counts.size(); ++section) {
      for (std::uint16_t i = 0; i < counts[section]; ++i) {
        if (!in.ok() || !record(in, static_cast<Section>(section))) return std::nullopt;
      }
    }
    if (!in.ok()) return std::nullopt;
    return std::move(message_);
  }

 private:
  bool record(Cursor& in, Section section) {
    std::string name = in.name();
    const std::uint16_t type = in.u16();
    const std::uint16_t kind = in.u16();
    const std::uint32_t raw_ttl = in.u32();
    const std::uint16_t length = in.u16();
    const std::size_t begin = in.at();
    in.skip(length);
    if (!in.ok()) return false;
    if (kind != kClassInternet) return true;  // EDNS's OPT, too
    // RFC 2181 section 8: a time with the top bit set is none.
    const std::uint32_t ttl = raw_ttl > 0x7FFF'FFFFU ? 0 : raw_ttl;
    // Names in the data may point to anywhere before, but must end within it.
    Cursor data(bytes_.first(begin + length), begin);
    switch (static_cast<DnsType>(type)) {
      case DnsType::a:
      case DnsType::aaaa:
        return address(data, section, static_cast<DnsType>(type), length, std::move(name), ttl);
      case DnsType::cname:
        if (section == Section::answer) hold(ttl);
        return true;
      case DnsType::srv:
        return section != Section::answer || service(data, ttl);
      case DnsType::soa:
        return section != Section::authority || start_of_authority(data, ttl);
    }
    return true;
  }

  bool address(Cursor& data, Section section, DnsType type, std::uint16_t length, std::string name,
               std::uint32_t ttl) {
    const std::size_t want = type == DnsType::a ? 4 : 16;
    if (length != want) return false;
    if (section == Section::authority) return true;
    DnsAddress found;
    found.name = std::move(name);
    found.address.family = type == DnsType::a ? shm::Family::ipv4 : shm::Family::ipv6;
    for (std::size_t i = 0; i < want; ++i)
      found.address.address[i] = data.u8();
    hold(ttl);
    (section == Section::answer ? message_.addresses : message_.additional)
        .push_back(std::move(found));
    return true;
  }

  bool service(Cursor& data, std::uint32_t ttl) {
    DnsService found;
    found.priority = data.u16();
    found.weight = data.u16();
    found.port = data.u16();
    found.target = data.name();
    if (!data.ok()) return false;
    hold(ttl);
    message_.services.push_back(std::move(found));
    return true;
  }

  bool start_of_authority(Cursor& data, std::uint32_t ttl) {
    data.name();
    data.name();
    data.skip(16);
    const std::uint32_t minimum = data.u32();
    if (!data.ok()) return false;
    message_.negative_ttl_s = std::min(ttl, minimum);
    return true;
  }

  void hold(std::uint32_t ttl) { message_.ttl_s = std::min(message_.ttl_s.value_or(ttl), ttl); }

  std::span<const std::uint8_t> bytes_;
  DnsMessage message_;
};

}  // namespace

std::optional<DnsMessage> parse_dns_message(std::span<const std::uint8_t> bytes) {
  return Reader(bytes).read();
}

std::string dns_rcode_text(std::uint8_t rcode) {
  constexpr std::array<const char*, 6> kTexts{"NOERROR",  "FORMERR", "SERVFAIL",
                                              "NXDOMAIN", "NOTIMP",  "REFUSED"};
  if (rcode < kTexts.size()) return kTexts[rcode];
  return "RCODE " + std::to_string(rcode);
}

}  // namespace ballast::checker
