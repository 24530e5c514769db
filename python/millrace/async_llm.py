"""AsyncLLM: a model in this process for asyncio: generate() is an asynchronous iterator of what comes."""
import asyncio
import os
import socket
import threading

from millrace.lang.backend import BackendError, Engine
from millrace.llm import completion_prompt, engine_flags
from millrace.outputs import CompletionOutput, RequestOutput, logprob_rows, text_of
from millrace.sampling_params import RequestOutputKind, SamplingParams
from millrace.tokenizer import Tokenizer


class _Stream:
    """A request on its way; cancel() ends it from any thread."""

    def __init__(self):
        self._lock = threading.Lock()
        self._socket = None
        self.cancelled = False

    def opened(self, connection):
        with self._lock:
            self._socket = connection
        if self.cancelled:
            self.cancel()

    def cancel(self):
        with self._lock:
            self.cancelled = True
            if self._socket is not None:
                try:
                    self._socket.shutdown(socket.SHUT_RDWR)
                except OSError:  # it has ended already
                    pass


class _Answer:
    """What has come of a request, choice by choice."""

    def __init__(self, request_id, prompt, params, decode):
        self._params, self._decode = params, decode
        self._whole = [CompletionOutput(i, "", []) for i in range(params.n)]
        self._head = RequestOutput(request_id, prompt, None, None, [], False)

    def add(self, event):
        """The RequestOutput that this event makes, or None."""
        fresh = []
        usage = event.get("usage") or {}
        if usage:
            self._head.num_cached_tokens = (usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0)
        for choice in event["choices"]:
            self._head.prompt_token_ids = choice.get("prompt_token_ids") or self._head.prompt_token_ids
            fresh.append(self._merge(choice))
        self._head.finished = all(output.finished() for output in self._whole)
        kind = self._params.output_kind
        if not fresh or (kind is RequestOutputKind.FINAL_ONLY and not self._head.finished):
            return None
        shown = fresh if kind is RequestOutputKind.DELTA else [self._copy(output) for output in self._whole]
        return RequestOutput(**{**vars(self._head), "outputs": shown})

    @staticmethod
    def _copy(output):
        rows = None if output.logprobs is None else list(output.logprobs)
        return CompletionOutput(**{**vars(output), "token_ids": list(output.token_ids), "logprobs": rows})

    def _merge(self, choice):
        rows = logprob_rows(choice.get("logprobs"), self._params.logprobs or 0, self._decode)
        new = CompletionOutput(choice["index"], text_of(choice) if self._params.detokenize else "", choice.get("token_ids") or [], None,
                               rows, choice.get("finish_reason"), choice.get("stop_reason"))
        whole = self._whole[new.index]
        whole.text += new.text
        whole.token_ids += new.token_ids
        if rows:
            whole.logprobs = (whole.logprobs or []) + rows
            whole.cumulative_logprob = sum(next(iter(row.values())).logprob for row in whole.logprobs)
        whole.finish_reason, whole.stop_reason = new.finish_reason or whole.finish_reason, new.stop_reason or whole.stop_reason
        return new


class AsyncLLM:
    """Arguments as LLM. Use it in `async with`, or shutdown()."""

    def __init__(self, model, *, seed=None, **settings):
        self.engine = Engine(os.fspath(model), seed=seed, **engine_flags(**settings))
        self._tokenizer = Tokenizer(self.engine)
        self._streams = {}  # by request id
        self._lock = threading.Lock()

    def shutdown(self):
        for stream in list(self._streams.values()):
            stream.cancel()
        return self.engine.shutdown()

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        await asyncio.to_thread(self.shutdown)

    async def generate(self, prompt, sampling_params, request_id, *, priority=None):
        """RequestOutputs as tokens come, in the output_kind of the parameters. Leaving the loop, or abort(), cancels the request
        in the engine."""
        params = sampling_params or SamplingParams()
        if params.prompt_logprobs is not None:
            raise ValueError("prompt_logprobs: not in a stream")
        text, body = completion_prompt(prompt)
        body |= params.fields(chat=False) | {"request_id": request_id}
        if priority is not None:
            body["priority"] = priority
        stream = _Stream()
        with self._lock:
            if request_id in self._streams:
                raise ValueError(f"request_id {request_id!r} is running")
            self._streams[request_id] = stream
        loop, queue = asyncio.get_running_loop(), asyncio.Queue()
        end = object()

        def tell(item):
            try:
                loop.call_soon_threadsafe(queue.put_nowait, item)
            except RuntimeError:  # the loop is closed
                stream.cancelled = True

        def read():
            try:
                answer = _Answer(request_id, text, params, self._tokenizer.token_text)
                for event in self.engine.events("/v1/completions", body, stream.opened):
                    if stream.cancelled:
                        break
                    if (output := answer.add(event)) is not None:
                        tell(output)
                tell(end)
            except Exception as error:
                tell(end if stream.cancelled else error)

        threading.Thread(target=read, name="millrace-stream", daemon=True).start()
        try:
            while (item := await queue.get()) is not end:
                if isinstance(item, Exception):
                    raise item
                yield item
        finally:
            stream.cancel()
            with self._lock:
                self._streams.pop(request_id, None)

    async def abort(self, request_id):
        """Its generate() ends with what has come. Unknown ids are ignored."""
        with self._lock:
            stream = self._streams.get(request_id)
        if stream is not None:
            stream.cancel()

    async def check_health(self):
        try:
            await asyncio.to_thread(self.engine.get_text, "/health")
        except BackendError as error:
            raise RuntimeError(str(error)) from error

    async def get_tokenizer(self):
        return self._tokenizer


AsyncLLMEngine = AsyncLLM
