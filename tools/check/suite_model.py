"""Writes the model that llama.cpp's test-suite runs on here: suite_model.py OUT.gguf

A Llama of two layers with random weights and a vocabulary of 600 tokens (bytes, letters and letter pairs, the markers
of fill-in-the-middle), so that it loads at once, prompts have about as many tokens as with the suite's own stories
model, and an answer goes on until its limit: the end token's row of the output matrix is zero while others are large."""
import sys

import gguf
import numpy as np

DIM, LAYERS, HEADS, FF, CONTEXT = 64, 2, 4, 128, 8192
MARKERS = ["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"]
TEMPLATE = ("{{ bos_token }}{% for m in messages %}{{ '<|' + m['role'] + '|>\\n' + m['content'] + '\\n' }}{% endfor %}"
            "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}")


def vocabulary():
    kinds = gguf.TokenType
    rows = [("<unk>", kinds.UNKNOWN), ("<s>", kinds.CONTROL), ("</s>", kinds.CONTROL)]
    rows += [(f"<0x{byte:02X}>", kinds.BYTE) for byte in range(256)]
    rows += [(marker, kinds.CONTROL) for marker in MARKERS]
    letters = [chr(code) for code in range(33, 127)] + ["\u2581"]
    rows += [(letter, kinds.NORMAL) for letter in letters]
    vowels, others = "aeiou", "bcdfghjklmnprstvwy"
    pairs = [a + b for a in others for b in vowels] + ["\u2581" + a for a in "abcdefghijklmnoprstuwy"] + ["th", "er", "in", "an"]
    rows += [(pair, kinds.NORMAL) for pair in pairs]
    return rows[:600]


def main():
    rows = vocabulary()
    random = np.random.default_rng(11)
    writer = gguf.GGUFWriter(sys.argv[1], "llama")
    writer.add_name("suite")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(DIM)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FF)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(DIM // HEADS)
    writer.add_vocab_size(len(rows))
    writer.add_tokenizer_model("llama")
    writer.add_token_list([text.encode() for text, _ in rows])
    writer.add_token_scores([-float(i) for i in range(len(rows))])
    writer.add_token_types([int(kind) for _, kind in rows])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_add_bos_token(True)
    writer.add_chat_template(TEMPLATE)

    def tensor(name, *shape, scale):
        writer.add_tensor(name, (random.standard_normal(shape) * scale).astype(np.float32))

    tensor("token_embd.weight", len(rows), DIM, scale=1.0)
    for i in range(LAYERS):
        writer.add_tensor(f"blk.{i}.attn_norm.weight", np.ones(DIM, np.float32))
        writer.add_tensor(f"blk.{i}.ffn_norm.weight", np.ones(DIM, np.float32))
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            tensor(f"blk.{i}.{part}.weight", DIM, DIM, scale=0.2)
        tensor(f"blk.{i}.ffn_gate.weight", FF, DIM, scale=0.2)
        tensor(f"blk.{i}.ffn_up.weight", FF, DIM, scale=0.2)
        tensor(f"blk.{i}.ffn_down.weight", DIM, FF, scale=0.2)
    writer.add_tensor("output_norm.weight", np.ones(DIM, np.float32))
    output = (random.standard_normal((len(rows), DIM)) * 0.4).astype(np.float32)
    quiet = [i for i, (_, kind) in enumerate(rows) if kind != gguf.TokenType.NORMAL]
    output[quiet] = 0.0  # no end, no marker, no loose bytes in answers
    writer.add_tensor("output.weight", output)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
