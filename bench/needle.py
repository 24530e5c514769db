"""Needles in haystacks: bench/needle.py MODEL.gguf TEXT [--tokens 2000] [--needles 40] [--kv bf16,int8].

A number is hidden at a depth of a long text, and the model is asked for it, greedily. Prints how many numbers each type
of KV cache finds, by depth, and how many answers differ between them: what a smaller cache forgets."""
import argparse
import collections
import json
import pathlib
import random
import urllib.request

from servers import MILLRACE, Server

NAMES = ["Anna", "Boris", "Clara", "David", "Elena", "Felix", "Greta", "Henry"]


def questions(words, n_words, n_needles, seed):
    draw = random.Random(seed)
    for i in range(n_needles):
        name, number = draw.choice(NAMES), draw.randrange(1000, 10000)
        begin = draw.randrange(len(words))
        hay = [words[(begin + j) % len(words)] for j in range(n_words)]
        depth = i * 5 // n_needles
        hay.insert(n_words * (2 * depth + 1) // 10, f"\n\nThe secret number of {name} is {number}.\n\n")
        yield depth, str(number), (f"Read this text.\n\n{' '.join(hay)}\n\nQuestion: What is the secret number of {name}?\n"
                                   f"Answer: The secret number of {name} is")


def complete(server, prompt):
    body = json.dumps({"prompt": prompt, "max_tokens": 8, "temperature": 0}).encode()
    request = urllib.request.Request(server.url + "/v1/completions", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=300) as reply:
        answer = json.load(reply)
    return answer["choices"][0]["text"], answer["usage"]["prompt_tokens"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("text")
    parser.add_argument("--tokens", type=int, default=2000)
    parser.add_argument("--needles", type=int, default=40)
    parser.add_argument("--kv", default="bf16,int8")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    words = pathlib.Path(args.text).read_text(encoding="utf-8").split()
    asked = list(questions(words, int(args.tokens / 1.35), args.needles, args.seed))
    answers = {}
    for kv in args.kv.split(","):
        with Server([MILLRACE, "serve", args.model, "--kv-cache-dtype", kv]) as server:
            answers[kv] = [complete(server, prompt) for _, _, prompt in asked]
    longest = max(tokens for _, tokens in next(iter(answers.values())))
    print(f"{args.needles} needles, prompts of at most {longest} tokens\n")
    print("| KV cache | found | by depth, fifths from the beginning |\n|---|---|---|")
    for kv, given in answers.items():
        found = collections.Counter(depth for (depth, number, _), (text, _) in zip(asked, given) if number in text)
        print(f"| {kv} | {sum(found.values())} | {', '.join(str(found[depth]) for depth in range(5))} |")
    first, *others = answers
    for other in others:
        same = sum(a[0] == b[0] for a, b in zip(answers[first], answers[other]))
        print(f"\n{same} of {args.needles} answers of {other} are those of {first}.")


if __name__ == "__main__":
    main()
