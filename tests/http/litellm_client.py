"""The unmodified `litellm` package against a running server: litellm_client.py BASE_URL.

One server under the provider names a user may give it: openai, hosted_vllm, text-completion-openai, anthropic, ollama_chat.
Each check_* function is one case; the last line is "N passed, N failed"."""
import asyncio
import json
import os
import pathlib
import sys
import urllib.request

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # no download at import
import litellm  # noqa: E402
import pydantic  # noqa: E402

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import checks  # noqa: E402

BASE = sys.argv[1].rstrip("/")
NAME = json.load(urllib.request.urlopen(BASE + "/v1/models", timeout=10))["data"][0]["id"]
ASK = [{"role": "user", "content": "Name three colours."}]
OPENAI = {"model": "openai/" + NAME, "api_base": BASE + "/v1", "api_key": "none", "max_retries": 0, "timeout": 240}
PROVIDERS = {"openai": OPENAI, "hosted_vllm": {**OPENAI, "model": "hosted_vllm/" + NAME},
             "anthropic": {"model": "anthropic/" + NAME, "api_base": BASE, "api_key": "none", "timeout": 240},
             "ollama_chat": {"model": "ollama_chat/" + NAME, "api_base": BASE, "timeout": 240}}
GREEDY = {"temperature": 0, "max_tokens": 16}
TOOL = {"type": "function", "function": {"name": "weather", "description": "The weather", "parameters": {
    "type": "object", "properties": {"unit": {"type": "string", "enum": ["C", "F"]}}, "required": ["unit"], "additionalProperties": False}}}


def answers(messages=ASK, **how):
    for name, provider in PROVIDERS.items():
        yield name, litellm.completion(messages=messages, **{**provider, **GREEDY, **how})


def check_completion_of_every_provider():
    texts = {}
    for name, reply in answers():
        choice = reply.choices[0]
        assert choice.message.content and choice.finish_reason in ("stop", "length"), (name, reply)
        assert reply.usage.prompt_tokens > 0 and 0 < reply.usage.completion_tokens <= 16, (name, reply)
        texts[name] = choice.message.content
    assert len(set(texts.values())) == 1, texts  # one engine behind every dialect


def check_stream_equals_whole():
    whole = {name: reply.choices[0].message.content for name, reply in answers()}
    for name, stream in answers(stream=True):
        chunks = list(stream)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole[name], name
        assert chunks[-1].choices[0].finish_reason in ("stop", "length"), name


def check_stream_usage():
    chunks = list(litellm.completion(messages=ASK, stream=True, stream_options={"include_usage": True}, **OPENAI, **GREEDY))
    usage = [chunk.usage for chunk in chunks if getattr(chunk, "usage", None)]
    assert usage and usage[-1].completion_tokens > 0, chunks[-1]
    assert litellm.stream_chunk_builder(chunks, messages=ASK).choices[0].message.content


def check_tools():
    for name in ("openai", "hosted_vllm", "anthropic"):
        ask = {**PROVIDERS[name], "temperature": 0, "max_tokens": 120, "tools": [TOOL], "tool_choice": "required"}
        message = litellm.completion(messages=ASK, **ask).choices[0].message
        call = message.tool_calls[0]
        assert call.function.name == "weather" and json.loads(call.function.arguments)["unit"] in ("C", "F"), (name, message)
        history = ASK + [message.model_dump(exclude_none=True), {"role": "tool", "tool_call_id": call.id, "content": "12 degrees"}]
        assert litellm.completion(messages=history, **{**ask, "tool_choice": "none"}).choices[0].message.content, name
        chunks = list(litellm.completion(messages=ASK, stream=True, **ask))
        built = litellm.stream_chunk_builder(chunks, messages=ASK).choices[0].message.tool_calls[0]
        assert json.loads(built.function.arguments)["unit"] in ("C", "F"), (name, built)


def check_response_format():
    class Colours(pydantic.BaseModel):
        first: str = pydantic.Field(max_length=12)
        second: str = pydantic.Field(max_length=12)
    for name in ("openai", "hosted_vllm", "ollama_chat"):
        reply = litellm.completion(messages=ASK, response_format=Colours, **{**PROVIDERS[name], "temperature": 0, "max_tokens": 120})
        Colours.model_validate_json(reply.choices[0].message.content)


def check_text_completion():
    ask = {**OPENAI, "model": "text-completion-openai/" + NAME, **GREEDY}
    whole = litellm.text_completion(prompt="The capital of France is", **ask)
    assert "Paris" in whole.choices[0].text
    assert "".join(c.choices[0].text or "" for c in litellm.text_completion(prompt="The capital of France is", stream=True, **ask)) == whole.choices[0].text


def check_responses():
    ask = {key: OPENAI[key] for key in ("model", "api_base", "api_key")}
    reply = litellm.responses(input="Name a colour.", max_output_tokens=16, temperature=0, **ask)
    assert reply.output[-1].content[0].text and reply.usage.output_tokens <= 16
    kinds = [event.type for event in litellm.responses(input="Name a colour.", max_output_tokens=16, stream=True, **ask)]
    assert kinds[-1] in ("response.completed", "response.incomplete"), kinds


def check_embedding():
    reply = litellm.embedding(input=["The cat sits.", "Rates rose."], encoding_format="float", **{k: v for k, v in OPENAI.items() if k != "max_retries"})
    assert len(reply.data) == 2 and len(reply.data[0]["embedding"]) == len(reply.data[1]["embedding"]) > 0
    assert reply.usage.prompt_tokens > 4


def check_async_and_router():
    async def run():
        router = litellm.Router(model_list=[{"model_name": "mine", "litellm_params": {k: v for k, v in OPENAI.items() if k != "max_retries"}}], num_retries=0)
        return await asyncio.gather(*(router.acompletion("mine", ASK, **GREEDY) for _ in range(4)))

    assert len({reply.choices[0].message.content for reply in asyncio.run(run())}) == 1


def refused(kind, **changes):
    try:
        litellm.completion(**{"messages": ASK, **OPENAI, **changes})
    except kind as error:
        return error
    raise AssertionError("not refused with " + kind.__name__)


def check_errors():
    refused(litellm.BadRequestError, temperature=9)
    refused(litellm.NotFoundError, model="openai/nobody")
    long = [{"role": "user", "content": "a " * 30000}]
    assert "context" in str(refused(litellm.BadRequestError, messages=long))
    refused(litellm.BadRequestError, model="anthropic/" + NAME, api_base=BASE, messages=long)


if __name__ == "__main__":
    sys.exit(checks.run(checks.named(globals())))
