"""Every path that the docs name exists, and every check that the table of clients names; every line of the log is in its table; MAP.md and howtos keep
their length; folders have a README."""
import re

import common

PATH = re.compile(r"`((?:src|tests|tools|docs|bench|cmake|python)/[A-Za-z0-9_./-]+)`")


CLIENT_ROW = re.compile(r"^\|.*?\(`(\w+\.py)`\)(.*)$", re.M)


def client_cells():
    """A cell of docs/howto/clients.md is a check_* function of the row's file."""
    table = common.ROOT / "docs/howto/clients.md"
    for name, cells in CLIENT_ROW.findall(table.read_text()) if table.exists() else []:
        file = common.ROOT / "tests/http" / name
        checks = set(re.findall(r"^def check_(\w+)\(", file.read_text(), re.M)) if file.exists() else set()
        for cell in re.findall(r"`(\w+)`", cells):
            if cell not in checks:
                yield f"docs/howto/clients.md: {cell} is no check of tests/http/{name}"


LOG_CALL = re.compile(r'\b(?:LOG|log_event)\(LogLevel::k(\w+),\s*((?:"(?:[^"\\]|\\.)*"\s*)+)')
LOG_ROW = re.compile(r"^\| (\w+) \| `([^`]+)` \|", re.M)


def log_rows():
    """A row of docs/log_lines.md is a call of LOG, and the other way round."""
    table = common.ROOT / "docs/log_lines.md"
    if not table.exists():
        return
    rows = set(LOG_ROW.findall(table.read_text()))
    calls = {}
    for path in common.code_files():
        if not path.startswith("src/") or path.endswith(("_test.cc", "base/macros.h")):
            continue
        for level, literals in LOG_CALL.findall((common.ROOT / path).read_text()):
            text = "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', literals))
            calls[(level.lower(), re.sub(r"\{[^}]*\}", "{}", text))] = path
    for level, line in sorted(set(calls) - rows):
        yield f"{calls[level, line]}: no row in docs/log_lines.md: {level}: {line}"
    for level, line in sorted(rows - set(calls)):
        yield f"docs/log_lines.md: nothing logs {level}: {line}"


def check():
    yield from client_cells()
    yield from log_rows()
    pages = [common.ROOT / "README.md", *sorted((common.ROOT / "docs").rglob("*.md")), *sorted((common.ROOT / "src").rglob("README.md"))]
    for page in pages:
        if not page.exists():
            yield f"{page.relative_to(common.ROOT)} is missing"
            continue
        text = page.read_text()
        name = page.relative_to(common.ROOT)
        for path in PATH.findall(text):
            if not (common.ROOT / path.rstrip("/.")).exists() and not (common.ROOT / path).exists():
                yield f"{name}: names {path}, which does not exist"
        lines = text.count("\n")
        if name.name == "MAP.md" and lines > 60:
            yield f"{name}: {lines} lines, limit 60"
        if "howto" in name.parts and lines > 40:
            yield f"{name}: {lines} lines, limit 40"
        if name.name == "README.md" and "src" in name.parts and lines > 30:
            yield f"{name}: {lines} lines, limit 30"
    for folder in sorted(p for p in (common.ROOT / "src").iterdir() if p.is_dir()):
        if not (folder / "README.md").exists():
            yield f"src/{folder.name}/README.md is missing"
