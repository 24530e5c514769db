"""Millrace against llama.cpp on the same file in the same run: bench/compare.py MODEL.gguf [--runs 5] [--threads 2].

Both sides alternate; every figure is the median of the runs with its spread (min..max), and the ratio of medians.
pp512 and tg128 come from `llama-bench` and `millrace bench model`; server throughput from `millrace bench serve` against
`llama-server` and `millrace serve` with the same prompts. Needs bench/peers/llama_cpp.sh to have built the peer.
Nothing else may use the cores meanwhile: llama.cpp's threads spin."""
import argparse
import json
import statistics
import sys

from servers import MILLRACE, PEER, Server, run


def peer_rates(args):
    rows = json.loads(run([PEER / "llama-bench", "-m", args.model, "-t", args.threads, "-p", 512, "-n", 128, "-r", 1, "-o", "json"]))
    return {("pp512" if r["n_prompt"] else "tg128"): r["avg_ts"] for r in rows}


def our_rates(args):
    report = json.loads(run([MILLRACE, "bench", "model", args.model, "--threads", args.threads, "-r", 1, "--json"]))
    return {r["test"]: r["tokens_per_second"] for r in report["results"]}, report


def serve_rates(url, clients, args, seed):
    out = json.loads(run([MILLRACE, "bench", "serve", "--base-url", url, "--input-len", 128, "--random-range-ratio", 0.5, "--output-len", 64,
                          "--ignore-eos", "--num-prompts", max(8, 2 * clients), "--max-concurrency", clients, "--seed", seed, "--json"]))
    return {"tok/s": out["total_token_throughput"], "ttft_p50_ms": out["median_ttft_ms"], "itl_p99_ms": out["p99_itl_ms"]}


def table(title, unit, ours, theirs, better_is_more=True):
    a, b = statistics.median(ours), statistics.median(theirs)
    ratio = a / b if better_is_more else b / a
    print(f"{title:28} {a:9.1f} ({min(ours):.1f}..{max(ours):.1f})  {b:9.1f} ({min(theirs):.1f}..{max(theirs):.1f})  {unit:6} {ratio:6.2f}x")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--clients", default="1,8,32")
    parser.add_argument("--skip-servers", action="store_true")
    parser.add_argument("--skip-model", action="store_true", help="servers only")
    args = parser.parse_args()
    ours, theirs, report = {}, {}, {}
    for i in range(0 if args.skip_model else args.runs):
        rates, report = our_rates(args)
        for name, value in rates.items():
            ours.setdefault(name, []).append(value)
        for name, value in peer_rates(args).items():
            theirs.setdefault(name, []).append(value)
        print(f"run {i + 1} of {args.runs} done", file=sys.stderr)
    print(f"{'':28} {'millrace (spread)':>26}  {'llama.cpp (spread)':>26}  unit    ratio")
    for name in ours:
        table(name, "tok/s", ours[name], theirs[name])
    if report:
        print(f"machine: {report.get('cpu')}, isa {report.get('isa')}, read {report.get('read_gbps'):.1f} GB/s, int8 {report.get('int8_gmacs'):.0f} GMAC/s")
    if args.skip_servers:
        return
    for clients in [int(c) for c in args.clients.split(",")]:
        samples = {"ours": [], "theirs": []}
        for i in range(args.runs):
            for side, command in (("ours", [MILLRACE, "serve", args.model, "--threads", args.threads]),
                                  ("theirs", [PEER / "llama-server", "-m", args.model, "-t", args.threads, "-tb", args.threads, "--parallel", clients,
                                              "-c", 1536 * clients, "--no-webui"])):
                server = Server(command)
                try:
                    serve_rates(server.url, 1, args, seed=1000 + i)  # warm
                    samples[side].append(serve_rates(server.url, clients, args, seed=i))
                finally:
                    server.stop()
        table(f"server, {clients} clients", "tok/s", [s["tok/s"] for s in samples["ours"]], [s["tok/s"] for s in samples["theirs"]])
        table("  TTFT p50", "ms", [s["ttft_p50_ms"] for s in samples["ours"]], [s["ttft_p50_ms"] for s in samples["theirs"]], False)
        table("  ITL p99", "ms", [s["itl_p99_ms"] for s in samples["ours"]], [s["itl_p99_ms"] for s in samples["theirs"]], False)


if __name__ == "__main__":
    main()
