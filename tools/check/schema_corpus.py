"""Random JSON schemas of the kinds that tools and extraction ask for, by seed."""
import random

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


def generated(seed, n):
    """n schemas, the same for the same seed; nearly all of them can be satisfied."""
    rng = random.Random(seed)
    for i in range(n):
        top = plain_object(rng, rng.randint(1, 3)) if i % 3 else schema(rng, 3)
        if i % 7 == 0:
            top = {"$defs": {"node": {"type": "object", "properties": {"v": scalar(rng), "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}},
                                      "required": ["v"]}}, "$ref": "#/$defs/node"}
        yield top
