"""Large honest schemas and hostile constraints on a real server beside a stream of somebody else: each is answered with what the
specification says, and the stream's text is what it is without them. What a refusal costs is counted by the server, in steps, and is the
same on every machine; times are printed, and judged only where a machine that does nothing else is given.

usage: costly_constraints.py [--in-time MS] BASE_URL
  --in-time MS  fails where an answer takes longer (the goal is 500 on a machine that does nothing else)
"""
import argparse
import json
import pathlib
import random
import re
import sys
import threading
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/support")]
import checks  # noqa: E402

parser = argparse.ArgumentParser()
parser.add_argument("--in-time", type=float, default=float("inf"))
parser.add_argument("base")
args = parser.parse_args()
BYSTANDER = {"messages": [{"role": "user", "content": "Tell a long story of a river."}], "max_tokens": 400, "temperature": 0.7, "seed": 11, "ignore_eos": True}
worst_ms = {}  # outcome: (milliseconds, name)


def post(path, body):
    request = urllib.request.Request(args.base + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
    return urllib.request.urlopen(request, timeout=checks.HANG_S)


def objects(levels, inside):
    for _ in range(levels):
        inside = {"type": "object", "properties": {"a": inside}, "required": ["a"]}
    return inside


def names(n):
    draw = random.Random(3)
    return ["".join(draw.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(12)) + str(i) for i in range(n)]


LONG_TEXT = {"type": "string", "maxLength": 10000}
WIDE = {"type": "object", "properties": {f"property{i}": LONG_TEXT for i in range(2000)}}


def ranges(n):
    return [{"type": "number", "minimum": i * 1.37, "maximum": i * 9.11 + 0.001} for i in range(n)]


def numbers(n):
    properties = {f"property{i}": bounded for i, bounded in enumerate(ranges(n))}
    return {"type": "object", "properties": properties, "required": list(properties)}


HONEST = {
    "2,000 properties of maxLength 10,000": WIDE,
    "2,000 required properties": WIDE | {"required": list(WIDE["properties"])},
    "2,000 properties, names alike in nothing": {"type": "object", "properties": {name: LONG_TEXT for name in names(2000)}},
    "maxLength 10,000": {"type": "object", "properties": {"a": LONG_TEXT}, "required": ["a"]},
    "depth 40": objects(40, {"type": "integer"}),
    "2,000 properties, maxLength 10,000, depth 40": objects(39, WIDE),
    "depth 40 of arrays": json.loads('{"type":"array","items":' * 40 + '{"type":"integer"}' + "}" * 40),
    "enum of 2,000": {"enum": [f"value {i}" for i in range(2000)]},
    "300 required numbers, each with bounds of its own": numbers(300),
    "2,000 required numbers of 0 to 100": WIDE | {"properties": {name: {"type": "number", "minimum": 0, "maximum": 100} for name in WIDE["properties"]},
                                                   "required": list(WIDE["properties"])},
}
MUCH = "to compile than"  # "more work ... fits into" the limit; on a slow machine perhaps "longer ..."
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def texts(n, length):
    draw = random.Random(5)
    return ["".join(draw.choice(LETTERS) for _ in range(length)) for _ in range(n)]


def ring(n):
    return {f"d{i}": {"$ref": f"#/$defs/d{(i + 1) % n}"} for i in range(n)}


def merged(n):
    """Each definition adds a property to the next one."""
    out = {f"d{i}": {"allOf": [{"$ref": f"#/$defs/d{i + 1}"}, {"properties": {f"p{i}": {"type": "string", "minLength": i}}}]} for i in range(n)}
    return out | {f"d{n}": {"type": "object"}}


def tags(n, trigger="<f"):
    return {"type": "structural_tag", "triggers": [trigger],
            "structures": [{"begin": f"<f{i}>", "schema": {"type": "string"}, "end": f"</f{i}>"} for i in range(n)]}


def strict_tool(schema):
    return {"tools": [{"type": "function", "function": {"name": "act", "parameters": schema, "strict": True}}], "tool_choice": "required"}


# name: fields of the request, what the message says; "": refused or answered
HOSTILE = {
    "depth 65": ({"guided_json": objects(65, {})}, "nesting deeper than 64"),
    "depth 100,000": ({"guided_json": '{"items":' * 20_000 + "{}" + "}" * 20_000}, "nesting deeper than"),
    "300 KiB": ({"guided_json": {"const": "x" * 300_000}}, "limit 262144"),
    "11,000 properties": ({"guided_json": {"properties": {f"p{i}": True for i in range(11_000)}}}, "limit 10000"),
    "enum of 10,001": ({"guided_json": {"enum": list(range(10_001))}}, "limit 10000"),
    "anyOf of 1,001": ({"guided_json": {"anyOf": [{"const": i} for i in range(1001)]}}, "limit 1000"),
    "endless": ({"guided_json": {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}}, "no text matches"),
    "contradictory": ({"guided_json": {"allOf": [{"type": "string"}, {"type": "integer"}]}}, "no text matches"),
    "remote reference": ({"guided_json": {"$ref": "https://example.com/schema.json"}}, "not allowed"),
    "subsets of subsets": ({"guided_json": {"anyOf": [{"properties": {f"k{j}": {"multipleOf": 7 + i} for j in range(20)}, "minProperties": 3}
                                                      for i in range(200)]}}, "more than 20000 rules"),
    "wide unique lists": ({"guided_json": {"type": "array", "uniqueItems": True, "minItems": 30, "items": {"enum": list(range(60))}}}, ""),
    "pattern of 100,000 parentheses": ({"guided_json": {"pattern": "(" * 100_000}}, "limit 4096"),
    "nested pattern": ({"guided_json": {"pattern": "(" * 100 + ")" * 100}}, "nesting deeper than 64"),
    "exponential": ({"guided_regex": "((a{0,100}){0,100}){0,100}"}, "repetition expands to"),
    "subset construction": ({"guided_regex": "(.*a){20}"}, ""),
    "wide classes": ({"guided_regex": "[^a]{1000}" * 20}, ""),
    "60,000 parentheses": ({"guided_grammar": "root ::= " + "(" * 60_000}, "nesting deeper than 256"),
    "nested repeats": ({"guided_grammar": 'root ::= ((("x"{0,2000}){0,2000}){0,2000})'}, "repetition expands to"),
    "21,000 rules": ({"guided_grammar": 'root ::= "a"\n' + "".join(f'r{i}::=""\n' for i in range(21_000))}, "more than 20000 rules"),
    "ambiguous lists": ({"guided_grammar": "root ::= " + " ".join("([a-z]* | [a-m]* [n-z]*)" for _ in range(200))}, MUCH),
    "dots in dots": ({"guided_regex": "(.{0,100}x){0,100}"}, MUCH),
    "counted dots twice": ({"guided_regex": "(.{0,500}){0,100}"}, MUCH),
    "1,000 characters left out": ({"guided_regex": "[^" + "".join(chr(0x100 + 3 * i) for i in range(1000)) + "]{500}"}, MUCH),
    "900 ranges of numbers": ({"guided_json": {"anyOf": ranges(900)}}, ""),
    "900 numbers, each with bounds of its own": ({"guided_json": numbers(900)}, ""),
    "2,000 numbers, each with bounds of its own": ({"guided_json": numbers(2000)}, MUCH),
    "900 patterns": ({"guided_json": {"anyOf": [{"type": "string", "pattern": f"^{i}[a-z]+$"} for i in range(900)]}}, ""),
    "40 objects, exactly one": ({"guided_json": {"oneOf": [{"type": "object", "properties": {f"p{j}": {"type": "string"} for j in range(i)},
                                                            "required": [f"p{j}" for j in range(i)]} for i in range(1, 40)]}}, MUCH),
    "merged along 200 references": ({"guided_json": {"$ref": "#/$defs/d0", "$defs": merged(200)}}, ""),
    "a ring of references": ({"guided_json": {"$ref": "#/$defs/d0", "$defs": ring(300)}}, "defined by itself"),
    "several patterns": ({"guided_json": {"type": "string", "allOf": [{"pattern": f"^[a-z]*{c}[a-z]*$"} for c in LETTERS]}}, "not supported"),
    "const of 1 MB": ({"guided_json": {"const": "x" * 1_000_000}}, "limit 262144"),
    "1,000,000 items": ({"guided_json": {"type": "array", "minItems": 1_000_000, "items": {"type": "integer"}}}, "repetition expands to"),
    "choice of 900 texts": ({"guided_choice": texts(900, 100)}, MUCH),
    "choice of 10,000": ({"guided_choice": texts(10_000, 20)}, "repetition expands to"),
    "300 tags": ({"structural_tag": tags(300)}, MUCH),
    "empty trigger": ({"structural_tag": tags(1, "")}, "non-empty"),
    "a tool's pattern": (strict_tool({"type": "object", "properties": {"a": {"type": "string", "pattern": "^(.{0,100}x){0,100}$"}}, "required": ["a"]}), "repetition expands to"),
    "left recursion": ({"guided_grammar": 'root ::= root "a" | e root "x" | "c"\ne ::= "" | e e'}, ""),
    "palindromes": ({"guided_grammar": 'root ::= p\np ::= [a-z] p [a-z] | [a-z] p | p [a-z] | ""'}, ""),
    # compiles; its masks would take seconds
    "100 optional classes": ({"guided_regex": "(" + "".join(f"[^{LETTERS[i % 26]}]?" for i in range(100)) + "){1,9}", "max_tokens": 40}, ""),
    "doubling": ({"guided_grammar": "root ::= r0\n" + "".join(f"r{i} ::= r{i + 1} r{i + 1}\n" for i in range(60)) + 'r60 ::= "x"'}, ""),
}


class Stream(threading.Thread):
    """The bystander: its text, and the longest wait between two pieces."""

    def __init__(self):
        super().__init__()
        self.text = ""
        self.longest = 0.0
        self.begun = threading.Event()
        self.start()

    def run(self):
        last = None
        for line in post("/v1/chat/completions", BYSTANDER | {"stream": True}):
            if not line.startswith(b"data: {"):
                continue
            self.text += (json.loads(line[6:])["choices"] or [{}])[0].get("delta", {}).get("content") or ""
            now = time.monotonic()
            self.longest = max(self.longest, now - (last or now))
            last = now
            self.begun.set()


def ask(name, fields):
    """Status and message, in time."""
    body = {"messages": [{"role": "user", "content": "Answer."}], "max_tokens": 1, "temperature": 0} | fields
    begin = time.monotonic()
    try:
        status, message = 200, json.load(post("/v1/chat/completions", body))["choices"][0]["finish_reason"]
    except urllib.error.HTTPError as error:
        status, message = error.code, json.loads(error.read())["error"]["message"]
    ms = (time.monotonic() - begin) * 1000
    print(f"  {name:<42} {status} {ms:7.1f} ms  {message[:90]}")
    worst_ms[status] = max(worst_ms.get(status, (0, "")), (ms, name))
    assert ms <= args.in_time, f"{name}: {ms:.0f} ms"
    return status, message


def beside_a_stream(work):
    """work() over and over while a stream runs; its text is that of a stream alone."""
    alone = Stream()
    alone.join()
    beside = Stream()
    beside.begun.wait(checks.HANG_S)
    work()
    beside.join()
    assert len(beside.text) > 200 and beside.text == alone.text, "the bystander's text is another"
    print(f"  longest wait of the bystander {beside.longest * 1000:.0f} ms, alone {alone.longest * 1000:.0f} ms")


def check_honest_schemas_are_accepted():
    def work():
        for name, schema in HONEST.items():
            status, message = ask(name, {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}})
            assert status == 200, f"{name}: {message}"

    beside_a_stream(work)


