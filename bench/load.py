"""Servers under load, side by side: bench/load.py MODEL.gguf [--only chat32,beside1000] [--runs 5] [--peers llama,llama-q4_0].

Every scenario of bench/scenarios.py on Millrace and its peers, alternating in one run: median (min..max) of n, the ratio to the
best peer and whether its goal is met; as a table, as JSON (--out DIR/load.json) and as SVG plots of throughput against latency.
Peers: llama (needs bench/peers/llama_cpp.sh), llama-q4_0 (the same file requantised to the peer's fastest format), vllm (a Python
with vLLM's CPU build: --vllm PYTHON --vllm-model FOLDER). Nothing else may use the cores meanwhile."""
import argparse
import json
import os
import pathlib
import statistics
import sys
import time

import plot
from scenarios import SCENARIOS
from servers import MILLRACE, PEER, Engine, run


def engines_of(args, out):
    engines = [Engine("millrace", "millrace", args.model, args.threads, flags=tuple(args.flags.split()))]
    for peer in [p for p in args.peers.split(",") if p]:
        model, python = args.model, sys.executable
        if peer == "llama-q4_0":
            model = out / (pathlib.Path(args.model).stem + ".requantised.q4_0.gguf")
            if not model.exists():
                run([PEER / "llama-quantize", "--allow-requantize", args.model, model, "q4_0"])
        elif peer == "vllm":
            model, python = args.vllm_model, args.vllm
        elif peer != "llama":
            sys.exit(f"--peers {peer}: want llama, llama-q4_0 or vllm")
        flags = tuple(args.llama_flags.split()) if peer.startswith("llama") else ()
        engines.append(Engine(peer, "vllm" if peer == "vllm" else "llama", str(model), args.threads, python, flags))
    return engines


def cpu_seconds():
    """Of all processes, and of those that this one waited for, itself included."""
    fields = pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    ticks = [int(f) for f in fields]
    busy = sum(ticks) - ticks[3] - ticks[4]  # less idle and waiting for IO
    return busy / os.sysconf("SC_CLK_TCK"), sum(os.times()[:4])


def less_is_better(figure):
    return figure.endswith(" ms") or figure == "failed"


def show(values):
    return f"{statistics.median(values):.4g} ({min(values):.4g}..{max(values):.4g})"


def best_peer(figure, samples, engines):
    """The peer with the best median of a figure, and that median; None without one."""
    medians = [(statistics.median(values), e.name) for e in engines[1:] if (values := [s[figure] for s in samples[e.name] if figure in s])]
    return (min if less_is_better(figure) else max)(medians, default=None)


def table(scenario, samples, engines):
    """Lines of a Markdown table of one scenario."""
    lines = [f"### {scenario.name}: {scenario.title}, n = {len(samples[engines[0].name])}", "",
             "| | " + " | ".join(e.name for e in engines) + " | ratio to the best peer | goal |", "|---" * (len(engines) + 3) + "|"]
    for figure in samples[engines[0].name][0]:
        cells = [show(values) if (values := [s[figure] for s in samples[e.name] if figure in s]) else "" for e in engines]
        ratio, goal = "", ""
        peer = best_peer(figure, samples, engines)
        ours = statistics.median(s[figure] for s in samples[engines[0].name])
        if peer and ours and peer[0] and figure != "failed":
            value = peer[0] / ours if less_is_better(figure) else ours / peer[0]
            ratio = f"{value:.2f} ({peer[1]})"
            if figure in scenario.goals:
                goal = f"{scenario.goals[figure]:g}: " + ("met" if value >= scenario.goals[figure] else "not met")
        lines.append(f"| {figure} | " + " | ".join(cells) + f" | {ratio} | {goal} |")
    return lines + [""]


def plots(results, engines, out):
    """Closed and open loop: all tokens a second against the two latencies."""
    median = {name: {e.name: {f: statistics.median(s[f] for s in samples[e.name]) for f in samples[e.name][0]} for e in engines if samples[e.name]}
              for name, samples in results.items()}
    chats = [name for name in ("chat1", "chat8", "chat32", "chat64") if name in median]
    for latency in ("ttft p50 ms", "itl p99 ms"):
        stem = latency.split()[0]
        if len(chats) > 1:
            lines = [(e.name, [(median[c][e.name]["tok/s"], median[c][e.name][latency], c[4:]) for c in chats]) for e in engines]
            text = plot.svg("chat mix, closed loop (points: clients)", "tokens/s, prompt and answer", latency, lines)
            (out / f"closed-{stem}.svg").write_text(text)
        if "rate" in median:
            parts = [figure.split(":")[0] for figure in median["rate"][engines[0].name] if figure.endswith("x: tok/s")]
            lines = [(e.name, [(median["rate"][e.name][f"{p}: tok/s"], median["rate"][e.name][f"{p}: {latency}"], p) for p in parts]) for e in engines]
            text = plot.svg("chat mix, by arrival rate (points: part of the rate of 32 clients)", "tokens/s, prompt and answer", latency, lines)
            (out / f"open-{stem}.svg").write_text(text)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--only", default="", help="comma-separated scenarios: " + ", ".join(s.name for s in SCENARIOS))
    parser.add_argument("--peers", default="llama,llama-q4_0", help="comma-separated: llama, llama-q4_0, vllm; empty for none")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=float, default=2, help="requests per client")
    parser.add_argument("--seconds", type=float, default=8, help="of arrivals beside a stream; twice that with tenants")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--flags", default="", help="further flags of millrace serve")
    parser.add_argument("--llama-flags", default="", help="further flags of llama-server, to sweep its batch sizes")
    parser.add_argument("--vllm", default=sys.executable)
    parser.add_argument("--vllm-model", default="")
    parser.add_argument("--out", default="build/bench")
    args = parser.parse_args()
    out = pathlib.Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    chosen = [s for s in SCENARIOS if not args.only or s.name in args.only.split(",")]
    engines = engines_of(args, out)
    probe = json.loads(run([MILLRACE, "bench", "model", args.model, "--threads", args.threads, "-p", 16, "-n", 0, "-r", 1, "--json"]))
    machine = {key: probe.get(key) for key in ("cpu", "isa", "read_gbps", "int8_gmacs")}
    print(f"machine: {machine}", flush=True)
    results = {}
    begin, busy = time.monotonic(), cpu_seconds()
    for scenario in chosen:
        samples = results[scenario.name] = {e.name: [] for e in engines}
        for i in range(args.runs):
            for engine in engines:
                figures = scenario.play(engine, args, args.seed * 10_000 + i)
                samples[engine.name] += [figures] if figures else []
        print("\n".join(table(scenario, samples, engines)), flush=True)
    now = cpu_seconds()
    others = (now[0] - busy[0] - (now[1] - busy[1])) / (time.monotonic() - begin)
    print(f"other processes used {others:.2f} cores: more than 0.1 makes the figures worthless")
    machine["cores_of_others"] = others
    (out / "load.json").write_text(json.dumps({"machine": machine, "model": args.model, "runs": args.runs, "samples": results}, indent=1))
    plots(results, engines, out)


if __name__ == "__main__":
    main()
