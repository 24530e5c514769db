"""The unmodified `openai` package against a running server with a real model.

usage: openai_client.py BASE_URL [API_KEY]      BASE_URL such as http://127.0.0.1:8000
Each check_* function is one case; the last line is "N passed, N failed" and the exit status says the same.
"""
import json
import os
import pathlib
import re
import struct
import sys
import time
import typing
import urllib.request

import openai
import pydantic

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import checks  # noqa: E402

BASE = (sys.argv[1] if len(sys.argv) > 1 else os.environ.get("MILLRACE_URL", "http://127.0.0.1:8000")).rstrip("/")
KEY = sys.argv[2] if len(sys.argv) > 2 else "none"
client = openai.OpenAI(base_url=BASE + "/v1", api_key=KEY, max_retries=0, timeout=checks.HANG_S)
MODEL = client.models.list().data[0].id
ASK = [{"role": "user", "content": "Name three colours."}]
GREEDY = {"model": MODEL, "temperature": 0, "max_tokens": 24}


def metric(name):
    time.sleep(0.03)  # a scrape may be answered with a page up to 25 ms old
    request = urllib.request.Request(BASE + "/metrics", headers={"Authorization": "Bearer " + KEY})
    text = urllib.request.urlopen(request, timeout=checks.HANG_S).read().decode()
    values = re.findall(r"^%s\{[^}]*\} (\S+)$" % re.escape(name), text, re.M)
    assert values, name
    return sum(float(value) for value in values)


def refused(kind, call):
    try:
        call()
    except kind as error:
        return error
    raise AssertionError("not refused with " + kind.__name__)


def check_models():
    card = client.models.retrieve(MODEL)
    assert card.id == MODEL and card.owned_by == "millrace" and card.max_model_len > 0, card


def check_chat_whole():
    reply = client.chat.completions.create(messages=ASK, **GREEDY)
    choice = reply.choices[0]
    assert reply.id.startswith("chatcmpl-") and reply.object == "chat.completion" and reply.model == MODEL
    assert choice.message.role == "assistant" and choice.message.content.strip()
    assert choice.finish_reason in ("stop", "length")
    usage = reply.usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens and 0 < usage.completion_tokens <= 24
    assert usage.prompt_tokens_details.cached_tokens >= 0


def check_chat_stream_equals_whole():
    whole = client.chat.completions.create(messages=ASK, **GREEDY)
    chunks = list(client.chat.completions.create(messages=ASK, stream=True, stream_options={"include_usage": True}, **GREEDY))
    assert len({chunk.id for chunk in chunks}) == 1
    assert chunks[0].choices[0].delta.role == "assistant"
    assert all(not chunk.choices or chunk.choices[0].delta.role is None for chunk in chunks[1:])
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content, (text, whole.choices[0].message.content)
    assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    ends = [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices and chunk.choices[0].finish_reason]
    assert ends == [whole.choices[0].finish_reason]
    assert all(chunk.usage is None for chunk in chunks[:-1])


def check_completion_stream_equals_whole():
    whole = client.completions.create(prompt="The capital of France is", **GREEDY)
    chunks = list(client.completions.create(prompt="The capital of France is", stream=True, **GREEDY))
    assert whole.object == "text_completion" and whole.choices[0].text
    assert "".join(chunk.choices[0].text for chunk in chunks) == whole.choices[0].text


def check_default_max_tokens_of_completions_is_16():
    reply = client.completions.create(model=MODEL, prompt="Count: 1, 2, 3,", temperature=0, extra_body={"ignore_eos": True})
    assert reply.usage.completion_tokens == 16 and reply.choices[0].finish_reason == "length"


def check_chat_logprobs():
    reply = client.chat.completions.create(messages=ASK, logprobs=True, top_logprobs=3, **GREEDY)
    entries = reply.choices[0].logprobs.content
    assert "".join(entry.token for entry in entries) == reply.choices[0].message.content
    for entry in entries:
        assert entry.logprob <= 0 and entry.bytes is not None and len(entry.top_logprobs) == 3
        assert entry.top_logprobs[0].token == entry.token  # greedy: the most likely one
        values = [top.logprob for top in entry.top_logprobs]
        assert values == sorted(values, reverse=True) and abs(values[0] - entry.logprob) < 1e-6


