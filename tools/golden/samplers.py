"""What samplers leave in reach, computed with numpy from their definitions: samplers.py > tests/golden/data/samplers.json

Each case: logits, parameters, and the distribution that the draw is from. Sources: top-n-sigma arXiv 2411.07641; locally
typical arXiv 2202.00666; nucleus arXiv 1904.09751; XTC and DRY text-generation-webui pull requests 6335 and 5677; dynamic
temperature llama.cpp pull request 4972; mirostat arXiv 2007.14966; n-grams transformers' NoRepeatNGramLogitsProcessor.
Order of steps: llama-server's default."""
import json

import numpy

VOCABULARY = 200
ORDER = ["top_n_sigma", "top_k", "typ_p", "top_p", "min_p", "xtc", "temperature"]


def logits_of(seed, scale):
    """Zipf-like with noise, in no order; rounded so that the file holds the very numbers."""
    random = numpy.random.default_rng(seed)
    values = -scale * numpy.log(1 + numpy.arange(VOCABULARY)) + random.normal(0, 0.5, VOCABULARY)
    return numpy.round(random.permutation(values), 4)


def softmax(x):
    e = numpy.exp(x - x.max())
    return e / e.sum()


def entropy(p):
    p = p[p > 0]
    return -(p * numpy.log(p)).sum()


def keep(logits, mask):
    return numpy.where(mask, logits, -numpy.inf)


def top_n_sigma(x, n):
    finite = x[numpy.isfinite(x)]
    return keep(x, x >= finite.max() - n * finite.std())


def top_k(x, k):
    order = numpy.argsort(-x, kind="stable")
    mask = numpy.zeros(len(x), bool)
    mask[order[:k]] = True
    return keep(x, mask & numpy.isfinite(x))


def by_mass(x, order, mass):
    p = softmax(x)
    total = numpy.cumsum(p[order])
    n = int(numpy.searchsorted(total, mass - 1e-12)) + 1
    mask = numpy.zeros(len(x), bool)
    mask[order[:n]] = True
    return keep(x, mask & numpy.isfinite(x))


def typ_p(x, mass):
    p = softmax(x)
    with numpy.errstate(divide="ignore", invalid="ignore"):
        distance = numpy.abs(-numpy.log(p) - entropy(p))
    return by_mass(x, numpy.argsort(distance, kind="stable"), mass)


def top_p(x, mass):
    return by_mass(x, numpy.argsort(-x, kind="stable"), mass)


def min_p(x, share):
    p = softmax(x)
    return keep(x, p >= share * p.max())


def xtc(x, threshold):
    p = softmax(x)
    above = numpy.flatnonzero(p >= threshold)
    if len(above) < 2:
        return x
    last = above[numpy.argmin(p[above])]
    mask = p < threshold
    mask[last] = True
    return keep(x, mask & numpy.isfinite(x))


def temperature(x, t, spread, exponent):
    if spread > 0:
        n = numpy.isfinite(x).sum()
        low, high = max(0.0, t - spread), t + spread
        t = low + (high - low) * (entropy(softmax(x)) / numpy.log(n)) ** exponent
    return x / t


def run(logits, params):
    x = logits.astype(float)
    for step in params.get("samplers", ORDER):
        if step == "top_n_sigma" and params.get("top_n_sigma", -1) > 0:
            x = top_n_sigma(x, params["top_n_sigma"])
        elif step == "top_k" and params.get("top_k", 0) > 0:
            x = top_k(x, params["top_k"])
        elif step == "typ_p" and params.get("typical_p", 1) < 1:
            x = typ_p(x, params["typical_p"])
        elif step == "top_p" and params.get("top_p", 1) < 1:
            x = top_p(x, params["top_p"])
        elif step == "min_p" and params.get("min_p", 0) > 0:
            x = min_p(x, params["min_p"])
        elif step == "xtc" and params.get("xtc_probability", 0) > 0:
            x = xtc(x, params["xtc_threshold"])
        elif step == "temperature":
            x = temperature(x, params.get("temperature", 1), params.get("dynatemp_range", 0), params.get("dynatemp_exponent", 1))
    return softmax(x)


def listed(p):
    return [[int(i), float(f"{p[i]:.9g}")] for i in numpy.flatnonzero(p)]


def cut_cases():
    settings = [
        {"top_n_sigma": 1.0}, {"top_n_sigma": 2.5, "temperature": 0.7},
        {"typical_p": 0.5}, {"typical_p": 0.9, "temperature": 1.5},
        {"xtc_probability": 1.0, "xtc_threshold": 0.05}, {"xtc_probability": 1.0, "xtc_threshold": 0.3},
        {"xtc_probability": 1.0, "xtc_threshold": 0.02, "top_k": 20, "min_p": 0.01},
        {"dynatemp_range": 0.5, "temperature": 0.8}, {"dynatemp_range": 1.5, "temperature": 1.0, "dynatemp_exponent": 2.0},
        {"dynatemp_range": 0.3, "temperature": 0.8, "top_k": 50, "top_p": 0.9, "top_n_sigma": 2.0, "typical_p": 0.95, "min_p": 0.02},
        {"samplers": ["temperature", "min_p", "top_p"], "temperature": 2.0, "min_p": 0.1, "top_p": 0.8, "top_k": 3},
        {"samplers": ["min_p", "top_p", "temperature"], "temperature": 2.0, "min_p": 0.1, "top_p": 0.8, "top_k": 3},
        {"samplers": ["top_k"], "top_k": 7, "temperature": 0.5},
    ]
    return [{"seed": seed, "scale": scale, "params": params, "want": listed(run(logits_of(seed, scale), params))}
            for seed, scale in [(1, 1.1), (2, 2.0)] for params in settings]


