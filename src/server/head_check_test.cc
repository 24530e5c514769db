#include "server/head_check.h"

#include <gtest/gtest.h>

#include <string>

#include "base/macros.h"
#include "server/http_parser.h"

namespace millrace::server {
namespace {

constexpr const char* kHost = "Host: t\r\n";

// The code of the first refusal of a whole head, or nothing.
std::optional<ErrorCode> verdict(const std::string& head, const Limits& limits = {}) {
  auto found = find_head(head, 0, limits);
  if (!found.ok()) return found.error().code;
  if (!found->has_value()) return ErrorCode::kRequestTimeout;  // incomplete
  auto checked = check_head(std::string_view(head).substr(0, **found), limits);
  if (!checked.ok()) return checked.error().code;
  HttpParser parser(limits);
  auto parsed = parser.put_head(std::string_view(head).substr(0, **found));
  if (!parsed.ok()) return parsed.error().code;
  return std::nullopt;
}

std::string get(const std::string& headers) { return "GET /x HTTP/1.1\r\n" + headers + "\r\n"; }
std::string with(const std::string& header) { return get(std::string(kHost) + header + "\r\n"); }

TEST(HeadCheck, AcceptsPlainRequests) {
  EXPECT_EQ(verdict(get(kHost)), std::nullopt);
  EXPECT_EQ(verdict("GET / HTTP/1.0\r\n\r\n"), std::nullopt);
  EXPECT_EQ(verdict(with("Content-Length: 12")), std::nullopt);
  EXPECT_EQ(verdict(with("Transfer-Encoding: Chunked")), std::nullopt);
  EXPECT_EQ(verdict(with("X-Empty:")), std::nullopt);
  EXPECT_EQ(verdict("GET /a%20b?c=%C3%A4 HTTP/1.1\r\nHost: t\r\n\r\n"), std::nullopt);
}

TEST(HeadCheck, FormsOfTheTarget) {
  auto target = [](const std::string& method, const std::string& target) {
    return verdict(method + " " + target + " HTTP/1.1\r\nHost: t\r\n\r\n");
  };
  for (const char* good : {"/", "/x?a=http://b", "http://t/x", "HTTP://t:80/x?y", "https://[::1]:8000", "http://t?q"}) {
    EXPECT_EQ(target("GET", good), std::nullopt) << good;
  }
  for (const char* bad : {"x", "*", "t:80", "http://", "http:///x", "http://a@t/x", "ftp://t/x", "http:/x",
                          "http://t/%2e%2e", "http://t/%00", "http://t#x"}) {
    EXPECT_EQ(target("GET", bad), ErrorCode::kInvalidValue) << bad;
  }
  EXPECT_EQ(target("CONNECT", "t:443"), std::nullopt);
  EXPECT_EQ(target("OPTIONS", "*"), std::nullopt);
  EXPECT_EQ(split_target("http://t:80/v1/models?a=b").path, "/v1/models");
  EXPECT_EQ(split_target("http://t:80/v1/models?a=b").query, "a=b");
  EXPECT_EQ(split_target("https://t?q").path, "/");
  EXPECT_EQ(split_target("https://t?q").query, "q");
  EXPECT_EQ(split_target("/x?http://a/b").path, "/x");
}

TEST(HeadCheck, RefusesEveryOtherReading) {
  const std::string bad[] = {
      with("Content-Length: +5"),
      with("Content-Length: 5,5"),
      with("Content-Length: 0x5"),
      with("Content-Length: -1"),
      with("Content-Length: 18446744073709551616"),
      with("Content-Length:"),
      with("Content-Length: 5\r\nContent-Length: 5"),
      with("Content-Length: 5\r\nTransfer-Encoding: chunked"),
      with("Transfer-Encoding: chunked, chunked"),
      with("Transfer-Encoding: xchunked"),
      with("Transfer-Encoding: gzip, chunked"),
      with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
      with("Bad Name: 1"),
      with("Bad : 1"),
      with(": 1"),
      with("NoColon"),
      with("A: 1\r\n folded"),
      with(std::string("A: 1\0", 5)),
      with("A: \x7f"),
      get(""),
      get("Host: a\r\nHost: b\r\n"),
      "GET /x HTTP/1.1\nHost: t\n\n",
      "GET  /x HTTP/1.1\r\nHost: t\r\n\r\n",
      "GET /x\r\n\r\n",
      "GET /%00 HTTP/1.1\r\nHost: t\r\n\r\n",
      "GET /%2e%2E/x HTTP/1.1\r\nHost: t\r\n\r\n",
      "GET /%zz HTTP/1.1\r\nHost: t\r\n\r\n",
      "GET /% HTTP/1.1\r\nHost: t\r\n\r\n",
      "GET x HTTP/1.1\r\nHost: t\r\n\r\n",
      "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
      "G@T /x HTTP/1.1\r\nHost: t\r\n\r\n",
      "\x16\x03\x01",
      "\r\n\r\n",
      "POST /x HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
  };
  for (const std::string& head : bad) EXPECT_EQ(verdict(head), ErrorCode::kInvalidValue) << head;
  EXPECT_EQ(verdict("GET /x HTTP/3.0\r\nHost: t\r\n\r\n"), ErrorCode::kHttpVersion);
  EXPECT_EQ(verdict(with("Expect: 200-maybe")), ErrorCode::kExpectationFailed);
}

TEST(HeadCheck, SizesAtAndBeyondTheirLimits) {
  Limits limits;
  auto line = [&](size_t extra) {
    std::string head = "GET /";
    head.append(static_cast<size_t>(limits[LimitId::kUriBytes]) - head.size() - 9 + extra, 'a');
    return head + " HTTP/1.1\r\nHost: t\r\n\r\n";
  };
  EXPECT_EQ(verdict(line(0)), std::nullopt);
  EXPECT_EQ(verdict(line(1)), ErrorCode::kUriTooLong);
  auto header = [&](size_t extra) {
    return with("A: " + std::string(static_cast<size_t>(limits[LimitId::kHeaderBytes]) - 3 + extra, 'a'));
  };
  EXPECT_EQ(verdict(header(0)), std::nullopt);
  EXPECT_EQ(verdict(header(1)), ErrorCode::kHeadersTooLarge);
  auto all = [&](size_t extra) {  // lines of 1024 bytes, CRLF included, the first shortened by the Host line
    std::string lines = kHost;
    auto want = static_cast<size_t>(limits[LimitId::kHeadersBytes]) + extra;
    while (lines.size() < want) {
      size_t size = std::min<size_t>(1024, want - lines.size());
      if (want - lines.size() - size < 8 && want - lines.size() != size) size -= 8;
      lines += "A:" + std::string(size - 4, 'a') + "\r\n";
    }
    return get(lines);
  };
  EXPECT_EQ(verdict(all(0)), std::nullopt);
  EXPECT_EQ(verdict(all(1)), ErrorCode::kHeadersTooLarge);
  auto count = [&](size_t n) {
    std::string lines = kHost;
    for (size_t i = 1; i < n; ++i) lines += "A: 1\r\n";
    return get(lines);
  };
  auto max = static_cast<size_t>(limits[LimitId::kHeaderCount]);
  EXPECT_EQ(verdict(count(max)), std::nullopt);
  EXPECT_EQ(verdict(count(max + 1)), ErrorCode::kHeadersTooLarge);
}

TEST(HeadCheck, OversizeIsFoundBeforeTheLineEnds) {
  Limits limits;
  std::string endless = "GET /" + std::string(static_cast<size_t>(limits[LimitId::kUriBytes]), 'a');
  EXPECT_EQ(find_head(endless, 0, limits).error().code, ErrorCode::kUriTooLong);
  std::string header = "GET / HTTP/1.1\r\nA: " + std::string(static_cast<size_t>(limits[LimitId::kHeaderBytes]), 'a');
  EXPECT_EQ(find_head(header, 0, limits).error().code, ErrorCode::kHeadersTooLarge);
}

TEST(HeadCheck, FindsTheHeadHoweverItArrives) {
  std::string bytes = with("A: b") + "rest";
  Limits limits;
  for (size_t step : {1u, 2u, 3u, 7u}) {
    size_t looked_at = 0;
    std::optional<size_t> size;
    for (size_t n = step; !size && n <= bytes.size() + step; n += step) {
      auto found = find_head(std::string_view(bytes).substr(0, n), looked_at, limits);
      ASSERT_TRUE(found.ok());
      size = *found;
      looked_at = std::min(n, bytes.size());
    }
    EXPECT_EQ(size, bytes.size() - 4);
  }
}

TEST(HttpParser, BodyByLengthAndByChunks) {
  Limits limits;
  HttpParser by_length(limits);
  ASSERT_TRUE(by_length.put_head(with("Content-Length: 5")).ok());
  EXPECT_FALSE(by_length.done());
  EXPECT_EQ(*by_length.put_body("abc"), 3u);
  EXPECT_EQ(*by_length.put_body("deXY"), 2u);
  ASSERT_TRUE(by_length.done());
  EXPECT_EQ(by_length.take().body, "abcde");

  HttpParser chunked(limits);
  ASSERT_TRUE(chunked.put_head(with("Transfer-Encoding: chunked")).ok());
  std::string body = "3;ext=1\r\nabc\r\n2\r\nde\r\n0\r\nTrailer: x\r\n\r\n";
  std::string pending;
  for (char c : body) {
    pending += c;
    auto used = chunked.put_body(pending);
    ASSERT_TRUE(used.ok());
    pending.erase(0, *used);
  }
  ASSERT_TRUE(chunked.done());
  EXPECT_EQ(chunked.take().body, "abcde");
}

// The verdict on a chunked body whose trailers these are, given in two pieces.
std::optional<ErrorCode> trailer_verdict(const std::string& trailers) {
  Limits limits;
  HttpParser parser(limits);
  CHECK(parser.put_head(with("Transfer-Encoding: chunked")).ok());
  std::string bytes = "1\r\na\r\n0;ext\r\n" + trailers + "\r\n";
  size_t done = 0;
  for (size_t end : {bytes.size() / 2, bytes.size()}) {
    Result<size_t> used = parser.put_body(std::string_view(bytes).substr(done, end - done));
    if (!used.ok()) return used.error().code;
    done += *used;
  }
  if (!parser.done() || done != bytes.size()) return ErrorCode::kRequestTimeout;
  HttpRequest request = parser.take();
  EXPECT_EQ(request.body, "a");
  EXPECT_EQ(request.header("a"), nullptr) << "trailers are dropped";
  return std::nullopt;
}

TEST(HttpParser, TrailersAreDroppedWithinTheLimitsOfHeaders) {
  Limits limits;
  EXPECT_EQ(trailer_verdict(""), std::nullopt);
  EXPECT_EQ(trailer_verdict("A: 1\r\n"), std::nullopt);
  EXPECT_EQ(trailer_verdict("Expires: never\r\nHost: evil\r\n"), std::nullopt);
  auto count = [](int64_t n) {
    std::string lines;
    for (int64_t i = 0; i < n; ++i) lines += "A: 1\r\n";
    return trailer_verdict(lines);
  };
  EXPECT_EQ(count(limits[LimitId::kHeaderCount]), std::nullopt);
  EXPECT_EQ(count(limits[LimitId::kHeaderCount] + 1), ErrorCode::kHeadersTooLarge);
  auto line = [&](int64_t bytes) {
    return trailer_verdict("A:" + std::string(static_cast<size_t>(bytes) - 2, 'a') + "\r\n");
  };
  EXPECT_EQ(line(limits[LimitId::kHeaderBytes]), std::nullopt);
  EXPECT_EQ(line(limits[LimitId::kHeaderBytes] + 1), ErrorCode::kHeadersTooLarge);
  std::string many;  // 32 lines of 1 KiB: all that is allowed
  for (int i = 0; i < 32; ++i) many += "A:" + std::string(1020, 'a') + "\r\n";
  EXPECT_EQ(trailer_verdict(many), std::nullopt);
  EXPECT_EQ(trailer_verdict(many + "A:\r\n"), ErrorCode::kHeadersTooLarge);
  for (const char* bad : {"no colon\r\n", "A b: 1\r\n", ": 1\r\n", "A: 1\n\r\n", "A: \x01\r\n", "A: 1\r\n b\r\n"}) {
    EXPECT_EQ(trailer_verdict(bad), ErrorCode::kInvalidValue) << bad;
  }
}

TEST(HttpParser, BodyLimits) {
  Limits limits;
  ASSERT_TRUE(limits.set(LimitId::kBodyBytes, 10).ok());
  HttpParser at(limits);
  EXPECT_TRUE(at.put_head(with("Content-Length: 10")).ok());
  HttpParser beyond(limits);
  EXPECT_EQ(beyond.put_head(with("Content-Length: 11")).error().code, ErrorCode::kRequestTooLarge);
  HttpParser chunked(limits);
  ASSERT_TRUE(chunked.put_head(with("Transfer-Encoding: chunked")).ok());
  EXPECT_EQ(chunked.put_body("b\r\n01234567890\r\n").error().code, ErrorCode::kRequestTooLarge);
  for (const char* bad : {"FFFFFFFFFFFFFFFF\r\nabc", "xyz\r\n", "-1\r\n", "5\r\nabcdeX\r\n0\r\n\r\n"}) {
    HttpParser parser(limits);
    ASSERT_TRUE(parser.put_head(with("Transfer-Encoding: chunked")).ok());
    EXPECT_FALSE(parser.put_body(bad).ok()) << bad;
  }
  HttpParser extension(limits);
  ASSERT_TRUE(extension.put_head(with("Transfer-Encoding: chunked")).ok());
  EXPECT_FALSE(extension.put_body("1;" + std::string(1 << 20, 'a')).ok());
}

}  // namespace
}  // namespace millrace::server
