"""Writes f32 log-probabilities of a text by transformers, the base of `millrace perplexity --kl-divergence`:

    python tools/golden/logits.py MODEL.gguf TEXT OUT [--ctx 512] [--windows 8]

The GGUF file is dequantised to f32 by transformers; activations and KV are f32. Format: src/app/logits_file.h.
The tokens are those of transformers' own conversion of the file's vocabulary, with BOS in front of the text if the
vocabulary asks for one."""
import argparse
import pathlib
import struct

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("text")
    parser.add_argument("out")
    parser.add_argument("--ctx", type=int, default=512)
    parser.add_argument("--windows", type=int, default=8)
    parser.add_argument("--bos", action="store_true", help="put BOS first even when the tokenizer does not")
    args = parser.parse_args()
    path = pathlib.Path(args.model).resolve()
    tokenizer = AutoTokenizer.from_pretrained(str(path.parent), gguf_file=path.name)
    model = AutoModelForCausalLM.from_pretrained(str(path.parent), gguf_file=path.name, dtype=torch.float32).eval()
    ids = tokenizer(pathlib.Path(args.text).read_text(encoding="utf-8")).input_ids
    if args.bos and ids[0] != tokenizer.bos_token_id:
        ids = [tokenizer.bos_token_id, *ids]
    n_windows = min(args.windows, len(ids) // args.ctx)
    n_vocab = model.config.get_text_config().vocab_size
    with open(args.out, "wb") as out, torch.no_grad():
        out.write(b"MRLOGIT1" + struct.pack("<III", n_vocab, args.ctx, n_windows))
        for window in range(n_windows):
            tokens = ids[window * args.ctx:(window + 1) * args.ctx]
            logits = model(torch.tensor([tokens])).logits[0, :-1].double()
            out.write(np.asarray(tokens, dtype="<i4").tobytes())
            out.write(torch.log_softmax(logits, dim=-1).float().numpy().astype("<f4").tobytes())
            print(f"window {window + 1} of {n_windows}", flush=True)


if __name__ == "__main__":
    main()
