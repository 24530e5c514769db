"""The front-end language against a running server: lang_test.py MILLRACE URL

Programs must give what a hand-written sequence of requests gives; the examples of python/examples must run."""
import contextlib
import importlib
import io
import json
import pathlib
import re
import sys
import threading
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / folder) for folder in ("python", "python/examples", "tests/support")]

import checks  # noqa: E402
import millrace as mr  # noqa: E402
from millrace.lang import BackendError  # noqa: E402

PROGRAM, URL = sys.argv[1], sys.argv[2].rstrip("/")


def post(path, **body):
    body = {"model": "smollm2", "temperature": 0, **body}
    request = urllib.request.Request(URL + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
    return json.loads(urllib.request.urlopen(request).read())


def complete(prompt, **fields):
    return post("/v1/completions", prompt=prompt, **fields)["choices"][0]["text"]


def chat(messages, **fields):
    return post("/v1/chat/completions", messages=messages, **fields)["choices"][0]["message"]["content"]


def raises(kind, words, call):
    try:
        call()
    except kind as error:
        assert words in str(error), error
        return
    raise AssertionError(f"no {kind.__name__}")


@mr.function
def story(s, animal):
    s += f"Once upon a time a {animal}" + mr.gen("first", max_tokens=12, temperature=0) + " Then"
    s += mr.gen("second", max_tokens=8, temperature=0, stop=".")


def plain_text():
    state = story.run("fox")
    first = complete("Once upon a time a fox", max_tokens=12)
    second = complete(f"Once upon a time a fox{first} Then", max_tokens=8, stop=".")
    assert (state["first"], state["second"]) == (first, second)
    assert state.text() == f"Once upon a time a fox{first} Then{second}"
    assert state.get_meta_info("first")["completion_tokens"] == 12 and state.get_meta_info("first")["finish_reason"] == "length"


@mr.function
def capital(s, country):
    s += mr.system("Answer briefly.")
    with s.user():
        s += "What is the capital of " + country + "?"
    s += mr.assistant("The capital is" + mr.gen("answer", max_tokens=6, temperature=0))
    s.user("And of Italy?")
    s += mr.assistant(mr.gen("more", max_tokens=12, temperature=0))


def roles():
    state = capital.run(country="France")
    messages = [{"role": "system", "content": "Answer briefly."}, {"role": "user", "content": "What is the capital of France?"},
                {"role": "assistant", "content": "The capital is"}]
    first = chat(messages, max_tokens=6, add_generation_prompt=False, continue_final_message=True)
    messages[-1]["content"] += first
    messages.append({"role": "user", "content": "And of Italy?"})
    second = chat(messages, max_tokens=12)
    assert (state["answer"], state["more"]) == (first, second)
    assert state.messages() == messages + [{"role": "assistant", "content": second}]


def forks():
    @mr.function
    def tips(s):
        s += "Here are three tips for staying healthy: sleep well, eat well, and walk every day. " * 3
        branches = s.fork(3)
        branches += lambda i: f"Tip {i + 1}:" + mr.gen("tip", max_tokens=10, temperature=0)
        branches.join()
        s += "In short:" + mr.gen("end", max_tokens=5, temperature=0)

    state = tips.run()
    beginning = "Here are three tips for staying healthy: sleep well, eat well, and walk every day. " * 3
    assert state["tip"] == [complete(f"{beginning}Tip {i + 1}:", max_tokens=10) for i in range(3)]
    assert state["end"] == complete(beginning + "In short:", max_tokens=5)
    assert state.get_meta_info("end")["cached_tokens"] >= 32  # the forks left it in the cache


def copies_scopes_and_nesting():
    @mr.function
    def inner(s, word):
        s += f"{word}:" + mr.gen(word, max_tokens=4, temperature=0) + "\n"

    @mr.function
    def outer(s):
        with s.var_scope("both"):
            inner(s, "one")
            inner(s, "two")
        with s.copy() as trial:
            trial += "A trial" + mr.gen("trial", max_tokens=3, temperature=0)
            s["seen"] = trial["trial"]
        assert "trial" not in s

    state = outer.run()
    assert state["both"] == f"one:{state['one']}\ntwo:{state['two']}\n" == state.text()
    assert state["seen"] == complete(state.text() + "A trial", max_tokens=3)
    assert inner.bind(word="x").run()["x"] == complete("x:", max_tokens=4)


def choices():
    prompt = "Question: What is the capital of France?\nAnswer: The capital of France is"
    cities = [" Berlin", " Paris", " Madrid", " Rome, the eternal city"]
    for method in ("token_length_normalized", "greedy_token_selection", "unconditional_likelihood_normalized"):
        @mr.function
        def pick(s):
            s += prompt + mr.select("city", cities, choices_method=method)

        state = pick.run()
        assert state["city"] == " Paris" and state.text() == prompt + " Paris", (method, state["city"])
    # the scores are the mean log-probabilities of the choices' own tokens
    n = len(post("/tokenize", prompt=prompt)["tokens"])
    for city, score in zip(cities, mr_scores(prompt, cities)):
        rows = post("/v1/completions", prompt=prompt + city, max_tokens=0, prompt_logprobs=0)["choices"][0]["prompt_logprobs"][n:]
        want = sum(next(iter(row.values()))["logprob"] for row in rows) / len(rows)
        assert abs(score - want) < 1e-4, (city, score, want)
    # choices that begin alike, and one that is the beginning of another
    state = mr.function(lambda s: s.__iadd__("1 2 3 4" + mr.select("next", [" 5 6", " 5", " 50"]))).run()
    assert state["next"] in (" 5 6", " 5")


def mr_scores(prompt, cities):
    state = mr.function(lambda s: s.__iadd__(prompt + mr.select("city", cities))).run()
    return state.get_meta_info("city")["scores"]


def batches():
    rows = [{"animal": name} for name in ("fox", "hen", "owl", "cat", "dog", "bee", "elk", "ant")] * 4
    states = story.run_batch(rows, progress_bar=False)
    want = {row["animal"]: complete(f"Once upon a time a {row['animal']}", max_tokens=12) for row in rows[:8]}
    assert [state["first"] for state in states] == [want[row["animal"]] for row in rows]

    @mr.function
    def picky(s, limit):
        s += "Hello" + mr.gen("x", max_tokens=limit)

    good, bad, other = picky.run_batch([{"limit": 2}, {"limit": -5}, {"limit": 3}])
    assert good.error() is None and other.error() is None
    assert isinstance(bad.error(), BackendError) and bad.error().status == 400
    raises(TypeError, "row 1", lambda: story.run_batch([{"animal": "x"}, "y"]))


def defaults_and_many():
    @mr.function
    def say(s):
        s += "Colours are" + mr.gen("x", n=3, max_tokens=5)

    made = say.run(temperature=0.9, seed=7)["x"]
    assert made == [c["text"] for c in post("/v1/completions", prompt="Colours are", n=3, max_tokens=5, temperature=0.9, seed=7)["choices"]]
    assert len(set(made)) > 1
    state = mr.function(lambda s: s.__iadd__("One two" + mr.gen("x", max_tokens=2, temperature=0, return_logprob=True))).run()
    assert len(state.get_meta_info("x")["logprobs"]["token_logprobs"]) == 2


def constraints():
    schema = {"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"]}

    @mr.function
    def typed(s):
        s += "x = " + mr.gen("whole", dtype=int, max_tokens=8, temperature=0) + " y = " + mr.gen("real", dtype=float, max_tokens=12, temperature=0)
        s += " z = " + mr.gen("json", json_schema=schema, max_tokens=30, temperature=0)

    state = typed.run()
    assert re.fullmatch("-?[0-9]+", state["whole"]) and float(state["real"]) is not None
    assert isinstance(json.loads(state["json"])["a"], bool)
    want = complete(f"x = {state['whole']} y = {state['real']} z = ", max_tokens=30, structured_outputs={"json": schema})
    assert state["json"] == want


