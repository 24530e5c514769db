// Byte-pair merging.
#include "text/bpe_model.h"

#include <algorithm>
#include <numeric>
#include <queue>
#include <tuple>

#include "text/utf8.h"

namespace millrace::text {
namespace {

constexpr std::string_view kSpaceMark = "\xE2\x96\x81";  // U+2581

bool spaces_only(std::string_view piece) {
  if (piece.empty() || piece.size() % kSpaceMark.size() != 0) return false;
  for (size_t at = 0; at < piece.size(); at += kSpaceMark.size()) {
    if (piece.substr(at, kSpaceMark.size()) != kSpaceMark) return false;
  }
  return true;
}

// Place of each token in the order of merging; equal only for equal scores.
std::vector<uint32_t> rank_tokens(const TokenizerSpec& spec, const Vocabulary& vocabulary) {
  std::vector<uint32_t> order(spec.tokens.size());
  std::iota(order.begin(), order.end(), 0u);
  std::vector<bool> early(order.size());
  for (size_t i = 0; i < order.size(); ++i) {
    early[i] = spec.types[i] == TokenType::kUserDefined && spaces_only(vocabulary.pieces[i]);
  }
  std::stable_sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) {
    if (early[a] != early[b]) return bool{early[a]};
    return !early[a] && spec.scores[a] > spec.scores[b];
  });
  std::vector<uint32_t> rank(order.size());
  uint32_t next = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    const bool tie =
        i > 0 && !early[order[i]] && !early[order[i - 1]] && spec.scores[order[i]] == spec.scores[order[i - 1]];
    if (i > 0 && !tie) ++next;
    rank[order[i]] = next;
  }
  return rank;
}

// Same rank: longer left part, then longer right part, first.
uint64_t score_priority(uint32_t rank, uint32_t n_left, uint32_t n_right) {
  constexpr uint32_t kTop = 0xFFFF;
  const uint32_t left = kTop - std::min(n_left, kTop);
  const uint32_t right = kTop - std::min(n_right, kTop);
  return (uint64_t{rank} << 32) | (uint64_t{left} << 16) | right;
}

uint32_t count_runes(std::string_view text) {
  uint32_t n = 0;
  for (size_t at = 0; at < text.size(); ++n) at += rune_at(text, at).n_bytes;
  return n;
}

}  // namespace

BpeModel::BpeModel(const TokenizerSpec& spec, const Vocabulary& vocabulary)
    : vocabulary_(&vocabulary),
      kind_(spec.kind),
      byte_fallback_(spec.byte_fallback && vocabulary.all_bytes),
      ignore_merges_(spec.ignore_merges),
      fuse_unk_(spec.fuse_unk),
      merges_(spec.merges.size()) {
  if (kind_ == TokenizerKind::kScoreBpe) {
    token_rank_ = rank_tokens(spec, vocabulary);
    for (const auto& [piece, id] : vocabulary.ids) longest_bytes_ = std::max(longest_bytes_, piece.size());
    return;
  }
  // A merge that would make a token hidden from plain text (a special one) is left out.
  for (size_t i = 0; i < spec.merges.size(); ++i) {
    const Merge& merge = spec.merges[i];
    if (vocabulary.find(vocabulary.pieces[static_cast<size_t>(merge.merged)]) == kNoToken) continue;
    merges_.insert(PairTable<Rank>::key_of(static_cast<uint32_t>(merge.left), static_cast<uint32_t>(merge.right)),
                   {static_cast<uint32_t>(i), merge.merged});
  }
}

void BpeModel::push_unknown(std::vector<Symbol>& symbols, uint32_t begin, uint32_t n_bytes) const {
  const TokenId unk = vocabulary_->unk;
  if (unk == kNoToken) return;
  if (fuse_unk_ && !symbols.empty() && symbols.back().id == unk) {
    symbols.back().n_bytes += n_bytes;
    return;
  }
  symbols.push_back({unk, 0, 0, begin, n_bytes, 1});
}

std::vector<BpeModel::Symbol> BpeModel::first_symbols(std::string_view piece) const {
  std::vector<Symbol> symbols;
  symbols.reserve(piece.size());
  const auto& byte_ids = vocabulary_->byte_ids;
  for (uint32_t at = 0; at < piece.size();) {
    const Rune rune = kind_ == TokenizerKind::kByteBpe ? Rune{0, 1, true} : rune_at(piece, at);
    const auto text = piece.substr(at, rune.n_bytes);
    const TokenId id = kind_ == TokenizerKind::kByteBpe ? byte_ids[static_cast<uint8_t>(text[0])]
                       : rune.valid                     ? vocabulary_->find(text)
                                                        : kNoToken;
    if (id != kNoToken) {
      symbols.push_back({id, 0, 0, at, rune.n_bytes, 1});
    } else if (byte_fallback_) {
      for (uint32_t i = 0; i < rune.n_bytes; ++i) {
        symbols.push_back({byte_ids[static_cast<uint8_t>(text[i])], 0, 0, at + i, 1, 1});
      }
    } else {
      push_unknown(symbols, at, rune.n_bytes);
    }
    at += rune.n_bytes;
  }
  for (size_t i = 0; i < symbols.size(); ++i) {
    symbols[i].previous = static_cast<int32_t>(i) - 1;
    symbols[i].next = i + 1 < symbols.size() ? static_cast<int32_t>(i) + 1 : -1;
  }
  return symbols;
}