def check_chat_logprobs_stream():
    whole = client.chat.completions.create(messages=ASK, logprobs=True, **GREEDY)
    got = []
    for chunk in client.chat.completions.create(messages=ASK, logprobs=True, stream=True, **GREEDY):
        if chunk.choices and chunk.choices[0].logprobs:
            got += chunk.choices[0].logprobs.content
    assert [entry.token for entry in got] == [entry.token for entry in whole.choices[0].logprobs.content]


def check_completion_logprobs():
    reply = client.completions.create(prompt="The capital of France is", logprobs=2, **GREEDY)
    logprobs = reply.choices[0].logprobs
    assert "".join(logprobs.tokens) == reply.choices[0].text
    assert len(logprobs.tokens) == len(logprobs.token_logprobs) == len(logprobs.top_logprobs) == len(logprobs.text_offset)
    assert logprobs.text_offset[0] == 0


def check_echo_scoring():
    prompt = "The quick brown fox jumps over the lazy dog."
    scored = client.completions.create(model=MODEL, prompt=prompt, echo=True, logprobs=1, max_tokens=0)
    choice = scored.choices[0]
    assert choice.text == prompt and "".join(choice.logprobs.tokens) == prompt
    assert choice.logprobs.token_logprobs[0] is None
    assert all(value <= 0 for value in choice.logprobs.token_logprobs[1:])
    # Continuing from a prefix gives the scored token the same probability.
    tokens = choice.logprobs.tokens
    begin = "".join(tokens[:5])
    nxt = client.completions.create(model=MODEL, prompt=begin, max_tokens=1, logprobs=20, temperature=0)
    top = nxt.choices[0].logprobs.top_logprobs[0]
    if tokens[5] in top:
        assert abs(top[tokens[5]] - choice.logprobs.token_logprobs[5]) < 1e-3, (top, choice.logprobs.token_logprobs[5])
    with_one = client.completions.create(model=MODEL, prompt=prompt, echo=True, logprobs=1, max_tokens=1, temperature=0)
    assert with_one.choices[0].text.startswith(prompt) and len(with_one.choices[0].logprobs.tokens) == len(tokens) + 1


def check_three_choices():
    reply = client.chat.completions.create(model=MODEL, messages=ASK, n=3, max_tokens=12, temperature=1.2, seed=7)
    assert [choice.index for choice in reply.choices] == [0, 1, 2]
    assert len({choice.message.content for choice in reply.choices}) > 1
    texts = ["", "", ""]
    for chunk in client.chat.completions.create(model=MODEL, messages=ASK, n=3, max_tokens=12, temperature=1.2, seed=7, stream=True):
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    assert texts == [choice.message.content for choice in reply.choices]


def check_best_of_is_the_best_of_n():
    def ask(**how):
        return client.completions.create(
            model=MODEL, prompt="Once upon a time", max_tokens=12, seed=7, temperature=1.2, extra_body={"ignore_eos": True}, **how
        )

    def mean(choice):
        values = choice.logprobs.token_logprobs
        return sum(values) / len(values)

    every = sorted(ask(n=5, logprobs=0).choices, key=mean, reverse=True)
    best = ask(n=2, best_of=5)
    assert [c.text for c in best.choices] == [c.text for c in every[:2]], (best.choices, every)
    assert best.choices[0].logprobs is None and [c.index for c in best.choices] == [0, 1]
    refused(openai.BadRequestError, lambda: ask(n=1, best_of=2, stream=True))


def check_seed():
    def ask(seed):
        reply = client.completions.create(model=MODEL, prompt="Once upon a time", max_tokens=20, temperature=1.0, seed=seed)
        return reply.choices[0].text

    assert ask(1) == ask(1)
    assert len({ask(seed) for seed in range(4)}) > 1


def check_several_prompts():
    prompts = ["The capital of France is", "One plus one is", "Water is made of"]
    together = client.completions.create(prompt=prompts, **GREEDY)
    for prompt, choice in zip(prompts, together.choices):
        assert client.completions.create(prompt=prompt, **GREEDY).choices[0].text == choice.text


def check_stop():
    whole = client.completions.create(prompt="Count: 1, 2, 3, 4,", **GREEDY).choices[0].text
    stop = whole[6:9]
    cut = client.completions.create(prompt="Count: 1, 2, 3, 4,", stop=[stop, "never seen"], **GREEDY).choices[0]
    assert cut.text == whole[: whole.index(stop)] and cut.finish_reason == "stop" and cut.stop_reason == stop, cut
    streamed = "".join(
        chunk.choices[0].text
        for chunk in client.completions.create(prompt="Count: 1, 2, 3, 4,", stop=stop, stream=True, **GREEDY)
    )
    assert streamed == cut.text


