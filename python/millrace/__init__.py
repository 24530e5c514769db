"""Millrace for Python: LLM and AsyncLLM, a model inside this process (libmillrace.so), and a front-end language for programs
of many model calls (millrace.lang), in process or on a server."""
from millrace import lang
from millrace.async_llm import AsyncLLM, AsyncLLMEngine
from millrace.lang import (Engine, Runtime, RuntimeEndpoint, assistant, assistant_begin, assistant_end, function, gen, gen_int,
                           gen_string, select, set_default_backend, system, system_begin, system_end, user, user_begin, user_end)
from millrace.llm import LLM
from millrace.outputs import CompletionOutput, Logprob, RequestOutput
from millrace.sampling_params import BeamSearchParams, RequestOutputKind, SamplingParams, StructuredOutputsParams

__version__ = "0.1.0"
__all__ = ["LLM", "AsyncLLM", "AsyncLLMEngine", "BeamSearchParams", "CompletionOutput", "Engine", "Logprob", "RequestOutput",
           "RequestOutputKind", "Runtime", "RuntimeEndpoint", "SamplingParams", "StructuredOutputsParams", "assistant", "assistant_begin",
           "assistant_end", "function", "gen", "gen_int", "gen_string", "lang", "select", "set_default_backend", "system", "system_begin",
           "system_end", "user", "user_begin", "user_end"]
