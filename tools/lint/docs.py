"""Every path that the docs name exists, and every check that the table of clients names; MAP.md and howtos keep their length; folders have a README."""
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


def check():
    yield from client_cells()
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
