// TokenView: the known tokens of a sequence, prompt then outputs, without copying the prompt. Never owns.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "base/ids.h"

namespace millrace::cache {

struct TokenView {
  std::span<const TokenId> prompt;
  std::span<const TokenId> outputs;

  uint32_t size() const { return static_cast<uint32_t>(prompt.size() + outputs.size()); }

  // Tokens begin .. begin + out.size() - 1 as one span: a view where they lie together, else copied into `out`.
  std::span<const TokenId> slice(uint32_t begin, std::span<TokenId> out) const {
    size_t border = prompt.size();
    if (begin + out.size() <= border) return prompt.subspan(begin, out.size());
    if (begin >= border) return outputs.subspan(begin - border, out.size());
    auto rest = std::ranges::copy(prompt.subspan(begin), out.begin()).out;
    std::ranges::copy(outputs.first(out.size() - (border - begin)), rest);
    return out;
  }
};

}  // namespace millrace::cache
