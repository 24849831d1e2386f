// What each protocol's first messages look like; no more of them than that.
#include "engine/checker/probing/preset_exchange.hpp"

#include <algorithm>
#include <memory>
#include <utility>

#include "engine/checker/probing/note.hpp"

namespace ballast::checker {

namespace {

std::uint8_t byte_at(std::string_view bytes, std::size_t at) {
  return static_cast<std::uint8_t>(bytes[at]);
}

std::string postgres_startup() {
  // Protocol 3.0; names and values end in NUL, and so does the list.
  std::string body("\0\3\0\0", 4);
  for (const char* const text :
       {"user", kPresetUser, "database", "postgres", "application_name", "ballast"})
    body.append(text).push_back('\0');
  body.push_back('\0');
  const auto length = static_cast<std::uint32_t>(body.size() + 4);
  std::string message;
  for (const unsigned shift : {24U, 16U, 8U, 0U})
    message.push_back(static_cast<char>(length >> shift & 0xff));
  return message + body;
}

// A field of a PostgreSQL ErrorResponse: a byte for which one, its text, NUL.
std::string_view postgres_field(std::string_view fields, char which) {
  while (!fields.empty() && fields.front() != '\0') {
    const std::size_t end = fields.find('\0');
    if (end == std::string_view::npos) return {};
    if (fields.front() == which) return fields.substr(1, end - 1);
    fields.remove_prefix(end + 1);
  }
  return {};
}

// A MySQL packet: its length in three bytes, its number in the conversation, its payload.
std::string mysql_packet(std::uint8_t number, std::string_view payload) {
  std::string packet;
  for (const unsigned shift : {0U, 8U, 16U})
    packet.push_back(static_cast<char>(payload.size() >> shift & 0xff));
  packet.push_back(static_cast<char>(number));
  return packet.append(payload);
}

// HandshakeResponse41 without a password.
std::string mysql_login() {
  // LONG_PASSWORD, PROTOCOL_41, SECURE_CONNECTION, PLUGIN_AUTH.
  constexpr std::uint32_t kCapabilities = 0x00000001 | 0x00000200 | 0x00008000 | 0x00080000;
  std::string body;
  for (const unsigned shift : {0U, 8U, 16U, 24U})
    body.push_back(static_cast<char>(kCapabilities >> shift & 0xff));
  body.append("\0\0\0\1", 4);  // packets of up to 16 MiB
  body.push_back(33);          // utf8
  body.append(23, '\0');
  body.append(kPresetUser).push_back('\0');
  body.push_back('\0');  // a password of no bytes
  body.append("mysql_native_password").push_back('\0');
  return mysql_packet(1, body);
}

// An ERR packet's payload: 0xff, the number, with "#" and five bytes of state before the text if
// the handshake is over.
unsigned mysql_error(std::string_view payload) {
  return payload.size() < 3 ? 0U : byte_at(payload, 1) | byte_at(payload, 2) << 8U;
}

std::string_view mysql_message(std::string_view payload) {
  std::string_view text = payload.substr(std::min<std::size_t>(3, payload.size()));
  if (text.starts_with('#')) text.remove_prefix(std::min<std::size_t>(6, text.size()));
  return text;
}

}  // namespace

Payload PresetExchange::begin(bool /*new_connection*/) {
  answered_ = false;
  said_ = 0;
  answer_ = std::string();
  // The same for all instances, and sent over and over.
  static const Payload redis = std::make_shared<const std::string>("*1\r\n$4\r\nPING\r\n");
  static const Payload postgres = std::make_shared<const std::string>(postgres_startup());
  if (preset_ == Preset::redis) return redis;
  if (preset_ == Preset::postgres) return postgres;
  return nullptr;  // the server speaks first
}

Exchange::Step PresetExchange::on_bytes(std::string_view bytes) {
  answered_ = true;
  answer_.append(bytes.substr(0, kMaxAnswerBytes + 1));
  Step step;
  switch (preset_) {
    case Preset::redis:
      step = on_redis();
      break;
    case Preset::postgres:
      step = on_postgres();
      break;
    case Preset::mysql:
      step = on_mysql();
      break;
    case Preset::smtp:
      step = on_smtp();
      break;
    case Preset::none:
      break;
  }
  if (!step.done && answer_.size() > kMaxAnswerBytes) return fail(answer_);
  return step;
}

Exchange::Step PresetExchange::on_redis() {
  const std::size_t end = answer_.find('\n');
  if (end == std::string::npos) return {};
  const std::string_view line = std::string_view(answer_).substr(0, end);
  const bool alone = end + 1 == answer_.size();
  if (line == "+PONG\r" || line == "+PONG") {
    Step step = pass();
    step.keep = alone;
    return step;
  }
  if (line.starts_with("-NOAUTH") || line.starts_with("-NOPERM")) return pass();
  return fail(line);
}

Exchange::Step PresetExchange::on_postgres() {
  // A message: what it is in a byte, and its length without that in four.
  if (answer_.size() < 5) return {};
  const char kind = answer_.front();
  if (kind == 'R') return pass();  // how to log in
  if (kind != 'E') return fail(answer_);
  std::uint64_t length = 0;
  for (std::size_t i = 1; i < 5; ++i)
    length = length << 8 | byte_at(answer_, i);
  if (length < 4 || length > kMaxAnswerBytes) return fail(answer_);
  if (answer_.size() < length + 1) return {};
  const std::string_view fields = std::string_view(answer_).substr(5, length - 4);
  const std::string_view state = postgres_field(fields, 'C');
  // Classes "operator intervention" (starting, stopping) and "insufficient resources" (too many
  // connections): nobody else gets in either. All else is about who we say we are.
  if (!state.starts_with("57") && !state.starts_with("53") && state.size() == 5) return pass();
  return fail(postgres_field(fields, 'M'));
}

Exchange::Step PresetExchange::on_mysql() {
  if (answer_.size() < 5) return {};
  const std::size_t length = byte_at(answer_, 0) | byte_at(answer_, 1) << 8U |
                             static_cast<std::size_t>(byte_at(answer_, 2)) << 16U;
  if (length == 0 || length > kMaxAnswerBytes) return fail(answer_);
  if (answer_.size() < length + 4) return {};
  const std::string_view payload = std::string_view(answer_).substr(4, length);
  const auto number = static_cast<std::uint8_t>(byte_at(answer_, 3) + 1);
  const std::uint8_t kind = byte_at(payload, 0);
  if (said_ == 0) {
    if (kind == 10) return say(mysql_login());  // the protocol's version
    return fail(kind == 0xff ? mysql_message(payload) : payload);
  }
  if (kind == 0x00) return pass(mysql_packet(0, "\1"));                 // in; COM_QUIT
  if (kind == 0xfe && said_ < 3) return say(mysql_packet(number, {}));  // another way to log in
  if (kind != 0xff) return fail(payload);
  // Whose fault it is that we do not get in: 1040 too many connections, 1053 shutting down, 1129
  // host blocked, 1130 host not allowed, 1152 aborted, 1203 the user's connections.
  for (const unsigned refused : {1040U, 1053U, 1129U, 1130U, 1152U, 1203U}) {
    if (mysql_error(payload) == refused) return fail(mysql_message(payload));
  }
  return pass();
}

Exchange::Step PresetExchange::on_smtp() {
  // Lines of "NNN-text", the last of them "NNN text".
  std::size_t begin = 0;
  while (true) {
    const std::size_t end = answer_.find('\n', begin);
    if (end == std::string::npos) return {};
    const std::string_view line = std::string_view(answer_).substr(begin, end - begin);
    const bool right = line.starts_with(said_ == 0 ? "220" : "250");
    if (!right) return fail(line);
    if (line.size() < 4 || line[3] != '-') break;
    begin = end + 1;
  }
  if (said_ == 0) return say("EHLO ballast\r\n");
  return pass("QUIT\r\n");
}

Exchange::Step PresetExchange::say(std::string reply) {
  ++said_;
  answer_.clear();
  Step step;
  step.reply = std::make_shared<const std::string>(std::move(reply));
  return step;
}

Exchange::Step PresetExchange::pass(std::string goodbye) {
  Step step;
  step.done = true;
  step.result.reason = Reason::passed;
  if (!goodbye.empty()) step.reply = std::make_shared<const std::string>(std::move(goodbye));
  answer_ = std::string();
  return step;
}

Exchange::Step PresetExchange::fail(std::string_view what) {
  Step step;
  step.done = true;
  step.result = unexpected(what);
  answer_ = std::string();
  return step;
}

CheckResult PresetExchange::unexpected(std::string_view what) const {
  CheckResult result;
  result.reason = Reason::unexpected;
  result.note = to_note(what);
  return result;
}

Exchange::Step PresetExchange::on_close() {
  if (!answer_.empty()) return fail(answer_);
  Step step;
  step.done = true;
  step.result.reason = Reason::closed;
  return step;
}

// Nobody has asked: a server that says goodbye, or has lost its place.
Exchange::Unasked PresetExchange::on_unasked(std::string_view /*bytes*/) {
  Unasked unasked;
  unasked.lost = true;
  return unasked;
}

CheckResult PresetExchange::on_timeout() {
  return answer_.empty() ? CheckResult{} : unexpected(answer_);
}

}  // namespace ballast::checker
