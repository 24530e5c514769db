"""What a constraint costs and what it saves: time per output token and forward passes, with a constraint and without.

usage: structured.py MODEL [--program MILLRACE]... [--peer] [--runs N] [--only cost,forced,masks] [--flags "..."]
  --program  a build to measure, several in turn (build/release/millrace)
  --peer     llama-server (bench/peers) in turn as well, with the same file, schema and grammar
Every pair of answers, with and without, has the same prompt and number of tokens: free text runs on by ignore_eos to what the constrained
answer has. Medians of N pairs; the ratio is the median of the pairs' ratios. A stream's time per token is that between its first and last
chunk. Forward passes are the steps that the server counts, so only of Millrace; one stream at a time.
masks: for each kind of constraint, microseconds that the server took for a mask beside its forward passes (only Millrace): the mean, and the
upper bound of the bucket of the histogram in which the median, 99 % and the longest lie.
"""
import argparse
import json
import os
import re
import statistics
import threading
import time
import urllib.request

from servers import Engine, MILLRACE

TOKENS = 64
PEOPLE = {"type": "object", "properties": {"people": {"type": "array", "minItems": 50, "items": {
    "type": "object", "properties": {"name": {"type": "string", "minLength": 1, "maxLength": 40}, "age": {"type": "integer", "minimum": 0, "maximum": 120},
                                     "tags": {"type": "array", "items": {"enum": ["red", "green", "blue"]}}},
    "required": ["name", "age", "tags"]}}}, "required": ["people"]}
# fixed words with little between them: an entry of a form, and an object with long names and few values
FORM = r'''root ::= "The following is the automatic report of the service named " name " for the last full hour of operation.\n" line{20}
line ::= "The number of requests that were answered with status code " [1-5] [0-9] [0-9] " within the time limit is " number ".\n"
name ::= [a-z]{3,8}
number ::= [1-9] [0-9]{0,2}
'''
FLAGS = ["is_currently_available_for_delivery", "requires_signature_of_the_recipient", "contains_fragile_or_dangerous_goods", "was_insured_by_the_sender"]
PARCEL = {"type": "object", "properties": {name: {"type": "boolean"} for name in FLAGS}, "required": FLAGS, "additionalProperties": False}
PARCELS = {"type": "array", "items": PARCEL, "minItems": 20}


def schema(value):
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": value, "strict": True}}}


