// The corpus of the tokenizer tests: chunk(i) is about 4 KiB of mixed text that depends on i only.
// The same text as tools/golden/token_corpus.py makes: tables and the order of draws must stay equal.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "text/utf8.h"

namespace millrace::text::corpus {

// splitmix64 (Steele, Lea, Flood 2014).
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint32_t below(uint32_t n) {
    uint64_t z = state_ += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return static_cast<uint32_t>(((z ^ (z >> 31)) >> 32) % n);
  }
  template <class T>
  const T& pick(std::span<const T> table) {
    return table[below(static_cast<uint32_t>(table.size()))];
  }

 private:
  uint64_t state_;
};

constexpr std::array<std::string_view, 20> kWords{
    "the", "Model", "serves", "tokens", "don't",  "we'LL",      "it's", "naive", "quick", "brown",
    "fox", "Hello", "World",  "foo",    "foobar", "HTTPServer", "x2",   "a",     "I",     "internationalization"};
constexpr std::array<std::string_view, 8> kCode{"for (int i = 0; i < n; ++i) {\n",
                                                "\treturn a[i] != b->c;\n",
                                                "def f(x):\n    return x ** 2\n",
                                                "#include <vector>\n",
                                                "if (x == 0x1F) { y += 3.14e-10; }\r\n",
                                                "SELECT * FROM t WHERE id = 42;\n",
                                                "// comment...\n\n\n",
                                                "{\"a\": [1, 2, null]}"};
constexpr std::array<std::string_view, 8> kEmoji{
    "\xF0\x9F\x98\x80",
    "\xF0\x9F\x91\xA8\xE2\x80\x8D\xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x91\xA7",
    "\xF0\x9F\x91\x8D\xF0\x9F\x8F\xBD",
    "\xF0\x9F\x87\xA9\xF0\x9F\x87\xAA",
    "\xE2\x9D\xA4\xEF\xB8\x8F",
    "\xF0\x9F\x8F\xB3\xEF\xB8\x8F\xE2\x80\x8D\xF0\x9F\x8C\x88",
    "\xE2\x98\xBA",
    "\xF0\x9F\x92\xA9"};
constexpr std::array<std::string_view, 18> kSpaces{" ",
                                                   "  ",
                                                   "   ",
                                                   "\t",
                                                   "\n",
                                                   "\r\n",
                                                   "\n\n",
                                                   " \n ",
                                                   "\xC2\xA0",
                                                   "\xE3\x80\x80",
                                                   "\xE2\x80\xA8",
                                                   "\xE2\x80\x8B",
                                                   "\xE2\x80\x89",
                                                   "\x0B",
                                                   "                                ",
                                                   "\xC2\x85",
                                                   "\xE1\xA0\x8E",
                                                   "\xEF\xBB\xBF"};
constexpr std::array<std::string_view, 23> kMarks{"...",
                                                  "!?",
                                                  "--",
                                                  "\xE2\x80\x94",
                                                  "\xE2\x80\x9Cquote\xE2\x80\x9D",
                                                  "(a)",
                                                  "[b]",
                                                  "$5",
                                                  "50%",
                                                  "a_b",
                                                  "#1",
                                                  "@me",
                                                  "^",
                                                  "~",
                                                  "`c`",
                                                  "|",
                                                  "\xE3\x80\x82",
                                                  "\xD8\x8C",
                                                  "\xC2\xBF",
                                                  "+=",
                                                  "<=",
                                                  "</p>",
                                                  "&amp;"};
constexpr std::array<std::string_view, 15> kSpecial{"<|im_start|>", "<|im_end|>", "<s>",   "</s>",  "<unk>", "<h1>",
                                                    "Hello World",  " <mask> ",   "[CLS]", "[UNK]", "foo",   "<0x0A",
                                                    "\xE2\x96\x81", "<|im_start", "<bos>"};
constexpr std::array<std::string_view, 18> kCompat{"\xEF\xAC\x81",
                                                   "\xEF\xBC\xA1\xEF\xBC\xA2",
                                                   "\xC2\xBD",
                                                   "\xE2\x85\xA7",
                                                   "\xE1\x84\x92\xE1\x85\xA1\xE1\x86\xAB",
                                                   "\xC4\xB0",
                                                   "\xE1\xBA\x9E\xC3\x9F",
                                                   "\xC7\x85",
                                                   "e\xCC\x81",
                                                   "a\xCC\x80\xCC\xA3",
                                                   "\xEA\xB0\x80",
                                                   "\xE2\x84\xA6",
                                                   "\xE2\x84\xAB",
                                                   "\xC2\xAD",
                                                   "\xCD\x84",
                                                   "\xEF\xB7\xBA",
                                                   "\xE3\x8E\x92",
                                                   "\xE2\x91\xA0"};
