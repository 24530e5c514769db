"""Servers that run programs: RuntimeEndpoint (a URL) and Runtime (started here, ended with the object)."""
import dataclasses
import http.client
import json
import math
import os
import pathlib
import random
import shutil
import socket
import subprocess
import threading
import time
import urllib.parse

from millrace._in_process import InProcess, flags_of
from millrace._program import program_path

_default = None
_RETRY_STATUS = (429, 503)
_MAX_TOKENS = 128  # of a gen() that names no limit, as in SGLang


class BackendError(RuntimeError):
    """The server refused or failed; `status` is that of HTTP, 0 when there was no answer."""

    def __init__(self, message, status=0):
        super().__init__(message)
        self.status = status


@dataclasses.dataclass
class Completion:
    text: str
    meta: dict  # finish_reason, stop_reason, prompt_tokens, completion_tokens, cached_tokens, logprobs when asked for


def set_default_backend(backend):
    """Used by every run() without a backend of its own."""
    global _default
    _default = backend


def default_backend():
    if _default is None:
        raise RuntimeError("no backend: call set_default_backend(RuntimeEndpoint(url)) or give run(backend=...)")
    return _default


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class RuntimeEndpoint:
    """A running server (http://HOST:PORT, or unix:PATH). timeout: seconds that a call may be silent. tries: a full or busy server (429, 503) is asked again
    after the time it names. Threads may share one."""

    def __init__(self, base_url, api_key=None, model=None, timeout=600.0, tries=8):
        parts = urllib.parse.urlsplit(base_url.rstrip("/"))
        if not (parts.scheme in ("http", "https") and parts.hostname) and not (parts.scheme == "unix" and parts.path):
            raise ValueError(f"base_url must be http://HOST[:PORT] or unix:PATH, got {base_url!r}")
        self._parts, self._timeout, self._tries = parts, timeout, tries
        self._headers = {"Content-Type": "application/json"}
        if api_key:
            self._headers["Authorization"] = "Bearer " + api_key
        self._local = threading.local()
        self.model = model or self.get("/v1/models")["data"][0]["id"]

    # --- HTTP ---
    def _connection(self, fresh):
        if fresh or getattr(self._local, "connection", None) is None:
            if self._parts.scheme == "unix":
                self._local.connection = _UnixConnection(self._parts.path, self._timeout)
            else:
                kind = http.client.HTTPSConnection if self._parts.scheme == "https" else http.client.HTTPConnection
                self._local.connection = kind(self._parts.hostname, self._parts.port, timeout=self._timeout)
        return self._local.connection

    def _path(self, path):
        return path if self._parts.scheme == "unix" else self._parts.path + path

    def _send(self, method, path, body):
        data = None if body is None else json.dumps(body).encode()
        for attempt in range(self._tries):
            for fresh in (False, True):  # a kept connection may have been closed by the server meanwhile
                connection = self._connection(fresh)
                try:
                    connection.request(method, self._path(path), data, self._headers)
                    reply = connection.getresponse()
                    break
                except (OSError, http.client.HTTPException) as error:
                    connection.close()
                    self._local.connection = None
                    if fresh:
                        raise BackendError(f"{method} {path} of {self._parts.netloc or self._parts.path}: {error}") from error
            if reply.status == 200:
                return reply
            text = reply.read().decode(errors="replace")
            if reply.status not in _RETRY_STATUS or attempt + 1 == self._tries:
                try:
                    text = json.loads(text)["error"]["message"]
                except (ValueError, KeyError, TypeError):
                    pass
                raise BackendError(f"{method} {path}: {reply.status}: {text}", reply.status)
            time.sleep(min(float(reply.headers.get("Retry-After") or 1), 30.0))

    def get_text(self, path):
        return self._send("GET", path, None).read().decode()

    def get(self, path):
        return json.loads(self.get_text(path))

    def post(self, path, body):
        return json.loads(self._send("POST", path, {"model": self.model, **body}).read())

    def events(self, path, body, opened=None):
        """The JSON objects of an event stream. Closing the generator early cancels the request. opened(socket) is told where it
        comes from: to shut that down cancels too, from any thread."""
        reply = self._send("POST", path, {"model": self.model, **body, "stream": True, "stream_options": {"include_usage": True}})
        connection, self._local.connection = self._local.connection, None  # other requests of this thread take another
        done = False
        try:
            if opened:
                opened(connection.sock)
            for line in reply:
                if not line.startswith(b"data:"):
                    continue
                data = line[5:].strip()
                if data == b"[DONE]":
                    break
                event = json.loads(data)
                if "error" in event:
                    raise BackendError(f"{path}: {event['error'].get('message', event['error'])}", event["error"].get("code") or 500)
                yield event
            reply.read()
            done = True
        finally:
            if done and self._local.connection is None:
                self._local.connection = connection
            else:
                connection.close()

    # --- what programs need ---
    def flush_cache(self):
        """Forgets cached prefixes (an admin route where the server has admin keys)."""
        self._send("POST", "/reset_prefix_cache", {}).read()

    @staticmethod
    def _fields(path, fields):
        body = {"max_tokens": _MAX_TOKENS, **fields}
        logprobs = body.pop("_logprobs", None)
        if logprobs is not None:
            if path.endswith("chat/completions"):
                body.update(logprobs=True, top_logprobs=logprobs)
            else:
                body["logprobs"] = logprobs
        return body

    @staticmethod
    def _meta(choice, usage):
        meta = {"finish_reason": choice.get("finish_reason"), "stop_reason": choice.get("stop_reason"),
                "prompt_tokens": usage.get("prompt_tokens"), "completion_tokens": usage.get("completion_tokens"),
                "cached_tokens": (usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0)}
        if choice.get("logprobs") is not None:
            meta["logprobs"] = choice["logprobs"]
        return meta

    def complete(self, context, fields, n=1):
        """n completions behind a Context."""
        path, body = context.request()
        body.update(self._fields(path, fields))
        if n > 1:
            body["n"] = n
        reply = self.post(path, body)
        return [Completion(c["text"] if "text" in c else c["message"]["content"] or "", self._meta(c, reply["usage"]))
                for c in sorted(reply["choices"], key=lambda c: c["index"])]

    def stream(self, context, fields):
        """Pieces of one completion as they come; the last item is the Completion."""
        path, body = context.request()
        body.update(self._fields(path, fields))
        text, last, usage = "", {}, {}
        for event in self.events(path, body):
            usage = event.get("usage") or usage
            for choice in event["choices"]:
                piece = choice["text"] if "text" in choice else choice.get("delta", {}).get("content")
                if piece:
                    text += piece
                    yield piece
                if choice.get("finish_reason"):
                    last = choice
        yield Completion(text, self._meta(last, usage))

    def _scored(self, context, more):
        """Token ids and log-probabilities of the prompt that context and `more` make; the first has none."""
        path, body = context.request(more)
        reply = self.post(path, {**body, "max_tokens": 0, "prompt_logprobs": 0, "return_token_ids": True, "temperature": 0})
        choice = reply["choices"][0]
        rows = choice.get("prompt_logprobs") or reply.get("prompt_logprobs")
        tokens = choice.get("prompt_token_ids") or reply.get("prompt_token_ids")
        return [(token, row[str(token)]["logprob"] if row else 0.0) for token, row in zip(tokens, rows)]

    def select(self, context, choices, method, temperature=0.0):
        """(index of the choice, scores): every choice is scored behind the context, whose KV they share."""
        rows = [self._scored(context, choice) for choice in choices]
        shared = 0  # tokens that all choices begin with, the context's among them
        while all(len(row) > shared for row in rows) and len({row[shared][0] for row in rows}) == 1:
            shared += 1
        if len(rows) == 1:
            return 0, [0.0]
        # A choice that is the beginning of another ends where they part; its last token stands for it.
        tails = [row[shared:] or row[-1:] for row in rows]
        sums = [sum(logprob for _, logprob in tail) for tail in tails]
        if method == "unconditional_likelihood_normalized":
            alone = [self._scored(type(context)(plain="\n"), choice)[1:] for choice in choices]
            scores = [total - sum(logprob for _, logprob in row) for total, row in zip(sums, alone)]
        elif method == "greedy_token_selection":
            return self._greedy(tails), sums
        else:
            scores = [total / len(tail) for total, tail in zip(sums, tails)]
        if temperature > 0:
            top = max(scores)
            weights = [math.exp((score - top) / temperature) for score in scores]
            return random.choices(range(len(choices)), weights)[0], scores
        return max(range(len(choices)), key=lambda i: scores[i]), scores

    @staticmethod
    def _greedy(tails):
        left = list(range(len(tails)))
        at = 0
        while len(left) > 1:
            going = [i for i in left if len(tails[i]) > at]
            if not going:
                break
            best = max(going, key=lambda i: tails[i][at][1])
            left = [i for i in going if tails[i][at][0] == tails[best][at][0]]
            at += 1
        return left[0]


