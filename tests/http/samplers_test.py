"""The samplers on a real model: samplers_test.py MILLRACE MODEL

Requests with every sampler run once alone and once 24 at a time in a pool of blocks that is too small for them: the same
texts, though some were preempted or computed again. Then what each sampler is for."""
import concurrent.futures
import json
import pathlib
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import checks  # noqa: E402

PROGRAM, MODEL = sys.argv[1:]
SMALL_POOL = 15_000_000  # bytes: some 600 tokens
SAMPLERS = [
    {"temperature": 0}, {"temperature": 0.9}, {"temperature": 0.9, "top_k": 0, "top_p": 1.0, "min_p": 0}, {"mirostat": 1}, {"mirostat": 2, "mirostat_tau": 3.0},
    {"mirostat": 2, "mirostat_eta": 0.5, "temperature": 1.2}, {"dry_multiplier": 0.8}, {"temperature": 0, "dry_multiplier": 0.8, "dry_penalty_last_n": -1},
    {"xtc_probability": 0.5}, {"dynatemp_range": 0.4}, {"top_n_sigma": 1.0}, {"typical_p": 0.6}, {"min_keep": 3, "top_p": 0.1},
    {"samplers": ["min_p", "temperature"], "temperature": 1.5}, {"samplers": "kt"}, {"repeat_penalty": 1.3, "repeat_last_n": 8},
    {"bad_words": [" the", ","], "temperature": 0.5}, {"bad_token_ids": [28], "temperature": 0},
    {"no_repeat_ngram_size": 2, "temperature": 0}, {"no_repeat_ngram_size": 3, "temperature": 1.2},
]


class Server:
    def __init__(self, *flags):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.process = subprocess.Popen([PROGRAM, "serve", MODEL, *flags, "--port", str(port), "--max-model-len", "512"], stderr=subprocess.DEVNULL)
        end = time.monotonic() + checks.HANG_S
        while self.process.poll() is None and time.monotonic() < end and not self.healthy():
            time.sleep(0.05)
        assert self.process.poll() is None and self.healthy(), "the server is not ready"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        assert self.process.wait(checks.HANG_S) == 0

    def healthy(self):
        try:
            return urllib.request.urlopen(self.url + "/health", timeout=checks.HANG_S).status == 200
        except (urllib.error.URLError, ConnectionError):
            return False

    def post(self, path, body):
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
        return json.loads(urllib.request.urlopen(request, timeout=10 * checks.HANG_S).read())

    def complete(self, **more):
        return self.post("/completion", {"prompt": "Once upon a time there was", "n_predict": 64, "seed": 11, "ignore_eos": True, **more})["content"]

    def metric(self, name):
        text = urllib.request.urlopen(self.url + "/metrics", timeout=checks.HANG_S).read().decode()
        return float(re.search(rf"^vllm:{name}(?:\{{[^}}]*\}})? (\S+)", text, re.M)[1])


def check_the_same_text_alone_and_in_a_full_pool():
    asks = [{**one, "seed": seed, "prompt": "The " * (seed % 5) + "story of the ship"} for seed in (1, 2) for one in SAMPLERS]
    alone = [wide.complete(**one) for one in asks]
    with Server("--kv-cache-memory-bytes", str(SMALL_POOL)) as narrow, concurrent.futures.ThreadPoolExecutor(24) as pool:
        together = list(pool.map(lambda one: narrow.complete(**one), asks))
        n_preempted, n_recomputed = narrow.metric("num_preemptions_total"), len(asks)
    for one, a, b in zip(asks, alone, together):
        assert a == b, (one, a, b)
    print(f"{len(asks)} requests, {n_preempted:.0f} preemptions")
    assert n_preempted > 0, "nobody was preempted: this checks less than it says"


def check_forks_have_a_course_of_their_own():
    body = {"prompt": "The sea", "n_predict": 32, "seed": 5, "mirostat": 2, "mirostat_tau": 4.0, "n": 3, "ignore_eos": True}
    first, second = (wide.post("/completion", body) for _ in range(2))
    texts = [choice["content"] for choice in first]
    assert len(set(texts)) == 3 and texts == [choice["content"] for choice in second], texts


