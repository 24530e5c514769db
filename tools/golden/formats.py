"""Expected values of every weight format, from the public `gguf` package: formats.py OUT_DIR

Writes OUT_DIR/formats.f32: for each format in the order below, 4096 f32 values decoded from bytes that
src/tensor/formats_test.cc makes again with the same Philox counters (key = 0x6D72 + row, counter = 16-byte block),
after the same repair of the scale fields: an f16 with exponent 31 gets bit 14 flipped, so every value is finite.
Writes OUT_DIR/formats.json: FNV-1a 64 hashes of whole-range conversions of f16 and bf16.
"""
import json
import sys
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType as T
from gguf.quants import dequantize, quantize

N_VALUES = 4096
# name, values per group, bytes per group, byte offsets of the f16 scale fields
ROWS = [
    ("F32", 1, 4, []), ("F16", 1, 2, []), ("BF16", 1, 2, []),
    ("Q4_0", 32, 18, [0]), ("Q4_1", 32, 20, [0, 2]), ("Q5_0", 32, 22, [0]), ("Q5_1", 32, 24, [0, 2]),
    ("Q8_0", 32, 34, [0]), ("Q2_K", 256, 84, [80, 82]), ("Q3_K", 256, 110, [108]), ("Q4_K", 256, 144, [0, 2]),
    ("Q5_K", 256, 176, [0, 2]), ("Q6_K", 256, 210, [208]), ("IQ4_NL", 32, 18, [0]), ("IQ4_XS", 256, 136, [0]),
]


def philox_bytes(key, n_bytes):
    """Philox4x32-10 of counters (block, 0, 0, 0), 16 little-endian bytes each."""
    n = (n_bytes + 15) // 16
    c = [np.arange(n, dtype=np.uint64), *(np.zeros(n, dtype=np.uint64) for _ in range(3))]
    k0, k1 = key & 0xFFFFFFFF, key >> 32
    mask = np.uint64(0xFFFFFFFF)
    for _ in range(10):
        p0 = np.uint64(0xD2511F53) * c[0]
        p1 = np.uint64(0xCD9E8D57) * c[2]
        c = [(p1 >> np.uint64(32)) ^ c[1] ^ np.uint64(k0), p1 & mask, (p0 >> np.uint64(32)) ^ c[3] ^ np.uint64(k1), p0 & mask]
        k0 = (k0 + 0x9E3779B9) & 0xFFFFFFFF
        k1 = (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return np.stack(c, axis=1).astype("<u4").tobytes()[:n_bytes]


def flip_infinite(words, exponent_mask, flip):
    bad = (words & exponent_mask) == exponent_mask
    return np.where(bad, words ^ flip, words).astype(words.dtype)


def group_bytes(row):
    name, group_values, n_bytes, scales = ROWS[row]
    n_groups = N_VALUES // group_values
    groups = np.frombuffer(philox_bytes(0x6D72 + row, n_groups * n_bytes), dtype=np.uint8).reshape(n_groups, n_bytes).copy()
    if name == "F32":
        return flip_infinite(groups.view("<u4"), 0x7F800000, 0x40000000).view(np.uint8)
    if name == "F16":
        return flip_infinite(groups.view("<u2"), 0x7C00, 0x4000).view(np.uint8)
    if name == "BF16":
        return flip_infinite(groups.view("<u2"), 0x7F80, 0x4000).view(np.uint8)
    for at in scales:
        words = np.ascontiguousarray(groups[:, at:at + 2]).view("<u2")
        groups[:, at:at + 2] = flip_infinite(words, 0x7C00, 0x4000).view(np.uint8)
    return groups


def fnv1a(array):
    h = 0xCBF29CE484222325
    for byte in array.tobytes():
        h = ((h ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{h:016x}"


def main():
    out = Path(sys.argv[1])
    parts = []
    for row, (name, *_) in enumerate(ROWS):
        groups = group_bytes(row).reshape(-1)
        values = np.asarray(dequantize(groups, T[name]), dtype="<f4").reshape(-1)
        assert values.size == N_VALUES and np.isfinite(values).all(), name
        parts.append(values)
    (out / "formats.f32").write_bytes(np.concatenate(parts).tobytes())

    halves = np.arange(65536, dtype="<u4").astype("<u2")
    halves = halves[(halves & 0x7C00) != 0x7C00]
    floats = flip_infinite(np.frombuffer(philox_bytes(77, 1 << 20), dtype="<u4"), 0x7F800000, 0x40000000)
    # half of them moved to the range of f16, so that ties and subnormals are met
    near = (floats & 0x807FFFFF) | (((floats >> 23) % 48 + 96).astype("<u4") << 23)
    near[::3] &= 0xFFFFF000
    mixed = np.where(np.arange(floats.size) % 2 == 0, near, floats).astype("<u4").view("<f4")
    with np.errstate(over="ignore"):
        to_f16 = mixed.astype("<f2")
    (out / "formats.json").write_text(json.dumps({
        "f16_to_f32": fnv1a(halves.view("<f2").astype("<f4")),
        "f32_to_f16": fnv1a(to_f16),
        "f32_to_bf16": fnv1a(quantize(mixed, T.BF16)),
    }, indent=1) + "\n")


main()
