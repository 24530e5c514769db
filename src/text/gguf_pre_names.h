// What the names of "tokenizer.ggml.pre" mean: the pre-tokenizer (and normalizer) of the model family, which a GGUF
// file does not carry. Thread: any. Source: the families' published tokenizer.json files.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "text/tokenizer_spec.h"

namespace millrace::text {

struct GgufPre {
  std::vector<NormalizerStep> normalizers;
  std::vector<PreTokenizerStep> pre_tokenizers;
  bool ignore_merges = false;
  bool add_bos = false;  // when the file has no flag
};

// Nothing for an unknown name. The empty name is "gpt-2".
std::optional<GgufPre> find_gguf_pre(std::string_view name);

}  // namespace millrace::text
