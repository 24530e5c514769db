"""Load on a server: Burst runs `millrace bench serve` (C++, one thread: it takes little of the cores that it measures);
Quiet is one stream in this process whose token times are kept, for what goes on beside it."""
import dataclasses
import http.client
import json
import subprocess
import threading
import time

from servers import MILLRACE


@dataclasses.dataclass
class Ask:
    """Requests of one kind: words of a prompt (+- ratio), words that all share before them, tokens of an answer."""
    words: int = 128
    ratio: float = 0.0
    shared: int = 0
    output: int = 64


class Burst:
    """Requests to a server, begun at once: `count` of them, `clients` at a time or `rate` a second (Poisson)."""

    def __init__(self, url, ask, count, seed, clients=0, rate=0.0, key=None):
        command = [MILLRACE, "bench", "serve", "--base-url", url, "--model", "m", "--input-len", ask.words, "--random-range-ratio", ask.ratio,
                   "--random-prefix-len", ask.shared, "--output-len", ask.output, "--ignore-eos", "--num-prompts", count,
                   "--max-concurrency", clients, "--request-rate", rate, "--seed", seed, "--json"]
        command += ["--header", f"Authorization=Bearer {key}"] if key else []
        self.began = time.perf_counter()
        self.process = subprocess.Popen([str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    def result(self):
        out = json.loads(self.process.communicate()[0])
        self.ended = time.perf_counter()
        return out

    def stop(self):
        self.process.terminate()
        self.process.communicate()


def burst(url, ask, count, seed, clients=0, rate=0.0, key=None):
    return Burst(url, ask, count, seed, clients, rate, key).result()


class Quiet(threading.Thread):
    """One stream that goes on until stop(); times: when each piece of text came."""

    def __init__(self, server, tokens=4000):  # a server for 4,096 takes no more
        super().__init__(daemon=True)
        self.times, self.ended, self.failure = [], False, ""
        self.connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        body = {"model": "m", "prompt": "Once upon a time, in a mill by the river,", "max_tokens": tokens, "temperature": 0,
                "ignore_eos": True, "stream": True}
        self.connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
        self.start()

    def run(self):
        try:
            reply = self.connection.getresponse()
            if reply.status != 200:
                self.failure = f"HTTP {reply.status}: {reply.read(300)!r}"
            for line in reply:
                if line.startswith(b"data: {") and b'"text"' in line and b'"text":""' not in line:
                    self.times.append(time.perf_counter())
        except (OSError, ValueError, AttributeError, http.client.HTTPException) as error:
            if not self.ended:
                self.failure = str(error)

    def wait(self, n):
        while len(self.times) < n and self.is_alive():
            time.sleep(0.01)

    def gaps(self, begin, end):
        """Seconds between pieces that came in begin..end, the one that was under way at `begin` included."""
        return [b - a for a, b in zip(self.times, self.times[1:]) if b >= begin and a <= end]

    def stop(self):
        self.ended = True
        self.connection.sock.close() if self.connection.sock else None
        self.connection.close()


def percentile(values, p):
    """Linear between the two nearest, as `bench serve` does; 0 for nothing."""
    if not values:
        return 0.0
    values = sorted(values)
    at = p / 100 * (len(values) - 1)
    low = int(at)
    high = min(low + 1, len(values) - 1)
    return values[low] + (values[high] - values[low]) * (at - low)


def metric(server, name, label=""):
    """Sum of a metric's samples whose labels contain `label`."""
    total = 0.0
    for line in server.get("/metrics").splitlines():
        if line.startswith(name) and line[len(name)] in " {" and label in line:
            total += float(line.rsplit(" ", 1)[1])
    return total
