"""Joins the web page (src/server/page) into one HTML file and writes it as C++: page.py FOLDER OUT.cc [OUT.html]

Comment lines and indentation are dropped. The Content-Security-Policy admits exactly this script and this style, by
their SHA-256 (CSP level 3, section 2.3.1): nothing that a model writes can run."""
import base64
import hashlib
import pathlib
import sys

SCRIPTS = ["dom.js", "math.js", "markdown.js", "store.js", "client.js", "settings.js", "chat.js", "live.js", "main.js"]
MOST_BYTES = 60_000


def lean(text):
    lines = (line.strip() for line in text.splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("//"))


def digest(text):
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


def literal(data):
    """Bytes as C++ string literals, one per line of the page."""
    out = []
    for line in data.splitlines(keepends=True):
        chars = []
        for byte in line:
            char = chr(byte)
            chars.append(char if 32 <= byte < 127 and char not in '"\\?' else f"\\{byte:03o}")
        out.append('    "' + "".join(chars) + '"')
    return "\n".join(out)


def main():
    folder, out = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    style = lean((folder / "style.css").read_text(encoding="utf-8"))
    script = '"use strict";\n' + "\n".join(lean((folder / name).read_text(encoding="utf-8")) for name in SCRIPTS)
    html = lean((folder / "index.html").read_text(encoding="utf-8"))
    for mark, text in (("/*STYLE*/", style), ("/*SCRIPT*/", script)):
        if html.count(mark) != 1:
            sys.exit(f"page.py: index.html: want {mark} once, got it {html.count(mark)} times")
        html = html.replace(mark, text)
    if "</script" in script.lower() or "</style" in style.lower():
        sys.exit("page.py: a script or style must not contain its own end tag")
    data = html.encode()
    if len(data) > MOST_BYTES:
        sys.exit(f"page.py: the page has {len(data)} bytes, at most {MOST_BYTES} are wanted")
    policy = (f"default-src 'none'; script-src {digest(script)}; style-src {digest(style)}; "
              "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
    out.write_text("// Made by tools/build/page.py from src/server/page.\n"
                   '#include "server/page.h"\n\nnamespace millrace::server {\n\n'
                   f"std::string_view page_html() {{\n  static constexpr char kPage[] =\n{literal(data)};\n"
                   "  return {kPage, sizeof kPage - 1};\n}\n\n"
                   f'std::string_view page_policy() {{\n  return "{policy}";\n}}\n\n}}  // namespace millrace::server\n')
    if len(sys.argv) > 3:
        pathlib.Path(sys.argv[3]).write_bytes(data)


if __name__ == "__main__":
    main()
