"""Files of at most 500 lines, functions of at most 80, lines of at most 120 characters (tables named *_table.inc are exempt)."""
import re

from common import allowed, code_files, read

MAX_FILE, MAX_FUNCTION, MAX_LINE = 500, 80, 120
BLANKED = re.compile(r'//[^\n]*|/\*.*?\*/|R"(\w*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|(?<![0-9a-fA-F])\'(?:\\.|[^\'\\\n])+\'', re.S)
DIRECTIVE = re.compile(r"^[ \t]*#(?:\\\n|[^\n])*", re.M)
SCOPE = re.compile(r"\b(namespace|class|struct|enum|union)\b(?![^{]*\)\s*(const|noexcept|override|final)*\s*$)(?![^<]*>)")
# what may stand between the parameters of a function and its body
BODY = re.compile(r"(\)|\}|\b(const|noexcept|override|final|mutable|try)|(?<!&)&&?|->[^;={}]*|\brequires\b[^;={}]*)\s*$")


def strip(text):
    """The text with comments and string contents blanked, line structure kept."""
    return BLANKED.sub(lambda m: "\n" * m[0].count("\n") + ('""' if m[0][0] in "\"R" else ""), text)


def blank_directives(text):
    return DIRECTIVE.sub(lambda m: "\n" * m[0].count("\n"), text)


def kind_of(header):
    """What a `{` opens behind this header: "scope" (namespace, class), "function" or "values" (an initialiser)."""
    plain = re.sub(r"\balignas\([^()]*\)|\[\[.*?\]\]", "", header)
    if header.count("(") != header.count(")"):
        return "values"
    if plain.strip() == 'extern ""' or SCOPE.search(re.sub(r"\btemplate\s*<[^{}]*?>\s*(?=\w)", "", plain)) and not re.search(r"\)\s*(->.*)?$", plain):
        return "scope"
    if "(" not in plain or not BODY.search(plain):
        return "values"
    return "function"


def functions(text):
    """(first line, number of lines) of each outermost function body."""
    stack, header, line = [], "", 1
    for char in blank_directives(strip(text)):
        if char == "\n":
            line += 1
        if char == "{":
            inside = any(kind == "function" for kind, _, _ in stack)
            stack.append(("inner" if inside else kind_of(header), line, header))
            header = ""
        elif char == "}":
            kind, start, opened = stack.pop() if stack else ("inner", line, "")
            if kind == "function":
                yield start, line - start + 1
            header = opened + "{}" if kind == "values" else ""
        elif char == ";" and header.count("(") == header.count(")"):
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
