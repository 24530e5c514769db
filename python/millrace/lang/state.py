"""ProgramState: runs the parts of a program in order on a thread of its own, so that a program goes on until it needs a
value, and forks run side by side."""
import collections
import contextlib
import threading

from millrace.lang import ir
from millrace.lang.backend import Completion
from millrace.lang.context import Context

class ProgramState:
    def __init__(self, backend, arguments=None, context=Context(), variables=None, defaults=None, stream=False):
        self._backend, self._defaults, self._stream = backend, defaults or {}, stream
        self._arguments = arguments or {}
        self._context = context
        self._variables = dict(variables or {})
        self._meta = {}
        self._open = {}          # variable -> index of the log where it began
        self._log = []           # every piece of text, (variable or None, piece)
        self._error = None
        self._changed = threading.Condition()
        self._waiting = set()    # variables that queued parts will set
        self._parts = collections.deque()
        self._worker = None      # lives while there are parts
        self._program = None     # the thread that runs the program, of run(stream=True)
        self._busy = 0

    # --- programs write ---
    def __iadd__(self, other):
        expression = ir.as_expression(other)
        parts = expression.parts if isinstance(expression, ir.Sequence) else [expression]
        with self._changed:
            self._waiting.update(part.name for part in parts if isinstance(part, (ir.Gen, ir.Select, ir.VariableEnd)))
            self._parts.extend(parts)
            self._busy += len(parts)
            if self._worker is None and parts:
                self._worker = threading.Thread(target=self._work, daemon=True)
                self._worker.start()
        return self

    def system(self, content=None):
        return self._say("system", content)

    def user(self, content=None):
        return self._say("user", content)

    def assistant(self, content=None):
        return self._say("assistant", content)

    def _say(self, role, content):
        """s.user("text"), or `with s.user():` around what belongs to it."""
        if content is not None:
            self.__iadd__(ir._role(role, content))
            return None
        return self._within(ir.RoleBegin(role), ir.RoleEnd(role))

    def var_scope(self, name):
        """`with s.var_scope("x"):` binds to x all text added inside."""
        return self._within(ir.VariableBegin(name), ir.VariableEnd(name))

    @contextlib.contextmanager
    def _within(self, begin, end):
        self.__iadd__(begin)
        yield self
        self.__iadd__(end)

    def fork(self, size=1):
        """`size` states that go on from here, each its own way."""
        if size < 1:
            raise ValueError(f"fork(): size must be at least 1, got {size}")
        self.sync()
        return StateGroup(self, [ProgramState(self._backend, self._arguments, self._context, self._variables, self._defaults,
                                              self._stream) for _ in range(size)])

    @contextlib.contextmanager
    def copy(self, size=1):
        """`with s.copy() as t:` a fork to try something on; s stays as it is."""
        group = self.fork(size)
        yield group[0] if size == 1 else group

    # --- programs read ---
    def __getitem__(self, name):
        """The value of a variable; waits for it. KeyError when nothing sets it, the error of a part that failed."""
        with self._changed:
            self._changed.wait_for(lambda: name in self._variables or self._error or (name not in self._waiting and not self._runs()))
            if name in self._variables:
                return self._variables[name]
            if self._error:
                raise self._error
            raise KeyError(f"{name!r} is no variable of this program; there are: {', '.join(map(str, self._variables)) or 'none'}")

    def __setitem__(self, name, value):
        with self._changed:
            self._variables[name] = value
            self._changed.notify_all()

    def __contains__(self, name):
        with self._changed:
            return name in self._variables or name in self._waiting

    get_var, set_var = __getitem__, __setitem__

    def get_meta_info(self, name):
        """finish_reason, prompt_tokens, completion_tokens, cached_tokens, logprobs of a gen(); scores of a select()."""
        self[name]
        return self._meta[name]

    def text(self):
        self.sync()
        return self._context.text()

    def messages(self):
        self.sync()
        return self._context.list()

    def error(self):
        """What went wrong, or None; waits for the program."""
        self._settle()
        return self._error

    def text_iter(self, name=None):
        """Pieces of the text as they come: of one variable, or of everything."""
        at = 0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: len(self._log) > at or self._error or not self._going_on(name))
                pieces = self._log[at:]
                at = len(self._log)
                ended = not self._going_on(name) and at == len(self._log)
                error = self._error
            yield from (piece for variable, piece in pieces if name is None or variable == name)
            if error:
                raise error
            if ended:
                return

    def _going_on(self, name):
        return (self._busy > 0 or self._runs()) and (name is None or name not in self._variables)

    def _runs(self):
        """True while the program's own thread may still add parts; to itself it is at its end."""
        return self._program is not None and self._program is not threading.current_thread()

    def sync(self):
        """Waits for everything added so far; raises what failed."""
        self._settle()
        if self._error:
            raise self._error
        return self

    def _settle(self):
        with self._changed:
            self._changed.wait_for(lambda: self._busy == 0 and not self._runs())

    # --- the worker ---
    def _work(self):
        while True:
            with self._changed:
                if not self._parts:
                    self._worker = None
                    return
                part = self._parts.popleft()
            if self._error is None:
                try:
                    self._do(part)
                except Exception as error:  # kept for whoever reads; the rest of the program is not run
                    with self._changed:
                        self._error = error
            with self._changed:
                self._busy -= 1
                self._changed.notify_all()

    def _add(self, text, variable=None):
        with self._changed:
            self._context = self._context.add(text)
            if text:
                self._log.append((variable, text))
            self._changed.notify_all()

    def _set(self, name, value, meta):
        with self._changed:
            self._variables[name] = value
            self._meta[name] = meta
            self._changed.notify_all()

    def _do(self, part):
        if isinstance(part, ir.Text):
            self._add(part.text)
        elif isinstance(part, ir.RoleBegin):
            self._context = self._context.begin(part.role)
        elif isinstance(part, ir.RoleEnd):
            self._context = self._context.end(part.role)
        elif isinstance(part, ir.Gen):
            self._generate(part)
        elif isinstance(part, ir.Select):
            self._context.may_generate()
            index, scores = self._backend.select(self._context, part.choices, part.method, part.temperature)
            self._add(part.choices[index], part.name)
            self._set(part.name, part.choices[index], {"scores": scores, "index": index})
        elif isinstance(part, ir.VariableBegin):
            self._open[part.name] = len(self._log)
        else:
            begin = self._open.pop(part.name)
            self._set(part.name, "".join(piece for _, piece in self._log[begin:]), {})

    def _generate(self, part):
        fields = {**self._defaults, **part.fields}
        if part.n > 1:
            made = self._backend.complete(self._context, fields, part.n)
            self._add(made[0].text, part.name)
            self._set(part.name, [c.text for c in made], [c.meta for c in made])
            return
        if not self._stream:
            made = self._backend.complete(self._context, fields)[0]
            self._add(made.text, part.name)
        else:
            made = None
            for piece in self._backend.stream(self._context, fields):
                if isinstance(piece, Completion):
                    made = piece
                else:
                    self._add(piece, part.name)
        self._set(part.name, made.text, made.meta)


