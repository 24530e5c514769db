"""Connection storms: storm.py MILLRACE MODEL [--short]

10,000 idle connections; 2,000 slow attackers of five kinds beside 50 honest clients; 500 streams that nobody reads. The server must go on answering the
honest ones as before, stay within its memory, and let go of the rest."""
import asyncio
import multiprocessing
import os
import pathlib
import socket
import struct
import time

import harness
from harness import Server, ask, percentile, prompt, read_reply, request_bytes, scaled

N_IDLE = scaled(10_000, 1_500)
N_SLOW = scaled(2_000, 300)
N_HONEST = scaled(50, 10)
N_UNREAD = scaled(500, 20)
PARK_S = 10
SECONDS = scaled(60, 12)
FLAGS = ["--max-model-len", "512", "--limit-connections-per-ip", "16384", "--limit-header-s", "5", "--limit-body-idle-s", "5",
         "--limit-send-stall-s", "5"]


async def idle_connections(server):
    before = server.rss_bytes()
    kept = []
    for i in range(N_IDLE):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(request_bytes("/health", keep=True))
        reply = await read_reply(reader, time.monotonic())
        assert reply.status == 200, (i, reply.status)
        kept.append((reader, writer))
    per_connection = (server.rss_bytes() - before) / N_IDLE
    waits = []
    for _ in range(20):
        reply = await ask(server.port, "/v1/completions", {"prompt": "Hello", "max_tokens": 2})
        assert reply.status == 200
        waits.append(reply.seconds)
    open_now = sum(not reader.at_eof() for reader, _ in kept)
    for _, writer in kept:
        writer.close()
    print(f"      {N_IDLE} idle: {open_now} still open, {per_connection / 1024:.1f} KiB each, a request takes {percentile(waits, 0.5) * 1e3:.0f} ms")
    assert open_now == N_IDLE and per_connection < 32 * 1024
    assert percentile(waits, 0.9) < 5


async def attacker(port, kind):
    """One slow client after the other."""
    while True:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.5)
            continue
        try:
            if kind == "header":
                for byte in b"GET /v1/models HTTP/1.1\r\nHost: slow\r\nX-Long: " + b"a" * 500:
                    writer.write(bytes([byte]))
                    await writer.drain()
                    await asyncio.sleep(1)
            elif kind == "body":
                writer.write(b"POST /v1/completions HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n{")
                for _ in range(500):
                    writer.write(b" ")
                    await writer.drain()
                    await asyncio.sleep(1)
            elif kind == "reader":
                # asks much and never reads: the socket takes little
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
                writer.transport.pause_reading()
                for _ in range(200):
                    writer.write(request_bytes("/metrics", keep=True))
                await asyncio.sleep(20)
            elif kind == "half":
                await asyncio.sleep(20)
            else:
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.write(request_bytes("/v1/completions", {"prompt": "x", "max_tokens": 64, "stream": True}) if os.urandom(1)[0] < 8 else b"GET ")
                await asyncio.sleep(2)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort()
        await asyncio.sleep(0.05)


async def honest(port, seconds):
    """(latencies, statuses) of clients that ask again and again."""
    waits, statuses = [], []

    async def one(i):
        end = time.monotonic() + seconds
        turn = 0
        while time.monotonic() < end:
            turn += 1
            reply = await ask(port, "/v1/completions", {"prompt": prompt(i * 1000 + turn, 4), "max_tokens": 2, "temperature": 0})
            waits.append(reply.seconds)
            statuses.append(reply.status)
            await asyncio.sleep(0.2)

    await asyncio.gather(*(one(i) for i in range(N_HONEST)))
    return waits, statuses


def attack(port):
    """All attackers, for ever; in a process of their own, so that the honest clients measure the server and not them."""
    async def crowd():
        kinds = ["header", "body", "reader", "half", "reset"]
        await asyncio.gather(*(attacker(port, kinds[i % len(kinds)]) for i in range(N_SLOW)))

    asyncio.run(crowd())


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def slow_attackers(server):
    quiet, statuses = await honest(server.port, SECONDS / 2)
    assert set(statuses) == {200}
    attackers = multiprocessing.Process(target=attack, args=(server.port,), daemon=True)
    attackers.start()
    await asyncio.sleep(5)
    waits, statuses = await honest(server.port, SECONDS)
    rss, spent = server.rss_bytes(), cpu_seconds(attackers.pid)
    attackers.kill()
    attackers.join()
    bad = [status for status in statuses if status != 200]
    print(f"      {N_SLOW} attackers, {N_HONEST} honest clients: p50 {percentile(quiet, 0.5) * 1e3:.0f} -> {percentile(waits, 0.5) * 1e3:.0f} ms, "
          f"p99 {percentile(quiet, 0.99) * 1e3:.0f} -> {percentile(waits, 0.99) * 1e3:.0f} ms, {len(waits)} answers, {len(bad)} not 200, {rss >> 20} MiB; the attackers used {100 * spent / (SECONDS + 5):.0f} % of a core")
    assert not bad and len(waits) > N_HONEST
    assert percentile(waits, 0.99) <= 1.5 * percentile(quiet, 0.99) + 0.25


