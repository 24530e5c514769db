"""What the chaos tests share: a server of their own, and an event-driven HTTP client that many thousands fit into."""
import asyncio
import contextlib
import json
import os
import pathlib
import random
import resource
import signal
import socket
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import checks  # noqa: E402

SHORT = "--short" in sys.argv
PROGRAM, MODEL = [argument for argument in sys.argv[1:] if argument != "--short"]


def scaled(nightly, short):
    return short if SHORT else nightly


def raise_descriptor_limit(wanted):
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = min(hard, max(wanted, 65536))
    resource.setrlimit(resource.RLIMIT_NOFILE, (enough, hard))
    return enough


class Server:
    def __init__(self, *flags, log="build/check/chaos.log"):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.flags = flags
        self.log = pathlib.Path(log)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.process = None

    ready_path = "/health/ready"

    def command(self):
        return [PROGRAM, "serve", MODEL, "--port", str(self.port), "--served-model-name", "m", "--no-access-log", *self.flags]

    def start(self):
        """Seconds until ready."""
        began = time.monotonic()
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(self.command(), stdout=out, stderr=out, start_new_session=True)
        while True:
            assert self.process.poll() is None, f"the server ended with {self.process.poll()}: {self.log.read_text()[-2000:]}"
            assert time.monotonic() - began < 2 * checks.HANG_S
            try:
                with socket.create_connection(("127.0.0.1", self.port), checks.HANG_S) as one:
                    one.sendall(f"GET {self.ready_path} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n".encode())
                    if one.recv(20).startswith(b"HTTP/1.1 200"):
                        return time.monotonic() - began
            except OSError:
                pass
            time.sleep(0.02)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def kill_all(self):
        """With the processes that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self):
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            ended = self.process.wait(checks.HANG_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError("no end after SIGTERM") from None
        assert ended == 0, f"the server ended with {ended}: {self.log.read_text()[-2000:]}"

    def rss_bytes(self):
        pages = int(pathlib.Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def alive(self):
        return self.process.poll() is None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()


class Reply:
    def __init__(self, status, headers, body, seconds):
        self.status, self.headers, self.body, self.seconds = status, headers, body, seconds

    def json(self):
        return json.loads(self.body)


def request_bytes(path, body=None, keep=False):
    data = b"" if body is None else json.dumps(body).encode()
    head = f"{'GET' if body is None else 'POST'} {path} HTTP/1.1\r\nHost: t\r\n" + ("" if keep else "Connection: close\r\n")
    if body is not None:
        head += f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n"
    return head.encode() + b"\r\n" + data


async def read_reply(reader, began):
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
    body = b""
    if "content-length" in headers:
        body = await reader.readexactly(int(headers["content-length"]))
    return Reply(int(lines[0].split()[1]), headers, body, time.monotonic() - began)


async def ask(port, path, body=None, timeout=checks.HANG_S):
    """One request on a connection of its own; the clock starts before it connects."""
    began = time.monotonic()

    async def whole():
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(request_bytes(path, body))
            return await read_reply(reader, began)
        finally:
            writer.close()

    return await asyncio.wait_for(whole(), timeout)


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def prompt(i, n_words=12):
    words = ["river", "stone", "market", "winter", "light", "paper", "garden", "house", "story", "engine", "water", "morning"]
    draw = random.Random(i)
    return " ".join(draw.choice(words) for _ in range(n_words))


def main(module):
    sys.exit(checks.run(checks.named(module)))
