"""Tree of thought (Yao et al. 2023): several plans, several executions of each, the likeliest verdict wins. All branches
share their beginnings.
tree_of_thought.py URL"""
import sys

from millrace import RuntimeEndpoint, assistant, function, gen, select, set_default_backend, system, user

QUESTION = "A farmer has 12 sheep, sells 4 and buys 3 more. How many sheep does the farmer have now?"


def propose(s, branches, seed):
    s += user("Propose a plan to solve the question. Do not solve it yet.")
    forks = s.fork(branches)
    for i, fork in enumerate(forks):
        fork += assistant(gen("plan", max_tokens=48, temperature=0.7, seed=seed + i))
    return forks


def execute(s, branches, seed):
    s += user("Carry out the plan and give the answer.")
    forks = s.fork(branches)
    for i, fork in enumerate(forks):
        fork += assistant(gen("solution", max_tokens=64, temperature=0.7, seed=seed + i))
        fork += user("Is this solution right? Answer yes or no.")
        fork += assistant(select("verdict", ["yes", "no"]))
    return forks


@function
def think(s, question, branches=2, seed=0):
    s += system("You solve problems step by step.") + user("Question: " + question)
    s += assistant("I will think about it.")
    leaves = []
    for i, plan in enumerate(propose(s, branches, seed)):
        leaves.extend(execute(plan, branches, seed + 100 * (i + 1)))
    s["leaves"] = [(leaf["verdict"], leaf["solution"]) for leaf in leaves]
    s["best"] = next((solution for verdict, solution in s["leaves"] if verdict == "yes"), s["leaves"][0][1])
    s["cached"] = sum(leaf.get_meta_info("solution")["cached_tokens"] for leaf in leaves)


def main(url):
    set_default_backend(RuntimeEndpoint(url))
    state = think.run(QUESTION)
    for verdict, solution in state["leaves"]:
        print(f"[{verdict}] {solution.strip()}")
    print("best:", state["best"].strip())
    return state


if __name__ == "__main__":
    main(sys.argv[1])
