"""The loads by which a server is judged, one class each: play() runs it once on a fresh server of one engine and returns figures by name.

Names of figures end in their unit. `tok/s` and `x of` are better when more, `ms` and `failed` when less. Peers get the same requests;
what they do not have (tenants, a target) they simply do not get."""
import json

import conversation
from servers import MILLRACE, run
from traffic import Ask, Burst, Quiet, burst, metric, percentile

CHAT = Ask(words=128, ratio=0.5, output=64)
CHAT_LENGTH = 1536


def rates(out):
    return {"tok/s": out["total_token_throughput"], "ttft p50 ms": out["median_ttft_ms"], "ttft p99 ms": out["p99_ttft_ms"],
            "itl p99 ms": out["p99_itl_ms"], "failed": out["failed"]}


def warm(server, ask=CHAT):
    burst(server.url, Ask(ask.words, ask.ratio, 0, 8), 2, seed=999_983, clients=2)


class Closed:
    """`clients` that each send the next request when the last one ended."""

    def __init__(self, name, title, ask, clients, goals):
        self.name, self.title, self.ask, self.clients, self.goals = name, title, ask, clients, goals

    def play(self, engine, args, seed):
        length = max(CHAT_LENGTH, 2 * (self.ask.words + self.ask.shared) + self.ask.output)
        with engine.serve(self.clients, length) as server:
            warm(server)
            return rates(burst(server.url, self.ask, max(8, int(args.rounds * self.clients)), seed, clients=self.clients))


class Open:
    """Chat requests that arrive at parts of the rate which 32 clients reach in the same run."""
    name, title, goals = "rate", "chat mix, arrivals at parts of the rate of 32 clients", {}
    parts = (0.25, 0.5, 0.75, 1.0)

    def play(self, engine, args, seed):
        with engine.serve(64, CHAT_LENGTH) as server:
            warm(server)
            most = burst(server.url, CHAT, 32, seed, clients=32)["request_throughput"]
            out = {"32 clients: req/s": most}
            for i, part in enumerate(self.parts):
                count = max(8, int(args.rounds * 32 * part))
                got = burst(server.url, CHAT, count, seed + 1000 * (i + 1), rate=part * most)
                for name, value in rates(got).items():
                    out[f"{part:g}x: {name}"] = value
        return out


class Beside:
    """One stream, alone and while long prompts arrive at 60 % and 150 % of the prefill rate measured just before."""
    goals = {}

    def __init__(self, words, target_ms=0):
        self.words, self.target = words, target_ms
        self.name = f"beside{words}" + (f"-target{target_ms}" if target_ms else "")
        self.title = f"one stream while {words}-token prompts arrive" + (f", --itl-target-ms {target_ms}" if target_ms else "")

    def play(self, engine, args, seed):
        if self.target and engine.kind != "millrace":
            return None
        more = ["--itl-target-ms", self.target] if self.target else []
        ask = Ask(words=self.words, output=1)
        with engine.serve(32, 8192 if engine.kind == "millrace" else 4096, more=more) as server:
            warm(server)
            out = burst(server.url, ask, 6, seed, clients=2)
            prefill = out["total_input_tokens"] / out["duration"]
            figures = {"prefill tok/s": prefill}
            quiet = Quiet(server, tokens=200)
            quiet.join()
            alone = [1e3 * gap for gap in quiet.gaps(0, quiet.times[-1])]
            figures |= {"alone: itl p50 ms": percentile(alone, 50), "alone: itl p99 ms": percentile(alone, 99)}
            bound = self.target or max(3 * figures["alone: itl p99 ms"], 10)
            for part in (0.6, 1.5):
                figures |= self.under(server, ask, part, prefill, bound, seed, args)
            figures["bound ms"] = bound
        return figures

    def under(self, server, ask, part, prefill, bound, seed, args):
        rate = part * prefill / ask.words
        quiet = Quiet(server)
        quiet.wait(5)
        load = Burst(server.url, ask, max(4, int(rate * args.seconds)), seed + int(100 * part), rate=rate)
        out = load.result()
        gaps = [1e3 * gap for gap in quiet.gaps(load.began, load.ended)]
        quiet.stop()
        p99 = percentile(gaps, 99)
        return {f"{part:g}x: itl p50 ms": percentile(gaps, 50), f"{part:g}x: itl p99 ms": p99, f"{part:g}x: p99, x of its bound": bound / max(p99, 1e-9),
                f"{part:g}x: itl max ms": max(gaps, default=0), f"{part:g}x: arrivals tok/s": out["total_input_tokens"] / out["duration"],
                f"{part:g}x: ttft p50 ms": out["median_ttft_ms"], f"{part:g}x: failed": out["failed"] + (1 if quiet.failure else 0)}


