// Prompts that ask for what stands between two texts, for models with fill-in-the-middle tokens.
// Thread: any.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/result.h"

namespace millrace::text {
class Tokenizer;
}

namespace millrace::api {

// A file of the same project, before the one to be completed.
struct InfillFile {
  std::string name;
  std::string text;
};

struct InfillTexts {
  std::string_view before;
  std::string_view begun = {};  // what of the answer is there already
  std::string_view after;
};

bool knows_infill(const text::Tokenizer* tokenizer);

// Special tokens in the texts stay text. kNotSupported when there is no tokenizer or it has no such tokens.
Result<std::vector<TokenId>> infill_prompt(const text::Tokenizer* tokenizer, const InfillTexts& texts,
                                           std::span<const InfillFile> files = {});

}  // namespace millrace::api
