"""The command line of a wheel: `millrace` becomes the program that was installed with this package."""
import os
import pathlib
import sys


def program_path():
    """None: this package was installed without it."""
    path = pathlib.Path(__file__).parent / "_native" / "millrace"
    return str(path) if path.exists() else None


def main():
    path = program_path()
    if path is None:
        sys.exit("millrace: the program is not installed with this package")
    os.execv(path, ["millrace", *sys.argv[1:]])
