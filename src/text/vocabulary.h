// Vocabulary: the pieces that the model part of a tokenizer may produce from plain text. Special, control, unknown and
// byte tokens are not among them: text never becomes one of those by merging. Thread: any.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/ids.h"
#include "text/tokenizer_spec.h"

namespace millrace::text {

struct Vocabulary {
  std::vector<std::string> pieces;                    // [n_vocab] raw bytes for kByteBpe, else the text of the file
  std::unordered_map<std::string_view, TokenId> ids;  // piece -> id; views into `pieces`
  std::array<TokenId, 256> byte_ids{};                // kNoToken where the file has no token for the byte
  bool all_bytes = false;                             // every byte has one
  TokenId unk = kNoToken;                             // TokenizerSpec::model_unk

  TokenId find(std::string_view piece) const {
    const auto found = ids.find(piece);
    return found == ids.end() ? kNoToken : found->second;
  }
};

Vocabulary make_vocabulary(const TokenizerSpec& spec);

// The byte of "<0x0A>"; nothing for other pieces.
std::optional<uint8_t> byte_of_piece(std::string_view piece);
std::string piece_of_byte(uint8_t byte);

}  // namespace millrace::text
