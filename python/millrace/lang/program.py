"""Functions over a state, and running them once or over a batch."""
import concurrent.futures
import functools
import inspect
import os
import sys
import threading

from millrace.lang import backend as backends
from millrace.lang.state import ProgramState

_SAMPLING = ("max_tokens", "stop", "stop_token_ids", "temperature", "top_p", "top_k", "min_p", "frequency_penalty", "presence_penalty",
             "ignore_eos", "seed", "cache_salt", "priority")


def function(body=None, num_api_spec_tokens=None):
    """Makes a program of `def f(s, ...)`. num_api_spec_tokens is accepted and has no effect: nothing is guessed."""
    if body is None:
        return functools.partial(function, num_api_spec_tokens=num_api_spec_tokens)
    return Function(body)


class Function:
    def __init__(self, body, bound=None):
        names = list(inspect.signature(body).parameters)
        if not names or names[0] != "s":
            raise ValueError(f"{body.__name__}: the first parameter of a program must be s")
        self._body, self._bound = body, bound or {}
        functools.update_wrapper(self, body)

    def bind(self, **arguments):
        """The same program with some arguments given."""
        return Function(self._body, {**self._bound, **arguments})

    def __call__(self, *arguments, **named):
        """Inside another program: f(s, ...) goes on with that state. Outside: as run()."""
        if arguments and isinstance(arguments[0], ProgramState):
            return self._body(*arguments, **{**self._bound, **named})
        return self.run(*arguments, **named)

    def run(self, *arguments, backend=None, stream=False, **named):
        """Runs to the end and returns the state; with stream=True returns at once, for text_iter(). Fields of sampling
        (max_tokens, temperature, ...) that are no parameters of the program are defaults of its gen() calls."""
        parameters = inspect.signature(self._body).parameters
        defaults = {key: named.pop(key) for key in _SAMPLING if key in named and key not in parameters}
        state = ProgramState(backend or backends.default_backend(), defaults=defaults, stream=stream)
        if not stream:
            self._execute(state, arguments, named)
            return state.sync()
        state._program = threading.Thread(target=self._execute, args=(state, arguments, named), daemon=True)
        state._program.start()
        return state

    def _execute(self, state, arguments, named):
        try:
            state.ret_value = self._body(state, *arguments, **{**self._bound, **named})
        except Exception as error:
            with state._changed:
                state._error = state._error or error
            if state._program is None:
                raise
        finally:
            state._settle()
            with state._changed:
                state._program = None
                state._changed.notify_all()

    def run_batch(self, batch, *, backend=None, num_threads="auto", progress_bar=False, **common):
        """One state per dict of arguments, in order. A call that failed has its error() and does not stop the others."""
        for i, row in enumerate(batch):
            if not isinstance(row, dict):
                raise TypeError(f"run_batch(): row {i} must be a dict of arguments, got {type(row).__name__}")
        backend = backend or backends.default_backend()
        threads = min(len(batch), max(96, 16 * (os.cpu_count() or 1))) if num_threads == "auto" else int(num_threads)
        bar = _Bar(len(batch)) if progress_bar else None
        with concurrent.futures.ThreadPoolExecutor(max(1, threads)) as pool:
            futures = [pool.submit(self._one, backend, {**common, **row}, bar) for row in batch]
            out = [future.result() for future in futures]
        if bar:
            bar.close()
        return out

    def _one(self, backend, arguments, bar):
        try:
            return self.run(backend=backend, **arguments)
        except Exception as error:
            failed = ProgramState(backend)
            failed._error = error
            return failed
        finally:
            if bar:
                bar.step()


class _Bar:
    """A line on stderr: done of all; redrawn on a terminal, one line per 10 % elsewhere."""

    def __init__(self, total):
        self._total, self._done, self._lock, self._tty, self._shown = total, 0, threading.Lock(), sys.stderr.isatty(), -1

    def step(self):
        with self._lock:
            self._done += 1
            tenth = self._done * 10 // self._total
            if self._tty or tenth != self._shown:
                self._shown = tenth
                sys.stderr.write(f"{chr(13) if self._tty else ''}{self._done}/{self._total}{'' if self._tty else chr(10)}")
                sys.stderr.flush()

    def close(self):
        if self._tty:
            sys.stderr.write("\n")
