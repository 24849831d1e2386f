// Every key of [service.NAME.check], and for which kinds of checks it is.
#include <array>

#include "tools/ballastd/config_keys.hpp"

namespace ballast::tools::keys {
namespace {

using checker::CheckKind;
using checker::CheckSettings;
using checker::Limits;

constexpr std::uint32_t number_of(CheckKind kind) {
  return static_cast<std::uint32_t>(kind);
}
constexpr std::uint32_t ms(checker::Milliseconds time) {
  return static_cast<std::uint32_t>(time.count());
}

constexpr auto kCheckKinds = std::to_array<Choice>({{"http", number_of(CheckKind::http)},
                                                    {"tcp", number_of(CheckKind::tcp)},
                                                    {"udp", number_of(CheckKind::udp)},
                                                    {"grpc", number_of(CheckKind::grpc)},
                                                    {"exec", number_of(CheckKind::exec)},
                                                    {"agent", number_of(CheckKind::agent)},
                                                    {"none", number_of(CheckKind::none)}});
constexpr std::array<Choice, 5> kPresets{
    {{"none", 0}, {"redis", 1}, {"postgres", 2}, {"mysql", 3}, {"smtp", 4}}};
constexpr std::array<Choice, 2> kFirstChecks{{{"decides", 0}, {"up", 1}}};

constexpr Limits kIntervalLimits{ms(checker::kMinInterval), ms(checker::kMaxInterval)};
constexpr std::array kCheckFields{
    BALLAST_FIELD(CheckSettings, "kind", kind, Form::choice, {0, 255}, {}, kCheckKinds),
    BALLAST_FIELD(CheckSettings, "port", port, Form::number, {1, 65535}, "the instance's own"),
    BALLAST_FIELD(CheckSettings, "keep_alive", keep_alive, Form::flag),
    BALLAST_FIELD(CheckSettings, "max_body_bytes", max_body_bytes, Form::number,
                  checker::kMaxBodyBytesLimits),
    BALLAST_FIELD(CheckSettings, "tcp_sentinel", tcp_sentinel, Form::flag),
    BALLAST_FIELD(CheckSettings, "preset", preset, Form::choice, {0, 4}, {}, kPresets),
    BALLAST_FIELD(CheckSettings, "watch", grpc_watch, Form::flag),
    BALLAST_FIELD(CheckSettings, "max_output_bytes", max_output_bytes, Form::number,
                  checker::kMaxOutputBytesLimits),
    BALLAST_FIELD(CheckSettings, "interval", interval, Form::duration, kIntervalLimits),
    BALLAST_FIELD(CheckSettings, "fast_interval", fast_interval, Form::duration, kIntervalLimits),
    BALLAST_FIELD(CheckSettings, "down_interval", down_interval, Form::duration, kIntervalLimits,
                  "as interval"),
    BALLAST_FIELD(CheckSettings, "idle_interval", idle_interval, Form::duration, kIntervalLimits,
                  "as interval"),
    BALLAST_FIELD(CheckSettings, "eased_interval", eased_interval, Form::duration, kIntervalLimits,
                  "as interval"),
    BALLAST_FIELD(CheckSettings, "failures_to_check", failures_to_check, Form::number,
                  checker::kFailuresToCheckLimits, "never"),
    BALLAST_FIELD(CheckSettings, "timeout", timeout, Form::duration,
                  {ms(checker::kMinTimeout), ms(checker::kMaxInterval)}),
    BALLAST_FIELD(CheckSettings, "rise", rise, Form::number, {1, checker::kMaxRiseFall}),
    BALLAST_FIELD(CheckSettings, "fall", fall, Form::number, {1, checker::kMaxRiseFall}),
    BALLAST_FIELD(CheckSettings, "jitter", jitter_percent, Form::percent,
                  {0, checker::kMaxJitterPercent}),
    BALLAST_FIELD(CheckSettings, "first_check", first_check, Form::choice, {0, 1}, {},
                  kFirstChecks)};

constexpr std::array kTlsFields{BALLAST_FIELD(checker::TlsSettings, "enabled", enabled, Form::flag),
                                BALLAST_FIELD(checker::TlsSettings, "verify", verify, Form::flag)};

constexpr Kinds kHttp = only(CheckKind::http);
constexpr Kinds kTcp = only(CheckKind::tcp);
constexpr Kinds kGrpc = only(CheckKind::grpc);
constexpr Kinds kStreams = kHttp | kTcp | kGrpc | only(CheckKind::agent);
constexpr Kinds kUdp = only(CheckKind::udp);
constexpr Kinds kExec = only(CheckKind::exec);

constexpr auto kCheckKeys = std::to_array<CheckKey>({
    {"kind"},
    {"port"},
    {"method", kHttp, "GET, HEAD, OPTIONS, POST, PUT", "\"GET\""},
    {"path", kHttp, "starts with /, visible ASCII", "\"/\""},
    {"host", kHttp | kGrpc, "visible ASCII; the address as written"},
    {"headers", kHttp, "names and values; none"},
    {"status", kHttp, "codes from 100 to 599", "\"200-399\""},
    {"body_contains", kHttp, "a text; anything"},
    {"body_regex", kHttp, "an expression of RE2; anything"},
    {"max_body_bytes", kHttp},
    {"keep_alive", kHttp},
    {"tcp_sentinel", kTcp},
    {"grpc_service", kGrpc, "a name in visible ASCII; the whole server"},
    {"watch", kGrpc},
    {"tls", kStreams},
    {"preset", kTcp},
    {"steps", kTcp | kUdp, "what to send and to expect; connecting is enough"},
    {"command", kExec, "a program by its absolute path, and its arguments; required"},
    {"max_output_bytes", kExec},
    {"agent_send", only(CheckKind::agent), "a text; nothing"},
    {"interval"},
    {"fast_interval"},
    {"down_interval"},
    {"idle_interval"},
    {"eased_interval"},
    {"failures_to_check"},
    {"timeout"},
    {"rise"},
    {"fall"},
    {"jitter"},
    {"first_check"},
});

constexpr auto kTlsKeys = std::to_array<CheckKey>({
    {"enabled"},
    {"verify"},
    {"server_name", kEveryKind, "a name or an address; host, else the instance's own"},
    {"ca_file", kEveryKind, "an absolute path; the system's"},
    {"certificate_file", kEveryKind, "an absolute path; none"},
    {"key_file", kEveryKind, "an absolute path; in certificate_file"},
    {"alpn", kEveryKind, "1 to 8 protocols; what the kind speaks"},
});

template <std::size_t N>
constexpr auto words_of(const std::array<CheckKey, N>& keys) {
  std::array<std::string_view, N> words;
  for (std::size_t i = 0; i < N; ++i)
    words[i] = keys[i].word;
  return words;
}
constexpr auto kWords = words_of(kCheckKeys);
constexpr auto kTlsWords = words_of(kTlsKeys);

}  // namespace

Words check() {
  return kWords;
}
Words tls() {
  return kTlsWords;
}
std::span<const Field<checker::TlsSettings>> tls_fields() {
  return kTlsFields;
}
std::span<const CheckKey> tls_keys() {
  return kTlsKeys;
}
std::span<const Field<CheckSettings>> check_fields() {
  return kCheckFields;
}
std::span<const CheckKey> check_keys() {
  return kCheckKeys;
}
std::span<const Choice> check_kinds() {
  return kCheckKinds;
}

}  // namespace ballast::tools::keys
