"""Hostile requests while others are served: hostile_requests.py [--list] [--anybody] URL

Every case of hostile_framing.py, hostile_bodies.py and hostile_mixed.py goes to the server over a socket of its own, beside four greedy
streams that run all the time. Each must be answered as a good server answers it, never 500, with a JSON error that says
what was wrong, and nothing of the machine; the streams must give the bytes they give alone. How many took longer than five seconds is printed; only
--in-time judges it. --list prints every answer; --anybody only counts them, for servers whose errors look different."""
import collections
import json
import re
import select
import socket
import sys
import threading
import time
import urllib.parse

import hostile_bodies
import hostile_framing
import hostile_mixed
from hostile_framing import CLOSED, post

CASES = hostile_framing.CASES + hostile_bodies.CASES + hostile_mixed.CASES
IN_TIME_S = 5
HANG_S = 300  # nothing is slower on any machine; after three such answers the rest is not tried
MOST_HUNG = 3
QUIET_S, CLOSING_S = 0.02, 0.3  # nothing more is expected when nothing came for so long; the second where an end is wanted
N_STREAMS = 4
LIST, ANYBODY, JUDGE_TIME = "--list" in sys.argv, "--anybody" in sys.argv, "--in-time" in sys.argv
URL = urllib.parse.urlsplit(sys.argv[-1])
LEAKS = re.compile(rb"0x[0-9a-f]{6,}|/(?:home|root|usr|tmp|var|opt|etc|proc|dev)/[^ \"]*")  # addresses and paths, unless the request named them


def connect():
    return socket.create_connection((URL.hostname, URL.port), HANG_S)


class Replies:
    """What one connection answered."""

    def __init__(self):
        self.bytes, self.closed, self.seconds = b"", False, 0.0

    def parsed(self, method):
        """[(status, head, body)], the last of them perhaps cut."""
        rest, replies = self.bytes, []
        while b"\r\n\r\n" in rest:
            head, rest = rest.split(b"\r\n\r\n", 1)
            text = head.decode("latin-1").lower()
            status = int(text.split(" ", 2)[1])
            size = next((int(line.split(":")[1]) for line in text.split("\r\n") if line.startswith("content-length:")), 0)
            if method == "HEAD" or status < 200:
                size = 0
            elif "transfer-encoding: chunked" in text:
                size = rest.find(b"\r\n0\r\n\r\n") + 7
                if size < 7:
                    break
            if len(rest) < size:
                break
            replies.append((status, text, rest[:size]))
            rest = rest[size:]
        return replies


def exchange(case, n_wanted, quiet_s):
    """Sends all of it, also when the other side has already answered, and reads until it is quiet."""
    method = case.sent.split(b" ", 1)[0].decode("latin-1")
    got, left, began = Replies(), memoryview(case.sent), time.monotonic()
    with connect() as one:
        one.setblocking(False)
        last = began
        while not got.closed:
            now = time.monotonic()
            enough = not left and len([r for r in got.parsed(method) if r[0] >= 200]) >= n_wanted
            if now - began > HANG_S or (enough and now - last > quiet_s):
                break
            readable, writable, _ = select.select([one], [one] if left else [], [], QUIET_S)
            try:
                if writable:
                    left = left[one.send(left):]
                if readable:
                    part = one.recv(65536)
                    got.bytes += part
                    got.closed = not part
                    last = time.monotonic()
                    got.seconds = last - began
            except BlockingIOError:
                pass
            except OSError:
                got.closed, left = True, memoryview(b"")
    return got, got.parsed(method)


def allowed(wanted, status):
    return status in wanted if isinstance(wanted, tuple) else status == wanted


def verdict(case):
    """What is wrong with the answer, or nothing; the statuses; when the last byte came."""
    wanted = case.wanted if isinstance(case.wanted, list) else [case.wanted]
    got, replies = exchange(case, sum(w != CLOSED for w in wanted), CLOSING_S if CLOSED in wanted else QUIET_S)
    final = [status for status, _, _ in replies if status >= 200]
    problem = complaint(case, wanted, got, replies, final)
    if JUDGE_TIME and not problem and got.seconds > IN_TIME_S:
        problem = f"answered after {got.seconds:.1f} s"
    return problem, final, got.seconds


