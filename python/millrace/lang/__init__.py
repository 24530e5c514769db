"""The front-end language, in the manner of SGLang (Zheng et al. 2024, section 2): a program is a Python function over a
state `s`; `s += gen("x")` asks the model, `s["x"]` waits for what it said, `s.fork(n)` goes on n ways at once.

    @function
    def tip(s, topic):
        s += system("You give one tip.") + user("About " + topic)
        s += assistant(gen("tip", max_tokens=40, temperature=0))

    set_default_backend(RuntimeEndpoint("http://127.0.0.1:8000"))
    print(tip.run(topic="rivers")["tip"])

Prompts that begin alike share their KV cache in the server, so forks and batches pay for a common beginning once."""
from millrace.lang.backend import BackendError, Completion, Engine, Runtime, RuntimeEndpoint, set_default_backend
from millrace.lang.ir import (assistant, assistant_begin, assistant_end, gen, gen_int, gen_string, select, system, system_begin,
                              system_end, user, user_begin, user_end)
from millrace.lang.program import Function, function
from millrace.lang.state import ProgramState, StateGroup

__all__ = ["BackendError", "Completion", "Engine", "Function", "ProgramState", "Runtime", "RuntimeEndpoint", "StateGroup",
           "assistant", "assistant_begin", "assistant_end", "function", "gen", "gen_int", "gen_string", "select", "set_default_backend", "system",
           "system_begin", "system_end", "user", "user_begin", "user_end"]