class Tenants:
    """Two tenants: one alone, then beside another that sends ten times as much, together more than the machine can."""
    name, title, goals = "tenants", "two tenants, one sends 10x", {}

    def play(self, engine, args, seed):
        more = ["--api-key", "small", "--api-key", "big"] if engine.kind == "millrace" else []
        with engine.serve(64, CHAT_LENGTH, more=more) as server:
            out = burst(server.url, CHAT, 32, seed, clients=32, key="big")
            rate = 0.14 * out["request_throughput"]  # 1.54 of what it can, with the other one's
            count = max(8, int(rate * 2 * args.seconds))
            alone = burst(server.url, CHAT, count, seed + 1, rate=rate, key="small")
            steps = self.steps(server, engine)
            big = Burst(server.url, CHAT, 10 * count, seed + 2, rate=10 * rate, key="big")
            small = burst(server.url, CHAT, count, seed + 3, rate=rate, key="small")
            now = self.steps(server, engine)
            big.stop()
        figures = {"alone: ttft p50 ms": alone["median_ttft_ms"], "alone: ttft p99 ms": alone["p99_ttft_ms"],
                   "beside: ttft p50 ms": small["median_ttft_ms"], "beside: ttft p99 ms": small["p99_ttft_ms"],
                   "beside: itl p99 ms": small["p99_itl_ms"], "failed": small["failed"]}
        if now[1] > steps[1]:
            step = 1e3 * (now[0] - steps[0]) / (now[1] - steps[1])
            figures["step ms"] = step
            figures["added to p99, steps"] = (small["p99_ttft_ms"] - alone["p99_ttft_ms"]) / step
        return figures

    # Seconds of all steps so far, and how many; peers do not say.
    def steps(self, server, engine):
        if engine.kind != "millrace":
            return [0, 0]
        return [metric(server, f"millrace:step_time_seconds_{kind}") for kind in ("sum", "count")]


class Oversubscribed:
    """Streams that together need three times the KV pool, against a pool that holds them all."""
    goals = {}

    def __init__(self, name, ask, clients):
        self.name, self.ask, self.clients = name, ask, clients
        self.title = f"{clients} streams of {ask.words} words in and {ask.output} tokens out at 3x the KV pool"

    def play(self, engine, args, seed):
        need = self.clients * (self.ask.words + self.ask.output + 30)
        kv_token = json.loads(run([MILLRACE, "inspect", args.model, "--json"]))["memory"]["kv_bytes_per_token"]
        figures = {}
        for name, pool in (("enough", 2 * need), ("a third", need // 3)):
            with engine.serve(self.clients, CHAT_LENGTH, pool=pool, kv_token=kv_token) as server:
                warm(server)
                out = burst(server.url, self.ask, int(args.rounds * self.clients), seed, clients=self.clients)
                figures |= {f"{name}: {key}": value for key, value in rates(out).items() if key in ("tok/s", "failed", "ttft p50 ms", "itl p99 ms")}
                if engine.kind == "millrace":
                    figures[f"{name}: preemptions"] = metric(server, "vllm:num_preemptions_total")
        figures["throughput, x of enough"] = figures["a third: tok/s"] / max(figures["enough: tok/s"], 1e-9)
        return figures


class Return:
    """A conversation of 1,000 tokens that comes back from disk: bench/conversation.py."""
    goals = {}

    def __init__(self, how):
        self.how, self.name = how, f"return-{how}"
        self.title = "a conversation of 1,000 tokens returns " + conversation.HOW[how]

    def play(self, engine, args, seed):
        if engine.kind != "millrace":
            return None
        disk, recompute, _, n_prompt, n_cached = conversation.one_run(engine, 1000, seed, self.how)
        return {"from disk: ttft ms": 1e3 * disk, "recomputed: ttft ms": 1e3 * recompute, "part of recompute": disk / recompute,
                "tokens from disk": n_cached, "tokens of the prompt": n_prompt}


# goals: figure -> least ratio to the best peer
SCENARIOS = [
    Closed("chat1", "chat mix, 1 client", CHAT, 1, {}),
    Closed("chat8", "chat mix, 8 clients", CHAT, 8, {}),
    Closed("chat32", "chat mix, 32 clients", CHAT, 32, {"tok/s": 1.8, "ttft p50 ms": 2, "itl p99 ms": 4}),
    Closed("chat64", "chat mix, 64 clients", CHAT, 64, {}),
    Open(),
    Closed("prefix", "1,000-token shared prefix, 32 clients", Ask(words=48, ratio=0.33, shared=1000, output=64), 32,
           {"tok/s": 2.5, "ttft p50 ms": 2, "itl p99 ms": 4}),
    Closed("long", "1,000-token prompts, 32 clients", Ask(words=970, output=64), 32, {"tok/s": 1.3, "ttft p50 ms": 2, "itl p99 ms": 4}),
    Beside(1000), Beside(2000), Beside(2000, target_ms=30),
    Tenants(), Oversubscribed("pool", CHAT, 32), Oversubscribed("pool-long", Ask(words=256, output=256), 16), Return("evicted"), Return("restarted"), Return("killed"),
]