def check_honest_tools_are_accepted():
    def work():
        for name in ("2,000 properties of maxLength 10,000", "depth 40"):
            tool = {"type": "function", "function": {"name": "act", "parameters": HONEST[name], "strict": True}}
            body = {"tools": [tool], "tool_choice": "required", "messages": [{"role": "user", "content": "Act."}]}
            status, message = ask("tool: " + name, body)
            # the template writes the tools into the prompt
            assert status == 200 or "context" in message, f"{name}: {message}"

    beside_a_stream(work)


def check_hostile_ones_are_refused():
    def work():
        for name, (fields, want) in HOSTILE.items():
            status, message = ask(name, fields)
            assert status == (400 if want else status) and status in (200, 400), f"{name}: {status} {message}"
            assert want in message or status == 200, f"{name}: {message}"
            counted = re.search("([0-9]+) steps, limit ([0-9]+)", message)
            assert not counted or int(counted[1]) < 1.05 * int(counted[2]), f"{name}: {message}"  # ends where the work is spent

    beside_a_stream(work)


def check_the_server_is_well():
    status, message = ask("afterwards", {"guided_choice": ["a", "b"]})
    assert status == 200, message
    for status, (ms, name) in sorted(worst_ms.items()):
        print(f"  longest of status {status}: {ms:.0f} ms ({name})")


sys.exit(checks.run(checks.named(globals())))
