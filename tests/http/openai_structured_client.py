"""Structured outputs and tools of the unmodified `openai` package: openai_structured_client.py BASE_URL.

The helpers that parse: pydantic models, tools made of them, streams of events, whole conversations with tools, on
chat completions and on responses. Answers are forced to be valid, so a small model is enough. Each check_* function is
one case; the last line is "N passed, N failed"."""
import asyncio
import datetime
import json
import pathlib
import sys
import typing
import uuid

import openai
import pydantic

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import checks  # noqa: E402

BASE = sys.argv[1].rstrip("/")
client = openai.OpenAI(base_url=BASE + "/v1", api_key="none", max_retries=0, timeout=240)
MODEL = client.models.list().data[0].id
ASK = [{"role": "user", "content": "What is the weather in Paris?"}]


class Step(pydantic.BaseModel):
    explanation: str = pydantic.Field(max_length=30)
    output: typing.Literal["ok", "not ok"]


class Plan(pydantic.BaseModel):
    steps: list[Step] = pydantic.Field(min_length=1, max_length=2)
    confidence: float = pydantic.Field(ge=0, le=1)
    note: str | None = pydantic.Field(max_length=10)


class GetWeather(pydantic.BaseModel):
    """The weather of a city"""
    city: str = pydantic.Field(min_length=1, max_length=20)
    unit: typing.Literal["C", "F"]
    days: int = pydantic.Field(ge=1, le=9)


class SetAlarm(pydantic.BaseModel):
    """An alarm clock"""
    hour: int = pydantic.Field(ge=0, le=23)
    note: str | None = pydantic.Field(max_length=10)


class Ping(pydantic.BaseModel):
    """Without arguments"""


class Cat(pydantic.BaseModel):
    kind: typing.Literal["cat"]
    lives: int = pydantic.Field(ge=1, le=9)


class Dog(pydantic.BaseModel):
    kind: typing.Literal["dog"]
    born: datetime.date


class Zoo(pydantic.BaseModel):
    animals: list[Cat | Dog] = pydantic.Field(min_length=1, max_length=3)
    opened: datetime.datetime
    number: uuid.UUID
    guest: typing.Optional[Cat]


WEATHER = openai.pydantic_function_tool(GetWeather)
FORCED = {"model": MODEL, "temperature": 0, "tools": [WEATHER], "tool_choice": "required", "parallel_tool_calls": False, "max_tokens": 200}


def check_parse_nested_model():
    for seed in range(3):
        choice = client.chat.completions.parse(model=MODEL, messages=ASK, response_format=Plan, seed=seed, temperature=1,
                                               max_tokens=400).choices[0]
        assert choice.finish_reason == "stop" and isinstance(choice.message.parsed, Plan), choice
        assert 1 <= len(choice.message.parsed.steps) <= 2 and 0 <= choice.message.parsed.confidence <= 1


def check_parse_unions_and_formats():
    for seed in range(3):
        choice = client.chat.completions.parse(model=MODEL, messages=ASK, response_format=Zoo, seed=seed, temperature=1, max_tokens=500).choices[0]
        assert isinstance(choice.message.parsed, Zoo) and isinstance(choice.message.parsed.animals[0], (Cat, Dog)), choice


def check_parse_strict_tool():
    message = client.chat.completions.parse(messages=ASK, **FORCED).choices[0].message
    [call] = message.tool_calls
    assert call.function.name == "GetWeather" and isinstance(call.function.parsed_arguments, GetWeather), call


def check_stream_helper_parses():
    with client.chat.completions.stream(model=MODEL, messages=ASK, response_format=Plan, temperature=0, max_tokens=400) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_completion()
    whole = client.chat.completions.parse(model=MODEL, messages=ASK, response_format=Plan, temperature=0, max_tokens=400)
    assert kinds[-1] == "content.done" and kinds.count("content.delta") > 5, kinds
    assert final.choices[0].message.parsed == whole.choices[0].message.parsed != None  # noqa: E711


def check_stream_helper_tools():
    with client.chat.completions.stream(messages=ASK, **FORCED) as stream:
        events = list(stream)
        final = stream.get_final_completion()
    done = [event for event in events if event.type == "tool_calls.function.arguments.done"]
    deltas = "".join(event.arguments_delta for event in events if event.type == "tool_calls.function.arguments.delta")
    assert len(done) == 1 and done[0].name == "GetWeather" and deltas == done[0].arguments, events
    assert isinstance(final.choices[0].message.tool_calls[0].function.parsed_arguments, GetWeather)


def check_conversation_with_tools():
    first = client.chat.completions.create(messages=ASK, **FORCED).choices[0].message
    call = first.tool_calls[0]
    history = ASK + [first, {"role": "tool", "tool_call_id": call.id, "content": '{"degrees": 12}'}]
    second = client.chat.completions.create(model=MODEL, messages=history, tools=[WEATHER], tool_choice="none", max_tokens=16, temperature=0)
    assert second.choices[0].message.content and not second.choices[0].message.tool_calls
    alone = client.chat.completions.create(model=MODEL, messages=ASK, tools=[WEATHER], tool_choice="none", max_tokens=16, temperature=0)
    assert second.usage.prompt_tokens > alone.usage.prompt_tokens + 20  # the call and its result were read


