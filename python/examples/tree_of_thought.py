"""Tree of thought (Yao et al. 2023) for word problems, as the program of SGLang's paper does it: plans are proposed, each
is carried out, each solution is given a score by the model itself and then a final answer; every step in branches. All
branches share the worked examples and what was said before they parted.
tree_of_thought.py URL"""
import collections
import re
import sys

from millrace import RuntimeEndpoint, assistant, function, gen, set_default_backend, system, user

# (question, plan, solution): worked by hand
SHOTS = [
    ("A farmer has 12 sheep. He sells 4 of them and then buys 3 more. How many sheep does he have now?",
     "Start with the number of sheep, take away those he sells, and add those he buys.",
     "He begins with 12 sheep. After selling 4 he has 12 - 4 = 8 sheep. After buying 3 he has 8 + 3 = 11 sheep. The answer is 11."),
    ("A baker fills 6 trays with 8 rolls each. At noon 30 rolls are sold. How many rolls are left?",
     "Multiply trays by rolls for the total, then take away the rolls that were sold.",
     "There are 6 * 8 = 48 rolls. After 30 are sold there are 48 - 30 = 18 rolls. The answer is 18."),
    ("Anna reads 15 pages on Monday and twice as many on Tuesday. Her book has 100 pages. How many pages are left to read?",
     "Find the pages of Tuesday, add both days, and take the sum away from the pages of the book.",
     "On Tuesday she reads 2 * 15 = 30 pages. In both days she reads 15 + 30 = 45 pages. There are 100 - 45 = 55 pages left. The answer is 55."),
    ("A bus has 40 seats. At the first stop 17 people get on, at the second stop 9 get on and 5 get off. How many seats are free?",
     "Count the people on the bus after both stops, then take them away from the seats.",
     "After the first stop there are 17 people. After the second stop there are 17 + 9 - 5 = 21 people. There are 40 - 21 = 19 free seats. "
     "The answer is 19."),
    ("Three friends share a bill of 84 coins. One of them pays 20 coins, the others pay the rest in equal parts. How much does each of the others pay?",
     "Take the part of the first friend away from the bill and divide the rest by two.",
     "The rest of the bill is 84 - 20 = 64 coins. Each of the two others pays 64 / 2 = 32 coins. The answer is 32."),
    ("A tank holds 90 litres. A pump fills 6 litres a minute, and the tank has 30 litres in it. In how many minutes is the tank full?",
     "Find how many litres are missing and divide them by the litres of a minute.",
     "There are 90 - 30 = 60 litres missing. At 6 litres a minute that takes 60 / 6 = 10 minutes. The answer is 10."),
    ("Tom has 5 boxes of 12 pencils. He gives 7 pencils to each of his 4 sisters. How many pencils does he keep?",
     "Multiply boxes by pencils, find what all sisters get together, and subtract.",
     "Tom has 5 * 12 = 60 pencils. His sisters get 4 * 7 = 28 pencils. He keeps 60 - 28 = 32 pencils. The answer is 32."),
    ("A train goes 80 kilometres an hour for 3 hours and then 60 kilometres an hour for 2 hours. How far does it go?",
     "Multiply speed by time for both parts of the journey and add them.",
     "In the first part it goes 80 * 3 = 240 kilometres. In the second part it goes 60 * 2 = 120 kilometres. Together that is "
     "240 + 120 = 360 kilometres. The answer is 360."),
]
QUESTIONS = ["A gardener plants 7 rows of 9 tulips. Rabbits eat 13 of them. How many tulips are left?",
             "A shop sells 24 cups on Friday and half as many on Saturday. How many cups does it sell on both days?",
             "Maria has 50 coins. She buys 3 books for 11 coins each. How many coins does she have left?",
             "A school has 8 classes of 25 pupils. 40 pupils go on a trip. How many pupils stay?",
             "A cook uses 4 eggs for each cake and 2 for each loaf. How many eggs are needed for 5 cakes and 6 loaves?",
             "A hiker walks 14 kilometres a day for 4 days. The path has 70 kilometres. How many are left?",
             "A box holds 30 apples. A market gets 9 boxes and sells 205 apples. How many apples are left?",
             "Two brothers save 6 and 9 coins a week. How many coins do they have together after 8 weeks?"]


def instructions(shots):
    lines = ["You solve word problems: first a plan, then its calculation. These are examples."]
    for question, plan, solution in shots:
        lines.append(f"Question: {question}\nPlan: {plan}\nSolution: {solution}")
    return "\n\n".join(lines)


def propose_plan(s, question, branches, seed):
    s += user("Give a plan for the following question. Name the method only and do not calculate. Question: " + question)
    forks = s.fork(branches)
    forks += lambda i: assistant(gen("plan", max_tokens=24, stop="\n", temperature=0.7, seed=seed + i))
    return forks


def execute_plan(s, branches, seed):
    s += user("The plan looks good. Now use the numbers and calculate step by step. Make your response short.")
    forks = s.fork(branches)
    forks += lambda i: assistant(gen("solution", max_tokens=32, stop="\n", temperature=0.7, seed=seed + i))
    return forks


def reflect_solution(s, branches, seed):
    s += user("Now judge your solution: give it a score from 1 to 5.")
    forks = s.fork(branches)
    forks += lambda i: assistant("The score is " + gen("score", regex="[1-5]", max_tokens=4, temperature=0.7, seed=seed + i) + ".")
    return forks


def final_answer(s, seed):
    s += user("After this judgement, what is the final answer?")
    s += assistant("The answer is " + gen("answer", max_tokens=6, stop=[".", "\n"], temperature=0.7, seed=seed))


@function
def think(s, question, branches=2, seed=0, shots=SHOTS):
    s += system(instructions(shots))
    plans = propose_plan(s, question, branches, seed)
    solutions = [fork for i, plan in enumerate(plans) for fork in execute_plan(plan, branches, seed + 10 * (i + 1))]
    leaves = [fork for i, solution in enumerate(solutions) for fork in reflect_solution(solution, branches, seed + 100 * (i + 1))]
    for i, leaf in enumerate(leaves):
        final_answer(leaf, seed + 1000 + i)
    s["leaves"] = [(leaf["plan"], leaf["solution"], int(leaf["score"]), leaf["answer"]) for leaf in leaves]
    votes = collections.Counter()
    for _, _, score, answer in s["leaves"]:
        votes[" ".join(re.findall(r"\d+", answer)[:1]) or answer.strip()] += score
    s["best"] = votes.most_common(1)[0][0]
    s["cached"] = sum(leaf.get_meta_info("answer")["cached_tokens"] for leaf in leaves)


def main(url):
    set_default_backend(RuntimeEndpoint(url))
    state = think.run(QUESTIONS[0])
    for _, solution, score, answer in state["leaves"]:
        print(f"[{score}] {solution.strip()} -> {answer.strip()}")
    print("best:", state["best"])
    return state


if __name__ == "__main__":
    main(sys.argv[1])