def check_mirostat_keeps_to_its_target():
    surprise = {}
    for tau in (2.0, 6.0):
        reply = wide.post("/completion", {"prompt": "Yesterday", "n_predict": 200, "seed": 3, "temperature": 1.0, "mirostat": 2, "mirostat_tau": tau,
                                          "mirostat_eta": 0.3, "ignore_eos": True, "n_probs": 1})
        bits = [-token["logprob"] / 0.6931 for token in reply["completion_probabilities"]]
        surprise[tau] = sum(bits) / len(bits)
    assert surprise[2.0] + 1.0 < surprise[6.0], surprise


def check_dry_ends_a_loop():
    def repeats(text):
        words = text.split()
        return max((sum(words[i:i + 4] == words[j:j + 4] for j in range(len(words))) for i in range(len(words) - 3)), default=0)
    prompt = "one two three four one two three four one two three four"
    plain = wide.complete(prompt=prompt, temperature=0, n_predict=96)
    dry = wide.complete(prompt=prompt, temperature=0, n_predict=96, dry_multiplier=2.0, dry_penalty_last_n=-1)
    assert repeats(dry) < repeats(plain), (plain, dry)
    broken = wide.complete(prompt=prompt, temperature=0, n_predict=96, dry_multiplier=2.0, dry_penalty_last_n=-1, dry_sequence_breakers=[" "])
    assert broken == plain, (plain, broken)  # every word ends a repetition


def check_bad_words_never_appear():
    for temperature in (0, 1.0):
        text = wide.complete(bad_words=["the", "and", "a"], temperature=temperature, n_predict=128)
        assert not re.search(r"\b(the|and|a)\b", text), text
    reply = wide.post("/v1/completions", {"prompt": "Once upon a time", "max_tokens": 64, "temperature": 0, "bad_words": ["time"]})
    assert " time" not in reply["choices"][0]["text"]


def check_ngrams_never_come_twice():
    prompt = wide.post("/tokenize", {"content": "one two three one two three"})["tokens"]
    for temperature in (0, 1.0):
        reply = wide.post("/completion", {"prompt": prompt, "n_predict": 128, "temperature": temperature, "no_repeat_ngram_size": 2, "return_tokens": True,
                                          "ignore_eos": True, "seed": 1})
        tokens = prompt + reply["tokens"]
        pairs = list(zip(tokens, tokens[1:]))
        again = [pair for at, pair in enumerate(pairs) if at >= len(prompt) - 1 and pair in pairs[:at]]
        assert len(reply["tokens"]) == 128 and not again, again


def check_probabilities_of_what_is_drawn_from():
    body = {"prompt": "The capital of", "n_predict": 4, "temperature": 0.8, "top_k": 3, "top_p": 1.0, "min_p": 0, "n_probs": 10, "seed": 1}
    for token in wide.post("/completion", {**body, "post_sampling_probs": True})["completion_probabilities"]:
        told = [one["prob"] for one in token["top_probs"]]
        assert len(told) == 3 and abs(sum(told) - 1) < 1e-5 and token["prob"] in told, token
    listed = wide.post("/completion", {**body, "logprob_token_ids": [7, 3]})["completion_probabilities"]
    assert [[one["id"] for one in token["top_logprobs"]] for token in listed] == [[7, 3]] * 4, listed


def check_settings_are_told():
    reply = wide.post("/completion", {"prompt": "x", "n_predict": 1, "samplers": ["top_k", "dry", "temperature"], "dry_multiplier": 0.5, "mirostat_tau": 2})
    settings = reply["generation_settings"]
    assert settings["samplers"] == ["top_k", "dry", "temperature"] and settings["dry_multiplier"] == 0.5 and settings["mirostat_tau"] == 2, settings
    plain = wide.post("/completion", {"prompt": "x", "n_predict": 1})["generation_settings"]
    assert plain["samplers"] == ["penalties", "dry", "top_n_sigma", "top_k", "typ_p", "top_p", "min_p", "xtc", "temperature"], plain


with Server() as wide:
    failed = checks.run(checks.named(globals()))
sys.exit(failed)
