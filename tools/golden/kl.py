"""Reference distributions for the quality guard: kl.py MODEL.gguf TEXT OUT_STEM [N_WINDOWS]

The weights of the file are dequantised by transformers (gguf package) and run in f32. The text is cut into windows of
512 tokens (a model with add_bos gets its BOS as token 0 of each). For every position of a window the distribution P of
the next token is kept in compact form, so that KL(P || Q) of any Q can be computed from Q's full log-probabilities:
  KL = sum over the 24 most likely tokens of p (log p - log q)  +  tail * mean over 8 tokens drawn from P's tail of
       (log p - log q)
The second term is an unbiased estimate. log p - log q has a spread of about sqrt(2 KL) = 0.08 at KL 0.003, the tail holds
about a fifth of the mass, so over 4096 positions the estimate is off by 0.2 * 0.08 / sqrt(4096 * 8) = 9e-5 nats; f16
storage of log p adds about 1e-5.
Writes OUT_STEM.json {"windows": [[token, ...], ...], "n_top": 24, "n_tail": 8} and OUT_STEM.bin: for each window and
position u32 ids [32], then for each f16 log p [32], then for each f32 tail mass; all little-endian.
"""

import json
import pathlib
import sys

sys.path = sys.path[1:]  # a neighbour of this file is called tokenizers.py

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

N_TOP, N_TAIL, WINDOW = 24, 8, 512


def keep(log_probs, generator):
    """ids [n, 32], log p [n, 32], tail mass [n] of log_probs [n, vocab]."""
    top, ids = log_probs.topk(N_TOP, dim=-1)
    tail = log_probs.double().exp()
    tail.scatter_(1, ids, 0.0)
    mass = tail.sum(-1)
    drawn = torch.multinomial(tail, N_TAIL, replacement=True, generator=generator)
    return torch.cat([ids, drawn], 1), torch.cat([top, log_probs.gather(1, drawn)], 1), mass


def main(model_path, text_path, stem, n_windows):
    path = pathlib.Path(model_path).resolve()
    tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    model = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32).eval()
    text = pathlib.Path(text_path).read_text()
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    first = [tokenizer.bos_token_id] if model.config.model_type.startswith("gemma") else []
    step = WINDOW - len(first)
    windows = [first + ids[i:i + step] for i in range(0, len(ids) - step + 1, step)][:n_windows]
    generator = torch.Generator().manual_seed(1)
    kept = []
    total, count = 0.0, 0
    for window in windows:
        with torch.no_grad():
            log_probs = torch.log_softmax(model(torch.tensor([window])).logits[0].float(), -1)
        total -= log_probs[:-1].gather(1, torch.tensor(window[1:])[:, None]).sum().item()
        count += len(window) - 1
        kept.append(keep(log_probs, generator))
    print(f"{len(ids)} tokens, {len(windows)} windows, perplexity {np.exp(total / count):.4f}, "
          f"mean tail {torch.cat([k[2] for k in kept]).mean():.3f}")
    out = pathlib.Path(stem)
    out.with_suffix(".json").write_text(json.dumps(
        {"windows": windows, "n_top": N_TOP, "n_tail": N_TAIL, "nll": total / count}) + "\n")
    with out.with_suffix(".bin").open("wb") as file:
        for index, kind in ((0, "<u4"), (1, "<f2"), (2, "<f4")):
            for part in kept:
                file.write(part[index].numpy().astype(kind).tobytes())


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]) if len(sys.argv) > 4 else 8)
