"""What generate() and chat() return, under vLLM's names, and how a reply of the server becomes it."""
import dataclasses

_ID = "token_id:"  # how the server writes tokens under return_tokens_as_token_ids


@dataclasses.dataclass
class Logprob:
    logprob: float
    rank: "int | None" = None  # 1: the most likely; None: the drawn token, when it is not among those asked for
    decoded_token: "str | None" = None


@dataclasses.dataclass
class CompletionOutput:
    index: int
    text: str
    token_ids: "list[int]"
    cumulative_logprob: "float | None" = None
    logprobs: "list[dict[int, Logprob]] | None" = None
    finish_reason: "str | None" = None  # "stop", "length", "tool_calls"; None: it goes on
    stop_reason: "int | str | None" = None
    lora_request: object = None

    def finished(self):
        return self.finish_reason is not None


@dataclasses.dataclass
class RequestOutput:
    request_id: str
    prompt: "str | None"
    prompt_token_ids: "list[int] | None"
    prompt_logprobs: "list[dict[int, Logprob] | None] | None"
    outputs: "list[CompletionOutput]"
    finished: bool
    metrics: "dict | None" = None  # the server's timings
    num_cached_tokens: "int | None" = None
    kv_transfer_params: "dict | None" = None


@dataclasses.dataclass
class EmbeddingOutput:
    embedding: "list[float]"


@dataclasses.dataclass
class EmbeddingRequestOutput:
    request_id: str
    outputs: EmbeddingOutput
    prompt_token_ids: "list[int]"
    finished: bool = True


@dataclasses.dataclass
class ScoringOutput:
    score: float


@dataclasses.dataclass
class ScoringRequestOutput:
    request_id: str
    outputs: ScoringOutput
    prompt_token_ids: "list[int]"
    finished: bool = True


def _row(drawn, logprob, tops, n_top, decode):
    """One place: the drawn token first, then the n_top most likely ones. tops: [(name, logprob)]."""
    ranked = sorted(tops, key=lambda top: -top[1])[:n_top]
    names = [drawn] + [name for name, _ in ranked if name != drawn]
    values, ranks = {drawn: logprob, **dict(ranked)}, {name: i + 1 for i, (name, _) in enumerate(ranked)}
    ids = {name: int(name.removeprefix(_ID)) for name in names}
    return {ids[name]: Logprob(values[name], ranks.get(name), decode(ids[name])) for name in names}


def logprob_rows(logprobs, n_top, decode):
    """Of a choice, in the form of either route."""
    if logprobs is None:
        return None
    if "content" in logprobs:  # chat
        return [_row(place["token"], place["logprob"], [(top["token"], top["logprob"]) for top in place["top_logprobs"]], n_top, decode)
                for place in logprobs["content"]]
    tops = logprobs["top_logprobs"] or [None] * len(logprobs["tokens"])
    return [_row(token, logprob, (top or {}).items(), n_top, decode)
            for token, logprob, top in zip(logprobs["tokens"], logprobs["token_logprobs"], tops)]


def prompt_rows(rows):
    if rows is None:
        return None
    return [row and {int(token): Logprob(**entry) for token, entry in row.items()} for row in rows]


def text_of(choice):
    return choice["text"] if "text" in choice else (choice.get("message") or choice.get("delta") or {}).get("content") or ""


def request_output(reply, prompt, params, decode):
    """Of a whole reply to a request with these SamplingParams or BeamSearchParams."""
    n_top, detokenize = getattr(params, "logprobs", None) or 0, getattr(params, "detokenize", True)
    outputs = []
    for choice in sorted(reply["choices"], key=lambda choice: choice["index"]):
        rows = logprob_rows(choice.get("logprobs"), n_top, decode)
        total = None if rows is None else sum(next(iter(row.values())).logprob for row in rows)
        outputs.append(CompletionOutput(choice["index"], text_of(choice) if detokenize else "", choice.get("token_ids") or [], total,
                                        rows, choice["finish_reason"], choice.get("stop_reason")))
    first = reply["choices"][0]
    usage = reply.get("usage") or {}
    return RequestOutput(reply["id"], prompt, first.get("prompt_token_ids") or reply.get("prompt_token_ids"),
                         prompt_rows(first.get("prompt_logprobs") or reply.get("prompt_logprobs")), outputs, True,
                         reply.get("timings"), (usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0))
