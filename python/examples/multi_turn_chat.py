"""A conversation of several turns: each turn goes on behind what was said, whose KV stays in the server's cache.
multi_turn_chat.py URL"""
import sys

from millrace import RuntimeEndpoint, assistant, function, gen, set_default_backend, system, user


@function
def chat(s, questions, max_tokens):
    s += system("You are a helpful assistant. Answer in one sentence.")
    for i, question in enumerate(questions):
        s += user(question)
        s += assistant(gen(f"answer_{i}", max_tokens=max_tokens, temperature=0))


def main(url):
    set_default_backend(RuntimeEndpoint(url))
    state = chat.run(["What is a millrace?", "Where would I find one?", "Name one animal that lives there."], max_tokens=40)
    for message in state.messages():
        print(f"{message['role']}: {message['content']}")
    return [state.get_meta_info(f"answer_{i}") for i in range(3)]


if __name__ == "__main__":
    main(sys.argv[1])
