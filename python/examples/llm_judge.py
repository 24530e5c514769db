"""A model judges an essay along several dimensions at once, then gives a grade: branches of one conversation, joined.
llm_judge.py URL"""
import sys

from millrace import RuntimeEndpoint, assistant, function, gen, select, set_default_backend, system, user

DIMENSIONS = ["clarity", "originality", "evidence"]
ESSAY = ("Rivers shaped our towns. Mills stood where the water fell, and people settled around the mills. A millrace led the "
         "water to the wheel, and the wheel ground the grain of the whole valley.")


@function
def judge(s, essay):
    s += system("You judge essays.") + user("Essay:\n" + essay)
    s += assistant("I have read the essay.")
    forks = s.fork(len(DIMENSIONS))
    for fork, dimension in zip(forks, DIMENSIONS):
        fork += user(f"Judge the essay's {dimension} in one sentence.")
        fork += assistant("Judgement: " + gen("judgement", max_tokens=40, stop="\n", temperature=0))
    forks.join()
    s += user("Your judgements:\n" + "\n".join(f"{d}: {j.strip()}" for d, j in zip(DIMENSIONS, s["judgement"])) + "\nGrade the essay.")
    s += assistant("The grade is " + select("grade", ["A", "B", "C", "D"]))


def main(url):
    set_default_backend(RuntimeEndpoint(url))
    state = judge.run(ESSAY)
    print(state.text())
    return state


if __name__ == "__main__":
    main(sys.argv[1])
