"""The unmodified `anthropic` package against a running server: anthropic_client.py BASE_URL [API_KEY].

Each check_* function is one case; the last line is "N passed, N failed" and the exit status says the same."""
import json
import pathlib
import sys

import anthropic

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import checks  # noqa: E402

BASE = sys.argv[1].rstrip("/")
client = anthropic.Anthropic(base_url=BASE, api_key=sys.argv[2] if len(sys.argv) > 2 else "none", max_retries=0, timeout=120)
MODEL = client.models.list().data[0].id
GREEDY = {"extra_body": {"temperature": 0}}  # the package has no argument for it
ASK = {"model": MODEL, "max_tokens": 24, "messages": [{"role": "user", "content": "Name three colours."}]}


def check_message():
    reply = client.messages.create(**ASK)
    assert reply.type == "message" and reply.role == "assistant" and reply.id.startswith("msg_")
    assert reply.content[0].type == "text" and reply.content[0].text
    assert reply.stop_reason in ("end_turn", "max_tokens")
    assert reply.usage.input_tokens > 0 and 0 < reply.usage.output_tokens <= 24


def check_stream_equals_whole():
    whole = client.messages.create(**ASK, **GREEDY)
    with client.messages.stream(**ASK, **GREEDY) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text == whole.content[0].text == final.content[0].text
    assert final.stop_reason == whole.stop_reason and final.usage.output_tokens == whole.usage.output_tokens


def check_tools():
    schema = {"type": "object", "properties": {"unit": {"enum": ["C", "F"]}}, "required": ["unit"], "additionalProperties": False}
    ask = {**ASK, "max_tokens": 100, "tools": [{"name": "weather", "description": "The weather", "input_schema": schema}],
           "tool_choice": {"type": "any", "disable_parallel_tool_use": True}, **GREEDY}
    whole = client.messages.create(**ask)
    assert whole.stop_reason == "tool_use" and [block.type for block in whole.content] == ["tool_use"], whole
    assert whole.content[0].name == "weather" and whole.content[0].input["unit"] in ("C", "F"), whole
    with client.messages.stream(**ask) as stream:
        final = stream.get_final_message()
    assert final.content[0].input == whole.content[0].input and final.stop_reason == "tool_use", final
    result = {"type": "tool_result", "tool_use_id": whole.content[0].id, "content": "12 degrees"}
    history = ASK["messages"] + [{"role": "assistant", "content": whole.content}, {"role": "user", "content": [result]}]
    assert client.messages.create(**{**ask, "messages": history, "tool_choice": {"type": "none"}}).content[0].type == "text"


def check_tool_stream_events():
    schema = {"type": "object", "properties": {"unit": {"enum": ["C", "F"]}}, "required": ["unit"], "additionalProperties": False}
    ask = {**ASK, "max_tokens": 100, "tools": [{"name": "weather", "input_schema": schema}], "tool_choice": {"type": "tool", "name": "weather"}}
    events = list(client.messages.create(stream=True, **ask, **GREEDY))
    kinds = [event.type for event in events]
    assert kinds[0] == "message_start" and kinds[-2:] == ["message_delta", "message_stop"], kinds
    [start] = [event for event in events if event.type == "content_block_start"]
    assert start.content_block.type == "tool_use" and start.content_block.name == "weather" and start.content_block.id, start
    pieces = [event.delta.partial_json for event in events if event.type == "content_block_delta" and event.delta.type == "input_json_delta"]
    assert json.loads("".join(pieces))["unit"] in ("C", "F") and kinds.count("content_block_stop") == 1, pieces
    assert events[-2].delta.stop_reason == "tool_use", events[-2]


def check_several_tools_and_their_results():
    zone = {"type": "object", "properties": {"zone": {"enum": ["CET", "UTC"]}}, "required": ["zone"], "additionalProperties": False}
    unit = {"type": "object", "properties": {"unit": {"enum": ["C", "F"]}}, "required": ["unit"], "additionalProperties": False}
    ask = {**ASK, "max_tokens": 200, "tools": [{"name": "clock", "input_schema": zone}, {"name": "weather", "input_schema": unit}]}
    whole = client.messages.create(tool_choice={"type": "any"}, **ask, **GREEDY)
    with client.messages.stream(tool_choice={"type": "any"}, **ask, **GREEDY) as stream:
        final = stream.get_final_message()
    uses = [block for block in whole.content if block.type == "tool_use"]
    assert uses and [(b.name, b.input) for b in uses] == [(b.name, b.input) for b in final.content if b.type == "tool_use"]
    results = [{"type": "tool_result", "tool_use_id": use.id, "content": [{"type": "text", "text": "it broke"}], "is_error": True} for use in uses]
    history = ASK["messages"] + [{"role": "assistant", "content": whole.content}, {"role": "user", "content": [*results, {"type": "text", "text": "Go on."}]}]
    system = [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]
    with client.messages.stream(**{**ask, "messages": history, "max_tokens": 16}, system=system, tool_choice={"type": "none"}) as stream:
        assert "".join(stream.text_stream)
        used = stream.get_final_message().usage
    alone = client.messages.count_tokens(model=MODEL, messages=ASK["messages"], tools=ask["tools"], system=system, tool_choice={"type": "none"})
    assert used.input_tokens + used.cache_read_input_tokens > alone.input_tokens + 20  # the calls and their results were read


def check_output_format():
    schema = {"type": "object", "properties": {"colour": {"enum": ["red", "green"]}}, "required": ["colour"], "additionalProperties": False}
    reply = client.messages.create(**{**ASK, "max_tokens": 60}, output_config={"format": {"type": "json_schema", "schema": schema}}, **GREEDY)
    assert json.loads(reply.content[0].text)["colour"] in ("red", "green"), reply


def check_stop_sequence():
    whole = client.messages.create(**ASK, **GREEDY).content[0].text
    word = whole.split()[2]
    reply = client.messages.create(stop_sequences=[word], **ASK, **GREEDY)
    assert reply.stop_reason == "stop_sequence" and reply.stop_sequence == word
    assert word not in reply.content[0].text


def check_system_and_count():
    # two system prompts: without one, a template may bring a longer one of its own
    plain = client.messages.count_tokens(model=MODEL, messages=ASK["messages"], system="Hm.").input_tokens
    told = client.messages.count_tokens(model=MODEL, messages=ASK["messages"], system="Answer in one word, please.").input_tokens
    assert 0 < plain < told
    whole = client.messages.count_tokens(model=MODEL, messages=ASK["messages"]).input_tokens
    usage = client.messages.create(**ASK).usage
    assert usage.input_tokens + usage.cache_read_input_tokens == whole


def refused(kind, **changes):
    try:
        client.messages.create(**{**ASK, **changes})
    except kind as error:
        assert error.body["type"] == "error", error.body
        return error.body["error"]
    raise AssertionError("not refused with " + kind.__name__)


def check_errors():
    assert refused(anthropic.BadRequestError, extra_body={"temperature": 1.5})["type"] == "invalid_request_error"
    assert refused(anthropic.BadRequestError, messages=[])["type"] == "invalid_request_error"
    assert refused(anthropic.NotFoundError, model="nobody")["type"] == "not_found_error"

if __name__ == "__main__":
    sys.exit(checks.run(checks.named(globals())))
