"""Writes a GGUF file with random weights: python3 bench/random_model.py OUT.gguf --shape 1b --format Q4_K_M --seed 1

For speed on shapes that no bundled model has: decode, prefill, load time and memory depend on shapes and formats, not on
what the weights say. The same arguments give the same bytes. The tokenizer is that of --tokenizer (a GGUF file); more
tokens than it has are unused ones. Shapes: 1b (Llama 3.2 1B), 7b (Qwen2 7B), or odd, drawn by --seed: head sizes and a
vocabulary that are no multiples of 32. Quants are uniform random bits under scales that give a matrix of K columns
values of mean 0 and deviation 1 / sqrt(K), so activations stay finite. Formats: any of LAYOUTS for all matrices (the
output at least Q6_K or Q8_0), or Q4_K_M, which mixes Q4_K and Q6_K as llama.cpp does. A row that a format of 256 values
does not divide takes Q8_0, or F16. Needs numpy."""
import argparse
import dataclasses
import pathlib
import struct

import numpy as np

ALIGNMENT = 32
U32, F32, BOOL, STRING, ARRAY = 4, 6, 7, 8, 9
SCALAR_BYTES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
UNUSED_TOKEN = 5


@dataclasses.dataclass
class Layout:
    """One group: its GGUF type, values and bytes; f16 fields as (byte offset, factor of the unit scale)."""

    gguf_type: int
    values: int
    bytes: int
    scales: tuple = ()


# The factor of d is 1 / deviation of the integer that d multiplies; that of a minimum makes the mean 0.
LAYOUTS = {
    "F32": Layout(0, 1, 4),
    "F16": Layout(1, 1, 2),
    "BF16": Layout(30, 1, 2),
    "Q4_0": Layout(2, 32, 18, ((0, 1 / 4.6),)),
    "Q4_1": Layout(3, 32, 20, ((0, 1 / 4.6), (2, -7.5 / 4.6))),
    "Q5_0": Layout(6, 32, 22, ((0, 1 / 9.2),)),
    "Q5_1": Layout(7, 32, 24, ((0, 1 / 9.2), (2, -15.5 / 9.2))),
    "Q8_0": Layout(8, 32, 34, ((0, 1 / 74.0),)),
    "Q2_K": Layout(10, 256, 84, ((80, 1 / 10.0), (82, 1.5 / 10.0))),
    "Q3_K": Layout(11, 256, 110, ((108, 1 / 42.0),)),
    "Q4_K": Layout(12, 256, 144, ((0, 1 / 170.0), (2, 7.5 / 170.0))),
    "Q5_K": Layout(13, 256, 176, ((0, 1 / 340.0), (2, 15.5 / 340.0))),
    "Q6_K": Layout(14, 256, 210, ((208, 1 / 1370.0),)),
    "IQ4_NL": Layout(20, 32, 18, ((0, 1 / 70.0),)),
    "IQ4_XS": Layout(23, 256, 136, ((0, 1 / 1300.0),)),
}


@dataclasses.dataclass
class Shape:
    d_model: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    d_ff: int
    n_vocab: int  # at least the tokenizer's

    @staticmethod
    def named(name, seed, n_tokens):
        if name == "1b":
            return Shape(2048, 16, 32, 8, 64, 8192, n_tokens)
        if name == "7b":
            return Shape(3584, 28, 28, 4, 128, 18944, n_tokens)
        random = np.random.default_rng(seed)
        group = int(random.choice([1, 2, 3, 5, 7]))
        n_kv_heads = int(random.integers(1, 4))
        # a file stores whole groups, so widths are multiples of 32
        return Shape(32 * int(random.integers(8, 33)), int(random.integers(2, 7)), group * n_kv_heads, n_kv_heads,
                     int(random.choice([32, 48, 80, 96, 160])), 32 * int(random.integers(24, 97)),
                     n_tokens + 1 + 2 * int(random.integers(0, 15)))


def text(value):
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def value_end(data, at, kind):
    """Offset behind one metadata value."""
    if kind == STRING:
        return at + 8 + struct.unpack_from("<Q", data, at)[0]
    if kind != ARRAY:
        return at + SCALAR_BYTES[kind]
    of, n = struct.unpack_from("<IQ", data, at)
    at += 12
    if of != STRING:
        return at + n * SCALAR_BYTES[of]
    for _ in range(n):
        at = value_end(data, at, STRING)
    return at


def tokenizer_of(path):
    """{key: (type, bytes)} of the tokenizer.* metadata, and the number of tokens."""
    data = pathlib.Path(path).read_bytes()
    at, out = 24, {}
    for _ in range(struct.unpack_from("<Q", data, 16)[0]):
        end = value_end(data, at, STRING)
        key = data[at + 8:end].decode()
        kind = struct.unpack_from("<I", data, end)[0]
        at = value_end(data, end + 4, kind)
        if key.startswith("tokenizer."):
            out[key] = (kind, data[end + 4:at])
    return out, struct.unpack_from("<Q", out["tokenizer.ggml.tokens"][1], 4)[0]


def add_tokens(tokenizer, n_more):
    more = {"tokenizer.ggml.tokens": b"".join(text(f"<unused {i}>") for i in range(n_more)),
            "tokenizer.ggml.token_type": struct.pack("<i", UNUSED_TOKEN) * n_more,
            "tokenizer.ggml.scores": struct.pack("<f", 0.0) * n_more}
    for key, tail in more.items():
        if key in tokenizer:
            kind, data = tokenizer[key]
            of, n = struct.unpack_from("<IQ", data)
            tokenizer[key] = (kind, struct.pack("<IQ", of, n + n_more) + data[12:] + tail)


