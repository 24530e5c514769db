// Charsmap: the precompiled normalisation table of SentencePiece models: a double-array trie over UTF-8 and the
// replacement strings. Every index is checked, so any bytes are safe.
// Source: sentencepiece src/normalizer.cc (layout), darts-clone (units), tokenizers' spm_precompiled (use by grapheme).
// Thread: any.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace millrace::text {

class Charsmap {
 public:
  static Result<Charsmap> parse(std::string_view blob);
  // Appends the normal form of valid UTF-8.
  void apply(std::string_view text, std::string& out) const;

 private:
  std::optional<std::string_view> lookup(std::string_view chunk) const;
  std::vector<uint32_t> units_;
  std::string strings_;
};

}  // namespace millrace::text
