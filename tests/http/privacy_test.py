"""What a client says stays between it and the server: privacy_test.py MILLRACE MODEL

Every text field, key and header of every dialect carries a word of its own, in requests that are answered, refused, cut off, streamed and
aborted. None of the words may come up in the log, in either format, in /metrics or in what another client is told; an error may quote the request
back to the one who sent it, and nothing else of the machine."""
import atexit
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import checks  # noqa: E402
import log_lines  # noqa: E402

PROGRAM, MODEL = sys.argv[1:]
FOLDER = pathlib.Path(tempfile.mkdtemp())
atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)
KEY, ADMIN, GATEWAY = "sesame-of-users", "sesame-of-admins", "sesame-of-gateways"
WORDS = []
MACHINE = re.compile(r"0x[0-9a-f]{6,}|(?<![\w.])/(?:home|root|usr|tmp|var|opt|etc|proc|dev|work)/|sesame")


def word():
    """A secret of letters that no other text holds; usable in a name, a grammar and a pattern."""
    WORDS.append("zq" + "".join("abcdefghij"[int(digit)] for digit in f"{len(WORDS):04}") + "qz")
    return WORDS[-1]


class Server:
    def __init__(self, log_format):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.log = FOLDER / log_format
        command = [PROGRAM, "serve", MODEL, "--port", str(self.port), "--max-model-len", "512", "--served-model-name", "m", "--api-key", KEY, "--admin-api-key", ADMIN,
                   "--gateway-api-key", GATEWAY, "--log-format", log_format, "--slot-save-path", str(FOLDER), "--limit-body-bytes", "100000"]
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=out)

    def __enter__(self):
        try:
            checks.eventually(lambda: "ready: http" in self.log.read_text() or self.process.poll() is not None, "ready")
            assert self.process.poll() is None, self.log.read_text()[-2000:]
        except BaseException:  # __exit__ is not called then
            checks.end(self.process)
            raise
        return self

    def __exit__(self, *_):
        status = checks.end(self.process)
        assert status == 0, (status, self.log.read_text()[-2000:])

    def raw(self, sent):
        """Sends bytes, ends its side, reads to the end."""
        with socket.create_connection(("127.0.0.1", self.port), checks.HANG_S) as one:
            one.settimeout(checks.HANG_S)
            one.sendall(sent)
            one.shutdown(socket.SHUT_WR)
            got = b""
            try:
                while part := one.recv(65536):
                    got += part
            except ConnectionResetError:
                pass
            return got.decode(errors="replace")

    def ask(self, path, body=None, headers=None, key=KEY):
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        all_headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {}), **(headers or {})}
        try:
            with urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, all_headers), timeout=checks.HANG_S) as reply:
                return reply.status, reply.read().decode(errors="replace")
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode(errors="replace")


def schema():
    return {"type": "object", "title": word(), "properties": {word(): {"enum": [word(), 1]}}, "required": [word()], "additionalProperties": False}


def tool():
    return {"type": "function", "function": {"name": word(), "description": word(), "parameters": schema()}}


