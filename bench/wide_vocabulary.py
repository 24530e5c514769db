"""Writes a GGUF file with a large tokenizer and tiny random weights: python3 bench/wide_vocabulary.py OUT.gguf --tokens 151936

For what constraints cost with the vocabularies of large models: `millrace bench grammar OUT.gguf`. The tokens are those
of --tokenizer (a GGUF file with byte-level BPE) and, behind them, all numbers of two and three digits and pairs of its
tokens that are letters, each with its merge. The same arguments give the same bytes. Needs numpy."""
import argparse
import itertools
import pathlib
import random
import struct
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from random_model import STRING, Shape, text, tokenizer_of, write  # noqa: E402

NORMAL_TOKEN = 1
SPACE = "\u0120"  # of the byte alphabet


def strings(data):
    n, at = struct.unpack_from("<Q", data, 4)[0], 12
    out = []
    for _ in range(n):
        size = struct.unpack_from("<Q", data, at)[0]
        out.append(data[at + 8:at + 8 + size].decode())
        at += 8 + size
    return out


def pairs(tokens, seed):
    """Two tokens that may be one."""
    digits = "0123456789"
    for a, b in itertools.product(digits, repeat=2):
        yield a, b
    for a, b, c in itertools.product(digits, repeat=3):
        yield a + b, c
    draw = random.Random(seed)
    words = [token for token in tokens if token.removeprefix(SPACE).isalpha() and token.isascii() or token.startswith(SPACE)]
    ends = [token for token in tokens if token.isascii() and token.isalpha() and token.islower() and len(token) < 7]
    while True:
        yield draw.choice(words), draw.choice(ends)


def with_more(tokenizer, n_tokens, seed):
    tokens = strings(tokenizer["tokenizer.ggml.tokens"][1])
    merges = strings(tokenizer["tokenizer.ggml.merges"][1])
    known = set(tokens)
    n_before = len(tokens)
    for a, b in pairs(list(tokens), seed):
        if len(tokens) >= n_tokens:
            break
        if a + b not in known and len(a + b) <= 24:
            known.add(a + b)
            tokens.append(a + b)
            merges.append(f"{a} {b}")
    kind, types = tokenizer["tokenizer.ggml.token_type"]
    of = struct.unpack_from("<I", types)[0]
    types = struct.pack("<IQ", of, len(tokens)) + types[12:] + struct.pack("<i", NORMAL_TOKEN) * (len(tokens) - n_before)
    out = dict(tokenizer)
    out["tokenizer.ggml.token_type"] = (kind, types)
    for key, texts in (("tokens", tokens), ("merges", merges)):
        data = struct.pack("<IQ", STRING, len(texts)) + b"".join(text(one) for one in texts)
        out["tokenizer.ggml." + key] = (tokenizer["tokenizer.ggml." + key][0], data)
    out.pop("tokenizer.ggml.scores", None)
    return out, len(tokens)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out")
    parser.add_argument("--tokens", type=int, default=151_936)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tokenizer", default="models/SmolLM2-135M-Instruct.Q4_1.gguf")
    args = parser.parse_args()
    tokenizer, n_tokens = with_more(tokenizer_of(args.tokenizer)[0], args.tokens, args.seed)
    tiny = Shape(d_model=64, n_layers=1, n_heads=1, n_kv_heads=1, head_dim=64, d_ff=64, n_vocab=n_tokens)
    write(args.out, tiny, "Q8_0", tokenizer, args.seed)
    print(f"{args.out}: {n_tokens} tokens")


if __name__ == "__main__":
    main()