# kind: fields of a request; each answer has TOKENS tokens
MASKS = {
    "json_object": {"response_format": {"type": "json_object"}},
    "schema": schema(PEOPLE),
    "schema of long names": schema(PARCELS),
    "regex": {"regex": r"([a-z]{3,12}@[a-z]+\.(com|org) \d{4}-\d\d-\d\d\n){40}"},
    "grammar": {"grammar": FORM},
    "structural tag": {"response_format": {"type": "structural_tag", "structures": [
        {"begin": "<call>", "schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}, "end": "</call>"}],
        "triggers": ["<call"]}},
}


def stream(url, prompt, constraint, seed, out):
    """Appends milliseconds per token behind the first chunk."""
    body = {"messages": [{"role": "user", "content": prompt}], "max_tokens": TOKENS, "temperature": 0.7, "seed": seed, "stream": True,
            "ignore_eos": True, "stream_options": {"include_usage": True}} | constraint
    request = urllib.request.Request(url + "/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"})
    times = []
    n_tokens = 0
    for line in urllib.request.urlopen(request, timeout=120):
        if line.startswith(b"data: {") and b'"content":"' in line and b'"role"' not in line:
            times.append(time.perf_counter())
        if b'"completion_tokens":' in line:
            n_tokens = int(re.search(rb'"completion_tokens": ?(\d+)', line)[1])
    assert n_tokens == TOKENS, f"{n_tokens} tokens of {TOKENS}"
    out.append((times[-1] - times[0]) / (TOKENS - 1) * 1000)


def tpot(url, prompt, constraint, n_streams, run):
    out = []
    threads = [threading.Thread(target=stream, args=(url, prompt, constraint, run * 100 + i, out)) for i in range(n_streams)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(out) == n_streams
    return statistics.mean(out)


def steps(url):
    text = urllib.request.urlopen(url + "/metrics", timeout=10).read().decode()
    found = re.search(r"^vllm:iteration_tokens_total_count(?:\{[^}]*\})? (\d+)", text, re.M)
    return int(found[1]) if found else None


def masks(url):
    """Counts of the histogram by upper bound in seconds, and the sum of seconds."""
    text = urllib.request.urlopen(url + "/metrics", timeout=10).read().decode()
    counts, before = {}, 0
    for bound, total in re.findall(r'^millrace:grammar_mask_seconds_bucket\{.*le="([^"]+)"\} (\d+)', text, re.M):
        counts[float(bound)], before = int(total) - before, int(total)
    return counts, float(re.search(r"^millrace:grammar_mask_seconds_sum\{.*\} (\S+)", text, re.M)[1])


def answer(url, constraint, seed):
    body = {"messages": [{"role": "user", "content": "Write."}], "max_tokens": TOKENS, "temperature": 0.7, "seed": seed} | constraint
    urllib.request.urlopen(urllib.request.Request(url + "/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}), timeout=120).read()


def measure_masks(url, kind, constraint, n_streams):
    answer(url, constraint, 0)  # compiles the constraint
    time.sleep(0.05)  # beyond the age of a snapshot of the metrics
    counts_before, sum_before = masks(url)
    threads = [threading.Thread(target=answer, args=(url, constraint, seed)) for seed in range(n_streams)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    time.sleep(0.05)
    counts, total = masks(url)
    counts = {bound: counts[bound] - counts_before[bound] for bound in counts}
    n = sum(counts.values())

    def bound_of(part):
        """Microseconds: the upper bound of the bucket in which this part of the masks ends."""
        seen = 0
        for bound, count in counts.items():
            seen += count
            if seen >= part * n:
                return bound * 1e6
        return float("inf")

    cells = (total - sum_before) / n * 1e6, bound_of(0.5), bound_of(0.99), bound_of(1)
    print(f"{kind:<22} {n_streams:8d} {n:7d}", *(f"{cell:8.0f}" for cell in cells), flush=True)


class Row:
    """Pairs of one measurement of one server: time per token, forward passes."""

    def __init__(self, url, prompt, constraint, n_streams):
        self.url, self.prompt, self.constraint, self.n_streams = url, prompt, constraint, n_streams
        self.pairs = []
        self.passes = []
        tpot(url, prompt, constraint, 1, 0)  # compiles the constraint, caches the prompt

    def measure(self, run, counted):
        times, passes = [], []
        for constraint in ({}, self.constraint) if run % 2 == 0 else (self.constraint, {}):
            before = steps(self.url) if counted else None
            times.append(tpot(self.url, self.prompt, constraint, self.n_streams, run))
            passes.append(steps(self.url) - before if counted else 0)
        order = 1 if run % 2 == 0 else -1
        self.pairs.append(times[::order])
        self.passes.append(passes[::order])

    def cells(self):
        free, constrained = (statistics.median(column) for column in zip(*self.pairs))
        ratios = sorted(b / a for a, b in self.pairs)
        text = f"{free:8.2f} {constrained:12.2f}   {statistics.median(ratios):6.3f} ({ratios[0]:.3f}..{ratios[-1]:.3f})"
        if any(b for _, b in self.passes):
            a, b = (statistics.median(column) for column in zip(*self.passes))
            text += f"   passes {a:4.0f} / {b:4.0f} = {a / b:.2f}"
        return text


def measure(rows, servers, runs):
    """rows: (label, prompt, constraint, streams). Servers and constraints take turns."""
    for label, prompt, constraint, n_streams in rows:
        by_server = {name: Row(server.url, prompt, constraint, n_streams) for name, (server, _) in servers.items()}
        for run in range(runs):
            for name, row in by_server.items():
                row.measure(run, servers[name][1] and n_streams == 1)
        for name, row in by_server.items():
            print(f"{label:<26} {n_streams:3d}  {name:<14} {row.cells()}", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--program", action="append", default=[])
    parser.add_argument("--peer", action="store_true")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", default="cost,forced")
    parser.add_argument("--flags", default="")
    args = parser.parse_args()
    threads = len(os.sched_getaffinity(0))
    servers = {}
    try:
        for i, program in enumerate(args.program or [MILLRACE]):
            engine = Engine("millrace", "millrace", args.model, threads, flags=("--max-model-len", 1024, *args.flags.split()))
            servers[f"millrace{i if len(args.program) > 1 else ''}"] = (engine.serve(32, 1024, program=program), True)
        if args.peer:
            servers["llama-server"] = (Engine("llama", "llama", args.model, threads).serve(32, 1024), False)
        people = "List people with their age and colours as JSON."
        rows = []
        if "cost" in args.only:
            rows += [("schema", people, schema(PEOPLE), n) for n in (1, 32)]
        if "forced" in args.only:
            rows += [("forced spans: grammar", "Write the report.", {"grammar": FORM}, 1),
                     ("forced spans: schema", "Describe the parcels as JSON.", schema(PARCELS), 1)]
        if "masks" in args.only:
            print("us per mask             streams   masks     mean median<=   99 %<= longest<=")
            for n_streams in (1, 32):
                for kind, constraint in MASKS.items():
                    measure_masks(servers[next(iter(servers))][0].url, kind, constraint, n_streams)
        if rows:
            print("constraint              streams  server          free ms  constrained ms   ratio (least..most)")
            measure(rows, servers, args.runs)
    finally:
        for server, _ in servers.values():
            server.stop()


main()
