"""The corpus of the tokenizer tests: chunk(i) is about 4 KiB of mixed text that depends on i only.

src/text/tokenizer_corpus_test.h makes the same text; the tables and the order of draws must stay equal.
Only characters assigned before Unicode 10 (and private or unassigned ones) are drawn, so that all Unicode tables agree.
"""

WORDS = ["the", "Model", "serves", "tokens", "don't", "we'LL", "it's", "naive", "quick", "brown", "fox", "Hello", "World",
         "foo", "foobar", "HTTPServer", "x2", "a", "I", "internationalization"]
CODE = ["for (int i = 0; i < n; ++i) {\n", "\treturn a[i] != b->c;\n", "def f(x):\n    return x ** 2\n", "#include <vector>\n",
        "if (x == 0x1F) { y += 3.14e-10; }\r\n", "SELECT * FROM t WHERE id = 42;\n", "// comment...\n\n\n", "{\"a\": [1, 2, null]}"]
EMOJI = ["\U0001F600", "\U0001F468\u200D\U0001F469\u200D\U0001F467", "\U0001F44D\U0001F3FD", "\U0001F1E9\U0001F1EA",
         "\u2764\uFE0F", "\U0001F3F3\uFE0F\u200D\U0001F308", "\u263A", "\U0001F4A9"]
SPACES = [" ", "  ", "   ", "\t", "\n", "\r\n", "\n\n", " \n ", "\u00A0", "\u3000", "\u2028", "\u200B", "\u2009", "\x0b",
          "                                ", "\u0085", "\u180E", "\ufeff"]
MARKS = ["...", "!?", "--", "\u2014", "\u201Cquote\u201D", "(a)", "[b]", "$5", "50%", "a_b", "#1", "@me", "^", "~", "`c`", "|",
         "\u3002", "\u060C", "\u00BF", "+=", "<=", "</p>", "&amp;"]
SPECIAL = ["<|im_start|>", "<|im_end|>", "<s>", "</s>", "<unk>", "<h1>", "Hello World", " <mask> ", "[CLS]", "[UNK]", "foo",
           "<0x0A", "\u2581", "<|im_start", "<bos>"]
COMPAT = ["\uFB01", "\uFF21\uFF22", "\u00BD", "\u2167", "\u1112\u1161\u11AB", "\u0130", "\u1E9E\u00DF", "\u01C5", "e\u0301",
          "a\u0300\u0323", "\uAC00", "\u2126", "\u212B", "\u00AD", "\u0344", "\uFDFA", "\u3392", "\u2460"]
RANGES = [(0xA1, 0xFF), (0x100, 0x24F), (0x250, 0x2AF), (0x2B0, 0x2FF), (0x391, 0x3A1), (0x3A3, 0x3FF), (0x400, 0x52F),
          (0x531, 0x556), (0x561, 0x586), (0x591, 0x5C7), (0x5D0, 0x5EA), (0x621, 0x669), (0x900, 0x977), (0xE01, 0xE3A),
          (0xE3F, 0xE5B), (0x10D0, 0x10FA), (0x1100, 0x11FF), (0x1E00, 0x1EFF), (0x1F00, 0x1F15), (0x2000, 0x2064),
          (0x2074, 0x208E), (0x20A0, 0x20BD), (0x2100, 0x214F), (0x2150, 0x2188), (0x2190, 0x23FA), (0x2460, 0x24FF),
          (0x2500, 0x2775), (0x3000, 0x303F), (0x3041, 0x3096), (0x30A1, 0x30FF), (0x3400, 0x4DB5), (0x4E00, 0x9FA5),
          (0xA000, 0xA48C), (0xAC00, 0xD7A3), (0xE000, 0xF8FF), (0xF900, 0xFA6D), (0xFB00, 0xFB06), (0xFE30, 0xFE44),
          (0xFF01, 0xFFBE), (0xFFFD, 0xFFFD), (0x10000, 0x1000B), (0x1D400, 0x1D454), (0x1F130, 0x1F149),
          (0x1F600, 0x1F64F), (0x20000, 0x2A6D6), (0x2F800, 0x2FA1D), (0x50000, 0x50100), (0x10FF00, 0x10FFFD)]
RUNS = ["a", "A", " ", "\n", "=", "-", "\u4E2D", "\u0301", "0", "\t", ".", "us", "\U0001F600", "ab"]
CHUNK_BYTES = 4096


class Random:
    """splitmix64 (Steele, Lea, Flood 2014)."""

    def __init__(self, seed):
        self.state = seed & 0xffffffffffffffff

    def below(self, n):
        self.state = (self.state + 0x9E3779B97F4A7C15) & 0xffffffffffffffff
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & 0xffffffffffffffff
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & 0xffffffffffffffff
        return ((z ^ (z >> 31)) >> 32) % n

    def pick(self, table):
        return table[self.below(len(table))]


def code_points(r, low, high, most):
    n = 1 + r.below(most)
    return "".join(chr(low + r.below(high - low + 1)) for _ in range(n))


def piece(r):
    kind = r.below(20)
    if kind < 5:
        return (" " if r.below(4) else "") + r.pick(WORDS)
    if kind == 5:
        return r.pick(CODE)
    if kind == 6:
        return code_points(r, 0x4E00, 0x9FA5, 8)
    if kind == 7:
        return code_points(r, 0x3041, 0x3096, 6) + code_points(r, 0xAC00, 0xD7A3, 4)
    if kind == 8:
        return " " + code_points(r, 0x627, 0x64A, 7) + code_points(r, 0x64B, 0x652, 2)
    if kind == 9:
        return r.pick(EMOJI)
    if kind == 10:
        return code_points(r, 0x61, 0x7A, 1) + code_points(r, 0x300, 0x34E, 5)
    if kind == 11:
        return code_points(r, 0, 0x1F, 2) if r.below(2) else code_points(r, 0x7F, 0x9F, 2)
    if kind == 12:
        low, high = r.pick(RANGES)
        return code_points(r, low, high, 4)
    if kind == 13:
        return str(r.below(10 ** (1 + r.below(9))))
    if kind == 14:
        return r.pick(SPACES)
    if kind == 15:
        return r.pick(MARKS)
    if kind == 16:
        return r.pick(SPECIAL)
    if kind == 17:
        return r.pick(RUNS) * (1 + r.below(64))
    if kind == 18:
        return " " + code_points(r, 0x410, 0x44F, 9)
    return r.pick(COMPAT)


def chunk(index):
    r = Random(index)
    out, size = [], 0
    while size < CHUNK_BYTES:
        text = piece(r)
        out.append(text)
        size += len(text.encode())
    return "".join(out)
