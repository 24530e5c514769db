#include "api/infill.h"

#include <array>
#include <optional>

#include "base/macros.h"
#include "text/tokenizer.h"

namespace millrace::api {
namespace {

// Spellings of the fill-in-the-middle tokens: Qwen2.5-Coder, StarCoder and Granite, CodeLlama, DeepSeek-Coder,
// CodeGemma.
constexpr std::array<std::string_view, 5> kPrefixTokens = {"<|fim_prefix|>", "<fim_prefix>", "<PRE>", "<|fim_begin|>",
                                                           "<fim-prefix>"};
constexpr std::array<std::string_view, 5> kSuffixTokens = {"<|fim_suffix|>", "<fim_suffix>", "<SUF>", "<|fim_hole|>",
                                                           "<fim-suffix>"};
constexpr std::array<std::string_view, 5> kMiddleTokens = {"<|fim_middle|>", "<fim_middle>", "<MID>", "<|fim_end|>",
                                                           "<fim-middle>"};
constexpr std::array<std::string_view, 3> kRepoTokens = {"<|repo_name|>", "<reponame>", "<repo_name>"};
constexpr std::array<std::string_view, 2> kFileTokens = {"<|file_sep|>", "<file_sep>"};

std::optional<TokenId> find_any(const text::Tokenizer& tokenizer, std::span<const std::string_view> names) {
  for (std::string_view name : names) {
    std::optional<TokenId> id = tokenizer.find(name);
    if (id) return id;
  }
  return std::nullopt;
}

// Ids around texts in which special tokens stay text.
class PromptBuilder {
 public:
  PromptBuilder(const text::Tokenizer& tokenizer, std::vector<TokenId>& out) : tokenizer_(tokenizer), out_(out) {}
  void add(TokenId id) { out_.push_back(id); }
  Result<void> add(std::string_view text) {
    std::vector<TokenId> ids = TRY(tokenizer_.encode(text, {.add_special = false, .parse_special = false}));
    out_.insert(out_.end(), ids.begin(), ids.end());
    return {};
  }

 private:
  const text::Tokenizer& tokenizer_;
  std::vector<TokenId>& out_;
};

// Repository context: Hui et al., "Qwen2.5-Coder" (arXiv 2409.12186), section 3.2; llama.cpp format_prompt_infill().
Result<void> add_files(PromptBuilder& prompt, const text::Tokenizer& tokenizer, std::span<const InfillFile> files) {
  std::optional<TokenId> repo = find_any(tokenizer, kRepoTokens);
  std::optional<TokenId> separator = find_any(tokenizer, kFileTokens);
  if (repo) {
    prompt.add(*repo);
    TRY(prompt.add("myproject\n"));
  }
  for (const InfillFile& file : files) {
    if (separator) {
      prompt.add(*separator);
      TRY(prompt.add(file.name + "\n"));
    } else {
      TRY(prompt.add("\n\n--- snippet ---\n\n"));
    }
    TRY(prompt.add(file.text));
  }
  if (separator) {
    prompt.add(*separator);
    TRY(prompt.add("filename\n"));
  }
  return {};
}

}  // namespace

bool knows_infill(const text::Tokenizer* tokenizer) {
  return tokenizer != nullptr && find_any(*tokenizer, kPrefixTokens) && find_any(*tokenizer, kSuffixTokens) &&
         find_any(*tokenizer, kMiddleTokens);
}

Result<std::vector<TokenId>> infill_prompt(const text::Tokenizer* tokenizer, const InfillTexts& texts,
                                           std::span<const InfillFile> files) {
  std::optional<TokenId> before = tokenizer == nullptr ? std::nullopt : find_any(*tokenizer, kPrefixTokens);
  std::optional<TokenId> after = tokenizer == nullptr ? std::nullopt : find_any(*tokenizer, kSuffixTokens);
  std::optional<TokenId> middle = tokenizer == nullptr ? std::nullopt : find_any(*tokenizer, kMiddleTokens);
  if (!before || !after || !middle) {
    return Error{ErrorCode::kNotSupported, "infill is not supported by this model: it has no fill-in-the-middle tokens",
                 ""};
  }
  std::vector<TokenId> ids;
  PromptBuilder built(*tokenizer, ids);
  TRY(add_files(built, *tokenizer, files));
  built.add(*before);
  TRY(built.add(texts.before));
  if (!texts.begun.empty()) TRY(built.add(texts.begun));
  built.add(*after);
  TRY(built.add(texts.after));
  built.add(*middle);
  return ids;
}

}  // namespace millrace::api
