"""Time to the first token of a conversation that returns from disk: bench/conversation.py MODEL [--tokens 1000] [--runs 5].

Each run: a server with a fresh --kv-disk-path answers the first turn. Then its KV leaves memory, in one of three ways: other
prompts push it out of a small pool, the server is stopped and started again, or it is killed (SIGKILL) and started again. The
second turn comes from disk, and, for comparison, to a server without a folder. Both answers must be the same text.
Prints the median (min..max) of both times, their ratio and the size of the folder. Servers listen on loopback only."""
import argparse
import json
import pathlib
import statistics
import sys
import tempfile
import time
import urllib.request

from servers import Engine

WORDS = "the river ran past the old mill and every stone in its bed had a name that only the miller knew by heart".split()
HOW = {"evicted": "after other prompts evicted it", "restarted": "after a restart", "killed": "after kill -9 and a restart"}
POOL_BYTES = 96 << 20  # of the server whose pool is to overflow


def first_token(server, prompt, n_output):
    """Seconds to the first streamed token, the text, prompt tokens and how many of them were cached."""
    body = {"model": "m", "prompt": prompt, "max_tokens": n_output, "temperature": 0, "ignore_eos": True, "stream": True,
            "stream_options": {"include_usage": True}}
    request = urllib.request.Request(server.url + "/v1/completions", json.dumps(body).encode(), {"Content-Type": "application/json"})
    begin = time.perf_counter()
    first, text, usage = None, "", {}
    with urllib.request.urlopen(request, timeout=120) as reply:
        for line in reply:
            if not line.startswith(b"data: {"):
                continue
            chunk = json.loads(line[6:])
            usage = chunk.get("usage") or usage
            for choice in chunk["choices"]:
                first = first or time.perf_counter() - begin
                text += choice["text"]
    return first, text, usage["prompt_tokens"], usage.get("prompt_tokens_details", {}).get("cached_tokens", 0)


def history(run, tokens):
    return f"Run {run}. " + " ".join(WORDS[(7 * i + run) % len(WORDS)] for i in range(tokens))


def forget(server, run, tokens):
    """Prompts of twice the pool."""
    for i in range(2 * POOL_BYTES // (tokens * 20_000) + 1):
        first_token(server, history(1000 * (run + 1) + i, tokens)[::-1], 1)


def one_run(engine, tokens, run, how):
    more = ["--kv-cache-memory-bytes", POOL_BYTES] if how == "evicted" else []
    text = history(run, tokens)
    with tempfile.TemporaryDirectory() as folder:
        disk_flags = ["--kv-disk-path", folder, "--kv-disk-write", "all"]
        server = engine.serve(1, 8192, more=more + disk_flags)
        answer = first_token(server, text, 16)[1]
        question = text + answer + " And what did the miller say?"
        if how == "evicted":
            forget(server, run, tokens)
        else:
            time.sleep(0.5)  # what a user takes to read the answer; the files are written meanwhile
            server.kill() if how == "killed" else server.stop()
            server = engine.serve(1, 8192, more=more + disk_flags)
        stored = sum(f.stat().st_size for f in pathlib.Path(folder).rglob("*") if f.is_file())
        disk, text, n_prompt, n_cached = first_token(server, question, 16)
        server.stop()
    with engine.serve(1, 8192) as server:
        recompute, plain, _, none = first_token(server, question, 16)
    if text != plain or none != 0:
        sys.exit(f"run {run}: different texts: {text!r} and {plain!r}")
    return disk, recompute, stored, n_prompt, n_cached


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--tokens", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--how", choices=HOW, default="killed")
    args = parser.parse_args()
    engine = Engine("millrace", "millrace", args.model, args.threads)
    rows = [one_run(engine, args.tokens, run, args.how) for run in range(args.runs)]
    for name, column in (("from disk", 0), ("recomputed", 1)):
        values = [1000 * row[column] for row in rows]
        print(f"TTFT {name}: {statistics.median(values):.0f} ms ({min(values):.0f}..{max(values):.0f})")
    ratio = statistics.median(row[0] for row in rows) / statistics.median(row[1] for row in rows)
    print(f"ratio {ratio:.3f}; {rows[0][4]} of {rows[0][3]} prompt tokens from disk; {rows[0][2] / 2**20:.1f} MiB stored; n = {args.runs}")


if __name__ == "__main__":
    main()