def streams():
    state = story.run("bear", stream=True)
    pieces = list(state.text_iter("first"))
    assert "".join(pieces) == complete("Once upon a time a bear", max_tokens=12) and len(pieces) > 3
    everything = "".join(state.text_iter())
    assert everything == state.text()
    # what a program needs next is awaited, not polled: a value is there as soon as the part is done
    late = story.run("crow", stream=True)
    assert late["second"] == complete(f"Once upon a time a crow{late['first']} Then", max_tokens=8, stop=".")


def errors():
    raises(ValueError, "belong into role assistant", lambda: mr.function(lambda s: s.__iadd__(mr.user("x" + mr.gen("a")))).run())
    raises(ValueError, "belong into assistant", lambda: mr.function(lambda s: s.__iadd__(mr.user("x") + mr.gen("a"))).run())
    raises(ValueError, "begins inside role user", lambda: mr.function(lambda s: s.__iadd__(mr.user("x" + mr.user("y")))).run())
    raises(ValueError, "without a role", lambda: mr.function(lambda s: s.__iadd__(mr.user("x") + "y")).run())
    raises(KeyError, "no variable", lambda: mr.function(lambda s: s["nothing"]).run())
    raises(TypeError, "want text", lambda: mr.function(lambda s: s.__iadd__(5)).run())
    raises(ValueError, "first parameter", lambda: mr.function(lambda state: None))
    raises(ValueError, "choices must be", lambda: mr.select("x", []))
    raises(ValueError, "choices_method", lambda: mr.select("x", ["a"], choices_method="best"))
    raises(ValueError, "dtype", lambda: mr.gen("x", dtype=list))
    raises(BackendError, "temperature", lambda: mr.function(lambda s: s.__iadd__("x" + mr.gen("a", temperature=9))).run())
    raises(BackendError, "127.0.0.1", lambda: mr.RuntimeEndpoint("http://127.0.0.1:1"))
    raises(ValueError, "base_url", lambda: mr.RuntimeEndpoint("localhost:8000"))
    raises(ZeroDivisionError, "", lambda: mr.function(lambda s: s.__iadd__("x" + mr.gen("a", max_tokens=1)) and 1 / 0).run())


