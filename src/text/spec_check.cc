// Validation of a TokenizerSpec.
#include "text/spec_check.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "base/macros.h"
#include "text/pair_table.h"
#include "text/spec_steps.h"
#include "text/vocabulary.h"

namespace millrace::text {
namespace {

// Names that end an answer, whatever eos is (chat formats of the model families).
constexpr std::array<std::string_view, 19> kEndNames{"<|im_end|>",
                                                     "<|eot_id|>",
                                                     "<|end|>",
                                                     "<end_of_turn>",
                                                     "<|endoftext|>",
                                                     "<|eom_id|>",
                                                     "<|end_of_text|>",
                                                     "<|return|>",
                                                     "<|call|>",
                                                     "<EOT>",
                                                     "_<EOT>",
                                                     "[EOT]",
                                                     "[EOS]",
                                                     "<|eot|>",
                                                     "<|END_OF_TURN_TOKEN|>",
                                                     "<end_of_utterance>",
                                                     "<|end_of_turn|>",
                                                     "<turn|>",
                                                     "<\xEF\xBD\x9C"
                                                     "end\xE2\x96\x81of\xE2\x96\x81sentence\xEF\xBD\x9C>"};

Result<void> check_id(const TokenizerSpec& spec, TokenId id, std::string_view what) {
  if (id == kNoToken) return {};
  if (id < 0 || static_cast<size_t>(id) >= spec.tokens.size()) {
    return spec_error(fmt::format("{} {} outside vocabulary of {} tokens", what, id, spec.tokens.size()));
  }
  return {};
}

bool contains(const std::vector<TokenId>& ids, TokenId id) {
  return id != kNoToken && std::find(ids.begin(), ids.end(), id) != ids.end();
}

void collect_end_tokens(TokenizerSpec& spec) {
  for (const TokenId id : {spec.eos, spec.eot}) {
    if (id != kNoToken) spec.eog.push_back(id);
  }
  bool harmony = false;  // its <|end|> closes a channel, not the answer
  for (const AddedToken& token : spec.added) harmony = harmony || token.content == "<|return|>";
  for (const AddedToken& token : spec.added) {
    const bool known = std::find(kEndNames.begin(), kEndNames.end(), token.content) != kEndNames.end();
    if (known && !(harmony && token.content == "<|end|>")) spec.eog.push_back(token.id);
  }
  std::sort(spec.eog.begin(), spec.eog.end());
  spec.eog.erase(std::unique(spec.eog.begin(), spec.eog.end()), spec.eog.end());
}

}  // namespace

Result<void> check_tokens(const TokenizerSpec& spec) {
  if (spec.tokens.empty() || spec.tokens.size() > max_vocabulary()) {
    return spec_error(fmt::format("vocabulary of {} tokens: must be 1..{}", spec.tokens.size(), max_vocabulary()));
  }
  for (size_t i = 0; i < spec.tokens.size(); ++i) {
    const std::string& piece = spec.tokens[i];
    if (piece.size() > max_token_bytes()) {
      return spec_error(fmt::format("token {} is {} bytes, limit {}", i, piece.size(), max_token_bytes()));
    }
    if (spec.types[i] == TokenType::kByte && !byte_of_piece(piece)) {
      return spec_error(fmt::format("byte token {} is malformed", quoted(piece)));
    }
  }
  return {};
}

Result<Merge> find_merge(const PieceIds& ids, size_t index, std::string_view left, std::string_view right) {
  const std::string joined = std::string(left).append(right);
  Merge out;
  const std::array<std::pair<std::string_view, TokenId*>, 3> wanted{
      {{left, &out.left}, {right, &out.right}, {joined, &out.merged}}};
  for (const auto& [piece, id] : wanted) {
    const auto found = ids.find(piece);
    if (found == ids.end() || piece.empty()) {
      return spec_error(fmt::format("merge {}: token {} not in vocabulary", index, quoted(piece)));
    }
    *id = found->second;
  }
  return out;
}

Result<void> check_merges(const TokenizerSpec& spec) {
  PairTable<uint32_t> seen(spec.merges.size());
  for (size_t i = 0; i < spec.merges.size(); ++i) {
    const auto left = static_cast<uint32_t>(spec.merges[i].left);
    const auto right = static_cast<uint32_t>(spec.merges[i].right);
    const uint64_t key = PairTable<uint32_t>::key_of(left, right);
    if (!seen.insert(key, static_cast<uint32_t>(i))) {
      return spec_error(fmt::format("merge {}: token pair {} {} repeats merge {}", i, quoted(spec.tokens[left]),
                                    quoted(spec.tokens[right]), *seen.find(key)));
    }
  }
  return {};
}

Result<void> finish_spec(TokenizerSpec& spec) {
  const std::array<std::pair<std::string_view, TokenId>, 9> ids{{{"bos_token_id", spec.bos},
                                                                 {"eos_token_id", spec.eos},
                                                                 {"eot_token_id", spec.eot},
                                                                 {"pad_token_id", spec.pad},
                                                                 {"unk_token_id", spec.unk},
                                                                 {"sep_token_id", spec.sep},
                                                                 {"cls_token_id", spec.cls},
                                                                 {"mask_token_id", spec.mask},
                                                                 {"unk_id", spec.model_unk}}};
  for (const auto& [name, id] : ids) TRY(check_id(spec, id, name));
  for (const TokenId id : spec.prefix) TRY(check_id(spec, id, "post_processor: token id"));
  for (const TokenId id : spec.suffix) TRY(check_id(spec, id, "post_processor: token id"));
  const bool scored = spec.kind == TokenizerKind::kScoreBpe || spec.kind == TokenizerKind::kUnigram;
  if (scored && spec.scores.size() != spec.tokens.size()) {
    return spec_error(fmt::format("scores has {} entries, tokens has {}", spec.scores.size(), spec.tokens.size()));
  }
  for (size_t i = 0; i < spec.scores.size(); ++i) {
    if (!std::isfinite(spec.scores[i])) return spec_error(fmt::format("score {} is not finite", i));
  }
  TRY(check_merges(spec));
  collect_end_tokens(spec);
  spec.add_bos = contains(spec.prefix, spec.bos);
  spec.add_eos = contains(spec.suffix, spec.eos);
  return {};
}

Result<void> check_embedding_rows(const TokenizerSpec& spec, int64_t n_rows) {
  const auto last = static_cast<int64_t>(spec.tokens.size()) - 1;
  if (last >= n_rows) return spec_error(fmt::format("token id {} >= embedding rows {}", last, n_rows));
  return {};
}

}  // namespace millrace::text
