"""Random answers to a corpus of constraints, validated by programs that share no code with src/grammar: `jsonschema`, `re`, and the Earley
recogniser below.

usage: grammar_walks.py MILLRACE MODEL [--walks N] [--suite FOLDER]
  --walks N       answers to each constraint (12; 60 make more than 30,000)
  --suite FOLDER  an unpacked source archive of the PyPI package jsonschema, whose JSON-Schema-Test-Suite (draft 2020-12) joins the corpus

An answer draws every allowed token of MODEL's vocabulary with equal odds: what random logits give. Of four answers three are biased, in
this test only, never in serving: from one and a half times the fewest tokens on, what ends or closes something is taken nine times of ten.
A string of random tokens closes once in some hundred draws, so that without the bias few answers end soon; both shares are printed.
Fails when fewer than 95 % of the satisfiable schemas compile, when an answer gets stuck or is not valid, or when fewer than 90 % of the
biased ones end within four times the fewest tokens.
"""
import argparse
import collections
import json
import pathlib
import random
import re
import subprocess
import sys
import tempfile

from jsonschema import Draft202012Validator

WORDS = ["name", "id", "kind", "value", "items", "status", "created_at", "size", "owner", "tags", "path", "mode", "limit", "region", "unit", "note"]


def scalar(rng):
    return rng.choice([
        lambda: {"type": "string"},
        lambda: {"type": "string", "minLength": rng.randint(0, 3), "maxLength": rng.randint(4, 60)},
        lambda: {"type": "string", "maxLength": 10000},
        lambda: {"type": "string", "pattern": rng.choice(["^[a-z]{2,8}$", "^[A-Z][a-z]+$", "^\\d{4}-\\d{2}$", "^(foo|bar)-[0-9]+$", "^#[0-9a-f]{6}$"])},
        lambda: {"type": "string", "format": rng.choice(["date", "date-time", "email", "uuid", "uri", "ipv4", "binary", "password"])},
        lambda: {"enum": rng.sample(["red", "green", "blue", "on", "off", 1, 2.5, None, True], rng.randint(1, 5))},
        lambda: {"const": rng.choice(["v1", 7, False, None])},
        lambda: {"type": "integer"},
        lambda: {"type": "integer", "minimum": rng.randint(-20, 5), "maximum": rng.randint(6, 3000)},
        lambda: {"type": "integer", "exclusiveMinimum": 0, "multipleOf": rng.choice([2, 5, 10, 60, 1024])},
        lambda: {"type": "number", "minimum": 0},
        lambda: {"type": "number", "minimum": -1.5, "exclusiveMaximum": 2.25},
        lambda: {"type": "number", "multipleOf": rng.choice([0.5, 0.01, 5])},
        lambda: {"type": "boolean"},
        lambda: {"type": rng.sample(["string", "integer", "null", "boolean"], 2)},
        lambda: {"type": "string", "not": {"const": "none"}},
    ])()


