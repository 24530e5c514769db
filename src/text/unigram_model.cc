// Unigram segmentation.
#include "text/unigram_model.h"

#include <algorithm>

#include "text/split_pattern.h"
#include "text/utf8.h"

namespace millrace::text {
namespace {

constexpr double kUnkPenalty = 10.0;  // sentencepiece unigram_model.cc, kUnkPenalty

struct Best {
  double score = 0.0;
  size_t begin = 0;       // where the last piece of the best path starts
  TokenId id = kNoToken;  // kNoToken: unknown character
  bool reached = false;
};

}  // namespace

UnigramModel::UnigramModel(const TokenizerSpec& spec, const Vocabulary& vocabulary)
    : vocabulary_(&vocabulary), byte_fallback_(spec.byte_fallback && vocabulary.all_bytes), scores_(spec.scores) {
  unk_score_ = (scores_.empty() ? 0.0 : *std::min_element(scores_.begin(), scores_.end())) - kUnkPenalty;
  for (size_t i = 0; i < vocabulary.pieces.size(); ++i) {
    const auto id = static_cast<TokenId>(i);
    if (vocabulary.find(vocabulary.pieces[i]) == id) trie_.add(vocabulary.pieces[i], id);
  }
}

void UnigramModel::encode(std::string_view piece, std::vector<TokenId>& out) const {
  std::vector<Best> best(piece.size() + 1);  // best path that ends at this byte
  best[0].reached = true;
  for (size_t at = 0; at < piece.size();) {
    const Rune rune = rune_at(piece, at);
    const auto relax = [&](size_t end, double score, TokenId id) {
      if (!best[end].reached || score > best[end].score) best[end] = {score, at, id, true};
    };
    const double here = best[at].score;
    bool has_single = false;
    uint32_t node = ByteTrie::kRoot;
    for (size_t end = at; end < piece.size();) {
      node = trie_.child(node, piece[end++]);
      if (node == ByteTrie::kNone) break;
      const TokenId id = trie_.value(node);
      if (id == kNoToken) continue;
      relax(end, here + scores_[static_cast<size_t>(id)], id);
      has_single = has_single || end - at == rune.n_bytes;
    }
    if (!has_single) relax(at + rune.n_bytes, here + unk_score_, kNoToken);
    at += rune.n_bytes;
  }
  std::vector<TextSpan> spans;
  for (size_t end = piece.size(); end > 0; end = best[end].begin) spans.push_back({best[end].begin, end});
  bool in_unknown = false;  // neighbouring unknown characters are one unknown token
  for (auto span = spans.rbegin(); span != spans.rend(); ++span) {
    const TokenId id = best[span->end].id;
    if (id != kNoToken) {
      out.push_back(id);
    } else if (byte_fallback_) {
      for (size_t i = span->begin; i < span->end; ++i) {
        out.push_back(vocabulary_->byte_ids[static_cast<uint8_t>(piece[i])]);
      }
    } else if (!in_unknown && vocabulary_->unk != kNoToken) {
      out.push_back(vocabulary_->unk);
    }
    in_unknown = id == kNoToken;
  }
}

}  // namespace millrace::text
