#include "server/head_check.h"

#include <fmt/core.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/macros.h"
#include "server/http_message.h"

namespace millrace::server {
namespace {

constexpr std::string_view kTokenPunctuation = "!#$%&'*+-.^_`|~";  // RFC 9110, section 5.6.2

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_alpha(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }
bool is_token(std::string_view text) {
  if (text.empty()) return false;
  for (char c : text) {
    if (!is_digit(c) && !is_alpha(c) && kTokenPunctuation.find(c) == std::string_view::npos) return false;
  }
  return true;
}
bool is_control(char c) { return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7F; }

Error bad(std::string message) { return {ErrorCode::kInvalidValue, std::move(message), ""}; }

Error too_large(const Limits& limits, LimitId id, std::string_view what, size_t got) {
  return {limit_table()[static_cast<size_t>(id)].code, fmt::format("{} of {} bytes, limit {}", what, got, limits[id]),
          ""};
}

size_t limit_of(const Limits& limits, LimitId id) { return static_cast<size_t>(limits[id]); }

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// Scheme and authority of an absolute-form target: "http://host:port"; empty for any other form.
std::string_view absolute_part(std::string_view target) {
  for (std::string_view scheme : {"http://", "https://"}) {
    if (to_lower(target.substr(0, scheme.size())) != scheme) continue;
    return target.substr(0, std::min(target.find_first_of("/?#", scheme.size()), target.size()));
  }
  return {};
}

// The four forms of RFC 9112, section 3.2. CONNECT is refused later by its name (405), whatever its target.
Result<void> check_target(std::string_view method, std::string_view target) {
  std::string_view absolute = absolute_part(target);
  if (!absolute.empty()) {
    std::string_view authority = absolute.substr(absolute.find("://") + 3);
    if (authority.empty() || authority.find('@') != std::string_view::npos)
      return bad("bad authority in the request target");
  }
  bool any_form = method == "CONNECT" || (method == "OPTIONS" && target == "*");
  std::string_view origin = target.substr(absolute.size());
  bool rooted = origin.starts_with('/') || (!absolute.empty() && (origin.empty() || origin.starts_with('?')));
  if (!any_form && !rooted) return bad("the request target must begin with / or http://");
  for (size_t i = 0; i < target.size(); ++i) {
    if (static_cast<unsigned char>(target[i]) <= 0x20 || target[i] == 0x7F)
      return bad("control byte in the request target");
    if (target[i] != '%') continue;
    if (i + 2 >= target.size() || !is_hex(target[i + 1]) || !is_hex(target[i + 2])) {
      return bad("bad percent encoding in the request target");
    }
    std::string code = to_lower(target.substr(i + 1, 2));
    if (code == "00" || code == "2e" || code == "2f") return bad("encoded NUL, '.' or '/' in the request target");
  }
  return {};
}

Result<void> check_request_line(std::string_view line) {
  size_t first = line.find(' ');
  size_t second = first == std::string_view::npos ? first : line.find(' ', first + 1);
  if (second == std::string_view::npos || line.find(' ', second + 1) != std::string_view::npos) {
    return bad("the request line must be METHOD TARGET HTTP/1.1");
  }
  if (!is_token(line.substr(0, first))) return bad("bad method");
  std::string_view version = line.substr(second + 1);
  bool well_formed = version.size() == 8 && version.starts_with("HTTP/") && is_digit(version[5]) && version[6] == '.' &&
                     is_digit(version[7]);
  if (!well_formed || line.substr(0, first) == "PRI") return bad("not an HTTP/1.1 request");
  if (version[5] != '1') {
    return Error{ErrorCode::kHttpVersion, fmt::format("{} is not supported; use HTTP/1.1", version), ""};
  }
  return check_target(line.substr(0, first), line.substr(first + 1, second - first - 1));
}

struct Framing {
  int n_hosts = 0;
  int n_lengths = 0;
  int n_encodings = 0;
};

Result<void> check_length(std::string_view value) {
  constexpr size_t kMaxDigits = 19;  // fits 63 bits
  bool digits = !value.empty() && value.size() <= kMaxDigits;
  for (char c : value) digits = digits && is_digit(c);
  if (!digits) return bad("bad Content-Length");
  return {};
}

Result<void> check_header_line(std::string_view line, Framing& framing) {
  if (line.front() == ' ' || line.front() == '\t') return bad("folded header line");
  size_t colon = line.find(':');
  if (colon == std::string_view::npos || !is_token(line.substr(0, colon))) return bad("bad header name");
  std::string_view value = trim(line.substr(colon + 1));
  for (char c : value) {
    if (is_control(c)) return bad("control byte in a header");
  }
  std::string name = to_lower(line.substr(0, colon));
  if (name == "host") ++framing.n_hosts;
  if (name == "content-length") {
    ++framing.n_lengths;
    return check_length(value);
  }
  if (name == "transfer-encoding") {
    ++framing.n_encodings;
    if (to_lower(value) != "chunked") return bad("Transfer-Encoding must be chunked");
  }
  return {};
}

Result<void> check_line_size(std::string_view line, bool first, const Limits& limits) {
  if (first && line.size() > limit_of(limits, LimitId::kUriBytes)) {
    return too_large(limits, LimitId::kUriBytes, "request line", line.size());
  }
  if (!first && line.size() > limit_of(limits, LimitId::kHeaderBytes)) {
    return too_large(limits, LimitId::kHeaderBytes, "a header", line.size());
  }
  return {};
}

// Header or trailer lines, each with its line end.
Result<void> check_header_lines(std::string_view lines, const Limits& limits, Framing& framing) {
  if (lines.size() > limit_of(limits, LimitId::kHeadersBytes)) {
    return too_large(limits, LimitId::kHeadersBytes, "all headers", lines.size());
  }
  size_t n_headers = 0;
  while (!lines.empty()) {
    size_t line_end = std::min(lines.find("\r\n"), lines.size());
    TRY(check_line_size(lines.substr(0, line_end), false, limits));
    TRY(check_header_line(lines.substr(0, line_end), framing));
    lines.remove_prefix(std::min(line_end + 2, lines.size()));
    if (++n_headers > limit_of(limits, LimitId::kHeaderCount)) {
      return Error{ErrorCode::kHeadersTooLarge, fmt::format("more than {} headers", limits[LimitId::kHeaderCount]), ""};
    }
  }
  return {};
}

}  // namespace

Target split_target(std::string_view target) {
  std::string_view origin = target.substr(absolute_part(target).size());
  size_t mark = origin.find('?');
  Target out{.path = origin.substr(0, mark), .query = {}};
  if (mark != std::string_view::npos) out.query = origin.substr(mark + 1);
  if (out.path.empty()) out.path = "/";
  return out;
}

size_t empty_lines(std::string_view bytes) {
  size_t n = 0;
  while (bytes.substr(n, 2) == "\r\n") n += 2;
  return n;
}

Result<void> check_trailers(std::string_view last_chunk, const Limits& limits) {
  if (last_chunk.starts_with("\r\n")) last_chunk.remove_prefix(2);  // the end of the chunk before
  size_t end = last_chunk.find("\r\n");
  if (end == std::string_view::npos || !last_chunk.ends_with("\r\n")) return bad("malformed chunked body");
  Framing ignored;  // a trailer has no say in the framing (RFC 9110, section 6.5.1)
  return check_header_lines(last_chunk.substr(end + 2, last_chunk.size() - end - 4), limits, ignored);
}

Result<std::optional<size_t>> find_head(std::string_view bytes, size_t from, const Limits& limits) {
  if (!bytes.empty() && !is_alpha(bytes.front()) && bytes.front() != '\r') return bad("not an HTTP/1.1 request");
  size_t line_begin = from == 0 ? 0 : bytes.rfind('\n', from - 1) + 1;  // npos + 1 = 0
  size_t line_end = bytes.find('\n', from);
  while (line_end != std::string_view::npos) {
    if (line_end == 0 || bytes[line_end - 1] != '\r') return bad("bare line feed in the request head");
    std::string_view line = bytes.substr(line_begin, line_end - 1 - line_begin);
    TRY(check_line_size(line, line_begin == 0, limits));
    if (line.empty()) {
      if (line_begin == 0) return bad("empty request line");
      return std::optional<size_t>(line_end + 1);
    }
    line_begin = line_end + 1;
    line_end = bytes.find('\n', line_begin);
  }
  // The last, unfinished line may end in the '\r' of its end.
  std::string_view rest = bytes.substr(line_begin);
  if (rest.ends_with('\r')) rest.remove_suffix(1);
  TRY(check_line_size(rest, line_begin == 0, limits));
  size_t first_line = bytes.find('\n');
  size_t header_bytes = first_line == std::string_view::npos ? 0 : bytes.size() - first_line - 1;
  if (header_bytes > limit_of(limits, LimitId::kHeadersBytes) + 2) {
    return too_large(limits, LimitId::kHeadersBytes, "all headers", header_bytes);
  }
  return std::optional<size_t>();
}

Result<void> check_head(std::string_view head, const Limits& limits) {
  size_t end = head.find("\r\n");
  std::string_view request_line = head.substr(0, end);
  TRY(check_request_line(request_line));
  std::string_view rest = head.substr(end + 2, head.size() - end - 4);  // without the empty line
  Framing framing;
  TRY(check_header_lines(rest, limits, framing));
  bool http_1_1 = request_line.ends_with("HTTP/1.1");
  if (framing.n_hosts > 1 || (http_1_1 && framing.n_hosts == 0)) return bad("exactly one Host header is needed");
  if (framing.n_lengths > 1) return bad("more than one Content-Length");
  if (framing.n_encodings > 1) return bad("more than one Transfer-Encoding");
  if (framing.n_encodings > 0 && framing.n_lengths > 0) return bad("Content-Length together with Transfer-Encoding");
  if (framing.n_encodings > 0 && !http_1_1) return bad("Transfer-Encoding in an HTTP/1.0 request");
  return {};
}

}  // namespace millrace::server
