"""A server inside this process: the extension module millrace._engine (python/native) over libmillrace.so."""
import os
import shutil
import tempfile
import weakref


def _server_class():
    """The module comes with the wheel; a source tree alone has none, and reaches servers by their URL."""
    try:
        from millrace import _engine
    except ImportError as error:
        raise ImportError(f"millrace runs no model in this process without its extension module: pip install ./python ({error})") from error
    if _engine.library_abi() != _engine.ABI:
        raise ImportError(f"libmillrace.so has ABI {_engine.library_abi()}, millrace._engine was built for {_engine.ABI}")
    return _engine.Server


def flags_of(settings):
    """max_model_len=512 as --max-model-len 512; True and False as --flag and --no-flag; a list repeats; None is left out."""
    out = []
    for name, value in settings.items():
        flag = "--" + name.replace("_", "-")
        if value is None:
            continue
        if isinstance(value, bool):
            out.append(flag if value else "--no-" + flag[2:])
        else:
            for one in value if isinstance(value, (list, tuple)) else [value]:
                out += [flag, str(one)]
    return out


class InProcess:
    """What `millrace serve MODEL` serves, in this process, on a socket that only this user can open. Ready when made. A
    child by fork() cannot use it."""

    def __init__(self, model, **flags):
        server_class = _server_class()
        self._folder = folder = tempfile.mkdtemp(prefix="millrace-")
        try:
            self.server = server_class([str(model), "--uds", os.path.join(folder, "socket"), *flags_of(flags)])
        except BaseException:
            shutil.rmtree(folder, True)
            raise
        self._finalizer = weakref.finalize(self, self._end, self.server, folder, os.getpid())
        try:
            while not self.server.wait_ready(200):
                pass  # in between, Ctrl-C is heard
        except BaseException:
            self._finalizer()
            raise
        self.url = self.server.url

    @staticmethod
    def _end(server, folder, owner):
        if os.getpid() != owner:  # a child by fork() has none of the server's threads
            return 0
        status = server.stop()
        shutil.rmtree(folder, ignore_errors=True)
        return status

    def stop(self):
        """Answers what runs, then ends; 0 when all is well. Also called at the end of the process."""
        return self._finalizer() or 0
