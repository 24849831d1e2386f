// One session for a connection. Streams of a session: the one of the check that runs, and the
// watch. What nghttp2 wants to send is collected after whatever made it want to.
#include "engine/checker/probing/grpc_exchange.hpp"

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/checker/probing/grpc_messages.hpp"
#include "engine/checker/probing/note.hpp"

namespace ballast::checker {

namespace {

constexpr std::size_t kMaxMessageText = 256;  // of grpc-message
constexpr std::size_t kMaxSettings = 32;      // in a frame
constexpr std::size_t kMaxAcks = 64;          // that wait to be sent
constexpr std::uint32_t kWindowBytes = 65535;
constexpr std::uint32_t kUnimplemented = 12;

struct Free {
  void operator()(nghttp2_session* session) const { nghttp2_session_del(session); }
};

// A call on a stream of its own.
struct Call {
  std::int32_t stream = 0;  // 0: there is none
  std::size_t sent = 0;     // of the request's message
  std::size_t header_bytes = 0;
  std::uint32_t http_status = 0;
  std::optional<std::uint32_t> grpc_status;
  std::string grpc_message;
  HealthResponses responses;
};

std::optional<std::uint32_t> to_number(std::string_view text) {
  std::uint32_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

class GrpcExchange final : public Exchange {
 public:
  GrpcExchange(const CheckSettings& check, const InstanceSettings& instance)
      : check_(check),
        authority_(!check.host.empty()      ? check.host
                   : !instance.text.empty() ? instance.text
                                            : instance.endpoint.to_text()),
        message_(health_request(check.grpc_service)) {}

  Payload begin(bool new_connection) override {
    if (new_connection) connect();
    new_ = new_connection;
    bytes_ = 0;
    frames_ = 0;
    result_.reset();
    pushed_.reset();
    asked_again_ = false;
    answered_ = false;
    lost_ = false;
    if (session_ == nullptr || !submit(call_, "/grpc.health.v1.Health/Check")) return nullptr;
    return outgoing();
  }

  [[nodiscard]] bool answered() const noexcept override { return answered_; }

  Step on_bytes(std::string_view bytes) override {
    Step step;
    const bool good = receive(bytes);
    if (good && result_.has_value() && contradicted()) ask_again();
    if (good && result_.has_value()) watch();
    step.reply = outgoing();
    if (!good && !result_.has_value()) fail(Reason::bad_response, trouble());
    if (!result_.has_value()) {
      // Refused unseen, on a connection that is being given up: the same as if it had ended.
      step.lost = lost_;
      return step;
    }
    step.done = true;
    step.keep = good && usable();
    step.result = std::move(*result_);
    result_.reset();
    if (!step.keep) disconnect();
    return step;
  }

  Step on_close() override {
    disconnect();
    Step step;
    step.done = true;
    step.result.reason = Reason::closed;
    return step;
  }

  Unasked on_unasked(std::string_view bytes) override {
    Unasked unasked;
    pushed_.reset();
    const bool good = receive(bytes);
    unasked.reply = outgoing();
    unasked.enough = flooded();
    unasked.lost = !unasked.enough && (!good || !usable());
    if (unasked.enough || unasked.lost) {
      disconnect();
      return unasked;
    }
    unasked.changed = pushed_.has_value() && pushed_ != last_;
    return unasked;
  }

 private:
  // ---- the connection

  void connect() {
    disconnect();
    nghttp2_session* made = nullptr;
    if (nghttp2_session_client_new2(&made, callbacks(), this, options()) != 0) return;
    session_.reset(made);
    constexpr std::array<nghttp2_settings_entry, 3> kSettings{
        {{NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
         {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, kWindowBytes},
         {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, kMaxHttp2HeaderBytes}}};
    nghttp2_submit_settings(made, NGHTTP2_FLAG_NONE, kSettings.data(), kSettings.size());
  }

  void disconnect() {
    session_.reset();
    call_ = {};
    watch_ = {};
    watchable_ = true;
    going_ = false;
    why_.clear();
  }

  [[nodiscard]] bool usable() const {
    return session_ != nullptr && !going_ && nghttp2_session_want_read(session_.get()) != 0 &&
           nghttp2_session_check_request_allowed(session_.get()) != 0;
  }

  [[nodiscard]] bool flooded() const {
    return bytes_ > kMaxHttp2Bytes || frames_ > kMaxHttp2Frames;
  }

  // False when this is no HTTP/2, or too much of it.
  bool receive(std::string_view bytes) {
    if (session_ == nullptr) return false;
    bytes_ += bytes.size();
    const auto used = nghttp2_session_mem_recv(
        session_.get(), reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
    if (used < 0 && why_.empty()) why_ = nghttp2_strerror(static_cast<int>(used));
    return used >= 0 && !flooded() && nghttp2_session_want_read(session_.get()) != 0;
  }

  Payload outgoing() {
    std::string out;
    while (session_ != nullptr) {
      const std::uint8_t* bytes = nullptr;
      const auto n = nghttp2_session_mem_send(session_.get(), &bytes);
      if (n <= 0) break;
      out.append(reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(n));
    }
    return out.empty() ? nullptr : std::make_shared<const std::string>(std::move(out));
  }

  [[nodiscard]] std::string trouble() const {
    if (flooded()) return "HTTP/2: more than a check can be worth";
    return why_.empty() ? "this is not HTTP/2" : "HTTP/2: " + why_;
  }

  // ---- calls

  bool submit(Call& call, std::string_view path) {
    call = {};
    const std::string_view scheme = check_.tls.enabled ? "https" : "http";
    const std::array<std::pair<std::string_view, std::string_view>, 7> headers{
        {{":method", "POST"},
         {":scheme", scheme},
         {":path", path},
         {":authority", authority_},
         {"content-type", "application/grpc"},
         {"te", "trailers"},
         {"user-agent", "ballast"}}};
    std::array<nghttp2_nv, headers.size()> fields{};
    for (std::size_t i = 0; i < headers.size(); ++i) {
      // nghttp2 copies both, and writes to neither.
      fields[i].name = reinterpret_cast<std::uint8_t*>(const_cast<char*>(headers[i].first.data()));
      fields[i].namelen = headers[i].first.size();
      fields[i].value =
          reinterpret_cast<std::uint8_t*>(const_cast<char*>(headers[i].second.data()));
      fields[i].valuelen = headers[i].second.size();
    }
    nghttp2_data_provider body{};
    body.source.ptr = &call;
    body.read_callback = on_read;
    call.stream = nghttp2_submit_request(session_.get(), nullptr, fields.data(), fields.size(),
                                         &body, nullptr);
    if (call.stream <= 0) call.stream = 0;
    return call.stream != 0;
  }

  // The server has pushed something else than it has answered: which of them is older nobody knows.
  [[nodiscard]] bool contradicted() const {
    return pushed_.has_value() && last_.has_value() && pushed_ != last_ && !asked_again_ &&
           usable();
  }

  void ask_again() {
    asked_again_ = true;
    result_.reset();
    pushed_.reset();
    submit(call_, "/grpc.health.v1.Health/Check");
  }

  // Begins to watch, once the server has shown that it speaks of its health.
  void watch() {
    if (!check_.grpc_watch || !watchable_ || watch_.stream != 0 || !usable()) return;
    // Where a single stream is allowed at a time, the checks need it.
    if (nghttp2_session_get_remote_settings(session_.get(),
                                            NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS) < 2) {
      return;
    }
    if (!last_.has_value()) return;
    watchable_ = submit(watch_, "/grpc.health.v1.Health/Watch");
  }

  void fail(Reason reason, std::string_view note, std::int32_t detail = 0) {
    result_ = CheckResult{reason, detail, {}};
    result_->note = to_note(note);
  }

  // The call of the check is over.
  void judge(std::uint32_t error_code) {
    last_.reset();
    if (error_code != NGHTTP2_NO_ERROR) {
      // Not looked at by a server that is about to go.
      if (error_code == NGHTTP2_REFUSED_STREAM && going_ && !new_) {
        lost_ = true;
        return;
      }
      return fail(Reason::bad_response, std::string("HTTP/2: the server has reset the call: ") +
                                            nghttp2_http2_strerror(error_code));
    }
    if (call_.http_status != 200) {
      return fail(Reason::bad_status, {}, static_cast<std::int32_t>(call_.http_status));
    }
    if (!call_.grpc_status.has_value()) return fail(Reason::bad_response, "no grpc-status");
    if (*call_.grpc_status != 0) {
      std::string note = "grpc-status " + std::to_string(*call_.grpc_status) + " (" +
                         std::string(grpc_status_text(*call_.grpc_status)) + ")";
      if (!call_.grpc_message.empty()) note += ": " + call_.grpc_message;
      return fail(Reason::not_serving, note, static_cast<std::int32_t>(*call_.grpc_status));
    }
    const auto status = call_.responses.next();
    if (!status.has_value() || call_.responses.has_rest()) {
      return fail(Reason::bad_response, "no HealthCheckResponse");
    }
    last_ = status;
    if (*status == ServingStatus::serving) {
      result_ = CheckResult{Reason::passed, 0, {}};
    } else {
      fail(Reason::not_serving, to_text(*status), static_cast<std::int32_t>(*status));
    }
  }

  Call* call_of(std::int32_t stream) {
    if (stream == 0) return nullptr;
    return stream == call_.stream ? &call_ : stream == watch_.stream ? &watch_ : nullptr;
  }

  // ---- nghttp2's callbacks

  static GrpcExchange& self(void* user) { return *static_cast<GrpcExchange*>(user); }

  static ssize_t on_read(nghttp2_session* /*session*/, std::int32_t /*stream*/, std::uint8_t* out,
                         std::size_t length, std::uint32_t* flags, nghttp2_data_source* source,
                         void* user) {
    auto& call = *static_cast<Call*>(source->ptr);
    const std::string& message = self(user).message_;
    const std::size_t n = std::min(length, message.size() - call.sent);
    std::memcpy(out, message.data() + call.sent, n);
    call.sent += n;
    if (call.sent == message.size()) *flags |= NGHTTP2_DATA_FLAG_EOF;
    return static_cast<ssize_t>(n);
  }

  static int on_begin_frame(nghttp2_session* /*session*/, const nghttp2_frame_hd* /*header*/,
                            void* user) {
    GrpcExchange& me = self(user);
    return ++me.frames_ > kMaxHttp2Frames ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
  }

  static int on_header(nghttp2_session* /*session*/, const nghttp2_frame* frame,
                       const std::uint8_t* name, std::size_t name_length, const std::uint8_t* value,
                       std::size_t value_length, std::uint8_t /*flags*/, void* user) {
    GrpcExchange& me = self(user);
    Call* call = me.call_of(frame->hd.stream_id);
    if (call == nullptr) return 0;
    if (call == &me.call_) me.answered_ = true;
    call->header_bytes += name_length + value_length + 32;  // as HTTP/2 counts
    if (call->header_bytes > kMaxHttp2HeaderBytes) {
      me.why_ = "headers beyond 16 KiB";
      return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    const std::string_view key(reinterpret_cast<const char*>(name), name_length);
    const std::string_view text(reinterpret_cast<const char*>(value), value_length);
    if (key == ":status") call->http_status = to_number(text).value_or(0);
    if (key == "grpc-status") call->grpc_status = to_number(text);
    if (key == "grpc-message") call->grpc_message = text.substr(0, kMaxMessageText);
    return 0;
  }

  static int on_data(nghttp2_session* /*session*/, std::uint8_t /*flags*/, std::int32_t stream,
                     const std::uint8_t* bytes, std::size_t length, void* user) {
    GrpcExchange& me = self(user);
    Call* call = me.call_of(stream);
    if (call == nullptr) return 0;
    const bool good = call->responses.feed({reinterpret_cast<const char*>(bytes), length});
    if (call == &me.call_) {
      me.answered_ = true;
      if (good) return 0;
    } else if (good) {
      while (const auto status = call->responses.next())
        me.pushed_ = status;
      return 0;
    }
    me.why_ = "more than a HealthCheckResponse";
    return NGHTTP2_ERR_CALLBACK_FAILURE;
  }

  static int on_frame(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
    GrpcExchange& me = self(user);
    if (frame->hd.type == NGHTTP2_GOAWAY) me.going_ = true;
    const bool settings = frame->hd.type == NGHTTP2_SETTINGS;
    const bool cramped = settings && nghttp2_session_get_remote_settings(
                                         session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS) < 2;
    if (cramped && me.watch_.stream != 0) {
      nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, me.watch_.stream, NGHTTP2_CANCEL);
    }
    return 0;
  }

  static int on_stream_close(nghttp2_session* /*session*/, std::int32_t stream,
                             std::uint32_t error_code, void* user) {
    GrpcExchange& me = self(user);
    Call* call = me.call_of(stream);
    if (call == nullptr) return 0;
    if (call == &me.watch_) {
      // UNIMPLEMENTED, mostly. One that ended after it had said something may be begun again.
      me.watchable_ =
          me.watch_.http_status == 200 && me.watch_.grpc_status.value_or(0) != kUnimplemented;
      me.watch_ = {};
    } else {
      me.judge(error_code);
      me.call_ = {};
    }
    return 0;
  }

  static int on_error(nghttp2_session* /*session*/, int /*code*/, const char* text,
                      std::size_t length, void* user) {
    GrpcExchange& me = self(user);
    if (me.why_.empty()) me.why_.assign(text, std::min<std::size_t>(length, kMaxNoteBytes));
    return 0;
  }

  // Both are made once, for the process's life.
  static const nghttp2_session_callbacks* callbacks() {
    static nghttp2_session_callbacks* const made = [] {
      nghttp2_session_callbacks* all = nullptr;
      if (nghttp2_session_callbacks_new(&all) != 0) return all;
      nghttp2_session_callbacks_set_on_begin_frame_callback(all, on_begin_frame);
      nghttp2_session_callbacks_set_on_header_callback(all, on_header);
      nghttp2_session_callbacks_set_on_data_chunk_recv_callback(all, on_data);
      nghttp2_session_callbacks_set_on_frame_recv_callback(all, on_frame);
      nghttp2_session_callbacks_set_on_stream_close_callback(all, on_stream_close);
      nghttp2_session_callbacks_set_error_callback2(all, on_error);
      return all;
    }();
    return made;
  }
  static const nghttp2_option* options() {
    static nghttp2_option* const made = [] {
      nghttp2_option* all = nullptr;
      if (nghttp2_option_new(&all) != 0) return all;
      nghttp2_option_set_max_settings(all, kMaxSettings);
      nghttp2_option_set_max_outbound_ack(all, kMaxAcks);
      nghttp2_option_set_no_closed_streams(all, 1);
      return all;
    }();
    return made;
  }

  const CheckSettings& check_;
  std::string authority_;
  std::string message_;
  std::unique_ptr<nghttp2_session, Free> session_;
  Call call_;
  Call watch_;
  bool watchable_ = true;  // on this connection, as far as is known
  bool going_ = false;     // the server has said so
  bool new_ = true;        // the connection of this check
  bool answered_ = false;
  bool asked_again_ = false;
  bool lost_ = false;
  std::size_t bytes_ = 0;  // since the check began
  std::size_t frames_ = 0;
  std::optional<CheckResult> result_;
  std::optional<ServingStatus> last_;    // what the server has answered last
  std::optional<ServingStatus> pushed_;  // what it has said by itself since then
  std::string why_;
};

}  // namespace

bool grpc_is_built_in() noexcept {
  return true;
}

std::unique_ptr<Exchange> make_grpc_exchange(const CheckSettings& check,
                                             const InstanceSettings& instance) {
  return std::make_unique<GrpcExchange>(check, instance);
}

}  // namespace ballast::checker
