"""Plants each violation in a temporary tree and expects its finding: python3 tools/lint/lint_test.py

Prints `lint_test: N passed, N failed` last. Needs git, binutils, g++ and clang-tidy-14."""
import pathlib
import subprocess
import sys
import tempfile
import unittest

import common
import docs
import layers
import run
import shapes
import sizes
import symbols
import tidy
import words

HEAD = "// What it is.\n"
CLEAN = HEAD + "#pragma once\n\nnamespace millrace {\ninline int one() { return 1; }\n}  // namespace millrace\n"


def body(n_lines, head="int f() {"):
    """A function of n_lines lines."""
    return head + "\n" + "  g();\n" * (n_lines - 2) + "}\n"


class Tree(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.addCleanup(setattr, common, "ROOT", common.ROOT)
        common.ROOT = pathlib.Path(self.folder.name)
        self.write("tools/lint/allow", "# none\n")
        self.write("src/LAYERS", "0 base:\n1 text: base\n")
        self.write("src/base/one.h", CLEAN)
        subprocess.run(["git", "init", "-q", self.folder.name], check=True)

    def write(self, path, text):
        file = common.ROOT / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    def expect(self, findings, *wanted):
        findings = list(findings)
        self.assertEqual(len(findings), len(wanted), findings)
        for finding, part in zip(findings, wanted):
            self.assertIn(part, finding)


class Layers(Tree):
    def test_clean(self):
        self.write("src/text/two.cc", HEAD + '#include "base/one.h"\n')
        self.expect(layers.check())

    def test_upward_include(self):
        self.write("src/base/two.cc", HEAD + '#include "text/x.h"\n')
        self.expect(layers.check(), "src/LAYERS lets base use only")

    def test_unknown_folder(self):
        self.write("src/base/two.cc", HEAD + '#include "nowhere/x.h"\n')
        self.expect(layers.check(), "names no folder of src")

    def test_folder_without_a_row(self):
        self.write("src/extra/two.cc", HEAD)
        self.expect(layers.check(), "is not in src/LAYERS")

    def test_row_that_points_up(self):
        self.write("src/LAYERS", "0 base: text\n1 text: base\n")
        self.expect(layers.check(), "not lower")


class Sizes(Tree):
    def lengths(self, text):
        return [length for _, length in sizes.functions(text)]

    def test_long_file_and_line(self):
        self.write("src/base/two.h", HEAD * 501)
        self.write("src/base/two.cc", "// " + "x" * 118 + "\n")
        self.expect(sizes.check(), "line of 121", "501 lines")

    def test_long_function(self):
        self.write("src/base/two.cc", body(80) + body(81))
        self.expect(sizes.check(), "two.cc:81: function of 81 lines")

    def test_every_form_of_function_is_seen(self):
        for head in ("int f() {", "void f(std::vector<int> v = {}) {", "A::A(int a) : a_{a}, b_(a) {", 'extern "C" int f(int a) {',
                     "template <class T>\nT f(const T& a) {", "template <class T>\n  requires std::is_same_v<T, int>\nT f(T a) {",
                     "auto f(int a) -> Result<int> {", "struct Pair f(int a) {", "class Pair f(enum Kind a) const {",
                     "bool operator()(int a) const noexcept {", "int f() & {", "TEST(Suite, name) {", "A::~A() {",
                     "constexpr auto kF = [](int a) {", "void f(\n    int a,\n    struct B b) {", "explicit operator bool() const {",
                     "template <template <class> class T, class U = std::pair<int, int>>\nvoid f() {",
                     "A& operator=(A&& a) {", "[[noreturn]] void f(int a) {", "enum Kind f(int a) {"):
            self.assertEqual(self.lengths(f"namespace m {{\n{body(30, head)}}}\n"), [30], head)

    def test_what_is_no_function_is_not_counted(self):
        for head in ("namespace a::b {", "namespace {", 'extern "C" {', "constexpr std::array kRows = {", "enum class A : uint8_t {",
                     "static const Row kRows[] = {", "const auto kRows = std::to_array<Row>({", "std::vector<std::pair<int, int>> kRows{",
                     "struct alignas(64) A {", "class [[nodiscard]] A final : public B<decltype(f(1))> {", "union A {", "struct {",
                     "template <class T, class U>\nstruct A<T(U)> {"):
            text = head + "\n" + "\n".join("  {1, f(2)}," for _ in range(90)) + "\n" + ("});" if head.endswith("({") else "};") + "\n"
            self.assertEqual(self.lengths(text), [], head)

    def test_methods_of_classes_and_lambdas_in_functions(self):
        text = "class A {\n public:\n" + body(30, "  int f() const {") + body(20, "  A() : a_{1}, b_{{2, 3}} {") + "  int a_{3};\n};\n" + body(25)
        self.assertEqual(self.lengths(text), [30, 20, 25])
        self.assertEqual(self.lengths("int f() {\n  auto g = [](int a) {\n    return a;\n  };\n  return g(1);\n}\n"), [6])

    def test_braces_in_text_comments_numbers_and_directives(self):
        text = "#define A(x) { \\\n  x\n// {\n/* { */\nconst char* t = \"{\" R\"({)\";\nchar c = '{';\nint n = 1'000 + 2'000;\n" + body(30)
        self.assertEqual(self.lengths(text), [30])


class Words(Tree):
    def test_each(self):
        for text, wanted in (("#define X 1\n", "macro X"), ("#if 1\n#endif\n", "#if outside"), ("int a = std::stoi(s);\n", "stoi("),
                             ("std::regex r;\n", "std::regex"), ("// \u00e4\n", "not ASCII"), ("// TO" + "DO later\n", "TODO"),
                             ("std::views::all(x);\n", "std::views")):
            self.write("src/base/two.cc", HEAD + text)
            self.expect(words.check(), wanted)

    def test_header_rules(self):
        self.write("src/base/two.cc", HEAD)
        self.write("src/base/three.h", "#pragma once\n")
        self.write("src/base/four.h", HEAD)
        self.expect(words.check(), "no #pragma once", "opens with a comment")

    def test_words_in_strings_are_free(self):
        self.write("src/base/two.cc", HEAD + 'const char* a = "atoi(x)";  // strtol(\n')
        self.expect(words.check())


class Docs(Tree):
    def setUp(self):
        super().setUp()
        self.write("README.md", "`src/base/one.h`\n")
        self.write("src/base/README.md", "base\n")

    def test_clean(self):
        self.write("docs/howto/add_it.md", "Copy `src/base/one.h` and see `src/base/`.\n")
        self.expect(docs.check())

    def test_path_that_does_not_exist(self):
        self.write("docs/howto/add_it.md", "Copy `src/base/gone.h`.\n")
        self.expect(docs.check(), "names src/base/gone.h")

    def test_a_cell_of_the_table_of_clients_is_a_check(self):
        self.write("tests/http/a_client.py", "def check_chat():\n    pass\n")
        self.write("docs/howto/clients.md", "| `a` 1.0 (`a_client.py`) | `chat` | - |\n")
        self.expect(docs.check())
        self.write("docs/howto/clients.md", "| `a` 1.0 (`a_client.py`) | `chat`, `tools` | - |\n")
        self.expect(docs.check(), "tools is no check of tests/http/a_client.py")

    def test_lines_of_the_log_are_in_their_table(self):
        self.write("src/base/two.cc", HEAD + 'void f() {\n  LOG(LogLevel::kInfo,\n      "ready: {:.1f} "\n      "at {}", 1, 2);\n}\n')
        self.write("docs/log_lines.md", "| info | `ready: {} at {}` | now |\n")
        self.expect(docs.check())
        self.write("docs/log_lines.md", "| warning | `ready: {} at {}` | now |\n")
        self.expect(docs.check(), "no row in docs/log_lines.md: info: ready: {} at {}", "nothing logs warning: ready")

    def test_long_pages(self):
        self.write("docs/MAP.md", "a\n" * 61)
        self.write("docs/howto/add_it.md", "a\n" * 41)
        self.expect(docs.check(), "limit 60", "limit 40")

    def test_folder_without_readme(self):
        self.write("src/text/two.cc", HEAD)
        self.expect(docs.check(), "src/text/README.md is missing")


class Shapes(Tree):
    def test_members_and_types(self):
        self.write("src/kernels/ops.h", HEAD + "struct A {\n  float* a = nullptr;  // [n]\n  float* b = nullptr;  // the rows\n"
                   "  // [n, k]\n  const uint8_t* const* c =\n      nullptr;\n  float* d = nullptr;\n  int n = 0;\n};\n\n"
                   "// out [n]\nusing B = void (*)(float* out);\nusing C = void (*)(float* out, int n);\n\n"
                   "// adds\nusing D = void (*)(float* out);\n\nusing E = void (*)(int n);\n")
        self.expect(shapes.check(), "ops.h:4", "ops.h:8", "ops.h:17")


class Format(Tree):
    def test_each(self):
        self.write(".clang-format", "BasedOnStyle: Google\n")
        self.expect(run.check_format())
        self.write("src/base/two.cc", HEAD + "int  a ;\n")
        self.expect(run.check_format(), "src/base/two.cc: not clang-formatted")


class Symbols(Tree):
    def build(self, path, text, *flags):
        source = common.ROOT / "x.cc"
        source.write_text(text)
        target = common.ROOT / path
        target.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["g++", "-std=c++20", *flags, "-o", str(target), str(source)], check=True)

    def object(self, isa, text):
        self.build(f"b/CMakeFiles/millrace_kernels.dir/src/kernels/cpu/{isa}/x.cc.o", text, "-c", "-O0")

    def setUp(self):
        super().setUp()
        for isa in symbols.ISAS:
            self.object(isa, f"namespace millrace::kernels::{isa} {{ int f() {{ return 1; }} }}")

    def test_clean(self):
        self.expect(symbols.check(common.ROOT / "b"))

    def test_weak(self):
        self.object("avx2", "namespace millrace::kernels::avx2 { inline int g() { return 1; } int f() { return g(); } }")
        self.expect(symbols.check(common.ROOT / "b"), "weak symbol millrace::kernels::avx2::g()")

    def test_foreign(self):
        self.object("avx2", "namespace millrace::kernels { int f() { return 1; } }")
        self.expect(symbols.check(common.ROOT / "b"), "lies outside millrace::kernels::avx2")

    def test_name_in_the_parameters_does_not_count(self):
        self.object("avx2", "namespace millrace::kernels::avx2 { struct A; } int f(millrace::kernels::avx2::A*) { return 1; }")
        self.expect(symbols.check(common.ROOT / "b"), "lies outside millrace::kernels::avx2")

    def test_no_objects(self):
        self.expect(symbols.check(common.ROOT / "nowhere"), "no objects", "no objects", "no objects")

    def test_hardening(self):
        text = "#include <cstring>\nint main(int n, char** v) { char a[64]; std::strcpy(a, v[n - 1]); return a[0]; }"
        self.build("b/millrace", text, "-O2", "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=3", "-fstack-protector-strong", "-fPIE", "-pie", "-Wl,-z,relro,-z,now")
        self.expect(symbols.check(common.ROOT / "b"))
        self.build("b/millrace", text, "-O0", "-U_FORTIFY_SOURCE", "-fno-stack-protector", "-no-pie", "-Wl,-z,norelro,-z,lazy,-z,execstack")
        self.expect(symbols.check(common.ROOT / "b"), "no DYN", "no GNU_RELRO", "no NOW", "executable stack", "no __stack_chk_fail", "no fortified")


class Tidy(Tree):
    def test_finds_remembers_and_keeps_to_its_budget(self):
        self.write(".clang-tidy", "Checks: '-*,cppcoreguidelines-narrowing-conversions'\nWarningsAsErrors: '*'\n")
        self.write("src/base/two.cc", HEAD + "int f(long a) { return 1 + a; }\n")
        self.write("b/compile_commands.json",
                   f'[{{"directory": "{common.ROOT}", "file": "src/base/two.cc", "command": "g++ -std=c++20 -c src/base/two.cc"}}]')
        self.expect(tidy.check(common.ROOT / "b", 0.0))
        self.assertEqual((common.ROOT / "build/tidy.stamp").read_text(), "")
        self.expect(tidy.check(common.ROOT / "b"), "narrowing conversion")
        self.write("src/base/two.cc", HEAD + '#include "base/one.h"\nlong f(long a) { return 1 + a; }\n')
        before = tidy.digest("src/base/two.cc")
        self.write("src/base/one.h", CLEAN + "// more\n")
        self.assertNotEqual(before, tidy.digest("src/base/two.cc"))


def main():
    result = unittest.main(exit=False, verbosity=0).result
    failed = len(result.failures) + len(result.errors)
    print(f"lint_test: {result.testsRun - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
