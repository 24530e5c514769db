"""The six programs of python/examples give what a hand-written sequence of requests gives: programs_test.py MODEL URL

Each program runs against the server at URL and in this process, by the installed package; the requests are written here by hand,
with nothing of the package, and go to the server. Every text, score and choice must be equal."""
import json
import pathlib
import sys
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / folder) for folder in ("python/examples", "tests/support")]

import checks  # noqa: E402
import few_shot_qa  # noqa: E402
import json_decoding  # noqa: E402
import llm_judge  # noqa: E402
import millrace as mr  # noqa: E402
import multi_turn_chat  # noqa: E402
import react_agent  # noqa: E402
import tree_of_thought  # noqa: E402

MODEL, URL = sys.argv[1], sys.argv[2].rstrip("/")
backends = []


def post(path, **body):
    request = urllib.request.Request(URL + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
    reply = json.loads(urllib.request.urlopen(request, timeout=10 * checks.HANG_S).read())
    return {**reply, **reply["choices"][0]}  # what belongs to the prompt stands in either


def complete(prompt, **fields):
    return post("/v1/completions", **{"prompt": prompt, "temperature": 0, **fields})["text"]


class Talk:
    """A conversation written by hand: `open` is the beginning of an assistant message that is to be continued."""

    def __init__(self, *messages):
        self.messages = [{"role": role, "content": content} for role, content in messages]

    def fork(self, role, content):
        return Talk(*((m["role"], m["content"]) for m in self.messages), (role, content))

    def body(self, opened):
        if not opened:
            return {"messages": self.messages}
        return {"messages": self.messages + [{"role": "assistant", "content": opened}], "add_generation_prompt": False,
                "continue_final_message": True}

    def answer(self, opened="", **fields):
        return post("/v1/chat/completions", **{**self.body(opened), "temperature": 0, **fields})["message"]["content"]

    def choose(self, opened, choices):
        """The choice with the greatest mean log-probability behind `opened`."""
        path = "/v1/chat/completions"
        body = [self.body(opened + choice) for choice in choices]
        return most_likely([post(path, **one, max_tokens=0, prompt_logprobs=0, return_token_ids=True) for one in body], choices)


def most_likely(replies, choices):
    rows = [[next(iter(row.values()))["logprob"] if row else 0.0 for row in reply["prompt_logprobs"]] for reply in replies]
    ids = [reply["prompt_token_ids"] for reply in replies]
    shared = 0
    while len({one[shared] for one in ids}) == 1:
        shared += 1
    means = [sum(row[shared:]) / len(row[shared:]) for row in rows]
    return choices[means.index(max(means))]


def both(run):
    """What the program makes on each backend; they must agree."""
    made = [run(backend) for backend in backends]
    assert made[0] == made[1], made
    return made[0]


def check_multi_turn_chat():
    questions = ["What is a millrace?", "Where would I find one?", "Name one animal that lives there."]
    made = both(lambda b: multi_turn_chat.chat.run(questions, max_tokens=24, backend=b).messages())
    talk = Talk(("system", "You are a helpful assistant. Answer in one sentence."))
    for question in questions:
        talk = talk.fork("user", question)
        talk = talk.fork("assistant", talk.answer(max_tokens=24))
    assert made == talk.messages, (made, talk.messages)


def check_few_shot_qa():
    rows = few_shot_qa.questions(8)
    made = both(lambda b: [state["answer"] for state in few_shot_qa.answer.run_batch(rows, backend=b)])
    prompt = "Answer each question with a single word.\n\n" + "".join(f"Question: {q}\nAnswer: {a}\n\n" for q, a in few_shot_qa.SHOTS)
    assert made == [complete(f"{prompt}Question: {row['question']}\nAnswer:", max_tokens=6, stop="\n") for row in rows]


def check_json_decoding():
    def run(backend):
        state = json_decoding.describe.run("Paris", backend=backend)
        return state["city"], state["year"], state["bridges"]

    city, year, bridges = both(run)
    talk = Talk(("system", "You write facts as JSON."), ("user", "Describe the city Paris."))
    schema = {"type": "json_schema", "json_schema": {"name": "city", "schema": json_decoding.CITY}}
    assert city == talk.answer(max_tokens=120, response_format=schema)
    talk = talk.fork("assistant", city).fork("user", "In which year was it first mentioned?")
    opened = "It was first mentioned in "
    assert year == talk.answer(opened, max_tokens=8, structured_outputs={"regex": "[1-9][0-9]{2,3}"})
    talk = talk.fork("assistant", opened + year + ".").fork("user", "How many bridges does it have?")
    assert bridges == talk.answer(max_tokens=8, structured_outputs={"regex": "-?[0-9]+"})


def check_llm_judge():
    def run(backend):
        state = llm_judge.judge.run(llm_judge.ESSAY, backend=backend)
        return state["judgement"], state["grade"]

    judgements, grade = both(run)
    talk = Talk(("system", "You judge essays."), ("user", "Essay:\n" + llm_judge.ESSAY), ("assistant", "I have read the essay."))
    want = [talk.fork("user", f"Judge the essay's {d} in one sentence.").answer("Judgement: ", max_tokens=40, stop="\n") for d in llm_judge.DIMENSIONS]
    assert judgements == want, (judgements, want)
    lines = "\n".join(f"{d}: {j.strip()}" for d, j in zip(llm_judge.DIMENSIONS, want))
    assert grade == talk.fork("user", f"Your judgements:\n{lines}\nGrade the essay.").choose("The grade is ", ["A", "B", "C", "D"])


def check_react_agent():
    made = both(lambda b: react_agent.agent.run("What is the capital of France?", most_steps=2, backend=b).text())
    text = "Answer by thinking, acting and observing.\n\n" + react_agent.EXAMPLE + "Question: What is the capital of France?\n"
    for _ in range(2):
        text += "Thought:"
        text += complete(text, max_tokens=24, stop="\n") + "\nAction: "
        replies = [post("/v1/completions", prompt=text + action, max_tokens=0, prompt_logprobs=0, return_token_ids=True) for action in ("search", "finish")]
        action = most_likely(replies, ["search", "finish"])
        text += action + "["
        argument = complete(text, max_tokens=8, stop=["]", "\n"])
        text += argument + "]\n"
        if action == "finish":
            break
        text += f"Observation: {react_agent.FACTS.get(argument.strip(), 'Nothing was found.')}\n"
    assert made == text, (made, text)


def check_tree_of_thought():
    question, seed = tree_of_thought.QUESTIONS[0], 7
    shots = tree_of_thought.SHOTS[:2]
    made = both(lambda b: tree_of_thought.think.run(question, seed=seed, shots=shots, backend=b)["leaves"])
    text = "You solve word problems: first a plan, then its calculation. These are examples."
    text += "".join(f"\n\nQuestion: {q}\nPlan: {p}\nSolution: {a}" for q, p, a in shots)
    root = Talk(("system", text), ("user", "Give a plan for the following question. Name the method only and do not calculate. Question: " + question))
    say = {"temperature": 0.7}
    want = []
    for i in range(2):
        plan = root.answer(max_tokens=24, stop="\n", seed=seed + i, **say)
        planned = root.fork("assistant", plan).fork("user", "The plan looks good. Now use the numbers and calculate step by step. Make your response short.")
        for j in range(2):
            solution = planned.answer(max_tokens=32, stop="\n", seed=seed + 10 * (i + 1) + j, **say)
            solved = planned.fork("assistant", solution).fork("user", "Now judge your solution: give it a score from 1 to 5.")
            for k in range(2):
                score = solved.answer("The score is ", max_tokens=4, structured_outputs={"regex": "[1-5]"}, seed=seed + 100 * (2 * i + j + 1) + k, **say)
                judged = solved.fork("assistant", f"The score is {score}.").fork("user", "After this judgement, what is the final answer?")
                answer = judged.answer("The answer is ", max_tokens=6, stop=[".", "\n"], seed=seed + 1000 + len(want), **say)
                want.append((plan, solution, int(score), answer))
    assert made == want, (made, want)


if __name__ == "__main__":
    with mr.Engine(MODEL, max_model_len=2048) as engine:
        backends += [mr.RuntimeEndpoint(URL), engine]
        sys.exit(checks.run(checks.named(globals())))
