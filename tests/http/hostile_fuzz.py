"""Mutated requests: hostile_fuzz.py [--requests N] [--seed S] URL

The cases of hostile_framing.py and hostile_bodies.py are cut, spliced, repeated and flipped, and sent over raw sockets by
four threads, in pieces half of the time; a control request is asked all the while. What may never happen: a reply of 500,
a reply that is no HTTP, a control request that fails or hangs, or an end of the server. A failing request is printed with
its seed, and how long control requests took; --in-time judges that too (a second)."""
import random
import select
import socket
import sys
import threading
import time

import hostile_bodies
import hostile_framing
from hostile_requests import HANG_S, Replies, URL

SEEDS = [case.sent for case in hostile_framing.CASES + hostile_bodies.CASES if len(case.sent) < 20000]
WORDS = [b"\r\n", b"\n", b"\r", b"\0", b" ", b":", b",", b";", b'"', b"{", b"[", b"}", b"]", b"\\", b"\\u0000", b"\\ud800", b"null", b"true", b"-1", b"1e309",
         b"9223372036854775808", b"0.1", b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n", b"Expect: 100-continue\r\n",
         b"0\r\n\r\n", b"\r\n\r\n", b"HTTP/1.0", b"\xff", b"\xe2\x82", b"%00", b'"stream":true,', b'"n":2,', b'"max_tokens":1,', b'"model":"x",']
N_THREADS = 4
CONTROL_IN_TIME_S = 1.0


def option(name, default):
    return int(sys.argv[sys.argv.index(name) + 1]) if name in sys.argv else default


def mutated(draw):
    data = bytearray(draw.choice(SEEDS))
    for _ in range(draw.choice((1, 1, 2, 3, 8))):
        at = draw.randrange(len(data) + 1)
        kind = draw.randrange(7)
        if kind == 0 and data:
            data[at % len(data)] ^= 1 << draw.randrange(8)
        elif kind == 1:
            data[at:at] = draw.choice(WORDS)
        elif kind == 2:
            del data[at:at + draw.randrange(1, 20)]
        elif kind == 3:
            other = draw.choice(SEEDS)
            data = data[:at] + other[draw.randrange(len(other)):]
        elif kind == 4:
            data[at:at] = data[at:at + draw.randrange(1, 200)] * draw.randrange(1, 20)
        elif kind == 5:
            data = data[:at]
        else:
            data += draw.choice(SEEDS)
    # what a case asks for is small; what a mutation asks for is kept small
    return bytes(data).replace(b'"prompt"', b'"max_tokens":2,"prompt"', 1) if draw.random() < 0.3 else bytes(data)


def send(data, draw):
    """What came back within a moment after everything was sent."""
    got = Replies()
    with socket.create_connection((URL.hostname, URL.port), HANG_S) as one:
        one.setblocking(False)
        left, step = memoryview(data), draw.choice((1, 7, 100, 1 << 20)) if len(data) < 2000 else 1 << 20
        quiet_until = time.monotonic() + 0.02
        while not got.closed and (left or time.monotonic() < quiet_until):
            readable, writable, _ = select.select([one], [one] if left else [], [], 0.02)
            try:
                if writable:
                    left = left[one.send(left[:step]):]
                if readable:
                    part = one.recv(65536)
                    got.bytes += part
                    got.closed = not part
            except BlockingIOError:
                continue
            except OSError:
                got.closed = True
    return got


class Tally:
    def __init__(self):
        self.lock, self.statuses, self.bad = threading.Lock(), {}, []

    def add(self, statuses, complaint):
        with self.lock:
            for status in statuses:
                self.statuses[status] = self.statuses.get(status, 0) + 1
            if complaint:
                self.bad.append(complaint)


def attack(first, n, seed, tally):
    for i in range(first, n, N_THREADS):
        draw = random.Random(f"{seed} {i}")
        data = mutated(draw)
        try:
            got = send(data, draw)
            wrong = b"HTTP/1.1 500" in got.bytes or (got.bytes and not got.bytes.startswith(b"HTTP/1."))
            complaint = f"request {i} of seed {seed}: {data[:300]!r}: {got.bytes[:300]!r}" if wrong else ""
            tally.add([got.bytes[9:12].decode("latin-1") or "none"], complaint)
        except OSError as error:
            tally.add([], f"request {i} of seed {seed}: {error!r} for {data[:300]!r}")


def control(stop, waits):
    while not stop.wait(0.2):
        began = time.monotonic()
        try:
            with socket.create_connection((URL.hostname, URL.port), HANG_S) as one:
                one.sendall(hostile_framing.get("/health/ready", "Connection: close"))
                ok = one.recv(100).startswith(b"HTTP/1.1 200")
        except OSError:
            ok = False
        waits.append(time.monotonic() - began if ok else 1e9)


def main():
    n, seed = option("--requests", 4000), option("--seed", int(time.time()))
    tally, stop, waits, began = Tally(), threading.Event(), [], time.monotonic()
    watch = threading.Thread(target=control, args=(stop, waits))
    watch.start()
    attackers = [threading.Thread(target=attack, args=(i, n, seed, tally)) for i in range(N_THREADS)]
    for one in attackers:
        one.start()
    for one in attackers:
        one.join()
    stop.set()
    watch.join()
    slow = sorted(waits)[int(0.99 * len(waits))] if waits else 0.0
    n_failed = sum(seconds > HANG_S for seconds in waits)
    if n_failed:
        tally.bad.append(f"{n_failed} of {len(waits)} control requests failed")
    elif slow > CONTROL_IN_TIME_S and "--in-time" in sys.argv:
        tally.bad.append(f"a control request took {slow:.1f} s")
    for complaint in tally.bad[:20]:
        print(f"FAIL  {complaint}")
    print(f"      {n} mutated requests in {time.monotonic() - began:.0f} s, seed {seed}; control p99 {slow * 1e3:.0f} ms; "
          f"first replies {dict(sorted(tally.statuses.items(), key=str))}")
    print(f"{n - len(tally.bad)} passed, {len(tally.bad)} failed", flush=True)
    sys.exit(bool(tally.bad))


if __name__ == "__main__":
    main()