def complaint(case, wanted, got, replies, final):
    for at, want in enumerate(wanted):
        status = final[at] if at < len(final) else CLOSED if got.closed else "nothing"
        if want == CLOSED and status == "nothing":
            continue  # it lingers; nothing came
        if not allowed(want, status):
            return f"reply {at + 1}: {status}, want {want}: {got.bytes[:200]!r}"
    if len(final) > len(wanted) and wanted[-1] != CLOSED:
        return f"{len(final)} replies"
    first = next((reply for reply in replies if reply[0] >= 200), None)
    if ANYBODY or first is None:
        return ""
    text = (first[1] + "\n" + first[2].decode("utf-8", "replace")).lower()
    if case.words.lower() not in text:
        return f"does not say {case.words!r}: {first[2][:300]!r}"
    if first[0] >= 400 and not text.startswith("http/1.1 405") and b"HEAD" not in case.sent[:5]:
        error = json.loads(first[2])
        if "error" not in error:
            return f"no error in {first[2][:200]!r}"
        told = [found for found in LEAKS.findall(first[2]) if found.rstrip(b"\\") not in case.sent]
        if told:
            return f"tells of the machine: {told[0]!r}"
    return ""


class Bystander(threading.Thread):
    """A greedy stream after the other until told to stop."""

    def __init__(self, i):
        super().__init__()
        self.sent = post({"prompt": f"Story number {i}: once upon a time", "max_tokens": 48, "temperature": 0, "ignore_eos": True, "stream": True},
                         "Connection: close")
        self.texts, self.stop = [], threading.Event()

    def text(self):
        data = b""
        with socket.create_connection((URL.hostname, URL.port), HANG_S) as one:
            one.sendall(self.sent)
            while part := one.recv(65536):
                data += part
        lines = [line[6:] for line in data.split(b"\n") if line.startswith(b"data: ")]
        assert lines and lines[-1].strip() == b"[DONE]", data[-300:]
        return "".join(json.loads(line)["choices"][0]["text"] for line in lines[:-1] if json.loads(line)["choices"])

    def run(self):
        while not self.stop.is_set():
            try:
                self.texts.append(self.text())
            except (OSError, AssertionError, KeyError, ValueError) as error:
                self.texts.append(repr(error))


def send_all():
    """(cases answered wrongly, streams whose text differs), printed."""
    quiet = [Bystander(i).text() for i in range(N_STREAMS)]
    crowd = [Bystander(i) for i in range(N_STREAMS)]
    for one in crowd:
        one.start()
    n_wrong, n_hung, statuses, slow, began = 0, 0, collections.Counter(), [], time.monotonic()
    for at, case in enumerate(CASES):
        if n_hung == MOST_HUNG:
            print(f"FAIL  {MOST_HUNG} requests hung, {len(CASES) - at} were not sent")
            n_wrong += len(CASES) - at
            break
        sent_at = time.monotonic()
        try:
            problem, final, seconds = verdict(case)
        except (OSError, ValueError) as error:
            problem, final, seconds = repr(error), [], 0.0
        n_hung += time.monotonic() - sent_at > HANG_S
        statuses.update([final[0] if final else "none"])
        if LIST:
            print(f"      {case.name}: {final}")
        if problem:
            n_wrong += 1
            print(f"FAIL  {case.name}: {problem}", flush=True)
        if seconds > IN_TIME_S:
            slow.append(f"{case.name}: {seconds:.0f} s")
    took = time.monotonic() - began
    for one in crowd:
        one.stop.set()
    for one in crowd:
        one.join()
    differ = [one.texts[:1] for one, text in zip(crowd, quiet) if set(one.texts) != {text}]
    print(f"      {len(CASES)} requests in {took:.1f} s, {len(slow)} of them after more than {IN_TIME_S} s {slow[:5]}, first replies {dict(sorted(statuses.items(), key=str))}; beside them "
          f"{sum(len(one.texts) for one in crowd)} streams, {len(differ)} of {N_STREAMS} disturbed: {differ}")
    return n_wrong, len(differ)


if __name__ == "__main__":
    n_bad = sum(send_all())
    print(f"{len(CASES) + N_STREAMS - n_bad} passed, {n_bad} failed", flush=True)
    sys.exit(n_bad > 0)