def array(rng, depth):
    item = schema(rng, depth - 1)
    return rng.choice([
        lambda: {"type": "array", "items": item},
        lambda: {"type": "array", "items": item, "minItems": 1, "maxItems": 4},
        lambda: {"type": "array", "items": {"enum": ["a", "b", "c", "d"]}, "uniqueItems": True, "minItems": 1},
        lambda: {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
        lambda: {"type": "array", "prefixItems": [scalar(rng), scalar(rng)], "items": False, "minItems": 2},
        lambda: {"type": "array", "items": {"type": "integer"}, "contains": {"minimum": 50}},
    ])()


def plain_object(rng, depth):
    names = rng.sample(WORDS, rng.randint(1, 6))
    out = {"type": "object", "properties": {name: schema(rng, depth - 1) for name in names}}
    if rng.random() < 0.7:
        out["required"] = rng.sample(names, rng.randint(1, len(names)))
    if rng.random() < 0.5:
        out["additionalProperties"] = rng.choice([False, False, True, {"type": "integer"}])
    return out


def conditional(rng, depth):
    base = {"type": "object", "properties": {"kind": {"enum": ["a", "b"]}, "x": scalar(rng), "y": {"type": "integer"}}, "required": ["kind"]}
    return rng.choice([
        lambda: base | {"if": {"properties": {"kind": {"const": "a"}}}, "then": {"required": ["x"]}, "else": {"required": ["y"]}},
        lambda: base | {"dependentRequired": {"x": ["y"]}},
        lambda: base | {"dependentSchemas": {"x": {"properties": {"y": {"minimum": 3}}, "required": ["y"]}}},
        lambda: base | {"oneOf": [{"required": ["x"]}, {"required": ["y"]}]},
        lambda: base | {"not": {"required": ["x", "y"]}},
        lambda: base | {"allOf": [{"properties": {"y": {"maximum": 9}}}, {"minProperties": 2}]},
        lambda: {"oneOf": [{"type": "integer"}, {"type": "number", "minimum": 10}, {"type": "string", "maxLength": 5}]},
        lambda: {"anyOf": [plain_object(rng, depth - 1), {"type": "null"}]},
        lambda: {"type": "object", "patternProperties": {"^x-": scalar(rng)}, "additionalProperties": False, "maxProperties": 3},
        lambda: {"type": "object", "additionalProperties": scalar(rng), "minProperties": 1},
        lambda: {"type": "object", "propertyNames": {"pattern": "^[a-z]{1,6}$"}, "additionalProperties": {"type": "integer"}},
    ])()


def schema(rng, depth):
    if depth <= 0:
        return scalar(rng)
    return rng.choice([scalar, lambda r: array(r, depth), lambda r: plain_object(r, depth), lambda r: plain_object(r, depth),
                       lambda r: conditional(r, depth)])(rng)


def generated(rng, n):
    for i in range(n):
        top = plain_object(rng, rng.randint(1, 3)) if i % 3 else schema(rng, 3)
        if i % 7 == 0:
            top = {"$defs": {"node": {"type": "object", "properties": {"v": scalar(rng), "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}},
                                      "required": ["v"]}}, "$ref": "#/$defs/node"}
        yield {"kind": "schema", "text": top, "from": f"generated {i}"}


REGEXES = ["[a-z]{3,8}", "(ab|cd)+e?", "\\d{3}-\\d{4}", "[A-Z][a-z]+ [A-Z][a-z]+", "(yes|no|maybe)", "[^x]{1,5}x", "a(b(c|d)*e)?f", "[0-9]{1,3}(\\.[0-9]{1,3}){3}",
           "\\w+@\\w+\\.(com|org)", "[\\x20-\\x7e]{4,12}", "(0|[1-9][0-9]*)(\\.[0-9]+)?"]
# name: alternatives of sequences; a one-letter string in quotes is itself, other names are rules
GRAMMARS = [
    {"root": ["e"], "e": ["t", "e '+' t", "e '-' t"], "t": ["d", "'(' e ')'"], "d": ["'0'", "'1'", "'2'"]},
    {"root": ["'a' root 'b'", "'c'"]},
    {"root": ["s s"], "s": ["'x'", "'y' s", "'z' s s"]},
    {"root": ["root 'a'", "'b'", "'('  root ')'"]},
]


def ebnf(grammar):
    return "\n".join(f"{name} ::= " + " | ".join(way.replace("'", '"') for way in ways) for name, ways in grammar.items())


def recognises(grammar, text):
    """Earley (1970), without empty rules."""
    chart = [dict() for _ in range(len(text) + 1)]
    def add(at, item):
        if item not in chart[at]:
            chart[at][item] = None
            work.append(item)
    for at in range(len(text) + 1):
        work = list(chart[at])
        if at == 0:
            for way in grammar["root"]:
                add(0, ("root", tuple(way.split()), 0, 0))
        while work:
            name, parts, dot, origin = work.pop()
            if dot == len(parts):
                for other, its, its_dot, its_origin in list(chart[origin]):
                    if its_dot < len(its) and its[its_dot] == name:
                        add(at, (other, its, its_dot + 1, its_origin))
            elif parts[dot][0] == "'":
                if at < len(text) and text[at] == parts[dot][1]:
                    chart[at + 1][(name, parts, dot + 1, origin)] = None
            else:
                for way in grammar[parts[dot]]:
                    add(at, (parts[dot], tuple(way.split()), 0, at))
    return any(name == "root" and dot == len(parts) and origin == 0 for name, parts, dot, origin in chart[len(text)])


def of_suite(folder):
    for file in sorted((folder / "json/tests/draft2020-12").glob("*.json")):
        for case in json.loads(file.read_text()):
            text = json.dumps(case["schema"])
            # not for us to judge: what needs another document, and what holds for nothing
            elsewhere = file.name == "refRemote.json" or "json-schema.org/draft/2020-12/schema\"}" in text or '"$ref": "http' in text
            if any(test["valid"] for test in case["tests"]) and not elsewhere:
                yield {"kind": "schema", "text": case["schema"], "from": f"{file.name}: {case['description']}"}


def corpus(suite):
    rng = random.Random(20261121)
    lines = list(generated(rng, 400))
    lines += [{"kind": "regex", "text": regex, "from": "regex"} for regex in REGEXES]
    lines += [{"kind": "grammar", "text": ebnf(grammar), "grammar": grammar, "from": "grammar"} for grammar in GRAMMARS]
    return lines + (list(of_suite(suite)) if suite else [])


def complaint(line, text):
    if line["kind"] == "regex":
        return "" if re.fullmatch(line["text"], text) else "does not match"
    if line["kind"] == "grammar":
        return "" if recognises(line["grammar"], text) else "is not of the language"
    try:
        value = json.loads(text)
    except ValueError as error:
        return str(error)
    error = next(Draft202012Validator(line["text"]).iter_errors(value), None)
    return error.message[:200] if error else ""


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("millrace")
    parser.add_argument("model")
    parser.add_argument("--walks", type=int, default=12)
    parser.add_argument("--suite", type=pathlib.Path)
    args = parser.parse_args()
    lines = corpus(args.suite)
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        for line in lines:
            file.write(json.dumps({"kind": line["kind"], "text": line["text"]}) + "\n")
        file.flush()
        out = subprocess.run([args.millrace, "bench", "grammar", args.model, "--corpus", file.name, "--walks", str(args.walks)],
                             stdout=subprocess.PIPE, check=True).stdout.decode()
    ended = collections.Counter()
    drawn = collections.Counter()
    compiled = collections.Counter()
    asked = collections.Counter()
    bad = []
    for row in map(json.loads, out.splitlines()):
        line = lines[row["line"]]
        source = line["from"].split()[0] if line["from"].startswith(("generated", "regex", "grammar")) else "suite"
        asked[source] += 1
        compiled[source] += row["ok"]
        if not row["ok"]:
            print(f"refused: {line['from']}: {row['error']}")
            continue
        for walk in row["walks"]:
            drawn[walk["biased"]] += 1
            ended[walk["biased"]] += walk["ended"]
            if walk["stuck"]:
                bad.append(f"{line['from']}: stuck")
            if walk["ended"]:
                wrong = complaint(line, walk["text"])
                if wrong:
                    bad.append(f"{line['from']}: {walk['text'][:200]!r}: {wrong}")
    for text in bad[:20]:
        print("invalid:", text)
    for source in asked:
        print(f"{source}: {compiled[source]} of {asked[source]} compile")
    for biased in (True, False):
        print(f"{'biased' if biased else 'unbiased'}: {ended[biased]} of {drawn[biased]} answers end within four times the fewest tokens")
    checks = {"compile": sum(compiled.values()) >= 0.95 * sum(asked.values()), "valid": not bad and sum(ended.values()) > 0,
              "end": ended[True] >= 0.9 * drawn[True]}
    print(f"{sum(checks.values())} passed, {len(checks) - sum(checks.values())} failed")
    sys.exit(0 if all(checks.values()) else 1)


main()
