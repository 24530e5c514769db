"""libmillrace.so (include/millrace.h) by ctypes: a server inside this process. No extension module: one library serves
every Python."""
import ctypes
import os
import pathlib
import shutil
import tempfile
import weakref

_ABI = 1
_MESSAGE_BYTES = 4096
_library = None


def library_path():
    """MILLRACE_LIBRARY, or what was installed with this package."""
    named = os.environ.get("MILLRACE_LIBRARY")
    here = pathlib.Path(__file__).parent
    for path in [named] if named else [here / "_native" / "libmillrace.so", here / "libmillrace.so"]:
        if pathlib.Path(path).exists():
            return str(path)
    raise FileNotFoundError(f"no libmillrace.so: {named or 'it is not installed with this package'} (set MILLRACE_LIBRARY)")


def library():
    global _library
    if _library is None:
        loaded = ctypes.CDLL(library_path())
        loaded.millrace_abi.restype = ctypes.c_int32
        if loaded.millrace_abi() != _ABI:
            raise OSError(f"{library_path()} has ABI {loaded.millrace_abi()}, this package wants {_ABI}")
        loaded.millrace_start.argtypes = [ctypes.POINTER(ctypes.c_char_p), ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]
        loaded.millrace_start.restype = ctypes.c_void_p
        loaded.millrace_url.argtypes = [ctypes.c_void_p]
        loaded.millrace_url.restype = ctypes.c_char_p
        loaded.millrace_wait_ready.argtypes = [ctypes.c_void_p, ctypes.c_int64, ctypes.c_char_p, ctypes.c_size_t]
        loaded.millrace_wait_ready.restype = ctypes.c_int32
        loaded.millrace_stop.argtypes = [ctypes.c_void_p]
        loaded.millrace_stop.restype = ctypes.c_int32
        _library = loaded
    return _library


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
        self._folder = tempfile.mkdtemp(prefix="millrace-")
        self._finalizer = weakref.finalize(self, shutil.rmtree, self._folder, True)
        arguments = [str(model), "--uds", os.path.join(self._folder, "socket"), *flags_of(flags)]
        encoded = [argument.encode() for argument in arguments]
        error = ctypes.create_string_buffer(_MESSAGE_BYTES)
        server = library().millrace_start((ctypes.c_char_p * len(encoded))(*encoded), len(encoded), error, _MESSAGE_BYTES)
        if not server:
            self._finalizer()
            raise ValueError(error.value.decode(errors="replace"))
        self._finalizer.detach()
        self._finalizer = weakref.finalize(self, self._end, server, self._folder)
        while (ready := library().millrace_wait_ready(server, 200, error, _MESSAGE_BYTES)) == 0:
            pass  # in between, Ctrl-C is heard
        if ready < 0:
            self._finalizer()
            raise RuntimeError(error.value.decode(errors="replace"))
        self.url = library().millrace_url(server).decode()

    @staticmethod
    def _end(server, folder):
        status = library().millrace_stop(server)
        shutil.rmtree(folder, ignore_errors=True)
        return status

    def stop(self):
        """Answers what runs, then ends; 0 when all is well. Also called at the end of the process."""
        return self._finalizer() or 0
