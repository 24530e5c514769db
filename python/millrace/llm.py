"""LLM: a model in this process, for many prompts at once, under the names of vLLM's class. Prompts are handed to the engine
together: it batches them, shares their common beginnings, and gives each the bits that it would have alone."""
import concurrent.futures
import os
import sys
import warnings

from millrace.lang.backend import Engine
from millrace.outputs import (EmbeddingOutput, EmbeddingRequestOutput, RequestOutput, ScoringOutput, ScoringRequestOutput,
                              request_output)
from millrace.sampling_params import BeamSearchParams, SamplingParams
from millrace.tokenizer import Tokenizer

_MAX_IN_FLIGHT = 256  # requests; each waits on a thread of its own
_SUPPORTED_ELSEWHERE = {"tensor_parallel_size": 1, "pipeline_parallel_size": 1, "speculative_config": None, "hf_overrides": None,
                        "tokenizer": None, "tokenizer_mode": "auto", "skip_tokenizer_init": False}
_WITHOUT_EFFECT = ("gpu_memory_utilization", "enforce_eager", "swap_space", "disable_log_stats", "cpu_offload_gb")


def engine_flags(dtype="auto", quantization=None, max_model_len=None, kv_cache_memory_bytes=None, chat_template=None, hf_token=None,
                 trust_remote_code=False, enable_prefix_caching=True, **flags):
    """Flags of `millrace serve` from the arguments of vLLM's LLM; what is not known here goes on as a flag of its own name."""
    if dtype not in ("auto", "bfloat16", "half", "float16", "float", "float32"):
        raise ValueError(f"dtype: want auto, bfloat16, float16 or float32, got {dtype!r}")
    if trust_remote_code:
        warnings.warn("trust_remote_code: no code of a model is ever run", stacklevel=3)
    for name, only in _SUPPORTED_ELSEWHERE.items():
        if flags.pop(name, only) != only:
            raise ValueError(f"{name}: only {only!r} is supported")
    for name in _WITHOUT_EFFECT:
        flags.pop(name, None)
    if not enable_prefix_caching:
        flags["enable_prefix_caching"] = False
    return {"quantization": quantization, "max_model_len": max_model_len, "kv_cache_memory_bytes": kv_cache_memory_bytes,
            "chat_template": chat_template, "hf_token": hf_token, **flags}


def completion_prompt(prompt):
    """(text or None, fields of the body) of str, token ids, {"prompt"} or {"prompt_token_ids"}, each with "cache_salt"."""
    if isinstance(prompt, str):
        return prompt, {"prompt": prompt}
    if isinstance(prompt, (list, tuple)):
        return None, {"prompt": list(prompt)}
    for name in set(prompt) - {"prompt", "prompt_token_ids", "cache_salt"}:
        raise ValueError(f"prompt: {name} is not supported")
    fields = {} if prompt.get("cache_salt") is None else {"cache_salt": prompt["cache_salt"]}
    if prompt.get("prompt_token_ids") is not None:
        return prompt.get("prompt"), {"prompt": list(prompt["prompt_token_ids"]), **fields}
    return prompt["prompt"], {"prompt": prompt["prompt"], **fields}


def chat_fields(messages, add_generation_prompt=True, continue_final_message=False, chat_template=None, tools=None,
                chat_template_kwargs=None):
    body = {"messages": messages}
    if not add_generation_prompt:
        body["add_generation_prompt"] = False
    if continue_final_message:
        body["continue_final_message"] = True
    for name, value in (("chat_template", chat_template), ("tools", tools), ("chat_template_kwargs", chat_template_kwargs)):
        if value is not None:
            body[name] = value
    return body


def _progress(use_tqdm, total, what):
    if not use_tqdm or total < 2 or not sys.stderr.isatty():
        return lambda: None
    done = 0

    def step():
        nonlocal done
        done += 1
        print(f"\r{what}: {done}/{total}", end="\n" if done == total else "", file=sys.stderr, flush=True)
    return step