def generations():
    """(path, body) of requests that should work, one or more for each dialect."""
    few = {"max_tokens": 2}
    user = [{"role": "system", "content": word()}, {"role": "user", "content": word(), "name": word()}]
    yield "/v1/completions", {"prompt": word(), "stop": [word()], "user": word(), "cache_salt": word(), word(): word(), "logprobs": 1, "echo": True, **few}
    yield "/v1/completions", {"prompt": [word(), word()], "stream": True, "n": 2, **few}
    yield "/v1/completions", {"prompt": word(), "structured_outputs": {"regex": word() + "[ab]"}, **few}
    yield "/v1/completions", {"prompt": word(), "structured_outputs": {"choice": [word(), word()]}, **few}
    yield "/v1/completions", {"prompt": word(), "structured_outputs": {"grammar": f'root ::= {word()}\n{WORDS[-1]} ::= "{word()}"'}, **few}
    yield "/v1/completions", {"prompt": word(), "bad_words": [word()], "millrace": {"session_id": word(), "session_ttl_s": 5}, **few}
    yield "/v1/chat/completions", {"messages": user, "metadata": {word(): word()}, "stream": True, **few}
    yield "/v1/chat/completions", {"messages": user, "response_format": {"type": "json_schema", "json_schema": {"name": word(), "schema": schema()}}, **few}
    yield "/v1/chat/completions", {"messages": user, "tools": [tool()], **few}
    yield "/v1/chat/completions", {"messages": [*user, {"role": "assistant", "content": word()}], "chat_template_kwargs": {word(): word()}, **few}
    yield "/v1/messages", {"messages": user[1:], "system": word(), "metadata": {"user_id": word()}, "stop_sequences": [word()], **few}
    yield "/v1/messages/count_tokens", {"messages": user[1:], "system": word()}
    yield "/v1/responses", {"input": word(), "instructions": word(), "max_output_tokens": 16}
    yield "/completion", {"prompt": word(), "n_predict": 2, "json_schema": schema()}
    yield "/infill", {"input_prefix": word(), "input_suffix": word(), "n_predict": 2}
    yield "/tokenize", {"content": word()}
    yield "/apply-template", {"messages": user}
    yield "/api/generate", {"model": "m", "prompt": word(), "system": word(), "options": {"num_predict": 2, "stop": [word()]}}
    yield "/api/chat", {"model": "m", "messages": user, "format": schema(), "options": {"num_predict": 2}}
    yield "/generate", {"inputs": word(), "parameters": {"max_new_tokens": 2, "stop": [word()]}}
    yield "/generate", {"text": word(), "sampling_params": {"max_new_tokens": 2, "regex": word()}, "rid": "rid-of-mine"}
    yield "/v2/models/m/infer", {"inputs": [{"name": "text_input", "datatype": "BYTES", "shape": [1], "data": [word()]}], "parameters": {"max_tokens": 2}}
    yield "/v1/embeddings", {"input": word()}
    yield "/rerank", {"query": word(), "documents": [word()]}
    yield "/score", {"text_1": word(), "text_2": word()}