def check_logit_bias():
    request = urllib.request.Request(
        BASE + "/tokenize",
        json.dumps({"prompt": " Paris", "add_special_tokens": False}).encode(),
        {"Content-Type": "application/json", "Authorization": "Bearer " + KEY},
    )
    token = json.load(urllib.request.urlopen(request, timeout=checks.HANG_S))["tokens"][0]
    forced = client.completions.create(model=MODEL, prompt="x", max_tokens=3, temperature=0, logit_bias={str(token): 100})
    assert forced.choices[0].text == " Paris Paris Paris", forced.choices[0].text
    banned = client.completions.create(model=MODEL, prompt="The capital of France is", max_tokens=1, temperature=0, logit_bias={str(token): -100})
    assert banned.choices[0].text != " Paris"


def check_structured_outputs_parse():
    class Person(pydantic.BaseModel):
        name: str
        age: int
        kind: typing.Literal["adult", "child"]
    for temperature in (0, 1.5):
        reply = client.chat.completions.parse(model=MODEL, messages=[{"role": "user", "content": "Invent a person."}],
                                              response_format=Person, temperature=temperature, seed=7, max_tokens=300)
        choice = reply.choices[0]
        assert choice.finish_reason in ("stop", "length"), choice
        if choice.finish_reason == "stop":
            assert isinstance(choice.message.parsed, Person), choice


def check_json_schema_stream_equals_whole():
    schema = {"type": "object", "properties": {"colours": {"type": "array", "items": {"type": "string", "maxLength": 12},
                                                           "minItems": 3, "maxItems": 3}},
              "required": ["colours"], "additionalProperties": False}
    ask = {"messages": ASK, "response_format": {"type": "json_schema", "json_schema": {"name": "c", "schema": schema}},
           "model": MODEL, "temperature": 0, "max_tokens": 200}
    whole = client.chat.completions.create(**ask).choices[0]
    assert whole.finish_reason == "stop", whole
    colours = json.loads(whole.message.content)["colours"]
    assert len(colours) == 3 and all(len(colour) <= 12 for colour in colours), colours
    pieces = [chunk.choices[0].delta.content or "" for chunk in client.chat.completions.create(stream=True, **ask) if chunk.choices]
    assert "".join(pieces) == whole.message.content


def check_constraints_of_other_dialects():
    def answer(**extra):
        reply = client.chat.completions.create(messages=ASK, model=MODEL, temperature=1, seed=3, max_tokens=60, extra_body=extra)
        return reply.choices[0]
    assert re.fullmatch(r"[a-z]{3,9}-\d\d", answer(guided_regex=r"[a-z]{3,9}-\d\d").message.content)
    assert answer(structured_outputs={"choice": ["red", "green"]}).message.content in ("red", "green")
    assert re.fullmatch(r"(- [a-z ]+\n){2}", answer(grammar='root ::= item item\nitem ::= "- " [a-z ]+ "\\n"').message.content)
    text = client.completions.create(model=MODEL, prompt="The answer is", max_tokens=20, extra_body={"guided_choice": ["yes", "no"]})
    assert text.choices[0].text in ("yes", "no") and text.choices[0].finish_reason == "stop", text
    both = client.chat.completions.create(messages=ASK, model=MODEL, n=3, temperature=1, seed=5, max_tokens=40,
                                          extra_body={"guided_regex": "[0-9]{4}"})
    assert all(re.fullmatch("[0-9]{4}", choice.message.content) for choice in both.choices), both


WEATHER = {"type": "object", "additionalProperties": False, "required": ["city", "days", "unit"],
           "properties": {"city": {"type": "string", "minLength": 1, "maxLength": 20}, "days": {"type": "integer", "minimum": 1, "maximum": 9},
                          "unit": {"enum": ["C", "F"]}}}
TOOLS = [{"type": "function", "function": {"name": "weather", "description": "The weather of a city", "parameters": WEATHER}},
         {"type": "function", "function": {"name": "now", "parameters": {"type": "object", "properties": {}}}}]


