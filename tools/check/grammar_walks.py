"""Random answers to a corpus of constraints, validated by programs that share no code with src/grammar: `jsonschema`, `re`, and the Earley
recogniser below.

usage: grammar_walks.py MILLRACE MODEL [--walks N] [--suite FOLDER]...
  --walks N       answers to each constraint (12; 60 make more than 30,000)
  --suite FOLDER  an unpacked source archive of the PyPI package jsonschema or xgrammar, whose schemas join (package_schemas.py)

An answer draws every allowed token of MODEL's vocabulary with equal odds: what random logits give. Its limit of tokens is four times the
fewest in which an answer is known to end, and it ends in time as answers of the server do (`--constraint-ending complete`).
Fails when fewer than 95 % of the satisfiable constraints compile, when an answer gets stuck or is not valid, or when fewer than 99 % end
inside their limit.
"""
import argparse
import collections
import concurrent.futures
import json
import re
import subprocess
import sys
import tempfile
import threading

from jsonschema import Draft202012Validator
from package_schemas import schemas_of
from schema_corpus import generated

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


def corpus(suites):
    lines = [{"kind": "schema", "text": schema, "from": str(i), "corpus": "generated"} for i, schema in enumerate(generated(20261121, 400))]
    lines += [{"kind": "regex", "text": regex, "from": regex, "corpus": "regexes"} for regex in REGEXES]
    lines += [{"kind": "grammar", "text": ebnf(grammar), "grammar": grammar, "from": ebnf(grammar), "corpus": "grammars"} for grammar in GRAMMARS]
    for folder in suites:
        name, schemas = schemas_of(folder)
        lines += [{"kind": "schema", "text": schema, "from": where, "corpus": name} for schema, where in schemas]
    return lines


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
    parser.add_argument("--suite", action="append", default=[])
    args = parser.parse_args()
    lines = corpus(args.suite)
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        for line in lines:
            file.write(json.dumps({"kind": line["kind"], "text": line["text"]}) + "\n")
        file.flush()
        out = subprocess.run([args.millrace, "bench", "grammar", args.model, "--corpus", file.name, "--walks", str(args.walks)],
                             stdout=subprocess.PIPE, check=True).stdout.decode()
    counts = collections.defaultdict(collections.Counter)  # by corpus
    bad = []
    for row in map(json.loads, out.rstrip("\n").split("\n")):  # not splitlines(): texts may hold U+2028
        line = lines[row["line"]]
        where = f"{line['corpus']}: {line['from']}"
        count = counts[line["corpus"]]
        count["asked"] += 1
        if not row["ok"]:
            # xgrammar's tests do not say which can be satisfied
            count["empty"] += line["corpus"] == "xgrammar" and ("no text matches" in row["error"] or "enum: must be" in row["error"])
            print(f"refused: {where}: {row['error']}")
            continue
        count["compiled"] += 1
        for walk in row["walks"]:
            count["walks"] += 1
            count["ended"] += walk["ended"]
            if not walk["ended"]:
                print(f"cut off: {where}: limit {4 * row['shortest']}")
            if walk["stuck"]:
                bad.append(f"{where}: stuck")
            if walk["ended"]:
                wrong = complaint(line, walk["text"])
                count["valid"] += not wrong
                if wrong:
                    bad.append(f"{where}: {walk['text'][:200]!r}: {wrong}")
    for text in bad[:20]:
        print("invalid:", text)
    print(f"{'corpus':<11} satisfiable  compiled   refused  walks    ended    valid")
    for name, count in counts.items():
        print(f"{name:<11} {count['asked'] - count['empty']:11d} {count['compiled']:9d} {count['asked'] - count['compiled']:9d} "
              f"{count['walks']:6d} {count['ended']:8d} {count['valid']:8d}")
    total = sum(counts.values(), collections.Counter())
    checks = {"compile": total["compiled"] >= 0.95 * (total["asked"] - total["empty"]),
              "valid": not bad and total["valid"] > 0,
              "end": total["ended"] >= 0.99 * total["walks"]}
    print(f"{sum(checks.values())} passed, {len(checks) - sum(checks.values())} failed")
    return 0 if all(checks.values()) else 1


# answers to recursive schemas are deep, and so is a validator that descends into them
sys.setrecursionlimit(100_000)
threading.stack_size(256 << 20)
with concurrent.futures.ThreadPoolExecutor(1) as thread:
    sys.exit(thread.submit(main).result())
