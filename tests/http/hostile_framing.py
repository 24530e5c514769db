"""Requests that break or strain HTTP/1.1, as data: Case(name, bytes, wanted status or statuses, words of the message).

What a good server answers follows from RFC 9110, 9112 and the limits of the documentation. A wanted list of several replies is a
connection that carries several requests; CLOSED in it means that nothing else may come."""
import gzip
import json
import zlib
from typing import NamedTuple

CLOSED = "closed"
GOOD = {"prompt": "Hi", "max_tokens": 1, "temperature": 0}


class Case(NamedTuple):
    name: str
    sent: bytes
    wanted: object  # a status, a tuple of allowed ones, or a list of replies in order
    words: str = ""  # must stand in the first reply


def head(line, *headers, host=True):
    return "\r\n".join([line, *(["Host: t"] if host else []), *headers]).encode("latin-1") + b"\r\n\r\n"


def get(path, *headers):
    return head(f"GET {path} HTTP/1.1", *headers)


def post(body, *headers, path="/v1/completions", length=None, kind="Content-Type: application/json"):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    wanted = [kind] if kind else []
    return head(f"POST {path} HTTP/1.1", *wanted, f"Content-Length: {len(data) if length is None else length}", *headers) + data


def chunked(chunks, *headers, path="/v1/completions"):
    return head(f"POST {path} HTTP/1.1", "Content-Type: application/json", "Transfer-Encoding: chunked", *headers) + chunks


def in_chunks(data, size, extension=b""):
    parts = [data[i:i + size] for i in range(0, len(data), size)]
    return b"".join(b"%x%s\r\n%s\r\n" % (len(part), extension, part) for part in parts)


OK = json.dumps(GOOD).encode()
LAST = b"0\r\n\r\n"
SMUGGLED = get("/health")

REQUEST_LINES = [
    Case("random bytes", bytes(range(256)) * 4 + b"\r\n\r\n", 400),
    Case("zero bytes", b"\0" * 500 + b"\r\n\r\n", 400),
    Case("HTTP/0.9", b"GET /health\r\n\r\n", 400),
    Case("HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", 400),
    Case("TLS hello", bytes.fromhex("16030100c8010000c40303") + b"x" * 190, 400),
    Case("SOCKS hello", b"\x05\x01\x00", 400),
    Case("SSH banner", b"SSH-2.0-OpenSSH_9.2p1\r\n\r\n", 400),
    Case("HTTP/3.0", head("GET /health HTTP/3.0"), 505),
    Case("HTTP/2.0 on a plain line", head("GET /health HTTP/2.0"), 505),
    Case("HTTP/1.10", head("GET /health HTTP/1.10"), 400),
    Case("http in lower case", head("GET /health http/1.1"), 400),
    Case("no version, but headers", head("GET /health"), 400),
    Case("method in lower case", head("get /health HTTP/1.1"), (400, 405, 501)),
    Case("unknown method", head("BREW /v1/models HTTP/1.1"), (405, 501)),
    Case("method with a bracket", head("G(ET /health HTTP/1.1"), 400),
    Case("method of 20 kB", head("A" * 20000 + " /health HTTP/1.1"), (400, 414, 431)),
    Case("two spaces", head("GET  /health HTTP/1.1"), 400),
    Case("a tab for a space", head("GET\t/health\tHTTP/1.1"), 400),
    Case("a space before the line", head(" GET /health HTTP/1.1"), 400),
    Case("a space after the line", head("GET /health HTTP/1.1 "), 400),
    Case("empty lines before the line", b"\r\n\r\n" + get("/health"), 200),
    Case("target of 100 kB", get("/" + "a" * 100000), 414),
    Case("query of 9 kB", get("/health?" + "q=1&" * 2300), 414),
    Case("query of 4 kB", get("/health?" + "q=1&" * 1000), 200),
    Case("target without a slash", get("health"), 400),
    Case("absolute form", get("http://example.com:80/health"), 200),
    Case("absolute form with a user", get("http://user:pw@example.com/health"), 400),
    Case("another scheme", get("ftp://example.com/health"), 400),
    Case("star as a target", get("*"), 400),
    Case("OPTIONS *", head("OPTIONS * HTTP/1.1"), (200, 204, 404, 405)),
    Case("encoded NUL", get("/v1/models/%00"), 400),
    Case("bad percent", get("/v1/models/%zz"), 400),
    Case("cut percent", get("/v1/models/%4"), 400),
    Case("encoded dots", get("/v1/%2e%2e/%2e%2e/etc/passwd"), (400, 404)),
    Case("encoded slash", get("/v1/models/..%2f..%2fetc%2fpasswd"), (400, 404)),
    Case("plain dots", get("/v1/../../../etc/passwd"), (400, 404)),
    Case("doubled slash", get("//v1/models"), 404, "route_not_found"),
    Case("trailing slash", get("/v1/models/"), 404),
    Case("backslash", get("/v1\\models"), (400, 404)),
    Case("raw 8-bit path", get("/v1/models/\xff\xfe"), (400, 404)),
    Case("unknown path", get("/v1/nothing"), 404, "route_not_found"),
    Case("path with markup", get("/<script>alert(1)</script>"), (400, 404)),
    Case("path in upper case", get("/V1/MODELS"), 404),
    Case("control byte in a target", get("/health\x0b"), 400),
]

