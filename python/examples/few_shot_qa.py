"""Many questions behind the same examples: the examples are computed once.
few_shot_qa.py URL [QUESTIONS]"""
import sys

from millrace import RuntimeEndpoint, function, gen, set_default_backend

SHOTS = [("What is the capital of France?", "Paris"), ("What is the capital of Japan?", "Tokyo"), ("What is the capital of Egypt?", "Cairo"),
         ("What colour is the sky on a clear day?", "Blue"), ("How many legs does a spider have?", "Eight"),
         ("Which planet is known as the red planet?", "Mars"), ("What is frozen water called?", "Ice"), ("Who wrote Hamlet?", "Shakespeare")]
TOPICS = ["Italy", "Spain", "Germany", "Greece", "Norway", "Poland", "Turkey", "Kenya", "Peru", "Cuba", "India", "China", "Iran", "Iraq",
          "Canada", "Brazil"]


@function
def answer(s, question, shots=SHOTS):
    s += "Answer each question with a single word.\n\n"
    for asked, said in shots:
        s += f"Question: {asked}\nAnswer: {said}\n\n"
    s += f"Question: {question}\nAnswer:" + gen("answer", max_tokens=6, stop="\n", temperature=0)


def questions(count):
    return [{"question": f"What is the capital of {TOPICS[i % len(TOPICS)]}?" + " Be brief." * (i // len(TOPICS))} for i in range(count)]


def main(url, count=16):
    set_default_backend(RuntimeEndpoint(url))
    states = answer.run_batch(questions(count), progress_bar=True)
    for row, state in zip(questions(count), states):
        print(f"{row['question']} {state['answer'].strip()}")
    return states


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