def stream_bytes(i, n_tokens):
    return request_bytes("/v1/completions", {"prompt": prompt(i, 3), "max_tokens": n_tokens, "stream": True, "ignore_eos": True})


async def read_stream(port, i):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(stream_bytes(i, 480))
    text = await reader.read()
    writer.close()
    assert b"[DONE]" in text, text[:200]


async def metric(port, name):
    text = (await ask(port, "/metrics")).body.decode()
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name))


def connect_and_leave(port, i, n_tokens):
    """A stream whose socket takes little, and is not read."""
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    one.connect(("127.0.0.1", port))
    one.sendall(stream_bytes(i, n_tokens))
    return one


async def memory_of_unread_streams(server):
    """All of them are parked at the same time, at whatever pace the machine comes there: what they hold then is bounded, and given back as they leave."""
    # as many that are read, first: what was planned at the start (the KV pool, rows of activations) becomes resident as it is first used
    await asyncio.gather(*(read_stream(server.port, i) for i in range(max(N_UNREAD, 64))))
    before, began = server.rss_bytes(), time.monotonic()
    kept = [connect_and_leave(server.port, i, 500) for i in range(N_UNREAD)]
    n_parked, waits = 0, []
    while n_parked < N_UNREAD:
        assert time.monotonic() - began < 600 + 10 * N_UNREAD, f"{n_parked:.0f} of {N_UNREAD} parked"
        await asyncio.sleep(1)
        n_parked = await metric(server.port, "millrace:http_streams_parked")
        reply = await ask(server.port, "/v1/completions", {"prompt": "Hello", "max_tokens": 1})
        waits.append(reply.seconds if reply.status == 200 else 99)
    growth = server.rss_bytes() - before
    print(f"      {N_UNREAD} streams parked after {time.monotonic() - began:.0f} s: {growth / N_UNREAD / 1024:.1f} KiB each; beside them one token takes p99 "
          f"{percentile(waits, 0.99):.2f} s")
    for one in kept:
        one.close()
    left_at = time.monotonic()
    while (n_open := await metric(server.port, "millrace:http_streams_open")) > 0:
        assert time.monotonic() - left_at < 600 + 4 * N_UNREAD, f"{n_open:.0f} of {N_UNREAD} streams are open after their clients left"
        await asyncio.sleep(0.2)
    assert growth <= N_UNREAD * 96 * 1024 + (12 << 20)


async def unread_streams(server):
    """Each is ended: one whose buffers are full is parked and may be for PARK_S, one whose socket takes nothing while they
    fill may be for --limit-send-stall-s."""
    began = time.monotonic()
    kept = [connect_and_leave(server.port, i, 500) for i in range(N_UNREAD // 5)]
    n_ended, n_parked = 0, 0
    while n_ended < len(kept) and time.monotonic() - began < 600 + 4 * N_UNREAD:
        await asyncio.sleep(1)
        n_parked = max(n_parked, await metric(server.port, "millrace:http_streams_parked"))
        n_ended = await metric(server.port, 'vllm:request_success_total{engine="0",model_name="m",finished_reason="abort"}')
    for one in kept:
        one.close()
    print(f"      {len(kept)} streams unread: at most {n_parked:.0f} parked at once, {n_ended:.0f} ended after {time.monotonic() - began:.0f} s")
    assert n_ended == len(kept)


def with_server(scenario, *flags, limits=FLAGS):
    harness.raise_descriptor_limit(2 * N_IDLE)
    with Server(*limits, *flags) as server:
        asyncio.run(scenario(server))
        assert server.alive()


def check_idle_connections_cost_little():
    with_server(idle_connections)


def check_slow_attackers_beside_honest_clients():
    with_server(slow_attackers)


def check_memory_of_streams_that_nobody_reads():
    with_server(memory_of_unread_streams, "--max-model-len", "512", "--limit-park-s", "600", "--limit-send-stall-s", "600", "--kv-cache-memory-bytes", "512M",
                "--max-num-queued-reqs", "1024", limits=["--limit-connections-per-ip", "16384"])


def check_streams_that_nobody_reads():
    with_server(unread_streams, "--limit-park-s", str(PARK_S), "--kv-cache-memory-bytes", "512M", "--max-num-queued-reqs", "1024")


if __name__ == "__main__":
    harness.main(globals())
