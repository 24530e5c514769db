"""The unmodified `langchain-openai` and `langchain` packages against a running server: langchain_client.py BASE_URL.

Chat models, tools, structured answers, agents that call tools, embeddings. A small model calls no tool by itself, so a
middleware asks for a call first and for an answer after it. Each check_* function is one case; the last line is
"N passed, N failed"."""
import asyncio
import pathlib
import sys
import typing

import langchain.agents
import langchain.agents.middleware
import langchain.agents.structured_output
import langchain_core.messages
import langchain_core.tools
import langchain_openai
import openai
import pydantic

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import checks  # noqa: E402

BASE = sys.argv[1].rstrip("/") + "/v1"
MODEL = openai.OpenAI(base_url=BASE, api_key="none").models.list().data[0].id
COMMON = {"base_url": BASE, "api_key": "none", "model": MODEL, "temperature": 0, "max_retries": 0, "timeout": 240}
chat = langchain_openai.ChatOpenAI(max_tokens=200, **COMMON)
short = langchain_openai.ChatOpenAI(max_tokens=12, **COMMON)


class City(pydantic.BaseModel):
    """A city"""
    name: str = pydantic.Field(min_length=1, max_length=20)
    river: typing.Literal["Seine", "Thames"]
    bridges: int = pydantic.Field(ge=0, le=99)


calls = []


@langchain_core.tools.tool
def weather(city: typing.Literal["Paris", "London"], days: int) -> str:
    """The weather of a city for some days"""
    calls.append((city, days))
    return f"In {city} it will rain for {days} days."


@langchain.agents.middleware.wrap_model_call
def call_once(request, handler):
    told = any(isinstance(message, langchain_core.messages.ToolMessage) for message in request.messages)
    return handler(request.override(tool_choice="none" if told else "required"))


def check_invoke_and_usage():
    reply = short.invoke("Name three colours.")
    assert reply.content and reply.usage_metadata["output_tokens"] <= 12 and reply.response_metadata["finish_reason"] in ("stop", "length")
    assert short.invoke([("system", "Be brief."), ("human", "Hello")]).content


def check_stream_equals_whole():
    pieces = list(short.stream("Name three colours."))
    assert "".join(piece.text for piece in pieces) == short.invoke("Name three colours.").text and len(pieces) > 3


def check_batch_and_async():
    words = ["red", "green", "blue"]
    batch = [reply.content for reply in short.batch([f"Say {word}." for word in words])]
    assert batch == [short.invoke(f"Say {word}.").content for word in words]

    async def run():
        return await asyncio.gather(*(short.ainvoke(f"Say {word}.") for word in words))
    assert [reply.content for reply in asyncio.run(run())] == batch


def check_bind_tools():
    for choice in ("required", "weather"):
        bound = chat.bind_tools([weather], tool_choice=choice, parallel_tool_calls=False)
        reply = bound.invoke("Will it rain in Paris?")
        [call] = reply.tool_calls
        assert call["name"] == "weather" and call["args"]["city"] in ("Paris", "London") and not reply.invalid_tool_calls, reply
        total = None
        for piece in bound.stream("Will it rain in Paris?"):
            total = piece if total is None else total + piece
        assert [one["args"] for one in total.tool_calls] == [call["args"]], total


def check_structured_output():
    for method in ("json_schema", "function_calling"):
        made = chat.with_structured_output(City, method=method).invoke("Tell me about Paris.")
        assert isinstance(made, City), (method, made)
    strict = chat.with_structured_output(City, method="json_schema", include_raw=True).invoke("And London?")
    assert isinstance(strict["parsed"], City) and strict["parsing_error"] is None


