// The JSON schema keywords (draft 2020-12, and older spellings that are still sent) and what is done with each. A
// keyword that constrains and is not supported is refused with its path; a name that is in no draft is an annotation,
// as the specification says (core, 4.3.1). Thread: any (constant data).
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace millrace::grammar {

enum class KeywordUse : uint8_t {
  kSupported,
  kAnnotation,   // says nothing about what is valid
  kPartly,       // supported in the form that `note` names, else refused
  kUnsupported,  // 400
};

struct Keyword {
  std::string_view name;
  KeywordUse use = KeywordUse::kSupported;
  std::string_view note = {};
};

std::span<const Keyword> schema_keywords();
// nullptr for a name that is in no draft.
const Keyword* find_keyword(std::string_view name);

// Regular expressions for a `format`, or none: formats are annotations by default (validation, 7.2.1), those known here
// are kept to as well. The first is the widest; the others are parts of it whose length is bounded, or can be chosen.
std::span<const std::string_view> format_patterns(std::string_view format);

}  // namespace millrace::grammar
