// Builds a Vocabulary from a spec.
#include "text/vocabulary.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>

#include "text/byte_alphabet.h"

namespace millrace::text {

std::optional<uint8_t> byte_of_piece(std::string_view piece) {
  if (piece.size() != 6 || !piece.starts_with("<0x") || piece[5] != '>') return std::nullopt;
  unsigned value = 0;
  const auto [end, error] = std::from_chars(piece.data() + 3, piece.data() + 5, value, 16);
  if (error != std::errc() || end != piece.data() + 5) return std::nullopt;
  return static_cast<uint8_t>(value);
}

std::string piece_of_byte(uint8_t byte) { return fmt::format("<0x{:02X}>", byte); }

Vocabulary make_vocabulary(const TokenizerSpec& spec) {
  Vocabulary out;
  out.byte_ids.fill(kNoToken);
  out.unk = spec.model_unk;
  const bool byte_level = spec.kind == TokenizerKind::kByteBpe;
  std::vector<bool> hidden(spec.tokens.size(), false);
  for (const AddedToken& token : spec.added) {
    if (token.special) hidden[static_cast<size_t>(token.id)] = true;
  }
  out.pieces.reserve(spec.tokens.size());
  out.ids.reserve(spec.tokens.size());
  for (size_t i = 0; i < spec.tokens.size(); ++i) {
    const TokenType type = spec.types[i];
    auto raw = byte_level ? from_byte_alphabet(spec.tokens[i]) : std::optional<std::string>(spec.tokens[i]);
    if (!raw || raw->empty()) hidden[i] = true;
    out.pieces.push_back(raw.value_or(spec.tokens[i]));
    if (type == TokenType::kByte) {
      if (const auto byte = byte_of_piece(spec.tokens[i])) out.byte_ids[*byte] = static_cast<TokenId>(i);
    }
    if (type == TokenType::kNormal || type == TokenType::kUserDefined) {
      if (!hidden[i]) out.ids.emplace(out.pieces[i], static_cast<TokenId>(i));
    }
  }
  if (byte_level) {
    for (size_t byte = 0; byte < 256; ++byte) {
      const char text = static_cast<char>(byte);
      out.byte_ids[byte] = out.find(std::string_view(&text, 1));
    }
  }
  out.all_bytes = std::all_of(out.byte_ids.begin(), out.byte_ids.end(), [](TokenId id) { return id != kNoToken; });
  return out;
}

}  // namespace millrace::text