def check_agent_calls_a_tool():
    calls.clear()
    agent = langchain.agents.create_agent(chat, [weather], system_prompt="You are brief.", middleware=[call_once])
    messages = agent.invoke({"messages": [("human", "Will it rain in Paris?")]})["messages"]
    kinds = [message.type for message in messages]
    assert kinds == ["human", "ai", "tool", "ai"], kinds
    assert len(calls) == 1 and messages[2].content == f"In {calls[0][0]} it will rain for {calls[0][1]} days.", calls
    assert messages[1].tool_calls[0]["id"] == messages[2].tool_call_id and messages[3].content
    # the result was read: the last prompt holds more than the question
    alone = chat.bind_tools([weather], tool_choice="none").invoke([("system", "You are brief."), ("human", "Will it rain in Paris?")])
    assert messages[3].usage_metadata["input_tokens"] > alone.usage_metadata["input_tokens"] + 20


@langchain_core.tools.tool
def add(a: int, b: int) -> int:
    """The sum of two numbers"""
    calls.append((a, b))
    return a + b


@langchain_core.tools.tool
def broken(x: typing.Literal["a"]) -> str:
    """Never works"""
    raise langchain_core.tools.ToolException("it broke")


broken.handle_tool_error = True


@langchain.agents.middleware.wrap_model_call
def three_rounds(request, handler):
    asked = sum(isinstance(message, langchain_core.messages.AIMessage) for message in request.messages)
    return handler(request.override(tool_choice="required" if asked < 3 else "none"))


def check_agent_with_several_tools():
    warm = langchain_openai.ChatOpenAI(max_tokens=200, **{**COMMON, "temperature": 1, "seed": 3})
    agent = langchain.agents.create_agent(warm, [weather, add, broken], middleware=[three_rounds])
    messages = agent.invoke({"messages": [("human", "Add 2 and 3, then tell me about the rain.")]})["messages"]
    results = {message.tool_call_id for message in messages if message.type == "tool"}
    asked = [call["id"] for message in messages if message.type == "ai" for call in message.tool_calls]
    assert len(asked) >= 3 and set(asked) == results and messages[-1].type == "ai" and not messages[-1].tool_calls, messages
    assert not any(message.invalid_tool_calls for message in messages if message.type == "ai")


def check_agent_streams():
    calls.clear()
    agent = langchain.agents.create_agent(chat, [weather], middleware=[call_once])
    steps = [name for step in agent.stream({"messages": [("human", "Rain?")]}, stream_mode="updates") for name in step]
    assert steps == ["model", "tools", "model"] and len(calls) == 1, steps
    tokens = [piece for piece, _ in agent.stream({"messages": [("human", "Rain?")]}, stream_mode="messages")]
    assert len(tokens) > 5


def check_agent_with_structured_answer():
    kind = langchain.agents.structured_output
    agent = langchain.agents.create_agent(chat, [weather], middleware=[call_once], response_format=kind.ProviderStrategy(City))
    made = agent.invoke({"messages": [("human", "Tell me about a city where it rains.")]})
    assert isinstance(made["structured_response"], City), made


def check_responses_api():
    own = langchain_openai.ChatOpenAI(use_responses_api=True, max_tokens=200, **COMMON)
    assert langchain_openai.ChatOpenAI(use_responses_api=True, max_tokens=16, **COMMON).invoke("Name a colour.").text
    reply = own.bind_tools([weather], tool_choice="required", parallel_tool_calls=False).invoke("Will it rain in Paris?")
    assert reply.tool_calls[0]["name"] == "weather", reply
    assert isinstance(own.with_structured_output(City).invoke("Tell me about Paris."), City)


def check_completions():
    llm = langchain_openai.OpenAI(max_tokens=8, **COMMON)
    assert "".join(llm.stream("The capital of France is")) == llm.invoke("The capital of France is")


def check_embeddings():
    own = langchain_openai.OpenAIEmbeddings(base_url=BASE, api_key="none", model=MODEL, check_embedding_ctx_length=False)
    many = own.embed_documents(["The cat sits.", "A cat is sitting.", "Rates rose."])
    assert len(many) == 3 and len(own.embed_query("The cat sits.")) == len(many[0])
    dot = lambda a, b: sum(x * y for x, y in zip(a, b))
    assert dot(many[0], many[1]) > dot(many[0], many[2])


if __name__ == "__main__":
    sys.exit(checks.run(checks.named(globals())))
