"""Golden hidden states of the tiny decoders: pooling.py OUT.json

For some shapes of tiny.py: last_hidden_state (behind the output norm) of transformers, f32, with K and V rounded to
bf16, over the first tokens of the golden input: of the last token, of the first, and the mean of all.
"""

import json
import sys

import torch

import models
import tiny

SHAPES = ["llama", "gemma3"]
N_TOKENS = 70


def main(path):
    from transformers import AttentionInterface
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
    AttentionInterface.register("bf16_kv", models.bf16_kv_attention)
    ALL_MASK_ATTENTION_FUNCTIONS.register("bf16_kv", ALL_MASK_ATTENTION_FUNCTIONS["eager"])
    out = {"n_tokens": N_TOKENS, "shapes": {}}
    for name in SHAPES:
        config = tiny.SHAPES[name]
        model = models.build(config)
        model.set_attn_implementation("bf16_kv")
        ids = tiny.tokens(config["vocab_size"])[:N_TOKENS]
        with torch.no_grad():
            hidden = model.model(torch.tensor([ids])).last_hidden_state[0]
        rows = {"last": hidden[-1], "first": hidden[0], "mean": hidden.mean(dim=0)}
        out["shapes"][name] = {key: [float(f"{x:.7g}") for x in row.tolist()] for key, row in rows.items()}
    with open(path, "w") as file:
        json.dump(out, file)
        file.write("\n")


if __name__ == "__main__":
    main(sys.argv[1])