constexpr std::array<std::string_view, 14> kRuns{
    "a", "A", " ", "\n", "=", "-", "\xE4\xB8\xAD", "\xCC\x81", "0", "\t", ".", "us", "\xF0\x9F\x98\x80", "ab"};
constexpr std::array<std::array<uint32_t, 2>, 48> kRanges{
    {{0xA1, 0xFF},       {0x100, 0x24F},     {0x250, 0x2AF},      {0x2B0, 0x2FF},     {0x391, 0x3A1},
     {0x3A3, 0x3FF},     {0x400, 0x52F},     {0x531, 0x556},      {0x561, 0x586},     {0x591, 0x5C7},
     {0x5D0, 0x5EA},     {0x621, 0x669},     {0x900, 0x977},      {0xE01, 0xE3A},     {0xE3F, 0xE5B},
     {0x10D0, 0x10FA},   {0x1100, 0x11FF},   {0x1E00, 0x1EFF},    {0x1F00, 0x1F15},   {0x2000, 0x2064},
     {0x2074, 0x208E},   {0x20A0, 0x20BD},   {0x2100, 0x214F},    {0x2150, 0x2188},   {0x2190, 0x23FA},
     {0x2460, 0x24FF},   {0x2500, 0x2775},   {0x3000, 0x303F},    {0x3041, 0x3096},   {0x30A1, 0x30FF},
     {0x3400, 0x4DB5},   {0x4E00, 0x9FA5},   {0xA000, 0xA48C},    {0xAC00, 0xD7A3},   {0xE000, 0xF8FF},
     {0xF900, 0xFA6D},   {0xFB00, 0xFB06},   {0xFE30, 0xFE44},    {0xFF01, 0xFFBE},   {0xFFFD, 0xFFFD},
     {0x10000, 0x1000B}, {0x1D400, 0x1D454}, {0x1F130, 0x1F149},  {0x1F600, 0x1F64F}, {0x20000, 0x2A6D6},
     {0x2F800, 0x2FA1D}, {0x50000, 0x50100}, {0x10FF00, 0x10FFFD}}};

constexpr size_t kChunkBytes = 4096;

inline std::string code_points(Random& r, uint32_t low, uint32_t high, uint32_t most) {
  std::string out;
  for (uint32_t n = 1 + r.below(most); n > 0; --n) append_rune(out, low + r.below(high - low + 1));
  return out;
}

inline std::string number(Random& r) {
  uint32_t bound = 10;
  for (uint32_t n = r.below(9); n > 0; --n) bound *= 10;
  return std::to_string(r.below(bound));
}

inline std::string repeated(Random& r) {
  const std::string_view unit = r.pick<std::string_view>(kRuns);
  std::string out;
  for (uint32_t n = 1 + r.below(64); n > 0; --n) out += unit;
  return out;
}

inline std::string piece(Random& r) {
  const uint32_t kind = r.below(20);
  if (kind < 5) {
    const std::string space = r.below(4) != 0 ? " " : "";
    return space + std::string(r.pick<std::string_view>(kWords));
  }
  switch (kind) {
    case 5:
      return std::string(r.pick<std::string_view>(kCode));
    case 6:
      return code_points(r, 0x4E00, 0x9FA5, 8);
    case 7: {
      const std::string kana = code_points(r, 0x3041, 0x3096, 6);
      return kana + code_points(r, 0xAC00, 0xD7A3, 4);
    }
    case 8: {
      const std::string letters = " " + code_points(r, 0x627, 0x64A, 7);
      return letters + code_points(r, 0x64B, 0x652, 2);
    }
    case 9:
      return std::string(r.pick<std::string_view>(kEmoji));
    case 10: {
      const std::string letter = code_points(r, 0x61, 0x7A, 1);
      return letter + code_points(r, 0x300, 0x34E, 5);
    }
    case 11:
      return r.below(2) != 0 ? code_points(r, 0, 0x1F, 2) : code_points(r, 0x7F, 0x9F, 2);
    case 12: {
      const auto range = r.pick<std::array<uint32_t, 2>>(kRanges);
      return code_points(r, range[0], range[1], 4);
    }
    case 13:
      return number(r);
    case 14:
      return std::string(r.pick<std::string_view>(kSpaces));
    case 15:
      return std::string(r.pick<std::string_view>(kMarks));
    case 16:
      return std::string(r.pick<std::string_view>(kSpecial));
    case 17:
      return repeated(r);
    case 18:
      return " " + code_points(r, 0x410, 0x44F, 9);
    default:
      return std::string(r.pick<std::string_view>(kCompat));
  }
}

inline std::string chunk(uint64_t index) {
  Random r(index);
  std::string out;
  while (out.size() < kChunkBytes) out += piece(r);
  return out;
}

}  // namespace millrace::text::corpus
