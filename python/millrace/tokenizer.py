"""The model's tokenizer and chat template, as the engine itself uses them."""


class Tokenizer:
    def __init__(self, endpoint):
        self._endpoint = endpoint
        self._texts = {}

    def encode(self, text, add_special_tokens=True):
        return self._endpoint.post("/tokenize", {"prompt": text, "add_special_tokens": add_special_tokens})["tokens"]

    def decode(self, token_ids):
        ids = [token_ids] if isinstance(token_ids, int) else list(token_ids)
        return self._endpoint.post("/detokenize", {"tokens": ids})["prompt"] if ids else ""

    def batch_decode(self, rows):
        return [self.decode(row) for row in rows]

    def __call__(self, text, add_special_tokens=True):
        rows = [self.encode(one, add_special_tokens) for one in ([text] if isinstance(text, str) else text)]
        ids = rows[0] if isinstance(text, str) else rows
        masks = [1] * len(ids) if isinstance(text, str) else [[1] * len(row) for row in rows]
        return {"input_ids": ids, "attention_mask": masks}

    def apply_chat_template(self, conversation, tokenize=True, add_generation_prompt=False, **kwargs):
        body = {"messages": conversation, "add_generation_prompt": add_generation_prompt, **kwargs}
        if tokenize:
            return self._endpoint.post("/tokenize", body)["tokens"]
        return self._endpoint.post("/apply-template", body)["prompt"]

    def token_text(self, token):
        """Of one token; a part of a character is U+FFFD. Remembered."""
        if token not in self._texts:
            self._texts[token] = self.decode(token)
        return self._texts[token]
