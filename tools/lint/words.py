"""Macros, #if, banned functions, ASCII, #pragma once, opening comments."""
import re

from common import allowed, code_files, read
from sizes import strip

MACROS = {"CHECK", "DCHECK", "LOG", "TRY", "FAULT_POINT"}
BANNED = re.compile(r"\b(stoi|stol|stoll|stof|stod|atoi|atol|atof|strtol|strtoul|strtod|sscanf|scanf|strcpy|strcat|sprintf|alloca|gets)\s*\("
                    r"|std::regex\b|std::views\b|std::ranges::views|std::format\b|std::expected\b|std::rand\b|\bsrand\s*\(")
IF_OK = re.compile(r"^src/(device/|kernels/cpu/detect|base/macros\.h)")


def check():
    exempt = allowed("words")
    for path in code_files():
        if path in exempt:
            continue
        raw = read(path)
        code = strip(raw)
        for i, line in enumerate(code.split("\n"), 1):
            define = re.match(r"\s*#\s*define\s+(\w+)", line)
            if define and not (path == "src/base/macros.h" and define[1] in MACROS):
                yield f"{path}:{i}: macro {define[1]}; the only macros are {', '.join(sorted(MACROS))}"
            if re.match(r"\s*#\s*(if|ifdef|ifndef)\b", line) and not IF_OK.match(path):
                yield f"{path}:{i}: #if outside device/ and kernels/cpu/detect"
            banned = BANNED.search(line)
            if banned:
                yield f"{path}:{i}: {banned[0].strip()} is banned"
        if any(ord(c) > 126 for c in raw):
            yield f"{path}: not ASCII"
        if path.endswith(".h") and "#pragma once" not in raw:
            yield f"{path}: no #pragma once"
        if path.endswith(".h") and not raw.startswith("//"):
            yield f"{path}: a header opens with a comment that says what it is"
        if re.search(r"\bTODO\b|\bFIXME\b", raw):
            yield f"{path}: TODO or FIXME"