METHODS = [
    Case("GET where POST is meant", get("/v1/completions"), 405, "allow: post"),
    Case("POST where GET is meant", post({}, path="/v1/models"), 405, "allow: get"),
    Case("PUT", head("PUT /v1/completions HTTP/1.1", "Content-Length: 2") + b"{}", 405),
    Case("DELETE", head("DELETE /v1/models/m HTTP/1.1"), 405),
    Case("PATCH", head("PATCH /v1/completions HTTP/1.1", "Content-Length: 2") + b"{}", 405),
    Case("TRACE", head("TRACE /health HTTP/1.1"), 405),
    Case("CONNECT", head("CONNECT example.com:443 HTTP/1.1"), 405),
    Case("HEAD of a GET route", head("HEAD /v1/models HTTP/1.1"), 200),
    Case("HEAD of a POST route", head("HEAD /v1/completions HTTP/1.1"), 405),
    Case("OPTIONS", head("OPTIONS /v1/completions HTTP/1.1"), (200, 204, 405)),
    Case("GET with a body", head("GET /health HTTP/1.1", "Content-Length: 5") + b"hello" + SMUGGLED, [(200, 400), (200, CLOSED)]),
]

HEADERS = [
    Case("no Host", head("GET /health HTTP/1.1", host=False), 400, "Host"),
    Case("two Hosts", get("/health", "Host: u"), 400, "Host"),
    Case("HTTP/1.0 without Host", head("GET /health HTTP/1.0", host=False), 200),
    Case("space before the colon", get("/health", "X-A : b"), 400),
    Case("no colon", get("/health", "X-A b"), 400),
    Case("empty name", get("/health", ": b"), 400),
    Case("folded line", get("/health", "X-A: b\r\n c"), 400),
    Case("bare line feeds", b"GET /health HTTP/1.1\nHost: t\n\n", 400),
    Case("bare carriage return", get("/health", "X-A: b\rX-B: c"), 400),
    Case("NUL in a value", get("/health", "X-A: b\0c"), 400),
    Case("control byte in a value", get("/health", "X-A: b\x01c"), 400),
    Case("brackets in a name", get("/health", "X[A]: b"), 400),
    Case("8-bit text in a value", get("/health", "X-A: caf\xe9"), 200),
    Case("a tab in a value", get("/health", "X-A: b\tc"), 200),
    Case("header of 9 kB", get("/health", "X-A: " + "a" * 9000), 431),
    Case("header of 1 MB", get("/health", "X-A: " + "a" * 1000000), 431),
    Case("40 kB of headers", get("/health", *(f"X-{i}: " + "a" * 4000 for i in range(10))), 431),
    Case("10,000 headers", get("/health", *(f"X-{i}: a" for i in range(10000))), 431),
    Case("a name of 10 kB", get("/health", "X" * 10000 + ": a"), 431),
    Case("cookie of 7 kB", get("/health", "Cookie: " + "c=1; " * 1400), 200),
    Case("forwarded by 500", get("/health", "X-Forwarded-For: " + ", ".join(["1.2.3.4"] * 500)), 200),
    Case("forwarded by nobody", get("/health", "X-Forwarded-For: "), 200),
    Case("authorization of odd bytes", get("/v1/models", "Authorization: Bearer \xff\xfe"), (200, 401)),
    Case("traceparent of nonsense", get("/health", "traceparent: 00-zz-zz-zz"), 200),
    Case("request id with a space", get("/health", "X-Request-Id: a b"), 200),
    Case("two request ids", get("/health", "X-Request-Id: a", "X-Request-Id: b"), 200),
    Case("strange connection options", get("/health", "Connection: X-A, close, foo"), 200),
    Case("timeout of words", post(GOOD, "X-Request-Timeout-Ms: soon"), 400, "Timeout"),
    Case("timeout below zero", post(GOOD, "X-Request-Timeout-Ms: -1"), 400, "Timeout"),
    Case("timeout of 1e18", post(GOOD, "X-Request-Timeout-Ms: 1000000000000000000"), 400, "Timeout"),
    Case("origin null", get("/health", "Origin: null"), 200),
    Case("websocket upgrade", get("/health", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: x"), 200),
    Case("websocket upgrade of a POST", post(GOOD, "Upgrade: websocket", "Connection: Upgrade"), 200),
    Case("h2c upgrade", get("/health", "Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAABkAAQAAP__"), 200),
    Case("range", get("/v1/models", "Range: bytes=0-0"), 200),
    Case("a million ranges", get("/v1/models", "Range: bytes=" + "0-0," * 1900 + "1-1"), 200),
    Case("If-None-Match", get("/v1/models", 'If-None-Match: "x"'), 200),
    Case("Accept of something else", get("/v1/models", "Accept: image/png"), (200, 406)),
]

LENGTHS = [
    Case("length and chunks", chunked(LAST + SMUGGLED, "Content-Length: 5"), [400, CLOSED]),
    Case("two lengths", post(b"{}", "Content-Length: 300"), [400, CLOSED]),
    Case("two equal lengths", post(b"{}", "Content-Length: 2"), [400, CLOSED]),
    *(Case(f"length {value!r}", post(b"{}", length=value), [400, CLOSED])
      for value in ("+2", "-2", "2,2", "0x2", "2 2", "", "2.0", "1e1", "18446744073709551616", "9" * 400, "\xb2")),
    Case("length with zeros before it", post(OK, length="0000" + str(len(OK))), (200, 400)),
    Case("length of 10 GB", post(b"{}", length=10 ** 10), [413, CLOSED]),
    Case("length of 2^63 - 1", post(b"{}", length=2 ** 63 - 1), [413, CLOSED]),
    *(Case(f"transfer encoding {value!r}", head("POST /v1/completions HTTP/1.1", f"Transfer-Encoding: {value}") + LAST + SMUGGLED,
           [(400, 501), CLOSED])
      for value in ("xchunked", "chunked, chunked", "gzip, chunked", "identity", "chunked;q=1", "\x0bchunked", "")),
    Case("two transfer encodings", chunked(LAST, "Transfer-Encoding: identity"), [400, CLOSED]),
    Case("Chunked in upper case", chunked(in_chunks(OK, 7) + LAST).replace(b"chunked", b"CHUNKED"), 200),
    Case("chunks in HTTP/1.0", chunked(LAST).replace(b"HTTP/1.1", b"HTTP/1.0"), [400, CLOSED]),
    Case("neither length nor chunks", head("POST /v1/completions HTTP/1.1", "Content-Type: application/json"), (400, 411)),
    Case("length 0", post(b""), 400, "JSON"),
]

CHUNKS = [
    Case("chunks of one byte", chunked(in_chunks(OK, 1) + LAST), 200),
    Case("chunk size in letters", chunked(b"zz\r\n{}\r\n" + LAST), [400, CLOSED]),
    Case("chunk size below zero", chunked(b"-2\r\n{}\r\n" + LAST), [400, CLOSED]),
    Case("chunk size with 0x", chunked(b"0x2\r\n{}\r\n" + LAST), [400, CLOSED]),
    Case("chunk size of 2^64 - 1", chunked(b"FFFFFFFFFFFFFFFF\r\n{}"), [(400, 413), CLOSED]),
    Case("chunk size that wraps", chunked(b"10000000000000002\r\n{}\r\n" + LAST), [(400, 413), CLOSED]),
    Case("chunk size of 1 GB", chunked(b"40000000\r\n{}"), [413, CLOSED]),
    Case("no chunk size", chunked(b"\r\n{}\r\n" + LAST), [400, CLOSED]),
    Case("chunk longer than its size", chunked(b"2\r\n{}{}\r\n" + LAST), [400, CLOSED]),
    Case("chunk size of 1,000 zeros", chunked(b"0" * 1000 + b"2\r\n{}\r\n" + LAST), [(400, 413), CLOSED]),
    Case("small chunk extension", chunked(in_chunks(OK, 9, b";a=b") + LAST), 200),
    Case("chunk extension of 1 MB", chunked(b"2;" + b"a" * 1000000 + b"\r\n{}\r\n" + LAST), [(400, 413, 431), CLOSED]),
    Case("bare line feeds between chunks", chunked(b"2\n{}\n0\n\n"), [400, CLOSED]),
    Case("a trailer", chunked(in_chunks(OK, 9) + b"0\r\nX-Sum: 1\r\n\r\n"), 200),
    Case("a trailer that sets a length", chunked(in_chunks(OK, 9) + b"0\r\nContent-Length: 1\r\n\r\n"), (200, 400)),
    Case("1,000 trailers", chunked(in_chunks(OK, 9) + b"0\r\n" + b"X: y\r\n" * 1000 + b"\r\n"), [(400, 413, 431), CLOSED]),
    Case("9 MB in chunks", chunked(in_chunks(b" " * 9000000, 65536) + LAST), [413, CLOSED]),
]

ENCODINGS = [
    Case("gzip body", post(gzip.compress(OK), "Content-Encoding: gzip"), 415, "encoding"),
    Case("gzip bomb", post(gzip.compress(b"[" * 20000000), "Content-Encoding: gzip"), 415, "encoding"),
    Case("deflate body", post(zlib.compress(OK), "Content-Encoding: deflate"), 415),
    Case("br", post(b"\x0b\x02\x80{}\x03", "Content-Encoding: br"), 415),
    Case("zstd", post(b"\x28\xb5\x2f\xfd", "Content-Encoding: zstd"), 415),
    Case("unknown encoding", post(OK, "Content-Encoding: rot13"), 415),
    Case("identity", post(OK, "Content-Encoding: identity"), (200, 415)),
    Case("gzip without saying so", post(gzip.compress(OK)), 400, "JSON"),
    Case("text/plain", post(OK, kind="Content-Type: text/plain"), 415),
    Case("a form", post(b"prompt=Hi", kind="Content-Type: application/x-www-form-urlencoded"), 415),
    Case("multipart", post(b'--x\r\nContent-Disposition: form-data; name="prompt"\r\n\r\nHi\r\n--x--\r\n', kind="Content-Type: multipart/form-data; boundary=x"), 415),
    Case("multipart without a boundary", post(b"--", kind="Content-Type: multipart/form-data"), 415),
    Case("xml", post(b"<prompt>Hi</prompt>", kind="Content-Type: application/xml"), 415),
    Case("no content type", post(OK, kind=None), 200),
    Case("JSON with a charset", post(OK, kind="Content-Type: application/json; charset=utf-8"), 200),
    Case("JSON in upper case", post(OK, kind="Content-Type: Application/JSON"), 200),
    Case("a content type of nonsense", post(OK, kind="Content-Type: ;;;"), 415),
    Case("100-continue", post(OK, "Expect: 100-continue"), 200),
    Case("100-continue and 10 GB", post(b"", "Expect: 100-continue", length=10 ** 10), [413, CLOSED]),
    Case("another expectation", post(OK, "Expect: miracle"), 417),
]

PIPELINES = [
    Case("three in a row", get("/health") + get("/v1/models") + get("/nothing"), [200, 200, 404]),
    Case("40 in a row", get("/health") * 40, [200] * 40),
    Case("good, then garbage", get("/health") + b"\x01\x02\x03\r\n\r\n", [200, 400, CLOSED]),
    Case("body, then another", post(OK) + get("/nothing"), [200, 404]),
    Case("line end after a body", post(OK) + b"\r\n" + get("/health"), [200, 200]),
    Case("after close", get("/health", "Connection: close") + get("/health"), [200, CLOSED]),
    Case("refused, then another", get("/nothing") + get("/health"), [404, 200]),
    Case("bad JSON, then another", post(b"{") + get("/health"), [400, 200]),
    Case("HTTP/1.0, then another", head("GET /health HTTP/1.0") + get("/health"), [200, CLOSED]),
    Case("HTTP/1.0 kept alive", head("GET /health HTTP/1.0", "Connection: keep-alive") + get("/health"), [200, (200, CLOSED)]),
]

CASES = REQUEST_LINES + METHODS + HEADERS + LENGTHS + CHUNKS + ENCODINGS + PIPELINES
