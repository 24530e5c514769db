"""Golden beam searches of transformers over a model that is a table: logits = table[last token] + shift[length % 8].

Writes tests/golden/data/beams.json. Logits are multiples of 1 / 8192: every program computes the same ones, and hardly two are equal."""
import json
import pathlib
import random

import torch
from transformers import GenerationConfig, PretrainedConfig, PreTrainedModel
from transformers.generation import GenerationMixin
from transformers.modeling_outputs import CausalLMOutputWithPast

VOCAB, EOS = 24, 0
random.seed(5)
TABLE = [[random.randint(-20480, 20480) for _ in range(VOCAB)] for _ in range(VOCAB)]
SHIFT = [[random.randint(-8192, 8192) for _ in range(VOCAB)] for _ in range(8)]


class TableModel(PreTrainedModel, GenerationMixin):
    config_class = PretrainedConfig

    def __init__(self, config):
        super().__init__(config)
        self.table = torch.nn.Parameter(torch.tensor(TABLE, dtype=torch.float32) / 8192)
        self.shift = torch.nn.Parameter(torch.tensor(SHIFT, dtype=torch.float32) / 8192)
        self.post_init()

    def _init_weights(self, module):
        pass

    def forward(self, input_ids, **_):
        logits = self.table[input_ids] + self.shift[input_ids.shape[1] % 8]
        return CausalLMOutputWithPast(logits=logits)


config = PretrainedConfig(vocab_size=VOCAB, eos_token_id=EOS, pad_token_id=EOS, is_encoder_decoder=False,
                          num_hidden_layers=1, hidden_size=8, num_attention_heads=1)
model = TableModel(config).eval()
cases = []
for width in (2, 3, 4, 8):
    for penalty in (1.0, 0.0, 2.0, -0.5):
        for stop in (False, True, "never"):
            for prompt, max_tokens in (([3, 7], 12), ([11], 25), ([5, 1, 9], 1)):
                with torch.no_grad():
                    out = model.generate(
                        torch.tensor([prompt]), generation_config=GenerationConfig(
                            num_beams=width, num_return_sequences=width, do_sample=False, max_new_tokens=max_tokens,
                            length_penalty=penalty, early_stopping=stop, eos_token_id=EOS, pad_token_id=VOCAB,
                            use_cache=False, output_scores=True, return_dict_in_generate=True))
                answers = []
                for row, score in zip(out.sequences.tolist(), out.sequences_scores.tolist()):
                    answers.append({"tokens": [t for t in row[len(prompt):] if t != VOCAB], "score": score})
                cases.append({"width": width, "length_penalty": penalty, "early_stopping": str(stop).lower(),
                              "prompt": prompt, "max_tokens": max_tokens, "answers": answers})
target = pathlib.Path(__file__).resolve().parents[2] / "tests/golden/data/beams.json"
target.write_text(json.dumps({"table": TABLE, "shift": SHIFT, "eos": EOS, "cases": cases}, separators=(",", ":")) + "\n")
print(len(cases), "cases,", target.stat().st_size, "bytes")
