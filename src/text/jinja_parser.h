// Tokens of a template to a Program, after the grammar of jinja2 3.1 (parser.py). include, import, extends, block and
// recursive loops are refused; nesting is capped so that parsing and running fit a small stack.
// Thread: any.
#pragma once

#include <memory>
#include <string_view>

#include "base/result.h"
#include "text/jinja_ast.h"

namespace millrace::text::jinja {

Result<std::unique_ptr<Program>> parse_template(std::string_view source, int64_t max_depth);

}  // namespace millrace::text::jinja