bool BpeModel::candidate(std::string_view piece, const std::vector<Symbol>& symbols, int32_t left,
                         Candidate& out) const {
  const Symbol& a = symbols[static_cast<size_t>(left)];
  if (a.next < 0) return false;
  const Symbol& b = symbols[static_cast<size_t>(a.next)];
  out.left = left;
  out.left_id = a.id;
  out.right_id = b.id;
  if (kind_ != TokenizerKind::kScoreBpe) {
    const Rank* rank = merges_.find(PairTable<Rank>::key_of(static_cast<uint32_t>(a.id), static_cast<uint32_t>(b.id)));
    if (rank == nullptr) return false;
    out.priority = rank->rank;
    out.merged = rank->merged;
    return true;
  }
  const size_t n_bytes = size_t{a.n_bytes} + b.n_bytes;
  if (n_bytes > longest_bytes_) return false;
  out.merged = vocabulary_->find(piece.substr(a.begin, n_bytes));
  if (out.merged == kNoToken) return false;
  // Byte-fallback and unknown symbols are not text of the vocabulary and take no part in merges.
  const auto is_text = [this](const Symbol& symbol) {
    return symbol.id != vocabulary_->unk &&
           vocabulary_->pieces[static_cast<size_t>(symbol.id)].size() == symbol.n_bytes;
  };
  if (!is_text(a) || !is_text(b)) return false;
  out.priority = score_priority(token_rank_[static_cast<size_t>(out.merged)], a.n_runes, b.n_runes);
  return true;
}

void BpeModel::encode(std::string_view piece, std::vector<TokenId>& out) const {
  if (ignore_merges_) {
    const TokenId whole = vocabulary_->find(piece);
    if (whole != kNoToken) {
      out.push_back(whole);
      return;
    }
  }
  std::vector<Symbol> symbols = first_symbols(piece);
  if (symbols.empty()) return;
  const auto later = [](const Candidate& a, const Candidate& b) {
    return std::tie(a.priority, a.left) > std::tie(b.priority, b.left);
  };
  std::vector<Candidate> first;
  first.reserve(symbols.size());
  Candidate next{};
  for (size_t i = 0; i + 1 < symbols.size(); ++i) {
    if (candidate(piece, symbols, static_cast<int32_t>(i), next)) first.push_back(next);
  }
  std::priority_queue<Candidate, std::vector<Candidate>, decltype(later)> queue(later, std::move(first));
  while (!queue.empty()) {
    const Candidate best = queue.top();
    queue.pop();
    Symbol& left = symbols[static_cast<size_t>(best.left)];
    if (left.id != best.left_id || left.n_bytes == 0 || left.next < 0) continue;
    Symbol& right = symbols[static_cast<size_t>(left.next)];
    if (right.id != best.right_id) continue;
    left.id = best.merged;
    left.n_bytes += right.n_bytes;
    left.n_runes += right.n_runes;
    left.next = right.next;
    right.n_bytes = 0;
    right.id = kNoToken;
    if (left.next >= 0) symbols[static_cast<size_t>(left.next)].previous = best.left;
    if (candidate(piece, symbols, best.left, next)) queue.push(next);
    if (left.previous >= 0 && candidate(piece, symbols, left.previous, next)) queue.push(next);
  }
  for (int32_t at = 0; at >= 0; at = symbols[static_cast<size_t>(at)].next) {
    out.push_back(symbols[static_cast<size_t>(at)].id);
  }
}

std::vector<Merge> merges_of_scores(const TokenizerSpec& spec, const Vocabulary& vocabulary) {
  struct Scored {
    uint64_t priority;
    Merge merge;
  };
  std::vector<Scored> found;
  const std::vector<uint32_t> rank = rank_tokens(spec, vocabulary);
  for (size_t i = 0; i < spec.tokens.size(); ++i) {
    const std::string_view piece = vocabulary.pieces[i];
    const auto id = static_cast<TokenId>(i);
    if (vocabulary.find(piece) != id) continue;
    const uint32_t n_runes = count_runes(piece);
    uint32_t n_left = 0;
    for (size_t at = 0; at < piece.size();) {
      at += rune_at(piece, at).n_bytes;
      ++n_left;
      if (at >= piece.size()) break;
      const TokenId left = vocabulary.find(piece.substr(0, at));
      const TokenId right = left == kNoToken ? kNoToken : vocabulary.find(piece.substr(at));
      if (right == kNoToken) continue;
      found.push_back({score_priority(rank[i], n_left, n_runes - n_left), {left, right, id}});
    }
  }
  std::stable_sort(found.begin(), found.end(),
                   [](const Scored& a, const Scored& b) { return a.priority < b.priority; });
  std::vector<Merge> out;
  out.reserve(found.size());
  for (const Scored& scored : found) out.push_back(scored.merge);
  return out;
}

}  // namespace millrace::text
