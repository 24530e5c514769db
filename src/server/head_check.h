// The strict part of reading HTTP/1.x: everything Beast's parser would let pass. A head is accepted only when there is
// one way to read it, so no proxy in front can disagree about where a request ends (RFC 9112, sections 2.2, 5 and 6).
// Thread: any; pure functions.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

#include "base/limits.h"
#include "base/result.h"

namespace millrace::server {

// Looks at the bytes received so far, `from` of which were looked at before. The size of the head (its empty line
// included) once it is complete, nothing while bytes are missing; an error as soon as one is certain: a size limit, a
// bare line feed, a control byte. The connection is closed after any error.
Result<std::optional<size_t>> find_head(std::string_view bytes, size_t from, const Limits& limits);

// Bytes of the empty lines before a request line, which are to be passed over (RFC 9112, section 2.2).
size_t empty_lines(std::string_view bytes);

// A complete head: request line, names, values, Host and the framing headers.
Result<void> check_head(std::string_view head, const Limits& limits);

// The end of a chunked body, from the line of its last chunk to the empty line: trailers keep the limits of headers.
Result<void> check_trailers(std::string_view last_chunk, const Limits& limits);

// What a target of an accepted head names here: scheme and host of an absolute one are dropped (RFC 9112, 3.2.2).
struct Target {
  std::string_view path;   // never empty
  std::string_view query;  // behind '?'
};
Target split_target(std::string_view target);

}  // namespace millrace::server
