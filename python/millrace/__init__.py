"""Millrace for Python: a front-end language for programs of many model calls (millrace.lang), on a running server or one
that it starts itself. Standard library only."""
from millrace import lang
from millrace.lang import (Runtime, RuntimeEndpoint, assistant, assistant_begin, assistant_end, function, gen, gen_int,
                           gen_string, select, set_default_backend, system, system_begin, system_end, user, user_begin, user_end)

__version__ = "0.1.0"
__all__ = ["Runtime", "RuntimeEndpoint", "assistant", "assistant_begin", "assistant_end", "function", "gen", "gen_int", "gen_string",
           "lang", "select", "set_default_backend", "system", "system_begin", "system_end", "user", "user_begin", "user_end"]