def stopping_a_stream_cancels():
    endpoint = mr.RuntimeEndpoint(URL)
    running = lambda: [float(line.split()[-1]) for line in urllib.request.urlopen(URL + "/metrics").read().decode().splitlines()
                       if line.startswith("vllm:num_requests_running{")][0]
    stream = endpoint.events("/v1/completions", {"prompt": "Tell me a very long story.", "max_tokens": 4000, "ignore_eos": True})
    next(stream)
    assert running() == 1, running()
    stream.close()
    checks.eventually(lambda: running() == 0, "nothing runs")


def a_server_of_its_own():
    with mr.Runtime("models/SmolLM2-135M-Instruct.Q4_1.gguf", program=PROGRAM, served_model_name="own", max_model_len=512) as own:
        assert own.model == "own"
        assert story.run("fox", backend=own)["first"] == complete("Once upon a time a fox", max_tokens=12)
        server = own._server
    assert server.returncode == 0
    raises(BackendError, "no-such-model", lambda: mr.Runtime("no-such-model", program=PROGRAM))


def examples():
    before = threading.active_count()
    for name in ("multi_turn_chat", "json_decoding", "few_shot_qa", "tree_of_thought", "llm_judge", "react_agent"):
        with contextlib.redirect_stdout(io.StringIO()):
            made = importlib.import_module(name).main(URL)
        if name == "multi_turn_chat":
            assert made[2]["cached_tokens"] >= 32, made
        if name == "json_decoding":
            city = json.loads(made["city"])
            assert list(city) == ["name", "country", "has_river", "population"] and isinstance(city["population"], int), city
            assert re.fullmatch("[1-9][0-9]{2,3}", made["year"]) and str(int(made["bridges"])) == made["bridges"]
        if name == "few_shot_qa":
            assert "Rome" in made[0]["answer"] and sum(s.get_meta_info("answer")["cached_tokens"] > 64 for s in made) >= 14
        if name == "tree_of_thought":
            assert len(made["leaves"]) == 8 and made["cached"] > 8 * 512 and made["best"]
        if name == "llm_judge":
            assert len(made["judgement"]) == 3 and made["grade"] in "ABCD"
        if name == "react_agent":
            assert made["answer"]
    assert threading.active_count() <= before + 2, threading.enumerate()  # programs leave no threads behind


CHECKS = [plain_text, roles, forks, copies_scopes_and_nesting, choices, batches, defaults_and_many, constraints, streams, errors, stopping_a_stream_cancels,
          a_server_of_its_own, examples]


if __name__ == "__main__":
    mr.set_default_backend(mr.RuntimeEndpoint(URL))
    sys.exit(checks.run(CHECKS))
