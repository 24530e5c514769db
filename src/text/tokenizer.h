// Tokenizer: text to token ids and back. Immutable after create(); every method is const and safe from any thread.
//  1. Total: any bytes are accepted. Byte-level kinds keep every byte (decode_bytes(encode(x)) = x when the file has
//     no normaliser); other kinds byte-fall-back or see U+FFFD for invalid UTF-8.
//  2. Linear: O(n log n) in the length of the longest pre-token, no recursion, small stack.
//  3. encode() fails only with kTokenizerLimit, and only for a pattern from a file that passes its match limits.
// Thread: any.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "text/decode_table.h"
#include "text/tokenizer_spec.h"

namespace millrace::text {

// Bytes [begin, end) of a text.
struct ByteRange {
  size_t begin = 0;
  size_t end = 0;
};

struct EncodeOptions {
  bool add_special = true;             // put the prefix and suffix (bos, eos) around the text
  bool parse_special = true;           // special tokens written in the text become their ids
  std::span<const ByteRange> literal;  // sorted, disjoint: text of users, where special tokens stay text
};

class Tokenizer {
 public:
  // kBadFile when a pattern cannot be compiled.
  // match_steps: limit of one regex match (limit match_steps).
  static Result<Tokenizer> create(TokenizerSpec spec, uint32_t match_steps = 1'000'000);
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  Result<std::vector<TokenId>> encode(std::string_view text, const EncodeOptions& options = {}) const;

  // A lower bound of the text's tokens by counting bytes alone; 0 where a token may stand for any number of bytes
  // (unknown words, normalisers that shorten, whitespace that is left out).
  size_t fewest_tokens(std::string_view text) const;

  // Valid UTF-8: what a Detokenizer gives in all; an invalid sequence becomes U+FFFD. Ids outside are skipped.
  std::string decode(std::span<const TokenId> ids, bool skip_special) const;
  // The same without repair: the exact bytes.
  std::string decode_bytes(std::span<const TokenId> ids, bool skip_special) const;

  size_t n_vocab() const;
  // The bytes the token adds in the middle of a text (special tokens: their content); empty for ids outside.
  std::string_view token_bytes(TokenId id) const;
  // The piece as shown to users: token_bytes as valid UTF-8.
  std::string token_text(TokenId id) const;
  // Special or control: left out of text when skip_special.
  bool is_special(TokenId id) const;
  // Ends an answer.
  bool is_eog(TokenId id) const;
  // Id of the token whose piece in the file, or whose content, is this.
  std::optional<TokenId> find(std::string_view content) const;
  const std::vector<TokenId>& eog_ids() const;  // sorted
  TokenId bos() const;                          // kNoToken when the file has none
  TokenId eos() const;
  TokenId pad() const;
  TokenId unk() const;
  const TokenizerSpec& spec() const;
  // Appends the bytes of one token of a text being decoded; ids outside add nothing.
  void append_bytes(TokenId id, bool skip_special, DecodeCursor& cursor, std::string& out) const;

 private:
  struct State;
  explicit Tokenizer(std::unique_ptr<const State> state);
  std::unique_ptr<const State> state_;
};

}  // namespace millrace::text
