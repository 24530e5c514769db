"""SamplingParams: how an answer is drawn, under vLLM's names and defaults, and the request fields they become."""
import dataclasses
import enum


class RequestOutputKind(enum.Enum):
    """What each step of a stream holds: all so far, what is new, or only the end."""
    CUMULATIVE = 0
    DELTA = 1
    FINAL_ONLY = 2


@dataclasses.dataclass
class StructuredOutputsParams:
    """One of them: what every answer must be."""
    json: "str | dict | None" = None
    regex: "str | None" = None
    choice: "list[str] | None" = None
    grammar: "str | None" = None
    json_object: "bool | None" = None
    structural_tag: "str | None" = None

    def fields(self):
        given = {name: value for name, value in vars(self).items() if value is not None}
        if len(given) != 1:
            raise ValueError(f"StructuredOutputsParams: want exactly one constraint, got {sorted(given) or 'none'}")
        return given


@dataclasses.dataclass
class SamplingParams:
    n: int = 1
    best_of: "int | None" = None
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0  # 0 and -1: all
    min_p: float = 0.0
    seed: "int | None" = None
    stop: "str | list[str] | None" = None
    stop_token_ids: "list[int] | None" = None
    bad_words: "list[str] | None" = None
    include_stop_str_in_output: bool = False
    ignore_eos: bool = False
    max_tokens: "int | None" = 16  # None: the rest of the context
    min_tokens: int = 0
    logprobs: "int | None" = None  # of that many most likely tokens at each place
    prompt_logprobs: "int | None" = None
    detokenize: bool = True  # False: no text, only token ids
    skip_special_tokens: bool = True
    spaces_between_special_tokens: bool = True
    truncate_prompt_tokens: "int | None" = None
    output_kind: RequestOutputKind = RequestOutputKind.CUMULATIVE
    structured_outputs: "StructuredOutputsParams | None" = None
    logit_bias: "dict[int, float] | None" = None
    allowed_token_ids: "list[int] | None" = None
    skip_reading_prefix_cache: "bool | None" = None
    extra_args: "dict | None" = None  # further fields of the request, as they are

    def __post_init__(self):
        if self.output_kind not in RequestOutputKind:
            raise ValueError(f"output_kind: want a RequestOutputKind, got {self.output_kind!r}")

    def clone(self):
        return dataclasses.replace(self)

    def fields(self, chat):
        """Of a body for /v1/completions or /v1/chat/completions. The server checks ranges and names what is wrong."""
        body = {"temperature": self.temperature, "top_p": self.top_p, "top_k": self.top_k, "min_p": self.min_p, "n": self.n,
                "presence_penalty": self.presence_penalty, "frequency_penalty": self.frequency_penalty,
                "repetition_penalty": self.repetition_penalty, "max_tokens": -1 if self.max_tokens is None else self.max_tokens,
                "return_token_ids": True, "return_tokens_as_token_ids": True}
        for name in ("best_of", "seed", "stop", "stop_token_ids", "bad_words", "truncate_prompt_tokens", "allowed_token_ids",
                     "prompt_logprobs"):
            if getattr(self, name) is not None:
                body[name] = getattr(self, name)
        for name, plain in (("include_stop_str_in_output", False), ("ignore_eos", False), ("min_tokens", 0),
                            ("skip_special_tokens", True), ("spaces_between_special_tokens", True)):
            if getattr(self, name) != plain:
                body[name] = getattr(self, name)
        if self.logit_bias is not None:
            body["logit_bias"] = {str(token): bias for token, bias in self.logit_bias.items()}
        if self.structured_outputs is not None:
            body["structured_outputs"] = self.structured_outputs.fields()
        if self.skip_reading_prefix_cache:
            body["cache_prompt"] = False
        if self.logprobs is not None:
            body.update({"logprobs": True, "top_logprobs": self.logprobs} if chat else {"logprobs": self.logprobs})
        return body | (self.extra_args or {})


@dataclasses.dataclass
class BeamSearchParams:
    """Beam search: the best beam_width sequences by log-probability over length ** length_penalty."""
    beam_width: int
    max_tokens: int
    ignore_eos: bool = False
    temperature: float = 0.0
    length_penalty: float = 1.0
    include_stop_str_in_output: bool = False
    early_stopping: bool = False

    def fields(self, chat):
        return {"use_beam_search": True, "beam_width": self.beam_width, "n": self.beam_width, "max_tokens": self.max_tokens,
                "ignore_eos": self.ignore_eos, "temperature": self.temperature, "length_penalty": self.length_penalty,
                "early_stopping": self.early_stopping, "return_token_ids": True}
