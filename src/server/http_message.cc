#include "server/http_message.h"

#include <fmt/core.h>

#include <iterator>

namespace millrace::server {
namespace {

struct StatusRow {
  int status;
  std::string_view text;
};

constexpr StatusRow kStatuses[] = {
    {100, "Continue"},
    {200, "OK"},
    {204, "No Content"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {411, "Length Required"},
    {413, "Payload Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {417, "Expectation Failed"},
    {422, "Unprocessable Entity"},
    {424, "Failed Dependency"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {499, "Client Closed Request"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
    {529, "Overloaded"},
};

void append_headers(std::string& out, const Headers& headers) {
  for (const auto& [name, value] : headers) {
    out += name;
    out += ": ";
    out += value;
    out += "\r\n";
  }
}

void append_connection(std::string& out, bool keep_alive, bool http_1_1) {
  if (!keep_alive) out += "Connection: close\r\n";
  if (keep_alive && !http_1_1) out += "Connection: keep-alive\r\n";
}

}  // namespace

const std::string* HttpRequest::header(std::string_view name) const {
  for (const auto& [key, value] : headers) {
    if (key == name) return &value;
  }
  return nullptr;
}

std::string_view status_text(int status) {
  for (const StatusRow& row : kStatuses) {
    if (row.status == status) return row.text;
  }
  return "Unknown";
}

std::string reply_head(const HttpReply& reply, bool keep_alive, bool http_1_1) {
  std::string out = fmt::format("HTTP/1.1 {} {}\r\n", reply.status, status_text(reply.status));
  if (!reply.content_type.empty()) out += fmt::format("Content-Type: {}\r\n", reply.content_type);
  if (reply.status != 204) out += fmt::format("Content-Length: {}\r\n", reply.body.size());
  append_headers(out, reply.headers);
  append_connection(out, keep_alive && !reply.close, http_1_1);
  out += "\r\n";
  return out;
}

std::string open_ended_head(std::string_view content_type, const Headers& headers, bool keep_alive, bool http_1_1) {
  std::string out = fmt::format("HTTP/1.1 200 OK\r\nContent-Type: {}\r\n", content_type);
  if (http_1_1) out += "Transfer-Encoding: chunked\r\n";
  append_headers(out, headers);
  append_connection(out, keep_alive && http_1_1, http_1_1);
  out += "\r\n";
  return out;
}

void append_chunk(std::string& out, std::string_view bytes, bool last, bool http_1_1) {
  if (!http_1_1) {
    out += bytes;
    return;
  }
  if (!bytes.empty()) {
    fmt::format_to(std::back_inserter(out), "{:x}\r\n", bytes.size());
    out += bytes;
    out += "\r\n";
  }
  if (last) out += "0\r\n\r\n";
}

void add_stream_headers(Headers& headers) {
  headers.insert(headers.begin(), {{"Cache-Control", "no-cache"}, {"X-Accel-Buffering", "no"}});
}

HttpReply json_reply(std::string body) {
  HttpReply reply;
  reply.body = std::move(body);
  return reply;
}

HttpReply text_reply(int status, std::string body) {
  HttpReply reply;
  reply.status = status;
  reply.content_type = "text/plain; charset=utf-8";
  reply.body = std::move(body);
  return reply;
}

std::string to_lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

}  // namespace millrace::server
