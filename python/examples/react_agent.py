"""ReAct (Yao et al. 2023): thought, action, observation, until the agent finishes. The control flow and the tools are Python.
react_agent.py URL"""
import sys

from millrace import RuntimeEndpoint, function, gen, select, set_default_backend

FACTS = {"France": "The capital of France is Paris.", "Paris": "Paris has two million inhabitants.", "Italy": "The capital of Italy is Rome."}
EXAMPLE = """Question: What is the capital of Italy?
Thought: I should look up Italy.
Action: search[Italy]
Observation: The capital of Italy is Rome.
Thought: I know the answer.
Action: finish[Rome]

"""


@function
def agent(s, question, most_steps=3):
    s += "Answer by thinking, acting and observing.\n\n" + EXAMPLE + f"Question: {question}\n"
    s["answer"] = None
    for step in range(most_steps):
        s += "Thought:" + gen(f"thought_{step}", max_tokens=24, stop="\n", temperature=0) + "\nAction: "
        s += select(f"action_{step}", ["search", "finish"]) + "[" + gen(f"argument_{step}", max_tokens=8, stop=["]", "\n"], temperature=0) + "]\n"
        argument = s[f"argument_{step}"].strip()
        if s[f"action_{step}"] == "finish":
            s["answer"] = argument
            return
        s += f"Observation: {FACTS.get(argument, 'Nothing was found.')}\n"


def main(url):
    set_default_backend(RuntimeEndpoint(url))
    state = agent.run("What is the capital of France?")
    print(state.text())
    return state


if __name__ == "__main__":
    main(sys.argv[1])
