"""src/kernels/ops.h: every buffer of an operation says its shape. A pointer member of a struct carries a comment with a
shape or a size on its own lines; a function type with pointer parameters has one in the comment above it, behind it
or between its parameters."""
import re

import common
from common import read

OPS = "src/kernels/ops.h"
SHAPE = re.compile(r"\[|_bytes\b|\bpanel_bytes|\bstruct\b")
BUFFER = re.compile(r"\b(?:float|double|u?int\d+_t|void)(?:\s+const)?\s*\*")


def statements(text):
    """(line, comments, code) of each declaration of the file: its comments are those above, inside and behind it."""
    comments, code, first, depth = [], "", 0, 0
    for i, row in enumerate(text.split("\n"), 1):
        inline = re.findall(r"/\*.*?\*/", row)
        body, _, behind = re.sub(r"/\*.*?\*/", "", row).partition("//")
        if not body.strip() and not behind:
            if not code:
                comments = []
            continue
        if not body.strip():
            comments.append(behind)
            continue
        first = first or i
        code += body + "\n"
        comments += inline + ([behind] if behind else [])
        depth = code.count("(") - code.count(")")
        if depth == 0 and re.search(r"[;{}]\s*$", body):
            yield first, " ".join(comments), code
            # function types without a blank line between them share the comment above
            comments, code, first = (comments if code.startswith("using ") else []), "", 0


def check():
    if not (common.ROOT / OPS).exists():
        yield f"{OPS} is missing"
        return
    for line, comments, code in statements(read(OPS)):
        is_type = re.match(r"\s*using \w+ = [^;]*\(\*\)", code)
        is_member = re.match(r"\s+[^()]*\*[^()]*(=[^()]*)?;\s*$", code)
        if (is_type or is_member) and BUFFER.search(code) and not SHAPE.search(comments):
            yield f"{OPS}:{line}: no shape comment for {' '.join(code.split())}"
