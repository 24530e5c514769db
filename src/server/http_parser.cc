#include "server/http_parser.h"

#include <fmt/core.h>

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <limits>
#include <utility>

#include "base/macros.h"
#include "server/head_check.h"

namespace millrace::server {
namespace http = boost::beast::http;
namespace {

// A chunk header with its extensions, or all trailers with the last chunk: what Beast must see whole before it takes a
// byte.
size_t max_chunk_header(const Limits& limits) { return static_cast<size_t>(limits[LimitId::kHeadersBytes]) + 8; }

std::string_view view(boost::beast::string_view text) { return {text.data(), text.size()}; }

Error too_large(const Limits& limits) {
  return {ErrorCode::kRequestTooLarge, fmt::format("request body is larger than {} bytes", limits[LimitId::kBodyBytes]),
          ""};
}

Error malformed_chunks() { return {ErrorCode::kInvalidValue, "malformed chunked body", ""}; }

bool has_bare_line_feed(std::string_view bytes) {
  for (size_t at = bytes.find('\n'); at != std::string_view::npos; at = bytes.find('\n', at + 1)) {
    if (at == 0 || bytes[at - 1] != '\r') return true;
  }
  return false;
}

}  // namespace

struct HttpParser::State {
  explicit State(const Limits& all) : limits(all) {}
  Limits limits;
  http::request_parser<http::string_body> parser;
};

HttpParser::HttpParser(const Limits& limits) : state_(std::make_unique<State>(limits)) {
  state_->parser.header_limit(std::numeric_limits<uint32_t>::max());  // checked by find_head and check_head
  state_->parser.body_limit(static_cast<uint64_t>(limits[LimitId::kBodyBytes]));
}

HttpParser::~HttpParser() = default;

bool HttpParser::done() const { return state_->parser.is_done(); }

Result<void> HttpParser::put_head(std::string_view head) {
  auto& parser = state_->parser;
  boost::system::error_code error;
  size_t used = parser.put(boost::asio::buffer(head.data(), head.size()), error);
  if (error == http::error::body_limit) return too_large(state_->limits);
  if (error && error != http::error::need_more) return Error{ErrorCode::kInvalidValue, "malformed HTTP request", ""};
  if (used != head.size() || !parser.is_header_done())
    return Error{ErrorCode::kInvalidValue, "malformed HTTP request", ""};
  const auto& message = parser.get();
  request_.method = view(message.method_string());
  Target target = split_target(view(message.target()));
  request_.path = target.path;
  request_.query = target.query;
  request_.http_1_1 = message.version() == 11;
  request_.keep_alive = parser.keep_alive();
  request_.has_body_framing = parser.chunked() || parser.content_length().has_value();
  if (parser.content_length()) request_.content_length = *parser.content_length();
  for (const auto& field : message) {
    request_.headers.emplace_back(to_lower(view(field.name_string())), std::string(view(field.value())));
  }
  const std::string* expect = request_.header("expect");
  if (expect != nullptr) {
    if (to_lower(*expect) != "100-continue") {
      return Error{ErrorCode::kExpectationFailed, "the only expectation met is 100-continue", ""};
    }
    request_.expects_continue = true;
  }
  return {};
}

Result<size_t> HttpParser::put_body(std::string_view bytes) {
  auto& parser = state_->parser;
  size_t total = 0;
  while (total < bytes.size() && !parser.is_done()) {
    boost::system::error_code error;
    size_t used = parser.put(boost::asio::buffer(bytes.data() + total, bytes.size() - total), error);
    total += used;
    if (error == http::error::body_limit) return too_large(state_->limits);
    if (error == http::error::need_more) {
      if (has_bare_line_feed(bytes.substr(total))) return malformed_chunks();  // Beast would wait for more
      if (bytes.size() - total > max_chunk_header(state_->limits)) {
        return Error{ErrorCode::kInvalidValue,
                     fmt::format("chunk header or trailers over {} bytes", state_->limits[LimitId::kHeadersBytes]), ""};
      }
      break;
    }
    if (error) return malformed_chunks();
    if (used == 0) break;
    if (parser.chunked() && parser.is_done()) {
      TRY(check_trailers(bytes.substr(total - used, used), state_->limits));
    }
  }
  return total;
}

HttpRequest HttpParser::take() {
  HttpRequest out = std::move(request_);
  out.body = std::move(state_->parser.get().body());
  return out;
}

}  // namespace millrace::server
