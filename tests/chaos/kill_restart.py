"""kill -9 and restart under load: kill_restart.py MILLRACE MODEL [--short]

Clients ask for texts that are known beforehand; the server, which keeps KV blocks on disk, is killed at a random moment
and started again on the same folder. It must be ready in five seconds beside the loading of the model, every answer ever
given must be the known one, and blocks found on disk must give the same text as computed ones."""
import asyncio
import random
import tempfile
import time

import harness
from harness import Server, ask, prompt, scaled

ROUNDS = scaled(40, 3)
N_PROMPTS = scaled(24, 8)
SEED = int(time.time())


def body(i):
    # a long common beginning, so that blocks are shared, spilled and found again
    return {"prompt": prompt(i % 4, 120) + " " + prompt(i, 30), "max_tokens": 12, "temperature": 0, "ignore_eos": True}


async def known_texts(port):
    replies = await asyncio.gather(*(ask(port, "/v1/completions", body(i)) for i in range(N_PROMPTS)))
    assert {reply.status for reply in replies} == {200}
    return [reply.json()["choices"][0]["text"] for reply in replies]


async def load_until_killed(server, texts, after_s):
    """Number of answers that came before the end; each is compared."""
    n_answers = 0
    killed = asyncio.Event()

    async def client(i):
        nonlocal n_answers
        turn = i
        while not killed.is_set():
            turn = (turn * 7 + 3) % N_PROMPTS
            try:
                reply = await ask(server.port, "/v1/completions", body(turn))
            except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError):
                await asyncio.sleep(0.01)
                continue
            if reply.status == 200:
                n_answers += 1
                assert reply.json()["choices"][0]["text"] == texts[turn], turn

    clients = [asyncio.create_task(client(i)) for i in range(8)]
    await asyncio.sleep(after_s)
    server.kill()
    killed.set()
    await asyncio.gather(*clients)
    return n_answers


async def rounds(server):
    draw = random.Random(SEED)
    texts = await known_texts(server.port)
    first_start = None
    n_answers, starts = 0, []
    for _ in range(ROUNDS):
        n_answers += await load_until_killed(server, texts, draw.uniform(0.1, 2.0))
        starts.append(server.start())
        first_start = first_start or starts[0]
        assert await known_texts(server.port) == texts, f"seed {SEED}: texts differ after a restart"
    print(f"      {ROUNDS} kills, {n_answers} answers under load, start {min(starts):.1f}..{max(starts):.1f} s, seed {SEED}")
    assert n_answers > ROUNDS
    assert max(starts) <= min(starts) + 5


def check_restarts_after_kill_9():
    with tempfile.TemporaryDirectory() as folder:
        with Server("--max-model-len", "1024", "--kv-disk-path", folder, "--kv-disk-write", "all", "--kv-cache-memory-bytes", "24M") as server:
            asyncio.run(rounds(server))


if __name__ == "__main__":
    harness.main(globals())
