#include "grammar/token_table.h"

#include <algorithm>
#include <utility>

#include "grammar/compile_budget.h"

namespace millrace::grammar {
namespace {

std::vector<std::string> texts_for_core(const Vocabulary& vocabulary) {
  std::vector<std::string> out = vocabulary.tokens;
  for (TokenId token : vocabulary.specials) out[static_cast<size_t>(token)].clear();
  return out;
}

}  // namespace

TokenTable::TokenTable(Vocabulary vocabulary)
    : vocabulary_(std::move(vocabulary)),
      info_(texts_for_core(vocabulary_), xgrammar::VocabType::RAW, static_cast<int>(vocabulary_.tokens.size()),
            std::vector<int32_t>(vocabulary_.end_tokens.begin(), vocabulary_.end_tokens.end()), false) {
  std::vector<bool> special(vocabulary_.tokens.size(), false);
  for (TokenId token : vocabulary_.specials) special[static_cast<size_t>(token)] = true;
  for (size_t i = 0; i < vocabulary_.tokens.size(); ++i) {
    const std::string& bytes = vocabulary_.tokens[i];
    auto id = static_cast<TokenId>(i);
    for (char c : bytes) {
      std::vector<TokenId>& holders = holders_[static_cast<unsigned char>(c)];
      if (holders.empty() || holders.back() != id) holders.push_back(id);
    }
    if (special[i] || bytes.empty()) continue;
    sorted_.emplace_back(bytes, id);
    if (bytes.size() == 1 && !is_end(id)) bytes_.set(static_cast<unsigned char>(bytes[0]));
    longest_ = std::max(longest_, bytes.size());
  }
  std::ranges::sort(sorted_);
  std::vector<std::string_view> pieces;
  for (const auto& [bytes, id] : sorted_) {
    if (!is_end(id) && std::ranges::count(bytes, '"') < 2) pieces.push_back(bytes);
  }
  pieces_ = std::make_unique<ShortTexts>(pieces);
}

bool TokenTable::is_end(TokenId token) const {
  return std::ranges::find(vocabulary_.end_tokens, token) != vocabulary_.end_tokens.end();
}

std::string_view TokenTable::text(TokenId token) const {
  auto index = static_cast<size_t>(token);
  return index < vocabulary_.tokens.size() ? std::string_view(vocabulary_.tokens[index]) : std::string_view();
}

// A tokenizer that puts a space before every text is not asked: then the longest token that fits, and so on.
std::vector<TokenId> TokenTable::write(std::string_view text) const {
  std::vector<TokenId> out;
  if (vocabulary_.encode) out = vocabulary_.encode(text);
  std::string written;
  for (TokenId token : out) written += this->text(token);
  if (written == text) return out;
  out.clear();
  while (!text.empty()) {
    size_t n = std::min(text.size(), longest_);
    TokenId best = token_of(text.substr(0, n));
    while (n > 1 && best == kNoToken) best = token_of(text.substr(0, --n));
    if (best == kNoToken) return {};
    out.push_back(best);
    text.remove_prefix(n);
  }
  return out;
}

TokenId TokenTable::token_of(std::string_view text) const {
  auto at = std::ranges::lower_bound(sorted_, text, {}, &std::pair<std::string_view, TokenId>::first);
  return at != sorted_.end() && at->first == text ? at->second : kNoToken;
}

void TokenTable::beginnings(std::string_view text,
                            const std::function<void(TokenId token, size_t n_bytes)>& found) const {
  auto first = sorted_.begin();
  auto last = sorted_.end();
  for (size_t n = 1; n <= std::min(text.size(), longest_); ++n) {
    auto byte_at = [&](const std::pair<std::string_view, TokenId>& token) {
      return token.first.size() < n ? -1 : int{static_cast<unsigned char>(token.first[n - 1])};
    };
    int byte = static_cast<unsigned char>(text[n - 1]);
    first = std::ranges::lower_bound(first, last, byte, {}, byte_at);
    last = std::ranges::upper_bound(first, last, byte, {}, byte_at);
    if (first == last) return;
    for (auto one = first; one != last && one->first.size() == n; ++one) found(one->second, n);
  }
}

const TokenLengths& TokenTable::lengths() const {
  std::call_once(lengths_made_, [&] { lengths_ = std::make_unique<TokenLengths>(vocabulary_.tokens); });
  return *lengths_;
}

// What it takes grows with the vocabulary and with the grammar, and is not counted.
std::shared_ptr<const TokenClasses> TokenTable::classes(const xgrammar::CompiledGrammar& grammar) const {
  CompileBudget::Pause uncounted;
  if (!leaves_many(grammar) || longest_ > TokenClasses::kLongest) return nullptr;
  ByteClasses class_of = byte_classes(grammar);
  std::lock_guard lock(classes_mutex_);
  std::erase_if(classes_, [](const auto& one) { return one.second.expired(); });
  std::shared_ptr<const TokenClasses> known = classes_[class_of].lock();
  if (known != nullptr) return known;
  known = std::make_shared<const TokenClasses>(info_.GetSortedDecodedVocab(), n_vocab(), class_of);
  classes_[class_of] = known;
  return known;
}

}  // namespace millrace::grammar
