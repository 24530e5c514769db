"""Golden logits of the tiny checkpoints: models.py OUT_FOLDER

For every shape of tiny.py: the transformers model with the generated weights, f32, eager attention. Writes
  <shape>.json    {"config": config.json of the checkpoint, "tokens": [...], "positions": [...]}
  <shape>.f32     logits after each position, little-endian f32 [n_positions, vocab]
  <shape>.bf16kv  the same with K and V rounded to bf16 before attention (what a bf16 KV cache holds)
"""

import copy
import json
import pathlib
import sys

import numpy as np
import torch
from transformers import AttentionInterface, AutoConfig, AutoModelForCausalLM
from transformers.models.llama.modeling_llama import repeat_kv

import tiny


def bf16_kv_attention(module, query, key, value, attention_mask, scaling=None, dropout=0.0, **kwargs):
    key = repeat_kv(key.bfloat16().float(), module.num_key_value_groups)
    value = repeat_kv(value.bfloat16().float(), module.num_key_value_groups)
    scores = query @ key.transpose(2, 3) * scaling
    if attention_mask.dtype == torch.bool:
        scores = scores.masked_fill(~attention_mask, float("-inf"))
    else:
        scores = scores + attention_mask[..., : key.shape[-2]]
    out = torch.softmax(scores, dim=-1, dtype=torch.float32) @ value
    return out.transpose(1, 2).contiguous(), None


def build(config):
    settings = {k: v for k, v in copy.deepcopy(config).items() if k not in ("model_type", "architectures")}
    hf = AutoConfig.for_model(config["model_type"], **settings)
    model = AutoModelForCausalLM.from_config(hf, attn_implementation="eager", dtype=torch.float32).eval()
    norm_offset = 1.0 if config["model_type"] == "gemma3_text" else 0.0
    state = {name: torch.from_numpy(tiny.tensor(name, tuple(p.shape), norm_offset))
             for name, p in model.named_parameters()}
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected and set(missing) <= {"lm_head.weight"}, (missing, unexpected)
    model.tie_weights()
    return model


def main(folder):
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
    AttentionInterface.register("bf16_kv", bf16_kv_attention)
    ALL_MASK_ATTENTION_FUNCTIONS.register("bf16_kv", ALL_MASK_ATTENTION_FUNCTIONS["eager"])
    folder.mkdir(parents=True, exist_ok=True)
    for name, config in tiny.SHAPES.items():
        model = build(config)
        ids = tiny.tokens(config["vocab_size"])
        with torch.no_grad():
            plain = model(torch.tensor([ids])).logits[0]
            model.set_attn_implementation("bf16_kv")
            rounded = model(torch.tensor([ids])).logits[0]
        change = (plain - rounded).pow(2).mean().sqrt() / plain.pow(2).mean().sqrt()
        print(f"{name}: logits std {plain.std():.3f}, relative change by bf16 KV {change:.2e}")
        (folder / f"{name}.json").write_text(
            json.dumps({"config": config, "tokens": ids, "positions": tiny.POSITIONS}) + "\n")
        plain[tiny.POSITIONS].numpy().astype("<f4").tofile(folder / f"{name}.f32")
        rounded[tiny.POSITIONS].numpy().astype("<f4").tofile(folder / f"{name}.bf16kv")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
