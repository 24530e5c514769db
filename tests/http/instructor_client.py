"""The unmodified `instructor` package against a running server: instructor_client.py BASE_URL.

Every mode that constrains the answer, whole, in parts and as a list. Each check_* function is one case; the last line is
"N passed, N failed"."""
import asyncio
import pathlib
import sys
import typing

import instructor
import openai
import pydantic

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import checks  # noqa: E402

BASE = sys.argv[1].rstrip("/")
plain = openai.OpenAI(base_url=BASE + "/v1", api_key="none", max_retries=0, timeout=240)
MODEL = plain.models.list().data[0].id


class Item(pydantic.BaseModel):
    name: str = pydantic.Field(min_length=1, max_length=16)
    size: typing.Literal["small", "large"]


class Order(pydantic.BaseModel):
    """What was ordered"""
    items: list[Item] = pydantic.Field(min_length=1, max_length=2)
    total: int = pydantic.Field(ge=0, le=999)
    gift: bool


ASK = {"model": MODEL, "messages": [{"role": "user", "content": "Two small cups and a large pot, please."}], "temperature": 0, "max_tokens": 400}


def asked(mode, **more):
    client = instructor.from_openai(plain, mode=mode)
    return client.chat.completions.create(response_model=Order, max_retries=0, **{**ASK, **more})


def check_tools():
    order = asked(instructor.Mode.TOOLS)
    assert isinstance(order, Order) and order._raw_response.choices[0].message.tool_calls, order


def check_tools_strict():
    assert isinstance(asked(instructor.Mode.TOOLS_STRICT), Order)


def check_json_schema():
    for seed in range(3):
        order = asked(instructor.Mode.JSON_SCHEMA, temperature=1, seed=seed)
        assert isinstance(order, Order) and order._raw_response.choices[0].message.content, order


class Sum(pydantic.BaseModel):
    a: int = pydantic.Field(ge=0, le=99)
    b: int = pydantic.Field(ge=0, le=99)


def check_unions_and_plain_types():
    for mode in (instructor.Mode.TOOLS, instructor.Mode.JSON_SCHEMA):
        made = instructor.from_openai(plain, mode=mode).chat.completions.create(response_model=typing.Union[Item, Sum], max_retries=0, **ASK)
        assert isinstance(getattr(made, "content", made), (Item, Sum)), made
    client = instructor.from_openai(plain, mode=instructor.Mode.TOOLS)
    assert client.chat.completions.create(response_model=typing.Literal["cup", "pot"], max_retries=0, **ASK) in ("cup", "pot")
    assert isinstance(client.chat.completions.create(response_model=bool, max_retries=0, **ASK), bool)


def check_partial():
    client = instructor.from_openai(plain, mode=instructor.Mode.TOOLS)
    parts = list(client.chat.completions.create_partial(response_model=Order, max_retries=0, **ASK))
    assert len(parts) > 5 and parts[0].total is None
    assert isinstance(Order.model_validate(parts[-1].model_dump()), Order)


def check_iterable():
    client = instructor.from_openai(plain, mode=instructor.Mode.TOOLS)
    items = list(client.chat.completions.create_iterable(response_model=Item, max_retries=0, **{**ASK, "max_tokens": 60, "temperature": 1, "seed": 2}))
    assert all(isinstance(item, Item) for item in items), items


def check_with_completion():
    client = instructor.from_openai(plain, mode=instructor.Mode.TOOLS)
    order, completion = client.chat.completions.create_with_completion(response_model=Order, max_retries=0, **ASK)
    assert isinstance(order, Order) and completion.usage.completion_tokens > 0


def check_asynchronous():
    async def run():
        async with openai.AsyncOpenAI(base_url=BASE + "/v1", api_key="none", max_retries=0, timeout=240) as own:
            client = instructor.from_openai(own, mode=instructor.Mode.JSON_SCHEMA)
            asks = [client.chat.completions.create(response_model=Order, max_retries=0, **{**ASK, "seed": i, "temperature": 1}) for i in range(3)]
            return await asyncio.gather(*asks)

    assert all(isinstance(order, Order) for order in asyncio.run(run()))


def check_a_retry_that_succeeds():
    class Third(pydantic.BaseModel):
        number: int = pydantic.Field(ge=0, le=9)

        @pydantic.field_validator("number")
        @classmethod
        def late(cls, value):
            seen.append(value)
            if len(seen) < 3:
                raise ValueError("not yet")
            return value

    seen = []
    client = instructor.from_openai(plain, mode=instructor.Mode.TOOLS)
    made = client.chat.completions.create(response_model=Third, max_retries=4, **ASK)
    assert len(seen) >= 3 and 0 <= made.number <= 9


def check_validation_error_is_asked_again():
    class Late(pydantic.BaseModel):
        answer: typing.Literal["a", "b"]

        @pydantic.field_validator("answer")
        @classmethod
        def never(cls, value):
            seen.append(value)
            raise ValueError("not this")

    seen = []
    client = instructor.from_openai(plain, mode=instructor.Mode.TOOLS)
    try:
        client.chat.completions.create(response_model=Late, max_retries=2, **{**ASK, "max_tokens": 100})
    except Exception as error:  # instructor's own class moved between versions
        assert len(seen) >= 2 and "not this" in str(error), (seen, error)
        return
    raise AssertionError("an invalid answer was accepted")


if __name__ == "__main__":
    sys.exit(checks.run(checks.named(globals())))
