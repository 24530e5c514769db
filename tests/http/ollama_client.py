"""The unmodified `ollama` package against a running server: ollama_client.py BASE_URL.

Each check_* function is one case; the last line is "N passed, N failed" and the exit status says the same."""
import json
import pathlib
import sys

import ollama

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import checks  # noqa: E402

client = ollama.Client(host=sys.argv[1].rstrip("/"))
MODEL = client.list().models[0].model
GREEDY = {"temperature": 0, "num_predict": 16}


def check_list_ps_show():
    card = client.list().models[0]
    assert card.size > 0 and card.details.family and len(card.digest) == 64
    assert client.ps().models[0].model == MODEL
    assert "completion" in client.show(MODEL).capabilities


def check_generate_stream_equals_whole():
    whole = client.generate(MODEL, "The capital of France is", raw=True, options=GREEDY)
    assert whole.done and whole.done_reason in ("stop", "length") and whole.eval_count <= 16
    pieces = list(client.generate(MODEL, "The capital of France is", raw=True, options=GREEDY, stream=True))
    assert "".join(piece.response for piece in pieces) == whole.response
    assert pieces[-1].done and not pieces[0].done and pieces[-1].prompt_eval_count == whole.prompt_eval_count


def check_chat_stream_equals_whole():
    ask = [{"role": "user", "content": "Name three colours."}]
    whole = client.chat(MODEL, ask, options=GREEDY)
    assert whole.message.role == "assistant" and whole.message.content
    pieces = list(client.chat(MODEL, ask, options=GREEDY, stream=True))
    assert "".join(piece.message.content for piece in pieces) == whole.message.content


def check_tools_stream_equals_whole():
    ask = [{"role": "user", "content": "What time is it?"},
           {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "now", "arguments": {"zone": "UTC"}}}]},
           {"role": "tool", "content": "12:00", "tool_name": "now"}]
    tools = [{"type": "function", "function": {"name": "now", "parameters": {"type": "object", "properties": {"zone": {"type": "string"}}}}}]
    whole = client.chat(MODEL, ask, tools=tools, options=GREEDY)
    pieces = list(client.chat(MODEL, ask, tools=tools, options=GREEDY, stream=True))
    assert "".join(piece.message.content or "" for piece in pieces) == (whole.message.content or "")
    calls = [call.function for piece in pieces for call in piece.message.tool_calls or []]
    assert calls == [call.function for call in whole.message.tool_calls or []]


def check_format():
    schema = {"type": "object", "properties": {"colour": {"enum": ["red", "green"]}}, "required": ["colour"], "additionalProperties": False}
    reply = client.chat(MODEL, [{"role": "user", "content": "Which colour?"}], format=schema, options={**GREEDY, "num_predict": 60})
    assert json.loads(reply.message.content)["colour"] in ("red", "green"), reply


def check_stop_and_system():
    whole = client.generate(MODEL, "Count: one, two, three,", raw=True, options=GREEDY).response
    word = whole.split()[0]
    assert word not in client.generate(MODEL, "Count: one, two, three,", raw=True, options={**GREEDY, "stop": [word]}).response
    assert client.generate(MODEL, "Hi", system="Be brief.", options=GREEDY).response


def check_embed():
    reply = client.embed(MODEL, ["The sky is blue.", "Grass is green."])
    assert len(reply.embeddings) == 2 and reply.prompt_eval_count > 2, reply
    assert all(abs(sum(x * x for x in vector) - 1) < 1e-5 for vector in reply.embeddings)
    assert client.embed(MODEL, "The sky is blue.").embeddings[0] == reply.embeddings[0]
    assert len(client.embed(MODEL, "a", dimensions=8).embeddings[0]) == 8
    assert len(client.embeddings(MODEL, "The sky is blue.").embedding) == len(reply.embeddings[0])


def check_load():
    assert client.generate(MODEL, "").done_reason == "load"


def refused(call, status):
    try:
        call()
    except ollama.ResponseError as error:
        assert error.status_code == status and error.error, error
        return
    raise AssertionError("not refused")


def check_errors():
    refused(lambda: client.generate("nobody", "x"), 404)
    refused(lambda: client.generate(MODEL, "x", options={"temperature": -1}), 400)
    refused(lambda: client.embed("nobody", "x"), 404)

if __name__ == "__main__":
    sys.exit(checks.run(checks.named(globals())))
