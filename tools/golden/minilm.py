"""Golden embeddings of all-MiniLM-L6-v2: minilm.py MODEL_FOLDER OUT.json

What sentence-transformers computes with that folder, in transformers: tokens of tokenizer.json cut at 256, mean over all
of them, length 1. Vectors are rounded to 7 digits."""
import json
import sys

import torch
from tokenizers import Tokenizer
from transformers import AutoModel

TEXTS = [
    "The cat sits on the mat.",
    "A cat is sitting on a mat!",
    "Interest rates rose in March.",
    "",
    "Caf\u00e9 na\u00efve \u00c5ngstr\u00f6m \u4e2d\u6587\u5206\u8bcd \ud55c\uad6d\uc5b4 \u0440\u0443\u0441\u0441\u043a\u0438\u0439 100% [MASK] e=mc\u00b2",
    "  white\tspace\n and\u00a0more  ",
    "antidisestablishmentarianism " * 20,
    "word " * 400,
]
CUT = 256


def main(folder, path):
    tokenizer = Tokenizer.from_file(folder + "/tokenizer.json")
    tokenizer.no_padding()
    tokenizer.enable_truncation(CUT)
    model = AutoModel.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval()
    out = []
    for text in TEXTS:
        ids = tokenizer.encode(text).ids
        with torch.no_grad():
            mean = model(torch.tensor([ids])).last_hidden_state[0].mean(dim=0)
        vector = torch.nn.functional.normalize(mean, dim=0)
        out.append({"text": text, "n_tokens": len(ids), "vector": [float(f"{x:.7g}") for x in vector.tolist()]})
    with open(path, "w") as file:
        json.dump(out, file)
        file.write("\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
