"""Programs of many calls with and without a shared prefix cache: bench/programs.py MODEL [--runs 5] [--only tree].

The few-shot and the tree-of-thought example (python/examples) as batches, on two Millrace servers that differ in one flag,
alternating in one run: programs a second, median (min..max) of n, and the ratio of the medians; the answers of both must be
the same. Nothing else may use the cores meanwhile."""
import argparse
import json
import pathlib
import statistics
import sys
import time

from servers import Engine, Server

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "python"), str(ROOT / "python/examples")]
import few_shot_qa  # noqa: E402
import tree_of_thought  # noqa: E402
from millrace import RuntimeEndpoint  # noqa: E402

def few_shot(backend):
    return [s["answer"] for s in few_shot_qa.answer.run_batch(few_shot_qa.questions(64), backend=backend)]


def trees(backend):
    rows = [{"question": question, "seed": 10000 * i} for i, question in enumerate(tree_of_thought.QUESTIONS[:2])]
    return [s["leaves"] for s in tree_of_thought.think.run_batch(rows, backend=backend)]


# (name, what runs the batch and returns what must be equal, programs in it)
WORKLOADS = [("few-shot QA, 64 questions", few_shot, 64), ("tree of thought, 2 trees of 8 leaves, 8 worked examples", trees, 2)]


def once(engine, work):
    with Server(engine.command(64, 2048)) as server:
        backend = RuntimeEndpoint(server.url)
        begin = time.monotonic()
        made = work(backend)
        return time.monotonic() - begin, made


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("model")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", default="", help="the workloads whose name holds this text")
    parser.add_argument("--out", type=pathlib.Path)
    args = parser.parse_args()
    shared = Engine("shared", "millrace", args.model, args.threads)
    alone = Engine("alone", "millrace", args.model, args.threads, flags=("--no-enable-prefix-caching",))
    results = {}
    for name, work, n in [row for row in WORKLOADS if args.only in row[0]]:
        rates = {"shared": [], "alone": []}
        for _ in range(args.runs):
            made = []
            for engine in (shared, alone):
                seconds, answers = once(engine, work)
                rates[engine.name].append(n / seconds)
                made.append(answers)
            if made[0] != made[1]:
                sys.exit(f"{name}: the cache changed an answer")
        ratio = statistics.median(rates["shared"]) / statistics.median(rates["alone"])
        results[name] = {**rates, "ratio": ratio}
        for kind, values in rates.items():
            print(f"{name}: {kind:6} {statistics.median(values):.2f} ({min(values):.2f}..{max(values):.2f}) programs/s")
        print(f"{name}: {ratio:.2f}x with the cache, n = {args.runs}")
    if args.out:
        args.out.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
