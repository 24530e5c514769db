"""Time per output token with and without a JSON schema, at 1 and 32 streams, of one running server.

usage: structured.py [BASE_URL]   (python3 tools/check/with_server.py build/release/millrace MODEL -- python3 bench/structured.py)
Every stream gives exactly TOKENS tokens: free text by ignore_eos, constrained text by a schema that asks for more.
"""
import json
import os
import statistics
import sys
import threading
import time
import urllib.request

BASE = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("MILLRACE_URL", "http://127.0.0.1:8000")
TOKENS = 64
SCHEMA = {"type": "object", "properties": {"people": {"type": "array", "minItems": 50, "items": {
    "type": "object", "properties": {"name": {"type": "string", "minLength": 1, "maxLength": 40}, "age": {"type": "integer", "minimum": 0, "maximum": 120},
                                     "tags": {"type": "array", "items": {"enum": ["red", "green", "blue"]}}},
    "required": ["name", "age", "tags"]}}}, "required": ["people"]}


def stream(constrained, seed, out):
    body = {"messages": [{"role": "user", "content": "List people with their age and colours as JSON."}], "max_tokens": TOKENS,
            "temperature": 0.7, "seed": seed, "stream": True, "ignore_eos": True}
    if constrained:
        body["guided_json"] = SCHEMA
    request = urllib.request.Request(BASE + "/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"})
    times = []
    for line in urllib.request.urlopen(request, timeout=120):
        if line.startswith(b"data: {") and b'"content":"' in line and b'"role"' not in line:
            times.append(time.perf_counter())
    out.append((times[-1] - times[0]) / (TOKENS - 1) * 1000)


def tpot(constrained, n_streams, run):
    out = []
    threads = [threading.Thread(target=stream, args=(constrained, run * 100 + i, out)) for i in range(n_streams)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return statistics.mean(out)


tpot(True, 1, 0)  # compiles
print("streams  free ms  schema ms  ratio   (mean TPOT, median of runs in turn)")
for n_streams, runs in ((1, 7), (32, 3)):
    pairs = [(tpot(False, n_streams, run), tpot(True, n_streams, run)) for run in range(runs)]
    free, schema = (statistics.median(column) for column in zip(*pairs))
    ratio = statistics.median(b / a for a, b in pairs)
    print(f"{n_streams:7d} {free:8.2f} {schema:10.2f} {ratio:6.3f}")
