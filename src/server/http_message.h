// HTTP requests and replies as plain data, and the bytes of a reply. Thread: any.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace millrace::server {

using Headers = std::vector<std::pair<std::string, std::string>>;

struct HttpRequest {
  std::string method;
  std::string path;      // without the query
  std::string query;     // behind '?', not decoded
  bool http_1_1 = true;  // false: HTTP/1.0
  bool keep_alive = true;
  bool expects_continue = false;
  bool has_body_framing = false;  // Content-Length or chunked
  std::optional<uint64_t> content_length;
  Headers headers;  // names in lower case
  std::string body;

  // The first header of this (lower-case) name; nullptr when absent.
  const std::string* header(std::string_view name) const;
};

struct HttpReply {
  int status = 200;
  std::string content_type = "application/json";
  Headers headers;
  std::string body;
  bool close = false;  // the connection ends after this reply
};

std::string_view status_text(int status);
// Status line and headers of a whole reply (Content-Length, Connection), up to and including the empty line.
std::string reply_head(const HttpReply& reply, bool keep_alive, bool http_1_1);
// The same for a body whose length is not known yet: chunked (HTTP/1.1) or until close (HTTP/1.0).
std::string open_ended_head(std::string_view content_type, const Headers& headers, bool keep_alive, bool http_1_1);
// The next bytes of such a body.
void append_chunk(std::string& out, std::string_view bytes, bool last, bool http_1_1);
// Headers of a stream of events.
void add_stream_headers(Headers& headers);

// Type of a body whose JSON is followed by binary tensors (KServe's infer).
constexpr std::string_view kBinaryTensors = "application/octet-stream";
HttpReply json_reply(std::string body);
HttpReply text_reply(int status, std::string body);
// ASCII only.
std::string to_lower(std::string_view text);

}  // namespace millrace::server
