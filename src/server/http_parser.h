// HttpParser: one request from bytes, in two steps: the head (already accepted by check_head), then the body. The only
// user of Beast's parser; its errors end here.
// Thread: one at a time.
#pragma once

#include <cstddef>
#include <memory>
#include <string_view>

#include "base/limits.h"
#include "base/result.h"
#include "server/http_message.h"

namespace millrace::server {

class HttpParser {
 public:
  explicit HttpParser(const Limits& limits);
  ~HttpParser();
  HttpParser(const HttpParser&) = delete;
  HttpParser& operator=(const HttpParser&) = delete;

  // The whole head and nothing else. kRequestTooLarge when the Content-Length is over the limit.
  Result<void> put_head(std::string_view head);
  // The request so far, without a body.
  const HttpRequest& request() const { return request_; }

  bool done() const;
  // Bytes of the body consumed; 0 = more are needed. kInvalidValue (bad chunks), kRequestTooLarge, or kHeadersTooLarge
  // (trailers). Trailers are read and dropped.
  Result<size_t> put_body(std::string_view bytes);
  // Once done().
  HttpRequest take();

 private:
  struct State;
  std::unique_ptr<State> state_;
  HttpRequest request_;
};

}  // namespace millrace::server