def check_lazy_grammars_begin_with_their_trigger():
    def text(max_tokens=40, **extra):
        asked = dict(GREEDY, prompt="1, 2, 3, 4,", max_tokens=max_tokens, extra_body=extra)
        return client.completions.create(**asked).choices[0].text
    free = text()
    assert free.startswith(" 5, 6, 7"), free
    grammar = 'root ::= (" 6" | "6") "!" [a-c]{4}'
    for trigger in ({"type": 1, "value": "6"}, {"type": 2, "value": "5,\\s*(6)"}, {"type": 3, "value": "[\\s\\S]*?(6)[\\s\\S]*"}):
        lazy = text(grammar=grammar, grammar_lazy=True, grammar_triggers=[trigger])
        assert re.fullmatch(r" 5, 6![a-c]{4}", lazy), (trigger, lazy)
        assert text(grammar=grammar, grammar_lazy=True, grammar_triggers=[{"type": 1, "value": "6!"}]) == free
    spaced = text(guided_json={"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 3}, guided_whitespace_pattern="\\n{2}")
    assert re.fullmatch(r"\[\n\n-?\d+(,\n\n-?\d+){1,2}\n\n\]", spaced), spaced


def is_weather(text):
    value = json.loads(text)
    return (value.keys() == {"city", "days", "unit"} and 1 <= len(value["city"]) <= 20 and 1 <= value["days"] <= 9
            and value["unit"] in ("C", "F"))


def check_required_tools_obey_their_schema():
    named = {"type": "function", "function": {"name": "weather"}}
    for choice, finish in (("required", "tool_calls"), (named, "stop")):
        for seed in range(3):
            ask = {"messages": ASK, "model": MODEL, "tools": TOOLS, "tool_choice": choice, "parallel_tool_calls": False,
                   "temperature": 1, "seed": seed, "max_tokens": 120}
            whole = client.chat.completions.create(**ask).choices[0]
            assert whole.finish_reason == finish and len(whole.message.tool_calls) == 1, whole
            call = whole.message.tool_calls[0]
            assert call.id and call.function.name in ("weather", "now") and not whole.message.content, whole
            assert is_weather(call.function.arguments) if call.function.name == "weather" else json.loads(call.function.arguments) == {}
            names, arguments = [], []
            for chunk in client.chat.completions.create(stream=True, **ask):
                for piece in (chunk.choices[0].delta.tool_calls or []) if chunk.choices else []:
                    names += [piece.function.name] if piece.function.name else []
                    arguments.append(piece.function.arguments)
            assert names == [call.function.name] and "".join(arguments) == call.function.arguments, (names, arguments)


def check_tool_results_reach_the_model():
    call = {"id": "call_1", "type": "function", "function": {"name": "now", "arguments": "{}"}}
    history = ASK + [{"role": "assistant", "content": None, "tool_calls": [call]},
                     {"role": "tool", "tool_call_id": "call_1", "content": "12:00"}]
    reply = client.chat.completions.create(messages=history, tools=TOOLS, **GREEDY)
    plain = client.chat.completions.create(messages=ASK, **GREEDY)
    assert reply.usage.prompt_tokens > plain.usage.prompt_tokens + 50, reply.usage
    assert refused(openai.BadRequestError, lambda: client.chat.completions.create(
        messages=ASK, tool_choice="required", **GREEDY)).param == "tool_choice"


def check_bad_constraints_are_400():
    def error(**extra):
        return refused(openai.BadRequestError, lambda: client.chat.completions.create(messages=ASK, extra_body=extra, **GREEDY))
    wrong = error(response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": {"properties": {"a": {"extends": {}}}}}})
    assert wrong.code == "invalid_schema" and "#/properties/a/extends" in str(wrong), wrong
    assert error(guided_regex="(a").code == "invalid_regex"
    assert error(guided_grammar="root ::= x").code == "invalid_grammar"
    assert error(guided_regex="a", guided_choice=["b"]).code == "conflicting_constraints"
    stream = refused(openai.BadRequestError, lambda: client.chat.completions.create(
        messages=ASK, stream=True, extra_body={"guided_regex": "*"}, **GREEDY))
    assert stream.code == "invalid_regex", stream


def check_embeddings():
    texts = ["The cat sits on the mat.", "A cat is sitting on a mat.", "Interest rates rose in March."]
    reply = client.embeddings.create(input=texts, model=MODEL)  # the package asks for base64
    plain = client.embeddings.create(input=texts[0], model=MODEL, encoding_format="float").data[0].embedding
    vectors = [item.embedding for item in reply.data]
    assert [item.index for item in reply.data] == [0, 1, 2]
    assert reply.usage.prompt_tokens == reply.usage.total_tokens > 10, reply.usage
    as_f32 = lambda vector: struct.pack(f"{len(vector)}f", *vector)
    assert as_f32(vectors[0]) == as_f32(plain), "alone and in a batch differ"
    dot = lambda a, b: sum(x * y for x, y in zip(a, b))
    assert all(abs(dot(v, v) - 1) < 1e-5 for v in vectors)
    assert dot(vectors[0], vectors[1]) > dot(vectors[0], vectors[2])
    short = client.embeddings.create(input=texts[0], model=MODEL, dimensions=64).data[0].embedding
    assert len(short) == 64 and abs(dot(short, short) - 1) < 1e-5
    error = refused(openai.BadRequestError, lambda: client.embeddings.create(input="a " * 30000, model=MODEL))
    assert error.code == "context_length_exceeded", error


def check_errors_are_the_classes_of_the_package():
    error = refused(openai.NotFoundError, lambda: client.chat.completions.create(model="no-such-model", messages=ASK))
    assert error.code == "model_not_found" and error.param == "model", error
    error = refused(openai.BadRequestError, lambda: client.chat.completions.create(messages=ASK, model=MODEL, temperature=9))
    assert error.param == "temperature" and "0..2" in str(error), error
    error = refused(openai.BadRequestError, lambda: client.chat.completions.create(messages=[], model=MODEL))
    assert error.param == "messages", error
    error = refused(openai.BadRequestError, lambda: client.completions.create(prompt="a " * 30000, model=MODEL))
    assert error.code == "context_length_exceeded", error
    refused(openai.BadRequestError, lambda: client.completions.create(prompt="a", model=MODEL, n=0))
    refused(openai.BadRequestError, lambda: client.completions.create(prompt=[], model=MODEL))
    refused(openai.BadRequestError, lambda: client.embeddings.create(input=[], model=MODEL))
    refused(openai.NotFoundError, lambda: client.models.retrieve("no-such-model"))


def check_key_when_one_is_set():
    wrong = openai.OpenAI(base_url=BASE + "/v1", api_key="wrong-key", max_retries=0)
    try:
        wrong.models.list()
    except openai.AuthenticationError as error:
        assert error.code == "invalid_api_key", error
    else:
        assert KEY == "none", "a wrong key was accepted"


def check_request_id():
    raw = client.chat.completions.with_raw_response.create(messages=ASK, extra_headers={"X-Request-Id": "req-42"}, **GREEDY)
    assert raw.headers["x-request-id"] == "req-42" and raw.parse()._request_id == "req-42"


def check_timeout_is_504():
    error = refused(
        openai.InternalServerError,
        lambda: client.completions.create(
            model=MODEL, prompt="a", max_tokens=1000, extra_body={"ignore_eos": True}, extra_headers={"X-Request-Timeout-Ms": "300"}
        ),
    )
    assert error.status_code in (503, 504) and error.code in ("deadline_exceeded", "deadline_unreachable"), error


def check_disconnect_frees_kv():
    checks.eventually(lambda: metric("vllm:num_requests_running") == 0)
    stream = client.completions.create(model=MODEL, prompt="Once", max_tokens=1500, stream=True, extra_body={"ignore_eos": True})
    next(iter(stream))
    assert metric("vllm:num_requests_running") == 1 and metric("vllm:kv_cache_usage_perc") > 0
    aborted = metric("vllm:request_success_total")
    stream.close()
    checks.eventually(lambda: metric("vllm:num_requests_running") == 0 and metric("vllm:kv_cache_usage_perc") == 0)
    checks.eventually(lambda: metric("vllm:request_success_total") == aborted + 1)


def check_metrics_follow_usage():
    checks.eventually(lambda: metric("vllm:num_requests_running") == 0)
    names = ("vllm:prompt_tokens_total", "vllm:generation_tokens_total", "vllm:prefix_cache_hits_total")
    before = [metric(name) for name in names]
    usages = [client.chat.completions.create(messages=ASK, **GREEDY).usage for _ in range(3)]
    want = [
        sum(usage.prompt_tokens for usage in usages),
        sum(usage.completion_tokens for usage in usages),
        sum(usage.prompt_tokens_details.cached_tokens for usage in usages),
    ]
    moved = lambda: [metric(name) - old for name, old in zip(names, before)]
    checks.eventually(lambda: moved() == want, f"{names} grow by {want}")


if __name__ == "__main__":
    sys.exit(checks.run(checks.named(globals())))
