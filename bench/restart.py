"""Time to the first token of a conversation that returns after a restart: bench/restart.py MODEL [--tokens 1000] [--runs 5].

Each run: a server with a fresh --kv-disk-path answers the first turn and is stopped; a new one on the same folder gets
the second turn (from disk), and one without a folder gets it too (recompute). Both answers must be the same text.
Prints the median (min..max) of both times, their ratio and the size of the folder. Servers listen on loopback only."""
import argparse
import json
import pathlib
import statistics
import sys
import tempfile
import time
import urllib.request

from compare import MILLRACE, Server

WORDS = "the river ran past the old mill and every stone in its bed had a name that only the miller knew by heart".split()


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


def serve(args, folder=None):
    command = [MILLRACE, "serve", args.model, "--served-model-name", "m", "--threads", args.threads, "--max-model-len", 8192]
    return Server(command + (["--kv-disk-path", folder, "--kv-disk-write", "all"] if folder else []))


def one_run(args, run):
    history = f"Run {run}. " + " ".join(WORDS[(7 * i + run) % len(WORDS)] for i in range(args.tokens))
    with tempfile.TemporaryDirectory() as folder:
        server = serve(args, folder)
        answer = first_token(server, history, 16)[1]
        server.stop()
        stored = sum(f.stat().st_size for f in pathlib.Path(folder).iterdir())
        question = history + answer + " And what did the miller say?"
        server = serve(args, folder)
        disk, text, n_prompt, n_cached = first_token(server, question, 16)
        server.stop()
    server = serve(args)
    recompute, plain, _, none = first_token(server, question, 16)
    server.stop()
    if text != plain or none != 0:
        sys.exit(f"run {run}: different texts: {text!r} and {plain!r}")
    return disk, recompute, stored, n_prompt, n_cached


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--tokens", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    rows = [one_run(args, run) for run in range(args.runs)]
    for name, column in (("from disk", 0), ("recomputed", 1)):
        values = [1000 * row[column] for row in rows]
        print(f"TTFT {name}: {statistics.median(values):.0f} ms ({min(values):.0f}..{max(values):.0f})")
    ratio = statistics.median(row[0] for row in rows) / statistics.median(row[1] for row in rows)
    print(f"ratio {ratio:.3f}; {rows[0][4]} of {rows[0][3]} prompt tokens from disk; {rows[0][2] / 2**20:.1f} MiB stored; n = {args.runs}")


if __name__ == "__main__":
    main()
