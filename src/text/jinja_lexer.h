// Cuts a template into text and the tokens of its tags, with the whitespace rules of trim_blocks and lstrip_blocks
// (jinja2 3.1, lexer.py): the newline after a block tag or comment goes, and so do blanks before one on its line;
// "-" strips all whitespace on its side, "+" switches a rule off; one newline at the end of the template goes.
// Thread: any.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace millrace::text::jinja {

enum class TokenKind : uint8_t {
  kText,
  kPrintBegin,
  kPrintEnd,
  kBlockBegin,
  kBlockEnd,
  kName,
  kString,
  kInt,
  kFloat,
  kOperator,
  kEnd,
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  uint32_t line = 1;
  std::string text;  // contents of text and strings, names, operators, digits
  int64_t integer = 0;
  double real = 0;
};

Result<std::vector<Token>> lex(std::string_view source);

// "template line 3: ..."
Error template_error(uint32_t line, std::string_view what);

}  // namespace millrace::text::jinja