class LLM:
    """model: a file, folder or name, as `millrace serve` takes it. Further arguments are those of vLLM's LLM, or flags of
    `millrace serve` with underscores (max_num_seqs=64, kv_disk_path="cache"). Use it in `with`, or shutdown()."""

    def __init__(self, model, *, seed=None, **settings):
        self.engine = Engine(os.fspath(model), seed=seed, **engine_flags(**settings))
        self._tokenizer = Tokenizer(self.engine)
        self._pool = concurrent.futures.ThreadPoolExecutor(_MAX_IN_FLIGHT, "millrace-request")

    def shutdown(self):
        self._pool.shutdown(cancel_futures=True)
        return self.engine.shutdown()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.shutdown()

    def _all(self, calls, use_tqdm, what):
        """The results of the calls, in order; the first error ends it, after those that run."""
        step = _progress(use_tqdm, len(calls), what)
        futures = [self._pool.submit(call) for call in calls]
        try:
            for future in concurrent.futures.as_completed(futures):
                future.result()
                step()
        finally:
            for future in futures:
                future.cancel()
        return [future.result() for future in futures]

    @staticmethod
    def _each(params, n, default):
        if params is None:
            return [default] * n
        if isinstance(params, (SamplingParams, BeamSearchParams)):
            return [params] * n
        if len(params) != n:
            raise ValueError(f"sampling_params: want one or {n}, got {len(params)}")
        return list(params)

    def _ask(self, path, body, params, text, priority):
        body = body | params.fields(path.endswith("chat/completions"))
        if priority is not None:
            body["priority"] = priority
        return request_output(self.engine.post(path, body), text, params, self._tokenizer.token_text)

    def generate(self, prompts, sampling_params=None, *, use_tqdm=True, lora_request=None, priority=None) -> "list[RequestOutput]":
        """One RequestOutput a prompt, in order. prompts: str, {"prompt"}, {"prompt_token_ids"}, or a list of them."""
        if lora_request is not None:
            raise ValueError("lora_request: adapters are not supported")
        if isinstance(prompts, (str, dict)):
            prompts = [prompts]
        params = self._each(sampling_params, len(prompts), self.get_default_sampling_params())
        ranks = priority if isinstance(priority, list) else [priority] * len(prompts)
        calls = []
        for prompt, one, rank in zip(prompts, params, ranks, strict=True):
            text, body = completion_prompt(prompt)
            calls.append(lambda text=text, body=body, one=one, rank=rank: self._ask("/v1/completions", body, one, text, rank))
        return self._all(calls, use_tqdm, "prompts")

    def chat(self, messages, sampling_params=None, use_tqdm=True, lora_request=None, chat_template=None, add_generation_prompt=True,
             continue_final_message=False, tools=None, chat_template_kwargs=None) -> "list[RequestOutput]":
        """One RequestOutput a conversation. messages: a conversation, or a list of them."""
        if lora_request is not None:
            raise ValueError("lora_request: adapters are not supported")
        conversations = [messages] if messages and isinstance(messages[0], dict) else messages
        params = self._each(sampling_params, len(conversations), self.get_default_sampling_params())
        calls = []
        for conversation, one in zip(conversations, params, strict=True):
            body = chat_fields(conversation, add_generation_prompt, continue_final_message, chat_template, tools, chat_template_kwargs)
            calls.append(lambda body=body, one=one: self._ask("/v1/chat/completions", body, one, None, None))
        return self._all(calls, use_tqdm, "conversations")

    def beam_search(self, prompts, params, use_tqdm=True) -> "list[RequestOutput]":
        return self.generate(prompts, params, use_tqdm=use_tqdm)

    def embed(self, prompts, *, use_tqdm=True) -> "list[EmbeddingRequestOutput]":
        """One vector a prompt, pooled and normalised as the server does."""
        prompts = [prompts] if isinstance(prompts, (str, dict)) else prompts

        def one(prompt):
            reply = self.engine.post("/v1/embeddings", {"input": completion_prompt(prompt)[1]["prompt"]})
            return EmbeddingRequestOutput(reply.get("id", ""), EmbeddingOutput(reply["data"][0]["embedding"]), [])
        return self._all([lambda prompt=prompt: one(prompt) for prompt in prompts], use_tqdm, "prompts")

    encode = embed

    def score(self, text_1, text_2, *, use_tqdm=True) -> "list[ScoringRequestOutput]":
        """How well each text_2 fits its text_1 (one for all, or one each)."""
        right = [text_2] if isinstance(text_2, str) else list(text_2)
        left = [text_1] * len(right) if isinstance(text_1, str) else list(text_1)

        def one(pair):
            reply = self.engine.post("/score", {"text_1": pair[0], "text_2": pair[1]})
            return ScoringRequestOutput(reply.get("id", ""), ScoringOutput(reply["data"][0]["score"]), [])
        return self._all([lambda pair=pair: one(pair) for pair in zip(left, right, strict=True)], use_tqdm, "pairs")

    def get_tokenizer(self):
        return self._tokenizer

    def get_default_sampling_params(self):
        """vLLM's defaults; the model's own are the server's for requests that name none."""
        return SamplingParams()

    def reset_prefix_cache(self):
        self.engine.flush_cache()
        return True

    def get_metrics(self):
        """{name with labels: value} of every sample of /metrics."""
        lines = self.engine.get_text("/metrics").splitlines()
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line and not line.startswith("#"))}
