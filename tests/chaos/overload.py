"""Overload: overload.py MILLRACE MODEL [--short] [--seconds OF_A_PHASE] [--peer LLAMA_SERVER] [--vllm PYTHON FOLDER]

The capacity is measured by clients that wait for their answers; then requests arrive at random, from 0.8 to 10 times that
rate, whether they are answered or not. The peak is the most answers a second of these phases: the same client, the same
arrivals, only the load differs. What is answered at twice and ten times the capacity must stay near the peak; what is
refused must be refused at once and be told when to come back. An answer that takes longer than PATIENCE_S does not count:
a server that lets its queue grow answers everybody too late. Answers are 8 to 24 tokens long; were they of one length,
waiting clients would fall in step, all 32 sequences beginning and ending together, which no open load does. The same load
may go to other servers afterwards, only for the figures, which are printed side by side at the end: a llama-server of the
same model, and vLLM (the Python it is installed in, and a folder of the same weights).

Figures depend on the machine, so this is a nightly program and no part of ./check."""
import collections
import os
import random
import sys
import time


def option(name, n_values=1):
    """Its values; none when it is not given."""
    if name not in sys.argv:
        return []
    at = sys.argv.index(name)
    values = sys.argv[at + 1:at + 1 + n_values]
    del sys.argv[at:at + 1 + n_values]
    return values


PEER, VLLM, PHASE = option("--peer"), option("--vllm", 2), option("--seconds")

import harness  # noqa: E402
from harness import Server, percentile, prompt, request_bytes, scaled  # noqa: E402
from open_loop import closed_loop, open_loop  # noqa: E402

SECONDS = float(PHASE[0]) if PHASE else scaled(60, 20)
BEGIN = SECONDS / 4  # answers before are not counted: the first ones need their time
PATIENCE_S = 10
SEQUENCES, QUEUE, CONTEXT = 32, 64, 512
CLIENTS = QUEUE  # as many as keep the server busy without being refused, also when all come at once
FLAGS = ["--max-model-len", str(CONTEXT), "--max-num-seqs", str(SEQUENCES), "--max-num-queued-reqs", str(QUEUE),
         "--limit-connections-per-ip", "16384"]
LOADS = (0.8, 0.9, 1, 1.2, 2, 10)  # times the capacity
PEER_LOADS = (1, 2, 10)
LEAST = {2: 0.95, 10: 0.90}  # of the peak
REFUSED_WITHIN_S = 0.05
figures = {}  # of a server: what is printed side by side


def request(i):
    n_tokens = 8 + random.Random(i).randrange(17)
    body = {"prompt": prompt(i), "max_tokens": n_tokens, "temperature": 0, "ignore_eos": True}
    return request_bytes("/v1/completions", body, keep=True)


def counted(answers, patience_s=PATIENCE_S):
    """Answers a second that came in time, after the beginning and before the end."""
    good = [a for a in answers if a.status == 200 and a.seconds <= patience_s and BEGIN <= a.at + a.seconds < SECONDS]
    return len(good) / (SECONDS - BEGIN)


def capacity(port, name):
    # made before, as those of the open loop
    answers, cpu = closed_loop(port, [request(i) for i in range(int(SECONDS * 400))], CLIENTS, SECONDS)
    best = counted(answers, SECONDS)
    assert best > 0, f"no request was answered: statuses {collections.Counter(a.status for a in answers)}"
    print(f"      {name}: capacity {best:.1f} requests/s, the client used {100 * cpu / SECONDS:.1f} % of a core", flush=True)
    figures[name] = {f"{CLIENTS} clients that wait": f"{best:.1f}/s"}
    return best


def arrivals(rate, seed):
    draw, at, n = random.Random(seed), 0.0, 0
    made = []
    while (at := at + draw.expovariate(rate)) < SECONDS:
        made.append((at, request(10_000_000 + int(seed * 1_000_000) + n)))
        n += 1
    return made


def overload(port, best, times, name):
    """(goodput, answers) at so many times the capacity, printed."""
    answers, cpu = open_loop(port, arrivals(best * times, times), SECONDS, PATIENCE_S)
    goodput = counted(answers)
    good = [a.seconds for a in answers if a.status == 200]
    refused = [a.seconds for a in answers if a.status in (429, 503)]
    late = sum(s > PATIENCE_S for s in good) + sum(a.status == 0 for a in answers)
    print(f"      {times:>3}x: {len(answers)} sent, goodput {goodput:.1f}/s, {late} too late or never, answered after "
          f"p50 {percentile(good, 0.5):.1f} s, p99 {percentile(good, 0.99):.1f} s; {len(refused)} refused after "
          f"p50 {percentile(refused, 0.5) * 1e3:.1f} ms, p99 {percentile(refused, 0.99) * 1e3:.1f} ms, "
          f"max {max(refused, default=0) * 1e3:.1f} ms; client {100 * cpu / SECONDS:.1f} % of a core", flush=True)
    figures[name] |= {
        f"{times}x: goodput": f"{goodput:.1f}/s",
        f"{times}x: too late or never": f"{late} of {len(answers)}",
        f"{times}x: answered, p99": f"{percentile(good, 0.99):.1f} s",
        f"{times}x: refused, p99": f"{len(refused)}, {percentile(refused, 0.99) * 1e3:.1f} ms" if refused else "nobody"}
    return goodput, answers


