"""JSON schemas that come with packages, read from their unpacked PyPI source archives; used by grammar_walks.py, never copied.

  jsonschema: its JSON-Schema-Test-Suite, draft 2020-12: every schema for which the suite has a valid instance.
  xgrammar:   literals of its Python tests that are schemas of draft 2020-12, as Python or as JSON text, with all that they refer to.
"""
import ast
import json
import pathlib

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from referencing import Registry
from referencing.exceptions import Unresolvable

TYPES = {"string", "integer", "number", "boolean", "null", "object", "array"}
CONSTRAINING = {"properties", "$ref", "anyOf", "oneOf", "allOf", "enum", "const", "items", "prefixItems", "patternProperties", "not",
                "additionalProperties", "required"}


def needs_another(case):
    """Whether a reference leads to a document that is neither this one nor a metaschema: nothing is fetched."""
    validator = Draft202012Validator(case["schema"], registry=Registry())
    try:
        for test in case["tests"]:
            validator.is_valid(test["data"])
    except Unresolvable:
        return True
    return False


def of_jsonschema(folder):
    for file in sorted((folder / "json/tests/draft2020-12").glob("*.json")):
        for case in json.loads(file.read_text()):
            # not for us to judge: what needs another document, and what holds for nothing
            if any(test["valid"] for test in case["tests"]) and not needs_another(case):
                yield case["schema"], f"{file.name}: {case['description']}"


def is_whole(value, root):
    """Whether every reference into the schema finds what it names: a test may put a schema together from several literals."""
    if isinstance(value, dict):
        at = root
        for part in str(value.get("$ref", "")).removeprefix("#/").split("/") if str(value.get("$ref", "")).startswith("#/") else []:
            at = at.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(at, dict) else at
            if at is None:
                return False
    if isinstance(value, (dict, list)):
        return all(is_whole(part, root) for part in (value.values() if isinstance(value, dict) else value))
    return True


def is_schema(value):
    kind = value.get("type")
    named = kind in TYPES if isinstance(kind, str) else isinstance(kind, list) and TYPES.issuperset(kind)
    if not (named or (kind is None and CONSTRAINING & value.keys())):
        return False
    try:
        Draft202012Validator.check_schema(value)
    except SchemaError:
        return False
    return True


def schemas_in(value):
    """The outermost schemas of a value."""
    if isinstance(value, dict) and is_schema(value):
        yield value
    elif isinstance(value, (dict, list, tuple)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from schemas_in(part)


def literals(node):
    """Values of the outermost dicts of a program, and of its strings that are JSON objects."""
    if isinstance(node, ast.Dict):
        try:
            yield ast.literal_eval(node)
            return
        except (ValueError, TypeError):
            pass
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.lstrip().startswith("{"):
        try:
            yield json.loads(node.value)
        except ValueError:
            pass
    for child in ast.iter_child_nodes(node):
        yield from literals(child)


def of_xgrammar(folder):
    seen = set()
    for file in sorted((folder / "tests/python").glob("test_*.py")):
        for value in literals(ast.parse(file.read_text())):
            for schema in schemas_in(value):
                text = json.dumps(schema, sort_keys=True, default=str)
                if text not in seen and is_whole(schema, schema):
                    seen.add(text)
                    yield schema, f"{file.name} {len(seen)}"


def schemas_of(folder):
    """(name of the corpus, its (schema, where from) pairs) of an unpacked archive."""
    folder = pathlib.Path(folder)
    if (folder / "json/tests/draft2020-12").is_dir():
        return "jsonschema", list(of_jsonschema(folder))
    if (folder / "tests/python/test_json_schema_converter.py").is_file():
        return "xgrammar", list(of_xgrammar(folder))
    raise SystemExit(f"{folder}: neither the source archive of jsonschema nor that of xgrammar")
