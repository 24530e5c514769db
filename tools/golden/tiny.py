"""Tiny random checkpoints: the Python half of tests/support/tiny_checkpoint.{h,cc}.

A weight is a pure function of (seed, tensor name, index): Philox4x32-10 with key = seed ^ fnv1a64(name) and counter =
(index / 4, 0, 0, 0); word index % 4 gives u in [0, 1) with 24 bits; value = offset + (u - 0.5) * scale in f32.
Both halves must give the same f32 bits. Names are those of transformers; SHAPES is the list of models.
"""

import numpy as np

SEED = 20251121
N_TOKENS = 300
# logits are kept after these positions: inside and behind the windows, at both sides of the 256-token span border
POSITIONS = [0, 1, 5, 31, 32, 39, 40, 41, 63, 64, 100, 150, 200, 255, 256, 257, 280, 299]


def fnv1a64(name):
    value = 0xCBF29CE484222325
    for byte in name.encode():
        value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return value


def philox(key, n_blocks):
    """uint32 [n_blocks, 4] for counters (i, 0, 0, 0)."""
    mask = np.uint64(0xFFFFFFFF)
    c = [np.arange(n_blocks, dtype=np.uint64)] + [np.zeros(n_blocks, dtype=np.uint64) for _ in range(3)]
    k0, k1 = key & 0xFFFFFFFF, key >> 32
    for _ in range(10):
        p0, p1 = np.uint64(0xD2511F53) * c[0], np.uint64(0xCD9E8D57) * c[2]
        c = [(p1 >> np.uint64(32)) ^ c[1] ^ np.uint64(k0), p1 & mask,
             (p0 >> np.uint64(32)) ^ c[3] ^ np.uint64(k1), p0 & mask]
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return np.stack(c, axis=1).astype(np.uint32)


def bits(name, n, seed=SEED):
    return philox(seed ^ fnv1a64(name), (n + 3) // 4).reshape(-1)[:n]


def values(name, n, scale, offset):
    unit = (bits(name, n) >> 8).astype(np.float32) * np.float32(2.0 ** -24)
    return np.float32(offset) + (unit - np.float32(0.5)) * np.float32(scale)


def scale_and_offset(name, shape, norm_offset):
    """Spread chosen so that attention is uneven and logits have a standard deviation of about 2."""
    if name.endswith("norm.weight"):
        return 0.5, 1.0 - norm_offset
    if name.endswith(".bias"):
        return 1.0, 0.0
    if name.endswith("embed_tokens.weight") or name == "lm_head.weight":
        return 0.4375, 0.0  # std 0.126: times sqrt(256), about 2
    gain = 4.0 if ".q_proj." in name or ".k_proj." in name else 2.5  # std = gain / sqrt(12 K)
    return float(np.float32(gain) / np.sqrt(np.float32(shape[-1]))), 0.0


def tensor(name, shape, norm_offset):
    scale, offset = scale_and_offset(name, shape, norm_offset)
    return values(name, int(np.prod(shape)), scale, offset).reshape(shape)


def tokens(vocab, name="tokens"):
    return [int(x) for x in bits(name, N_TOKENS) % np.uint32(vocab)]


def common(**more):
    config = dict(hidden_size=256, intermediate_size=512, num_hidden_layers=3, num_attention_heads=4,
                  num_key_value_heads=2, head_dim=64, vocab_size=512, max_position_embeddings=1024,
                  rms_norm_eps=1e-5, rope_theta=10000.0, hidden_act="silu", tie_word_embeddings=False,
                  bos_token_id=1, eos_token_id=2, torch_dtype="float32")
    config.update(more)
    return config


SHAPES = {
    "llama": common(model_type="llama", architectures=["LlamaForCausalLM"]),
    # sizes of SmolLM2 in small: K no multiple of 256, tied, one KV head, vocabulary not a multiple of 32
    "llama_odd": common(model_type="llama", architectures=["LlamaForCausalLM"], hidden_size=192,
                        intermediate_size=352, num_attention_heads=3, num_key_value_heads=1, num_hidden_layers=2,
                        vocab_size=500, tie_word_embeddings=True, rope_theta=100000.0),
    "llama_rope3": common(model_type="llama", architectures=["LlamaForCausalLM"], num_hidden_layers=2,
                          rope_scaling=dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0,
                                            high_freq_factor=4.0, original_max_position_embeddings=64)),
    "llama_linear": common(model_type="llama", architectures=["LlamaForCausalLM"], num_hidden_layers=2,
                           rope_scaling=dict(rope_type="linear", factor=4.0)),
    "mistral": common(model_type="mistral", architectures=["MistralForCausalLM"], sliding_window=40),
    "qwen2": common(model_type="qwen2", architectures=["Qwen2ForCausalLM"], rms_norm_eps=1e-6,
                    use_sliding_window=False, tie_word_embeddings=True),
    "qwen3": common(model_type="qwen3", architectures=["Qwen3ForCausalLM"], num_attention_heads=6,
                    use_sliding_window=False, attention_bias=False, rms_norm_eps=1e-6),
    "gemma3": common(model_type="gemma3_text", architectures=["Gemma3ForCausalLM"], num_hidden_layers=7,
                     intermediate_size=256, num_key_value_heads=1, hidden_activation="gelu_pytorch_tanh",
                     sliding_window=40, sliding_window_pattern=6, query_pre_attn_scalar=64, rope_theta=1000000.0,
                     rope_local_base_freq=10000.0, rms_norm_eps=1e-6, tie_word_embeddings=True,
                     attn_logit_softcapping=None, final_logit_softcapping=None,
                     layer_types=["sliding_attention"] * 5 + ["full_attention", "sliding_attention"]),
}
