"""Golden outputs of tiny random BERT checkpoints: bert.py OUT.json

For every shape: transformers' BertForSequenceClassification with weights that are a pure function of their names (as
tiny.py; tests/support/tiny_bert.h is the C++ half), f32, eager attention with K and V rounded to bf16. For each input
(token ids, and where a second text begins): the hidden state of the first token, the mean of all, the logits of the
head.
"""

import json
import sys

import numpy as np
import torch

import models
import tiny

SHAPES = {
    "wide_heads": {"hidden_size": 96, "num_attention_heads": 3, "intermediate_size": 160, "num_labels": 1},
    "narrow_heads": {"hidden_size": 96, "num_attention_heads": 6, "intermediate_size": 256, "num_labels": 3},
}
COMMON = {"num_hidden_layers": 3, "vocab_size": 500, "max_position_embeddings": 300, "type_vocab_size": 2,
          "hidden_act": "gelu", "layer_norm_eps": 1e-12, "pad_token_id": 0}
INPUTS = [(1, 0), (9, 0), (24, 10), (70, 0), (290, 40)]  # tokens, where the second text begins (0: there is none)


def weight(name, shape):
    if name.endswith("LayerNorm.weight"):
        return tiny.values(name, int(np.prod(shape)), 0.5, 1.0).reshape(shape)
    if name.endswith(".bias"):
        return tiny.values(name, int(np.prod(shape)), 0.5, 0.0).reshape(shape)
    gain = 6.0 if ".query." in name or ".key." in name else 2.5
    scale = float(np.float32(gain) / np.sqrt(np.float32(shape[-1])))
    return tiny.values(name, int(np.prod(shape)), scale, 0.0).reshape(shape)


def bf16_kv_attention(module, query, key, value, attention_mask, scaling=None, dropout=0.0, **kwargs):
    scores = query @ key.bfloat16().float().transpose(2, 3) * scaling
    out = torch.softmax(scores, dim=-1, dtype=torch.float32) @ value.bfloat16().float()
    return out.transpose(1, 2).contiguous(), None


def main(path):
    from transformers import AttentionInterface, BertConfig, BertForSequenceClassification
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
    AttentionInterface.register("bf16_kv", bf16_kv_attention)
    ALL_MASK_ATTENTION_FUNCTIONS.register("bf16_kv", ALL_MASK_ATTENTION_FUNCTIONS["eager"])
    out = {"config": COMMON, "inputs": [], "shapes": {}}
    for i, (n, second) in enumerate(INPUTS):
        ids = [int(x) for x in tiny.bits(f"bert{i}", n) % np.uint32(COMMON["vocab_size"])]
        out["inputs"].append({"tokens": ids, "second_begin": second})
    for name, shape in SHAPES.items():
        config = BertConfig(**COMMON, **shape)
        model = BertForSequenceClassification(config).eval()
        state = {key: torch.from_numpy(weight(key, tuple(p.shape))) for key, p in model.named_parameters()}
        missing, unexpected = model.load_state_dict(state, strict=False)
        assert not unexpected and not [m for m in missing if "position_ids" not in m], (missing, unexpected)
        model.set_attn_implementation("bf16_kv")
        rows = []
        for item in out["inputs"]:
            ids = torch.tensor([item["tokens"]])
            types = torch.tensor([[int(item["second_begin"] > 0 and j >= item["second_begin"])
                                   for j in range(len(item["tokens"]))]])
            with torch.no_grad():
                hidden = model.bert(ids, token_type_ids=types).last_hidden_state[0]
                logits = model(ids, token_type_ids=types).logits[0]
            short = lambda row: [float(f"{x:.7g}") for x in row.tolist()]
            rows.append({"first": short(hidden[0]), "mean": short(hidden.mean(dim=0)), "logits": short(logits)})
        out["shapes"][name] = {"config": shape, "outputs": rows}
        print(name, "mean std", float(hidden.std()), "logits", [row["logits"] for row in rows])
    with open(path, "w") as file:
        json.dump(out, file)
        file.write("\n")


if __name__ == "__main__":
    main(sys.argv[1])