def mirostat_case(version, tau, eta, t, seed):
    """Ten tokens, each the one at a fixed place of what is kept: the sizes of the cuts and the course of mu."""
    mu, steps = 2 * tau, []
    for step in range(10):
        x = logits_of(seed + step, 1.3) / t
        p = softmax(x)
        order = numpy.argsort(-x, kind="stable")
        if version == 1:
            ranked = numpy.log(p[order[:100]])
            ratios = numpy.log((numpy.arange(99) + 2) / (numpy.arange(99) + 1))
            s = (ratios * (ranked[:-1] - ranked[1:])).sum() / (ratios ** 2).sum()
            epsilon = s - 1
            k = ((epsilon * 2.0 ** mu) / (1 - VOCABULARY ** -epsilon)) ** (1 / s)
            n = int(min(max(int(k), 1), VOCABULARY))
        else:
            n = max(int((-numpy.log2(p) <= mu).sum()), 1)
        kept = p[order[:n]] / p[order[:n]].sum()
        place = min(3 * step, n - 1)
        mu -= eta * (-numpy.log2(kept[place]) - tau)
        steps.append({"n": n, "place": place, "token": int(order[place]), "probability": float(f"{kept[place]:.9g}"), "mu": float(f"{mu:.9g}")})
    return {"version": version, "tau": tau, "eta": eta, "temperature": t, "seed": seed, "scale": 1.3, "steps": steps}


def dry_case(history, breakers, multiplier, base, allowed, last_n):
    """By trying every earlier place, with no algorithm of strings: the longest repetition that a token would continue."""
    recent = history if last_n < 0 else history[-last_n:] if last_n else []
    reach = len(recent)  # tokens behind the last breaker
    for back in range(len(recent)):
        ends = [len(b) for b in breakers if len(b) <= back + 1 and recent[len(recent) - 1 - back:][:len(b)] == b]
        if ends:
            reach = back + 1 - max(ends)
            break
    penalties = {}
    for place in range(1, len(recent)):
        n = 0
        while n < min(place, reach) and recent[place - 1 - n] == recent[-1 - n]:
            n += 1
        if n >= allowed and reach >= allowed and len(recent) > allowed and [recent[place]] not in breakers:
            token = recent[place]
            penalties[token] = max(penalties.get(token, 0), multiplier * base ** (n - allowed))
    return {"history": history, "breakers": breakers, "multiplier": multiplier, "base": base, "allowed_length": allowed, "last_n": last_n,
            "want": sorted([token, float(f"{penalty:.9g}")] for token, penalty in penalties.items())}


def dry_cases():
    random = numpy.random.default_rng(5)
    cases = [dry_case([1, 2, 3, 3, 2, 3, 9, 1, 2, 3], [], 0.8, 1.75, 2, -1), dry_case([1, 2, 3, 4, 1, 2, 3], [[2]], 0.8, 1.75, 1, -1),
             dry_case([1, 2, 3, 4, 5, 1, 2, 3], [[1, 2]], 1.0, 2.0, 1, -1), dry_case([7] * 12, [], 0.5, 1.2, 2, 6), dry_case([1, 2], [], 1, 2, 2, -1)]
    for _ in range(20):
        history = [int(t) for t in random.integers(0, 4, int(random.integers(3, 60)))]
        breakers = [[int(t) for t in random.integers(0, 5, int(random.integers(1, 4)))] for _ in range(int(random.integers(0, 3)))]
        cases.append(dry_case(history, breakers, 0.8, 1.75, int(random.integers(1, 4)), int(random.choice([-1, 8, 20]))))
    return cases


def ngram_case(history, n):
    """By trying every token: which of them would make the last n tokens a sequence that was there before."""
    seen = {tuple(history[i:i + n]) for i in range(len(history) - n + 1)}
    begin = history[len(history) - n + 1:] if n > 1 else []
    banned = [t for t in range(VOCABULARY) if len(history) >= n - 1 and tuple(begin + [t]) in seen]
    return {"history": history, "n": n, "want": banned}


def ngram_cases():
    random = numpy.random.default_rng(7)
    cases = [ngram_case([1, 2, 3, 1, 2], 3), ngram_case([5, 5, 5], 2), ngram_case([4, 9], 1), ngram_case([4, 9], 3), ngram_case([3], 5)]
    for _ in range(20):
        history = [int(t) for t in random.integers(0, 5, int(random.integers(1, 40)))]
        cases.append(ngram_case(history, int(random.integers(1, 6))))
    return cases


if __name__ == "__main__":
    logits = {f"{seed}/{scale}": logits_of(seed, scale).tolist()
              for seed, scale in [(1, 1.1), (2, 2.0)] + [(seed + step, 1.3) for seed in (20, 40) for step in range(10)]}
    print(json.dumps({"logits": logits, "cuts": cut_cases(),
                      "mirostat": [mirostat_case(1, 3.0, 0.1, 1.0, 20), mirostat_case(2, 3.0, 0.1, 1.0, 20), mirostat_case(1, 5.0, 0.3, 0.8, 40),
                                   mirostat_case(2, 2.0, 0.2, 1.4, 40)],
                      "dry": dry_cases(), "ngrams": ngram_cases()}, separators=(",", ":")))