def refusals():
    """(path, body) of requests that are refused for what they say."""
    for name in ("n", "temperature", "stop", "logit_bias", "stream", "seed", "model", "timeout", "response_format", "stop_token_ids", "priority"):
        yield "/v1/completions", {"prompt": "x", name: {word(): word()}}
        yield "/v1/completions", {"prompt": "x", name: word()}
    yield "/v1/completions", ('{"prompt":"' + word() + '",').encode()
    yield "/v1/completions", ('{"' + word() + '":1,"' + WORDS[-1] + '":2}').encode()
    yield "/v1/completions", {"prompt": (word() + " ") * 2000}
    yield "/v1/completions", {"prompt": (word() + " ") * 20000}  # larger than a body may be
    for kind, text in (("regex", f"({word()}"), ("regex", f"{word()}{{9999}}" * 20), ("grammar", f"root ::= {word()}"), ("grammar", f'root ::= "{word()}'),
                       ("json", {"$ref": "#/$defs/" + word()}), ("json", {"type": word()}), ("json", {"pattern": f"[{word()}"}), ("json", {"enum": []}),
                       ("json", {"allOf": [{"const": word()}, {"const": word()}]}), ("structural_tag", {"type": "structural_tag", "format": {"type": word()}})):
        yield "/v1/completions", {"prompt": word(), "structured_outputs": {kind: text}, "max_tokens": 2}
    yield "/v1/chat/completions", {"messages": [{"role": word(), "content": word()}]}
    yield "/v1/chat/completions", {"messages": [{"role": "user", "content": [{"type": word(), "text": word()}]}]}
    yield "/v1/chat/completions", {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": f"http://{word()}/"}}]}]}
    yield "/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}], "tools": [{"type": "function", "function": {"name": word() + " "}}]}
    yield "/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}], "tool_choice": {"type": "function", "function": {"name": word()}}}
    yield "/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}], "chat_template": "{{ raise_exception('" + word() + "') }}"}
    yield "/v1/messages", {"messages": [{"role": word(), "content": word()}], "max_tokens": 1}
    yield "/api/show", {"model": word()}
    yield "/models/load", {"model": word()}
    yield "/abort_request", {"rid": [word() + " "]}
    yield "/slots/0?action=save", {"filename": "../" + word()}
    yield "/completion", {"prompt": word(), "samplers": [word()]}


def headers():
    """What carries secrets besides the body; the first three are no keys."""
    yield {"Authorization": f"Bearer {word()}"}
    yield {"x-api-key": word(), "Authorization": ""}
    yield {"Authorization": f"Basic {word()}"}
    yield {"Cookie": f"session={word()}", "User-Agent": word(), "Referer": f"http://{word()}/", "Origin": f"http://{word()}"}
    yield {"X-Forwarded-For": word(), "X-Session-ID": word(), "traceparent": f"00-{word()}-{word()}-01", "baggage": word(), "X-Tenant": word()}


def malformed():
    yield f"GET /v1/models?key={word()}&api_key={KEY} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n"
    yield f"GET /v1/models HTTP/1.1\r\nHost: {word()}\r\nX-Odd {word()}\r\n\r\n"
    yield f"GET /v1/models HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer {KEY}\r\nX-Long: {word() * 2000}\r\n\r\n"
    yield f"POST /v1/completions HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer {KEY}\r\nContent-Length: 500\r\n\r\n{{\"prompt\":\"{word()}"
    yield f"POST /v1/completions HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer {KEY}\r\nTransfer-Encoding: chunked\r\n\r\n{word()}\r\n"
    yield f"{word()} {word()}\r\n\r\n"


def told_of_the_machine(text, sent):
    return [found for found in MACHINE.findall(text) if found not in sent]


def converse(server):
    """(statuses of the requests, what was told that should not be)."""
    statuses, told = [], []
    for path, body in [*generations(), *refusals()]:
        sent = body.decode() if isinstance(body, bytes) else json.dumps(body)
        status, text = server.ask(path, body, key=ADMIN if path.startswith(("/models", "/slots")) else KEY)
        statuses.append(status)
        assert status != 500, (path, sent[:200], text[:300])
        told += [f"{path}: {found}" for found in told_of_the_machine(text, sent)]
        others = [one for one in WORDS if one in text and one not in sent]
        told += [f"{path}: tells {one} of another request" for one in others]
    for extra in headers():
        status, text = server.ask("/v1/completions", {"prompt": "x", "max_tokens": 1}, extra)
        statuses.append(status)
        told += [f"headers: {one}" for one in WORDS if one in text] + told_of_the_machine(text, "")
    for sent in malformed():
        text = server.raw(sent.encode())
        statuses.append(int(text.split(" ", 2)[1]) if text else 0)
        told += [f"malformed: {one}" for one in WORDS if one in text and one not in sent] + told_of_the_machine(text, sent)
    return statuses, told


def check(log_format):
    WORDS.clear()
    with Server(log_format) as server:
        statuses, told = converse(server)
        metrics = server.ask("/metrics")[1] + server.ask("/v1/models")[1] + server.ask("/health")[1] + server.ask("/load")[1]
        told += [f"metrics: {one}" for one in WORDS if one in metrics]
    print(f"      {len(statuses)} requests ({statuses.count(200)} answered) with {len(WORDS)} words, {len(server.log.read_text().splitlines())} lines of log")
    strange = log_lines.faults(server.log.read_text(), [*WORDS, KEY, ADMIN, GATEWAY])
    assert not told and not strange, (told[:10], strange[:10])
    assert len(statuses) > 60 and statuses.count(200) > 15 and statuses.count(400) > 20 and server.log.read_text().count("/v1/completions") > 30


def check_the_log_as_text():
    check("text")


def check_the_log_as_json():
    check("json")


def check_what_keeps_watch_sees():
    """The judges themselves: a line or a reply with a secret is found."""
    assert log_lines.faults("12:00:00.000 info: ready: http://127.0.0.1:1 sesame", ["sesame"])
    assert log_lines.faults("[12:00:00] grammar.cc:1: Warning: x") and log_lines.faults('{"time":"t","level":"info","message":"x"}')
    assert told_of_the_machine("at 0x7fffdead00", "") and told_of_the_machine("cannot open /tmp/x", "") and not told_of_the_machine("v1/tmp/", "")


if __name__ == "__main__":
    os.environ.pop("MILLRACE_API_KEY", None)
    sys.exit(checks.run([one for name, one in globals().items() if name.startswith("check_")]))