def check_parallel_calls():
    ask = {**FORCED, "parallel_tool_calls": True, "max_tokens": 400, "temperature": 1, "seed": 3}
    message = client.chat.completions.create(messages=ASK, **ask).choices[0].message
    assert message.tool_calls and len({call.id for call in message.tool_calls}) == len(message.tool_calls)
    for call in message.tool_calls:
        GetWeather.model_validate_json(call.function.arguments)


def check_several_tools_stream_equals_whole():
    models = {model.__name__: model for model in (GetWeather, SetAlarm, Ping)}
    ask = {"model": MODEL, "messages": ASK, "tools": [openai.pydantic_function_tool(model) for model in models.values()], "tool_choice": "required",
           "max_tokens": 300, "temperature": 1}
    for seed in range(4):
        whole = client.chat.completions.create(seed=seed, **ask).choices[0]
        calls, finish = {}, None
        for chunk in client.chat.completions.create(seed=seed, stream=True, **ask):
            for choice in chunk.choices:
                finish = choice.finish_reason or finish
                for delta in choice.delta.tool_calls or []:
                    call = calls.setdefault(delta.index, ["", ""])
                    call[0] += delta.function.name or ""
                    call[1] += delta.function.arguments or ""
        assert [tuple(call) for call in calls.values()] == [(c.function.name, c.function.arguments) for c in whole.message.tool_calls]
        assert finish == whole.finish_reason
        for name, arguments in calls.values() if finish == "tool_calls" else []:
            models[name].model_validate_json(arguments)


def check_allowed_tools():
    tools = [openai.pydantic_function_tool(model) for model in (GetWeather, SetAlarm)]
    allowed = {"mode": "required", "tools": [{"type": "function", "function": {"name": "SetAlarm"}}]}
    ask = {"model": MODEL, "max_tokens": 100, "parallel_tool_calls": False}
    [call] = client.chat.completions.create(messages=ASK, tools=tools, tool_choice={"type": "allowed_tools", "allowed_tools": allowed},
                                            **ask).choices[0].message.tool_calls
    assert call.function.name == "SetAlarm"
    reply = client.responses.create(model=MODEL, input=ASK, max_output_tokens=100, parallel_tool_calls=False,
                                    tools=[{"type": "function", **tool["function"]} for tool in tools],
                                    tool_choice={"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "SetAlarm"}]})
    assert [item.name for item in reply.output if item.type == "function_call"] == ["SetAlarm"]


def check_responses_parse():
    reply = client.responses.parse(model=MODEL, input="Plan a day.", text_format=Plan, temperature=0, max_output_tokens=400)
    assert reply.status == "completed" and isinstance(reply.output_parsed, Plan), reply
    with client.responses.stream(model=MODEL, input="Plan a day.", text_format=Plan, temperature=0, max_output_tokens=400) as stream:
        kinds = [event.type for event in stream]
        assert stream.get_final_response().output_parsed == reply.output_parsed
    assert kinds[0] == "response.created" and kinds[-1] == "response.completed", kinds


def check_responses_tools():
    tool = openai.pydantic_function_tool(GetWeather)["function"]
    ask = {"model": MODEL, "temperature": 0, "max_output_tokens": 200, "tools": [{"type": "function", **tool}]}
    first = client.responses.create(input=ASK, tool_choice="required", parallel_tool_calls=False, **ask)
    [call] = [item for item in first.output if item.type == "function_call"]
    GetWeather.model_validate_json(call.arguments)
    with client.responses.stream(input=ASK, tool_choice="required", parallel_tool_calls=False, **ask) as stream:
        deltas = "".join(event.delta for event in stream if event.type == "response.function_call_arguments.delta")
    assert deltas == call.arguments
    history = ASK + [call.model_dump(exclude_none=True), {"type": "function_call_output", "call_id": call.call_id, "output": "12 degrees"}]
    short = {**ask, "tool_choice": "none", "max_output_tokens": 16}
    second = client.responses.create(input=history, **short)
    assert second.output_text and second.usage.input_tokens > client.responses.create(input=ASK, **short).usage.input_tokens + 20


def check_asynchronous():
    async def run():
        async with openai.AsyncOpenAI(base_url=BASE + "/v1", api_key="none", max_retries=0, timeout=240) as own:
            asks = [own.chat.completions.parse(messages=ASK, **{**FORCED, "seed": i}) for i in range(4)]
            replies = await asyncio.gather(*asks)
            stream = await own.chat.completions.create(model=MODEL, messages=ASK, stream=True, max_tokens=8)
            text = [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]
        return replies, "".join(text)

    replies, text = asyncio.run(run())
    assert text and all(isinstance(r.choices[0].message.tool_calls[0].function.parsed_arguments, GetWeather) for r in replies)


def check_cut_answer_raises():
    try:
        client.chat.completions.parse(model=MODEL, messages=ASK, response_format=Plan, temperature=0, max_tokens=3)
    except openai.LengthFinishReasonError:
        return
    raise AssertionError("a cut answer was parsed")


def check_json_object():
    choice = client.chat.completions.create(model=MODEL, messages=ASK, response_format={"type": "json_object"}, temperature=0.8, seed=1,
                                            max_tokens=200).choices[0]
    if choice.finish_reason == "stop":
        assert isinstance(json.loads(choice.message.content), dict)


if __name__ == "__main__":
    sys.exit(checks.run(checks.named(globals())))