class Runtime(RuntimeEndpoint):
    """A server of its own for this process: `millrace serve MODEL` on a free loopback port. Use it in `with`, or shutdown()."""

    def __init__(self, model_path, program=None, ready_within=300.0, **flags):
        program = program or os.environ.get("MILLRACE_PROGRAM") or program_path() or shutil.which("millrace")
        if not program or not pathlib.Path(program).exists():
            raise FileNotFoundError("no millrace program: give Runtime(program=...), or set MILLRACE_PROGRAM, or put it into PATH")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        arguments = [program, "serve", str(model_path), "--host", "127.0.0.1", "--port", str(port), *flags_of(flags)]
        self._server = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self._said = []
        threading.Thread(target=lambda: self._said.extend(self._server.stderr), daemon=True).start()
        try:
            self._wait(f"http://127.0.0.1:{port}", ready_within)
        except BaseException:
            self.shutdown()
            raise

    def _wait(self, url, seconds):
        end = time.monotonic() + seconds
        while True:
            try:
                super().__init__(url, model="starting", tries=1)
                self.get("/health/ready")
                return super().__init__(url)
            except BackendError as error:
                if self._server.poll() is not None or time.monotonic() > end:
                    raise BackendError(f"the server did not start: {''.join(self._said[-5:]).strip() or error}") from error
            time.sleep(0.1)

    def shutdown(self):
        if self._server.poll() is None:
            self._server.terminate()
            try:
                self._server.wait(45)
            except subprocess.TimeoutExpired:
                self._server.kill()
        return self._server.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.shutdown()


class Engine(RuntimeEndpoint):
    """The engine in this process (libmillrace.so): no port, no other process. Use it in `with`, or shutdown()."""

    def __init__(self, model_path, **flags):
        self._in_process = InProcess(model_path, **flags)
        super().__init__(self._in_process.url)

    def shutdown(self):
        return self._in_process.stop()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.shutdown()
