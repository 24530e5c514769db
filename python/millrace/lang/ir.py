"""What can be added to a state: text, model calls, roles, and sequences of them."""
import dataclasses
import itertools

ROLES = ("system", "user", "assistant")
CHOICE_METHODS = ("token_length_normalized", "greedy_token_selection", "unconditional_likelihood_normalized")
_names = itertools.count()


class Expression:
    """A part of a program; `a + b` is both in order, a string stands for its text."""

    def __add__(self, other):
        return Sequence([self, as_expression(other)])

    def __radd__(self, other):
        return Sequence([as_expression(other), self])


@dataclasses.dataclass
class Text(Expression):
    text: str


class Sequence(Expression):
    def __init__(self, parts):
        self.parts = []
        for part in parts:
            self.parts.extend(part.parts if isinstance(part, Sequence) else [part])


@dataclasses.dataclass
class RoleBegin(Expression):
    role: str


@dataclasses.dataclass
class RoleEnd(Expression):
    role: str


@dataclasses.dataclass
class VariableBegin(Expression):
    name: str


@dataclasses.dataclass
class VariableEnd(Expression):
    name: str


@dataclasses.dataclass
class Gen(Expression):
    """A completion. `fields` are fields of the request body; a list of texts when n > 1."""
    name: str
    fields: dict
    n: int = 1


@dataclasses.dataclass
class Select(Expression):
    name: str
    choices: list
    method: str
    temperature: float = 0.0


def as_expression(value):
    if isinstance(value, Expression):
        return value
    if isinstance(value, str):
        return Text(value)
    raise TypeError(f"want text, gen(), select() or a role, got {type(value).__name__}: {value!r}")


def gen(name=None, max_tokens=None, *, min_tokens=None, n=None, stop=None, stop_token_ids=None, temperature=None, top_p=None, top_k=None,
        min_p=None, frequency_penalty=None, presence_penalty=None, repetition_penalty=None, ignore_eos=None, seed=None,
        return_logprob=None, top_logprobs_num=None, dtype=None, choices=None, choices_method="token_length_normalized", regex=None,
        json_schema=None, **extra):
    """A model call bound to `name`. choices: one of these texts, as select(). regex, json_schema (a dict), dtype (int, float,
    bool): the text must match. return_logprob: get_meta_info(name)["logprobs"]. Further fields go into the request as they are."""
    if choices is not None:
        return select(name, choices, temperature=temperature or 0.0, choices_method=choices_method)
    if sum(x is not None for x in (regex, json_schema, dtype)) > 1:
        raise ValueError("gen(): only one of regex, json_schema and dtype can hold")
    fields = dict(max_tokens=max_tokens, min_tokens=min_tokens, stop=stop, stop_token_ids=stop_token_ids, temperature=temperature,
                  top_p=top_p, top_k=top_k, min_p=min_p, frequency_penalty=frequency_penalty, presence_penalty=presence_penalty,
                  repetition_penalty=repetition_penalty, ignore_eos=ignore_eos, seed=seed, **extra)
    fields = {key: value for key, value in fields.items() if value is not None}
    if return_logprob:
        fields["_logprobs"] = top_logprobs_num or 0
    if dtype is not None:
        patterns = {int: r"-?(0|[1-9][0-9]{0,17})", float: r"-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,12})?", bool: "True|False"}
        if dtype is not str and dtype not in patterns:
            raise ValueError(f"gen(): dtype must be str, int, float or bool, got {dtype!r}")
        regex = patterns.get(dtype)
    if regex is not None:
        fields["structured_outputs"] = {"regex": regex}
    if json_schema is not None:
        fields["structured_outputs"] = {"json": json_schema}
    count = 1 if n is None else int(n)
    if count < 1:
        raise ValueError(f"gen(): n must be at least 1, got {n}")
    return Gen(name or f"_gen{next(_names)}", fields, count)


def gen_int(name=None, **fields):
    return gen(name, dtype=int, **fields)


def gen_string(name=None, **fields):
    return gen(name, dtype=str, **fields)


def select(name=None, choices=None, temperature=0.0, choices_method="token_length_normalized"):
    """The likeliest of these texts. token_length_normalized: highest mean log-probability per token; greedy_token_selection:
    what greedy decoding restricted to the choices would take; unconditional_likelihood_normalized: highest sum of
    log-probabilities above those without the context."""
    choices = list(choices or [])
    if not choices or not all(isinstance(choice, str) and choice for choice in choices):
        raise ValueError("select(): choices must be a list of texts that are not empty")
    if choices_method not in CHOICE_METHODS:
        raise ValueError(f"select(): choices_method must be one of {', '.join(CHOICE_METHODS)}, got {choices_method!r}")
    return Select(name or f"_gen{next(_names)}", choices, choices_method, temperature)


def _role(role, content):
    if content is None:
        return Sequence([RoleBegin(role), RoleEnd(role)])
    return Sequence([RoleBegin(role), as_expression(content), RoleEnd(role)])


def system(content=None):
    return _role("system", content)


def user(content=None):
    return _role("user", content)


def assistant(content=None):
    return _role("assistant", content)


def system_begin():
    return RoleBegin("system")


def system_end():
    return RoleEnd("system")


def user_begin():
    return RoleBegin("user")


def user_end():
    return RoleEnd("user")


def assistant_begin():
    return RoleBegin("assistant")


def assistant_end():
    return RoleEnd("assistant")
