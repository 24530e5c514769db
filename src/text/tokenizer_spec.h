// TokenizerSpec: everything a tokenizer file says, as plain data, already validated: ids are unique and inside the
// vocabulary, merges name known tokens, sizes are inside the limits of base/limits.h. Two builders: a Hugging Face
// tokenizer.json (with tokenizer_config.json) and the vocabulary keys of a GGUF file. A kind that is not supported is
// refused by name, never ignored.
// Thread: any. Source: tokenizer.json as written by `tokenizers` 0.2x; GGUF keys as in ggml docs/gguf.md.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "base/json.h"
#include "base/result.h"

namespace millrace::text {

enum class TokenizerKind : uint8_t {
  kByteBpe,    // merges over bytes (GPT-2 family)
  kBpe,        // merges over characters, optional byte fallback (HF Llama 2, Gemma)
  kScoreBpe,   // merges by score over characters, byte fallback (GGUF "llama")
  kUnigram,    // best path by score (T5, XLM-R)
  kWordPiece,  // greedy longest match (BERT)
};

enum class TokenType : uint8_t { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6 };

struct AddedToken {
  std::string content;
  TokenId id = kNoToken;
  bool special = false;
  bool lstrip = false;
  bool rstrip = false;
  bool single_word = false;
  bool normalized = false;  // matched in the normalised text
};

enum class NormalizerKind : uint8_t {
  kNfc,
  kNfd,
  kNfkc,
  kNfkd,
  kLowercase,
  kStripAccents,
  kReplace,
  kPrepend,
  kStrip,
  kBert,
  kPrecompiled
};

struct NormalizerStep {
  NormalizerKind kind = NormalizerKind::kNfc;
  std::string pattern;  // kReplace: literal text or regex
  bool is_regex = false;
  std::string content;     // kReplace, kPrepend: text put in; kPrecompiled: the charsmap bytes
  bool left = true;        // kStrip
  bool right = true;       // kStrip
  bool clean_text = true;  // kBert
  bool chinese_chars = true;
  bool strip_accents = false;
  bool lowercase = true;
};

enum class PreTokenizerKind : uint8_t {
  kByteLevel,
  kSplit,
  kMetaspace,
  kWhitespace,
  kWhitespaceSplit,
  kDigits,
  kPunctuation,
  kBert
};
enum class SplitBehavior : uint8_t { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };
enum class PrependScheme : uint8_t { kNever, kFirst, kAlways };

struct PreTokenizerStep {
  PreTokenizerKind kind = PreTokenizerKind::kByteLevel;
  bool add_prefix_space = false;                      // kByteLevel
  bool use_regex = false;                             // kByteLevel: split with the GPT-2 pattern first
  std::string pattern;                                // kSplit
  bool is_regex = false;                              // kSplit
  bool invert = false;                                // kSplit
  SplitBehavior behavior = SplitBehavior::kIsolated;  // kSplit, kPunctuation
  bool individual_digits = false;                     // kDigits
  std::string replacement;                            // kMetaspace: usually U+2581
  PrependScheme prepend = PrependScheme::kNever;      // kMetaspace
  bool split = true;                                  // kMetaspace
};

enum class DecoderKind : uint8_t { kByteLevel, kByteFallback, kFuse, kMetaspace, kReplace, kStrip, kWordPiece };

struct DecoderStep {
  DecoderKind kind = DecoderKind::kByteLevel;
  std::string pattern;                            // kReplace: literal text; kMetaspace: the replacement character
  std::string content;                            // kReplace, kStrip: text; kWordPiece: continuation prefix
  uint32_t start = 0;                             // kStrip: characters at the start of the text
  uint32_t stop = 0;                              // kStrip: characters at the end of the text
  PrependScheme prepend = PrependScheme::kNever;  // kMetaspace
  bool cleanup = false;                           // kWordPiece
};

// Two tokens that become one; its rank is its place in TokenizerSpec::merges.
struct Merge {
  TokenId left = kNoToken;
  TokenId right = kNoToken;
  TokenId merged = kNoToken;
};

struct TokenizerSpec {
  TokenizerKind kind = TokenizerKind::kByteBpe;
  std::string pre_name;             // GGUF "tokenizer.ggml.pre", or empty
  std::vector<std::string> tokens;  // [n_vocab] pieces as the file writes them (kByteBpe: GPT-2 byte alphabet)
  std::vector<TokenType> types;     // [n_vocab]
  std::vector<double> scores;       // [n_vocab] for kScoreBpe and kUnigram, else empty
  std::vector<Merge> merges;        // kByteBpe and kBpe
  std::vector<AddedToken> added;    // unique contents, by id
  std::vector<NormalizerStep> normalizers;
  std::vector<PreTokenizerStep> pre_tokenizers;
  std::vector<DecoderStep> decoders;
  std::vector<TokenId> prefix;  // put before a text when special tokens are asked for
  std::vector<TokenId> suffix;  // put after it
  bool byte_fallback = false;
  bool ignore_merges = false;  // a pre-token that is a token is taken whole
  bool fuse_unk = false;
  std::string continuing_prefix;  // kWordPiece: "##"
  uint32_t max_word_chars = 100;  // kWordPiece: longer words are unknown
  TokenId bos = kNoToken;
  TokenId eos = kNoToken;
  TokenId eot = kNoToken;
  TokenId pad = kNoToken;
  TokenId unk = kNoToken;        // as the configuration names it
  TokenId model_unk = kNoToken;  // what unknown text becomes; kNoToken: it is left out
  TokenId sep = kNoToken;
  TokenId cls = kNoToken;
  TokenId mask = kNoToken;
  std::vector<TokenId> eog;  // ids that end an answer: eos, eot and the known end-of-turn names; sorted
  bool add_bos = false;      // prefix holds bos
  bool add_eos = false;      // suffix holds eos
};

// The tokenizer.ggml.* keys of a GGUF file. A missing id is kNoToken; a missing flag is -1.
struct GgufVocab {
  std::string model;  // "gpt2", "llama", "t5" (or "ugm"), "bert"
  std::string pre;    // "smollm", "llama-bpe", "qwen2", ...; empty when absent
  std::vector<std::string> tokens;
  std::vector<float> scores;
  std::vector<int32_t> types;       // token_type
  std::vector<std::string> merges;  // "left right"
  std::string charsmap;             // precompiled_charsmap bytes (t5)
  int64_t bos = kNoToken;
  int64_t eos = kNoToken;
  int64_t eot = kNoToken;
  int64_t eom = kNoToken;
  int64_t pad = kNoToken;
  int64_t unk = kNoToken;
  int64_t sep = kNoToken;
  int64_t cls = kNoToken;
  int64_t mask = kNoToken;
  int add_bos = -1;
  int add_eos = -1;
  int add_sep = -1;
  int add_space_prefix = -1;
  int remove_extra_whitespaces = -1;
};

// kBadFile with what, where, got and wanted. tokenizer_config may be null.
Result<TokenizerSpec> spec_from_tokenizer_json(const Json& tokenizer_json, const Json* tokenizer_config);
// Parses the text of the files first (limits: tokenizer_bytes); config_text may be empty.
Result<TokenizerSpec> spec_from_tokenizer_text(std::string_view tokenizer_text, std::string_view config_text);
Result<TokenizerSpec> spec_from_gguf(const GgufVocab& vocab);

// kBadFile unless the vocabulary fits a model with n_rows embedding rows ("token id 300000 >= embedding rows 151936").
Result<void> check_embedding_rows(const TokenizerSpec& spec, int64_t n_rows);

// The names that spec_from_gguf accepts as `pre`.
std::vector<std::string_view> known_gguf_pre_names();

}  // namespace millrace::text