class StateGroup:
    """The states of a fork."""

    def __init__(self, parent, states):
        self._parent, self._states = parent, states

    def __getitem__(self, index):
        return self._states[index]

    def __len__(self):
        return len(self._states)

    def __iter__(self):
        return iter(self._states)

    def __iadd__(self, other):
        """One value for all, a list of one each, or a function of the index."""
        if callable(other):
            other = [other(i) for i in range(len(self._states))]
        if isinstance(other, (list, tuple)):
            if len(other) != len(self._states):
                raise ValueError(f"{len(other)} values for {len(self._states)} forks")
        else:
            other = [other] * len(self._states)
        for state, value in zip(self._states, other):
            state += value
        return self

    def join(self, mode="gather_variable"):
        """Waits for all. gather_variable: every variable of the forks becomes a list in the parent;
        concate_and_append: their texts are added to the parent, in order."""
        for state in self._states:
            state.sync()
        if mode == "gather_variable":
            for name in self._states[0]._variables:
                if name not in self._parent._variables:
                    self._parent[name] = [state._variables.get(name) for state in self._states]
        elif mode == "concate_and_append":
            for state in self._states:
                self._parent += "".join(piece for _, piece in state._log)
        else:
            raise ValueError(f"join(): mode must be gather_variable or concate_and_append, got {mode!r}")
        return self._parent