def shares(name, best, goodputs):
    """The peak, and what the overloads keep of it and of the capacity, printed."""
    peak = max(goodputs.values())
    figures[name] |= {"peak": f"{peak:.1f}/s"}
    for times in LEAST:
        kept = f"{100 * goodputs[times] / peak:.0f} %, {100 * goodputs[times] / best:.0f} %"
        figures[name] |= {f"{times}x: of the peak, of those that wait": kept}
        print(f"      {name}: peak {peak:.1f}/s; {times}x: of the peak, of the clients that wait {kept}", flush=True)
    return peak


def scenario(port):
    capacity(port, "millrace") if not harness.SHORT else None  # warm
    best = capacity(port, "millrace")
    goodputs = {}
    for times in LOADS:
        goodputs[times], answers = overload(port, best, times, "millrace")
        wrong = [(a.status, a.seconds) for a in answers if a.status not in (200, 503)]
        refused = [a for a in answers if a.status == 503]
        assert not wrong, wrong[:3]
        assert all(a.retry_after is not None and 1 <= int(a.retry_after) <= 60 for a in refused)
        late = percentile([a.seconds for a in refused], 0.99)
        assert late <= REFUSED_WITHIN_S or harness.SHORT, f"refused after {late * 1e3:.0f} ms"
        time.sleep(1)
    peak = shares("millrace", best, goodputs)
    for times, least in LEAST.items():
        assert goodputs[times] >= least * peak * (0.9 if harness.SHORT else 1), f"{times}x: goodput {goodputs[times]:.1f}, want {least * peak:.1f}"


def check_goodput_stays_under_overload():
    harness.raise_descriptor_limit(16384)
    with Server(*FLAGS) as server:
        scenario(server.port)
        assert server.alive()


class Llama(Server):
    """llama-server with as many sequences of the same length; it knows no bound of its queue. A thread for each connection:
    with its default of some 36 the others wait unread until a connection is closed."""

    ready_path = "/health"

    def command(self):
        return [*PEER, "-m", harness.MODEL, "--port", str(self.port), "-np", str(SEQUENCES), "-c", str(SEQUENCES * CONTEXT), "-t", str(os.cpu_count()),
                "--threads-http", "1024", "--no-webui", "-lv", "1"]


class Vllm(Server):
    """vLLM with as many sequences and as many places in its queue."""

    ready_path = "/health"

    def command(self):
        python, folder = VLLM
        return [python, "-m", "vllm.entrypoints.openai.api_server", "--model", folder, "--host", "127.0.0.1", "--port", str(self.port),
                "--max-num-seqs", str(SEQUENCES), "--max-model-len", str(CONTEXT), "--max-num-queued-reqs", str(QUEUE), "--disable-uvicorn-access-log"]


def check_llama_server_under_the_same_load():
    if not PEER:
        return
    peer = Llama()
    peer.start()
    best = capacity(peer.port, "llama-server")
    goodputs = {}
    for times in PEER_LOADS:
        goodputs[times], _ = overload(peer.port, best, times, "llama-server")
        peer.kill()  # its queue would take minutes
        if times != PEER_LOADS[-1]:
            peer.start()
    shares("llama-server", best, goodputs)


def check_vllm_under_the_same_load():
    if not VLLM:
        return
    peer = Vllm()
    peer.start()
    try:
        best = capacity(peer.port, "vLLM")
        goodputs = {}
        for times in PEER_LOADS:
            goodputs[times], _ = overload(peer.port, best, times, "vLLM")
            time.sleep(5)  # to get rid of what its clients have given up
        shares("vLLM", best, goodputs)
    finally:
        peer.kill_all()


def check_side_by_side():
    rows = list(dict.fromkeys(row for one in figures.values() for row in one))
    print("      | | " + " | ".join(figures) + " |")
    print("      |---" * 1 + "|---" * len(figures) + "|")
    for row in rows:
        print(f"      | {row} | " + " | ".join(one.get(row, "") for one in figures.values()) + " |")


if __name__ == "__main__":
    harness.main(globals())
