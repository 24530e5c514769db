"""Golden texts for chat templates: renders tests/golden/data/templates/*.jinja over a matrix of conversations, and a
list of one-line snippets, with the code of transformers itself (its sandbox, its tojson, its continue_final_message).

usage: python tools/golden/templates.py tests/golden/data/templates
Writes expected.json there: {"now_unix", "templates": {name: [case]}, "snippets": [[source, text or null]]}; a case is
{"name", "input", "text"} or {"name", "input", "error"}, error null when only the failing counts.
"""
import datetime
import json
import pathlib
import sys

import jinja2
import transformers.utils.chat_template_utils as chat

NOW = 1753142400  # 2025-07-22 00:00:00 UTC
BOS, EOS = "<s>", "</s>"


class FixedDate(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return datetime.datetime.fromtimestamp(NOW, datetime.timezone.utc)


chat.datetime = FixedDate

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather at a place <now>.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "The city, e.g. Zürich & \"Genève\""},
                "unit": {"type": "string", "enum": ["c", "f"], "default": "c"},
                "days": {"type": "array", "items": {"type": "integer"}},
                "more": {"type": "object", "properties": {"deep": {"type": ["string", "null"]}}, "required": ["deep"]},
            },
            "required": ["city"],
        },
    },
}
CLOCK = {"type": "function", "function": {"name": "clock", "description": "Time.", "parameters": {"type": "object", "properties": {}}}}


def call(name, arguments, call_id="abcdefghi"):
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


S = {"role": "system", "content": "  You are terse.\n"}
U = {"role": "user", "content": "Hi there"}
A = {"role": "assistant", "content": "Hello! "}
U2 = {"role": "user", "content": "  And <b>more</b>? 日本語 \U0001f600 'q' \"d\" \\ \t tab\nline "}
CALL = {"role": "assistant", "content": None, "tool_calls": [call("get_weather", {"city": "Zürich", "days": [1, 2], "more": {"deep": None}, "x": 1.5, "ok": True})]}
CALLS = {"role": "assistant", "content": "Two.", "tool_calls": [call("clock", {}), call("get_weather", {"city": "<|im_end|>"}, "bcdefghij")]}
RESULT = {"role": "tool", "tool_call_id": "abcdefghi", "name": "get_weather", "content": "{\"t\": 21}"}
RESULT2 = {"role": "tool", "tool_call_id": "bcdefghij", "name": "clock", "content": "noon"}
THINK = {"role": "assistant", "content": "<think>\nhm, 2+2\n</think>\n\nFour."}
REASON = {"role": "assistant", "content": "Four.", "reasoning": "two and two"}
FINAL = {"role": "assistant", "content": "The answer is "}

CASES = [
    ("user", dict(messages=[U])),
    ("user_no_prompt", dict(messages=[U], add_generation_prompt=False)),
    ("system", dict(messages=[S, U])),
    ("turns", dict(messages=[S, U, A, U2])),
    ("turns_no_system", dict(messages=[U, A, U2, A], add_generation_prompt=False)),
    ("empty", dict(messages=[{"role": "user", "content": ""}, {"role": "assistant", "content": ""}, U])),
    ("two_users", dict(messages=[U, U2])),
    ("tools", dict(messages=[S, U], tools=[WEATHER, CLOCK])),
    ("tool_round", dict(messages=[U, CALL, RESULT, A, U2], tools=[WEATHER])),
    ("tool_rounds", dict(messages=[S, U, CALLS, RESULT2, RESULT], tools=[CLOCK, WEATHER])),
    ("thinking", dict(messages=[U, THINK, U2, REASON], add_generation_prompt=False)),
    ("no_thinking", dict(messages=[S, U, THINK, U2], enable_thinking=False)),
    ("documents", dict(messages=[U], documents=[{"title": "a", "text": "first"}, {"title": "b", "text": "second é"}])),
    ("kwargs", dict(messages=[U], date_string="1 Jan", reasoning_effort="high", controls={"length": "long"}, tools_in_user_message=False, tools=[CLOCK])),
    ("continue", dict(messages=[S, U, FINAL], add_generation_prompt=False, continue_final_message=True)),
    ("parts", dict(messages=[{"role": "user", "content": [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}]}])),
]
# The forms of content a template reads; the others get strings only.
READS_PARTS = {"gemma3", "vision_parts", "glm4"}
PARTS_ONLY = {"vision_parts"}

SNIPPETS = pathlib.Path(__file__).with_name("template_snippets.txt")


def wrap(messages):
    out = []
    for message in messages:
        content = message["content"]
        out.append({**message, "content": [{"type": "text", "text": content}]} if isinstance(content, str) else message)
    return out


def render(source, spec):
    spec = {"add_generation_prompt": True, "bos_token": BOS, "eos_token": EOS, **json.loads(json.dumps(spec))}
    texts, _ = chat.render_jinja_template([spec.pop("messages")], chat_template=source, **spec)
    return texts[0]


def run(source, spec):
    try:
        return {"text": render(source, spec)}
    except jinja2.exceptions.TemplateError as error:
        return {"error": str(error) if type(error) is jinja2.exceptions.TemplateError else None}
    except Exception:
        return {"error": None}


def main():
    folder = pathlib.Path(sys.argv[1])
    templates = {}
    for path in sorted(folder.glob("*.jinja")):
        source = path.read_text(encoding="utf-8")
        cases = []
        for name, spec in CASES:
            if name == "parts" and path.stem not in READS_PARTS:
                continue
            golden = dict(spec, messages=wrap(spec["messages"])) if path.stem in PARTS_ONLY else spec
            cases.append({"name": name, **run(source, golden)})
        templates[path.stem] = cases
    snippets = []
    for line in SNIPPETS.read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("##"):
            continue
        source = line.replace("\\N", "\n")
        result = run(source, dict(messages=[S, U, A], tools=[WEATHER], s="Ab cd-ef", d={"b": 1, "a": [1, 2.0, None], "items": "x"}, n=[3, 1, 2], u="héß日\U0001f600"))
        snippets.append([source, result.get("text")])
    out = {"now_unix": NOW, "bos_token": BOS, "eos_token": EOS, "cases": [{"name": n, "input": s} for n, s in CASES], "templates": templates, "snippets": snippets}
    (folder / "expected.json").write_text(json.dumps(out, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")
    print(sum(len(c) for c in templates.values()), "cases,", len(snippets), "snippets")


main()
