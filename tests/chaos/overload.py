"""Overload: overload.py MILLRACE MODEL [--short]

The capacity is measured by clients that wait for their answers; then requests arrive at 1, 2 and 10 times that rate
whether they are answered or not. What is answered must stay near the capacity; what is refused must be refused at once
and be told when to come back."""
import asyncio
import random
import time

import harness
from harness import Server, ask, percentile, prompt, scaled

SECONDS = scaled(60, 15)
BEGIN = SECONDS / 3  # answers before are not counted: the first ones need their time
CLIENTS = 48
BODY = {"max_tokens": 16, "temperature": 0, "ignore_eos": True}
FLAGS = ["--max-model-len", "512", "--max-num-seqs", "32", "--max-num-queued-reqs", "64", "--limit-connections-per-ip", "16384"]
REFUSED_WITHIN_S = 0.05


async def capacity(port):
    """Answers a second with as many clients as keep the server busy."""
    n_done = 0
    begin = time.monotonic()
    end = begin + SECONDS

    async def one(i):
        nonlocal n_done
        turn = 0
        while time.monotonic() < end:
            turn += 1
            reply = await ask(port, "/v1/completions", {"prompt": prompt(i * 1000 + turn), **BODY})
            if reply.status == 200 and begin + BEGIN <= time.monotonic() < end:
                n_done += 1

    await asyncio.gather(*(one(i) for i in range(CLIENTS)))
    return n_done / (SECONDS - BEGIN)


async def arrivals(port, rate, seed):
    """(answers that ended within the time, replies) of requests that come at a rate, at random."""
    draw = random.Random(seed)
    began = time.monotonic()
    tasks, at, n = [], 0.0, 0

    async def one(i):
        try:
            reply = await ask(port, "/v1/completions", {"prompt": prompt(10_000_000 + seed * 100_000 + i), **BODY})
        except (OSError, asyncio.TimeoutError, asyncio.IncompleteReadError) as error:
            return None, repr(error)
        return time.monotonic() - began, reply

    while at < SECONDS:
        at += draw.expovariate(rate)
        await asyncio.sleep(max(0.0, began + at - time.monotonic()))
        tasks.append(asyncio.create_task(one(n)))
        n += 1
    return await asyncio.gather(*tasks)


async def scenario(server):
    await capacity(server.port) if not harness.SHORT else None  # warm
    best = await capacity(server.port)
    print(f"      capacity {best:.1f} requests/s")
    for times, least in ((1, 0.80), (2, 0.95), (10, 0.90)):
        replies = await arrivals(server.port, best * times, times)
        lost = [what for at, what in replies if at is None]
        good = sum(at is not None and BEGIN <= at <= SECONDS and reply.status == 200 for at, reply in replies)
        refused = [reply for at, reply in replies if at is not None and reply.status == 503]
        other = {reply.status for at, reply in replies if at is not None} - {200, 503}
        late = percentile([reply.seconds for reply in refused], 0.99)
        goodput = good / (SECONDS - BEGIN)
        print(f"      {times:>2}x: {len(replies)} sent, goodput {goodput:.1f}/s ({100 * goodput / best:.0f} %), {len(refused)} refused, "
              f"p50 {percentile([r.seconds for r in refused], 0.5) * 1e3:.0f} ms, p99 {late * 1e3:.0f} ms")
        assert not lost and not other, (lost[:3], other)
        assert all(1 <= int(reply.headers["retry-after"]) <= 60 for reply in refused)
        assert goodput >= least * best * (0.9 if harness.SHORT else 1), f"{times}x: goodput {goodput:.1f}, want {least * best:.1f}"
        if refused:
            assert late <= REFUSED_WITHIN_S or harness.SHORT, f"refused after {late * 1e3:.0f} ms"
        await asyncio.sleep(3)


def check_goodput_stays_under_overload():
    harness.raise_descriptor_limit(16384)
    with Server(*FLAGS) as server:
        asyncio.run(scenario(server))
        assert server.alive()


if __name__ == "__main__":
    harness.main(globals())
