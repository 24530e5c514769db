"""Files of at most 500 lines, functions of at most 80, lines of at most 120 characters (tables named *_table.inc are exempt)."""
import re

from common import allowed, code_files, read

MAX_FILE, MAX_FUNCTION, MAX_LINE = 500, 80, 120
NOT_FUNCTION = re.compile(r"^\s*(namespace|class|struct|enum|union|extern)\b|=\s*\{?$|^\s*(const|constexpr|static const)[^()]*=")


def strip(text):
    """The text with comments and string contents blanked, line structure kept."""
    pattern = re.compile(r'//[^\n]*|/\*.*?\*/|R"(\w*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)
    return pattern.sub(lambda m: "\n" * m[0].count("\n") + ('""' if m[0][0] in "\"R" else ""), text)


def functions(text):
    """(first line, number of lines) of each outermost body that is no namespace, class or initialiser."""
    stack, header, line = [], "", 1
    for char in strip(text):
        if char == "\n":
            line += 1
        if char == "{":
            is_scope = bool(re.search(r"\b(namespace|class|struct|enum|union)\b[^()]*$", header)) or 'extern ""' in header
            is_function = not is_scope and "(" in header and not re.search(r"=\s*$", header)
            stack.append((is_function and not any(f for f, _ in stack), line))
            header = ""
        elif char == "}":
            if stack:
                is_function, start = stack.pop()
                if is_function:
                    yield start, line - start + 1
            header = ""
        elif char == ";":
            header = ""
        else:
            header += char


def check():
    exempt = allowed("size")
    for path in code_files():
        if path in exempt or path.endswith("_table.inc"):
            continue
        text = read(path)
        lines = text.split("\n")
        if len(lines) - 1 > MAX_FILE:
            yield f"{path}: {len(lines) - 1} lines, limit {MAX_FILE}"
        for i, row in enumerate(lines, 1):
            if len(row) > MAX_LINE:
                yield f"{path}:{i}: line of {len(row)} characters, limit {MAX_LINE}"
        for start, length in functions(text):
            if length > MAX_FUNCTION:
                yield f"{path}:{start}: function of {length} lines, limit {MAX_FUNCTION}"
