// Any bytes over a real socket to the whole server: framing, routes, the parsers of all dialects, an engine behind them
// that repeats its prompt. Whatever comes in, what comes back is a sequence of whole HTTP/1.1 replies, none of them a
// 500, and a control request is answered now and then.
#include <poll.h>
#include <sys/socket.h>

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "tests/support/server_fixture.h"

namespace {

using namespace millrace;

constexpr int kPatienceMs = testing::kHangMs;
constexpr uint64_t kControlEvery = 256;

testing::TestServer& running() {
  static testing::TestServer* one = [] {
    server::ServerOptions options;
    options.admin_keys = {"k"};
    return new testing::TestServer(std::move(options), {.max_len = 256, .n_blocks = 64});
  }();
  return *one;
}

// A client that sends everything, ends its side, and reads until the server ends the other.
std::string talk(std::string_view bytes) {
  testing::HttpClient client(running().port());
  if (!client.connected()) std::abort();
  client.send(bytes);
  client.end_sending();
  if (!client.wait_closed(kPatienceMs)) std::abort();  // the server hangs
  return client.buffer();
}

// The size of a chunked body with its last chunk; npos when it is cut, as a cancelled stream is.
size_t chunked_size(std::string_view body) {
  size_t at = 0;
  while (true) {
    size_t line = body.find("\r\n", at);
    if (line == std::string_view::npos) return line;
    size_t n = 0;
    auto [end, error] = std::from_chars(body.data() + at, body.data() + line, n, 16);
    if (error != std::errc() || end != body.data() + line) std::abort();
    if (body.size() < line + 2 + n + 2) return std::string_view::npos;
    at = line + 2 + n + 2;
    if (n == 0) return at;
  }
}

size_t number_behind(std::string_view head, std::string_view name) {
  size_t at = head.find(name);
  if (at == std::string_view::npos) return std::string_view::npos;
  size_t n = 0;
  std::from_chars(head.data() + at + name.size(), head.data() + head.size(), n);
  return n;
}

void check_replies(std::string_view replies) {
  while (!replies.empty()) {
    size_t end = replies.find("\r\n\r\n");
    if (end == std::string_view::npos || !replies.starts_with("HTTP/1.1 ")) std::abort();
    std::string_view head = replies.substr(0, end + 2);
    std::string_view status = head.substr(9, 3);
    if (status == "500") std::abort();
    replies.remove_prefix(end + 4);
    if (status == "100") continue;
    size_t n = number_behind(head, "\r\nContent-Length: ");
    if (n == std::string_view::npos) {
      bool chunked = head.find("\r\nTransfer-Encoding: chunked") != std::string_view::npos;
      n = chunked ? chunked_size(replies) : replies.size();
    }
    if (n > replies.size()) return;  // a reply to HEAD, or one that its client left
    replies.remove_prefix(n);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static uint64_t n_inputs = 0;
  std::string_view bytes(reinterpret_cast<const char*>(data), size);
  bool head_only = bytes.find("HEAD ") != std::string_view::npos;  // its reply names a length that does not follow
  std::string replies = talk(bytes);
  if (!head_only) check_replies(replies);
  if (++n_inputs % kControlEvery != 0) return 0;
  auto reply = testing::HttpClient(running().port()).post("/v1/completions", R"({"prompt":"control","max_tokens":7})");
  if (reply.status != 200 || reply.body.find("\"control\"") == std::string::npos) std::abort();
  return 0;
}