def metadata(shape, tokenizer):
    def number(value):
        return (U32, struct.pack("<I", value))

    out = {"general.architecture": (STRING, text("llama")), "general.name": (STRING, text("random")),
           "llama.block_count": number(shape.n_layers), "llama.context_length": number(8192),
           "llama.embedding_length": number(shape.d_model), "llama.feed_forward_length": number(shape.d_ff),
           "llama.attention.head_count": number(shape.n_heads), "llama.attention.head_count_kv": number(shape.n_kv_heads),
           "llama.attention.key_length": number(shape.head_dim), "llama.attention.value_length": number(shape.head_dim),
           "llama.attention.layer_norm_rms_epsilon": (F32, struct.pack("<f", 1e-5)),
           "llama.rope.dimension_count": number(shape.head_dim), "llama.rope.freq_base": (F32, struct.pack("<f", 10000.0)),
           "llama.vocab_size": number(shape.n_vocab)}
    return out | tokenizer


def has_more_bits(layer, n_layers):
    """llama.cpp's use_more_bits(): the first and last eighth of the layers and every third between."""
    return layer < n_layers // 8 or layer >= 7 * n_layers // 8 or (layer - n_layers // 8) % 3 == 2


def tensors(shape, recipe):
    """(name, columns, rows, format) in file order; rows 0: a vector."""
    def fit(name, columns):
        fitting = [form for form in (name, "Q8_0", "F16") if columns % LAYOUTS[form].values == 0]
        return fitting[0]

    main = "Q4_K" if recipe == "Q4_K_M" else recipe
    is_float = main in ("F32", "F16", "BF16")
    high = main if is_float or main == "Q8_0" else "Q6_K"
    d, q, kv = shape.d_model, shape.n_heads * shape.head_dim, shape.n_kv_heads * shape.head_dim
    out = [("token_embd", d, shape.n_vocab, fit(main, d))]
    for i in range(shape.n_layers):
        better = high if recipe == "Q4_K_M" and has_more_bits(i, shape.n_layers) else main
        rows = [("attn_norm", d, 0, "F32"), ("attn_q", d, q, main), ("attn_k", d, kv, main), ("attn_v", d, kv, better),
                ("attn_output", q, d, main), ("ffn_norm", d, 0, "F32"), ("ffn_gate", d, shape.d_ff, main),
                ("ffn_up", d, shape.d_ff, main), ("ffn_down", shape.d_ff, d, better)]
        out += [(f"blk.{i}.{name}", columns, n, fit(form, columns)) for name, columns, n, form in rows]
    return out + [("output_norm", d, 0, "F32"), ("output", d, shape.n_vocab, fit(high, d))]


def random_rows(random, columns, rows, form):
    """The bytes of rows x columns values."""
    layout = LAYOUTS[form]
    unit = 1.0 / np.sqrt(columns)
    if form in ("F32", "F16", "BF16"):
        values = random.standard_normal(rows * columns, dtype=np.float32) * np.float32(unit)
        if form == "BF16":
            return (values.view(np.uint32) >> 16).astype(np.uint16).tobytes()
        return values.astype(np.float16 if form == "F16" else np.float32).tobytes()
    groups = random.integers(0, 256, (rows * columns // layout.values, layout.bytes), dtype=np.uint8)
    for offset, factor in layout.scales:
        groups[:, offset:offset + 2] = np.frombuffer(np.float16(unit * factor).tobytes(), dtype=np.uint8)
    return groups.tobytes()


def size_of(columns, rows, form):
    return max(rows, 1) * columns // LAYOUTS[form].values * LAYOUTS[form].bytes


def padding(n):
    return b"\0" * (-n % ALIGNMENT)


def write(path, shape, recipe, tokenizer, seed):
    meta, table = metadata(shape, tokenizer), tensors(shape, recipe)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(table), len(meta))
    head += b"".join(text(key) + struct.pack("<I", kind) + data for key, (kind, data) in meta.items())
    offset = 0
    for name, columns, rows, form in table:
        dims = (columns, rows) if rows else (columns,)
        head += text(name + ".weight") + struct.pack(f"<I{len(dims)}Q", len(dims), *dims)
        head += struct.pack("<IQ", LAYOUTS[form].gguf_type, offset)
        offset += size_of(columns, rows, form) + len(padding(size_of(columns, rows, form)))
    random = np.random.default_rng(seed)
    with open(path, "wb") as file:
        file.write(head + padding(len(head)))
        for _, columns, rows, form in table:
            n_bytes = size_of(columns, rows, form)
            if rows == 0:
                file.write(np.ones(columns, dtype=np.float32).tobytes())
            for begin in range(0, rows, 1024):
                file.write(random_rows(random, columns, min(1024, rows - begin), form))
            file.write(padding(n_bytes))
    return offset


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out")
    parser.add_argument("--shape", choices=["1b", "7b", "odd"], default="1b")
    parser.add_argument("--format", choices=["Q4_K_M", *LAYOUTS], default="Q4_K_M")
    parser.add_argument("--layers", type=int, default=0, help="fewer layers than the shape has; 0: all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tokenizer", default="models/SmolLM2-135M-Instruct.Q4_1.gguf")
    args = parser.parse_args()
    tokenizer, n_tokens = tokenizer_of(args.tokenizer)
    shape = Shape.named(args.shape, args.seed, n_tokens)
    shape.n_layers = args.layers or shape.n_layers
    add_tokens(tokenizer, shape.n_vocab - n_tokens)
    n_bytes = write(args.out, shape, args.format, tokenizer, args.seed)
    print(f"{args.out}: {shape}, {args.format}, {n_bytes / 1e6:.1f} MB of weights")


if __name__ == "__main__":
    main()
