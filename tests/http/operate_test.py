"""A server as operators run it: operate_test.py MILLRACE MODEL

HTTPS with a certificate made here, by Python's ssl and by curl; half handshakes beside honest requests; JSON logs with
request ids and without texts; keys that change while it runs; a process that is stopped for a while."""
import http.server
import json
import os
import pathlib
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import checks  # noqa: E402
import log_lines  # noqa: E402

PROGRAM, MODEL = sys.argv[1:]
FOLDER = pathlib.Path(tempfile.mkdtemp())
CERT, KEY, KEYS, LOG = (FOLDER / name for name in ("cert.pem", "key.pem", "keys", "log"))
WATCHDOG_S, HEADER_S = 15, 10
SECRET_WORDS = "elderberry"


def make_certificate():
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-keyout", KEY,
                    "-out", CERT, "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"], check=True, capture_output=True)


def trusted():
    return ssl.create_default_context(cafile=str(CERT))


def call(path, key="first-key", body=None, headers=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(URL + path, data, {"Authorization": f"Bearer {key}", "Content-Type": "application/json", **(headers or {})})
    try:
        with urllib.request.urlopen(request, timeout=checks.HANG_S, context=trusted()) as reply:
            return reply.status, reply.read(), reply.headers
    except urllib.error.HTTPError as error:
        return error.code, error.read(), error.headers


def log_rows():
    rows = []
    for line in LOG.read_text().splitlines():
        if line.startswith("{"):
            rows.append(json.loads(line))
    return rows


def requests_logged(path):
    return [row for row in log_rows() if row["message"] == "request" and row["path"] == path]


def check_https_by_python_and_curl():
    status, body, _ = call("/v1/completions", body={"prompt": SECRET_WORDS, "max_tokens": 3}, headers={"X-Request-Id": "my-own-id"})
    assert status == 200 and json.loads(body)["usage"]["completion_tokens"] == 3
    done = subprocess.run(["curl", "-sS", "--fail", "--cacert", CERT, "-H", "x-api-key: first-key", URL + "/v1/models"], capture_output=True, text=True)
    assert done.returncode == 0 and json.loads(done.stdout)["object"] == "list", done.stderr
    plain = subprocess.run(["curl", "-sS", URL.replace("https", "http") + "/health"], capture_output=True, text=True)
    assert plain.returncode != 0
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.load_verify_locations(CERT)
    old.set_ciphers("DEFAULT:@SECLEVEL=0")
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    try:
        with socket.create_connection(("127.0.0.1", PORT), checks.HANG_S) as raw, old.wrap_socket(raw, server_hostname="127.0.0.1"):
            raise AssertionError("TLS 1.1 was taken")
    except ssl.SSLError:
        pass


def check_streams_and_large_bodies():
    status, body, headers = call("/v1/completions", body={"prompt": "One two", "max_tokens": 5, "stream": True, "ignore_eos": True})
    assert status == 200 and headers["Content-Type"].startswith("text/event-stream") and body.endswith(b"data: [DONE]\n\n")
    status, body, _ = call("/tokenize", body={"prompt": "word " * 200_000})
    assert status == 200 and json.loads(body)["count"] > 150_000


class Collector(http.server.BaseHTTPRequestHandler):
    bodies = []

    def do_POST(self):
        Collector.bodies.append((self.path, self.headers["Content-Type"], json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


def spans():
    out = []
    for path, kind, body in list(Collector.bodies):
        assert path == "/v1/traces" and kind == "application/json"
        resource = body["resourceSpans"][0]
        assert resource["resource"]["attributes"] == [{"key": "service.name", "value": {"stringValue": "test-service"}}]
        for span in resource["scopeSpans"][0]["spans"]:
            values = {a["key"]: next(iter(a["value"].values())) for a in span["attributes"]}
            out.append((span, values))
    return out


def check_traces_reach_a_collector():
    trace, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    body = {"messages": [{"role": "user", "content": SECRET_WORDS}], "max_tokens": 4, "temperature": 0.5, "ignore_eos": True}
    call("/v1/chat/completions", body=body, headers={"traceparent": f"00-{trace}-{parent}-01", "X-Request-Id": "traced"})
    call("/v1/completions", body={"prompt": "x", "max_tokens": 1}, headers={"traceparent": f"00-{'1' * 32}-{parent}-00"})  # not sampled
    call("/v1/completions", body={"prompt": "word " * 600, "max_tokens": 9}, headers={"X-Request-Id": "too-long"})
    checks.eventually(lambda: {"traced", "too-long"} <= {v["gen_ai.request.id"].split("-", 1)[1] for _, v in spans()}, "two spans")
    span, values = next((s, v) for s, v in spans() if v["gen_ai.request.id"].endswith("traced"))
    assert (span["traceId"], span["parentSpanId"], span["name"], span["kind"]) == (trace, parent, "llm_request", 2)
    assert int(span["endTimeUnixNano"]) > int(span["startTimeUnixNano"]) > 1.7e18 and len(span["spanId"]) == 16
    assert values["gen_ai.operation.name"] == "chat" and values["gen_ai.request.model"] == values["gen_ai.response.model"] == "m"
    assert values["gen_ai.usage.output_tokens"] == "4" and values["gen_ai.request.max_tokens"] == "4" and int(values["gen_ai.usage.input_tokens"]) > 4
    assert values["gen_ai.request.temperature"] == 0.5 and values["gen_ai.response.finish_reasons"] == {"values": [{"stringValue": "length"}]}
    for name in ("e2e", "time_in_queue", "time_to_first_token", "time_in_model_prefill", "time_in_model_decode", "time_in_model_inference"):
        assert 0 <= values[f"gen_ai.latency.{name}"] < checks.HANG_S, name
    assert values["gen_ai.latency.time_to_first_token"] < values["gen_ai.latency.e2e"] + 0.001
    _, failed = next((s, v) for s, v in spans() if v["gen_ai.request.id"].endswith("too-long"))
    assert failed["error.type"] == "context_length_exceeded"
    assert not any(s["traceId"] == "1" * 32 for s, _ in spans()) and SECRET_WORDS not in json.dumps([s for s, _ in spans()])


def check_half_handshakes_beside_honest_requests():
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + os.urandom(40)
    slow = []
    for _ in range(60):
        one = socket.create_connection(("127.0.0.1", PORT), checks.HANG_S)
        one.sendall(hello)
        slow.append(one)
    for _ in range(5):
        assert call("/v1/models")[0] == 200
    for one in slow:  # --limit-header-s
        one.settimeout(checks.HANG_S)
        assert one.recv(100) == b""
        one.close()


def check_logs_are_json_with_ids_and_without_texts():
    checks.eventually(lambda: any(row.get("request_id") == "my-own-id" for row in requests_logged("/v1/completions")), "the request is logged")
    row = next(row for row in requests_logged("/v1/completions") if row.get("request_id") == "my-own-id")
    assert row["status"] == 200 and row["method"] == "POST" and row["ms"] > 0 and row["bytes"] > 100 and row["key"] == "key-1", row
    assert row["level"] == "info" and row["time"].endswith("Z") and row["peer"] == "127.0.0.1"
    assert call("/strange")[0] == 404 and call("/v1/models", key="wrong")[0] == 401
    checks.eventually(lambda: requests_logged("/strange"), "a refusal is logged")
    assert requests_logged("/strange")[0]["status"] == 404
    assert not requests_logged("/health/ready")
    strange = log_lines.faults(LOG.read_text(), [SECRET_WORDS, "first-key"])
    assert not strange, strange


def check_keys_change_while_it_runs():
    assert call("/v1/models", key="second-key")[0] == 401
    KEYS.write_text("second-key\n")  # seen without a signal
    checks.eventually(lambda: call("/v1/models", key="second-key")[0] == 200, "the new key is taken")
    assert call("/v1/models", key="first-key")[0] == 401
    KEYS.write_text("")
    server.send_signal(signal.SIGHUP)
    checks.eventually(lambda: any("not reloaded" in row["message"] for row in log_rows()), "an empty file is refused")
    assert call("/v1/models", key="second-key")[0] == 200 and call("/v1/models", key="")[0] == 401
    KEYS.write_text("first-key\n")
    server.send_signal(signal.SIGHUP)
    checks.eventually(lambda: call("/v1/models", key="first-key")[0] == 200, "SIGHUP reads the file")


def check_a_new_certificate_is_taken():
    before = ssl.get_server_certificate(("127.0.0.1", PORT))
    make_certificate()
    checks.eventually(lambda: ssl.get_server_certificate(("127.0.0.1", PORT)) != before, "the new certificate")
    assert call("/v1/models")[0] == 200


def check_a_stopped_process_goes_on():
    """Stopped for longer than the watchdog allows (a frozen container, a suspended machine): that is no hanging engine."""
    body = {"prompt": "Count:", "max_tokens": 300, "ignore_eos": True, "stream": True}
    request = urllib.request.Request(URL + "/v1/completions", json.dumps(body).encode(),
                                     {"Authorization": "Bearer first-key", "Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=checks.HANG_S, context=trusted()) as stream:
        assert stream.readline().startswith(b"data:")
        server.send_signal(signal.SIGSTOP)
        try:
            time.sleep(WATCHDOG_S + 2)
        finally:
            server.send_signal(signal.SIGCONT)
        assert stream.read().endswith(b"data: [DONE]\n\n")
    assert server.poll() is None and call("/health/live")[0] == 200


def listening():
    """What the server listens on: (family, address) of each of its sockets that accepts."""
    inodes = set()
    for descriptor in pathlib.Path(f"/proc/{server.pid}/fd").iterdir():
        try:
            target = os.readlink(descriptor)
        except FileNotFoundError:  # closed meanwhile
            continue
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    found = []
    for family in ("tcp", "tcp6", "udp", "udp6", "raw", "raw6"):
        for row in pathlib.Path(f"/proc/{server.pid}/net/{family}").read_text().splitlines()[1:]:
            fields = row.split()
            accepts = fields[3] == "0A" if family.startswith("tcp") else True
            if accepts and fields[9] in inodes:
                found.append((family, fields[1]))
    for row in pathlib.Path(f"/proc/{server.pid}/net/unix").read_text().splitlines()[1:]:
        fields = row.split()
        if int(fields[3], 16) & 0x10000 and fields[6] in inodes:  # __SO_ACCEPTCON
            found.append(("unix", fields[7] if len(fields) > 7 else ""))
    return found


def check_one_listener_and_no_other_port():
    """While traces are sent and TLS is on: what it says on the command line, on the loopback, and nothing else."""
    assert listening() == [("tcp", f"0100007F:{PORT:04X}")], listening()


def check_the_sandbox_is_closed():
    """Mode 2: a filter, in every thread. What it forbids: src/base/sandbox_test.cc."""
    threads = list(pathlib.Path(f"/proc/{server.pid}/task").iterdir())
    assert len(threads) > 3
    for thread in threads:
        assert "\nSeccomp:\t2\n" in (thread / "status").read_text(), thread


if __name__ == "__main__":
    make_certificate()
    KEYS.write_text("first-key\n")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        PORT = probe.getsockname()[1]
    URL = f"https://127.0.0.1:{PORT}"
    collector = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=collector.serve_forever, daemon=True).start()
    environment = {**os.environ, "OTEL_SERVICE_NAME": "test-service", "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1",
                   "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.server_port}"}
    with LOG.open("wb") as out:
        server = subprocess.Popen([PROGRAM, "serve", MODEL, "--port", str(PORT), "--max-model-len", "512", "--served-model-name", "m", "--ssl-certfile", CERT,
                                   "--ssl-keyfile", KEY, "--enable-ssl-refresh", "--api-key-file", KEYS, "--log-format", "json", "--limit-header-s", str(HEADER_S),
                                   "--watchdog", str(WATCHDOG_S)],
                                  stdout=out, stderr=out, env=environment)
    try:
        checks.eventually(lambda: "ready: https://" in LOG.read_text() or server.poll() is not None, "ready")
        code = checks.run(checks.named(globals()))
    finally:
        server.send_signal(signal.SIGTERM)
        ended = server.wait(checks.HANG_S)
    if ended != 0 or code:
        print(f"the server ended with {ended}:\n{LOG.read_text()[-3000:]}")
    sys.exit(code or ended)
