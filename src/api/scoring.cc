// /score and /rerank: pairs of texts.
#include <fmt/core.h>

#include <utility>

#include "api/pooling.h"
#include "api/pooling_format.h"
#include "base/macros.h"

namespace millrace::api {
namespace {

Error bad(std::string path, std::string_view wanted) {
  std::string text = fmt::format("{} {}", path, wanted);
  return Error{ErrorCode::kInvalidValue, std::move(text), std::move(path)};
}

// A text, or an object with one under "text".
Result<std::string> read_text(const Json& value, const std::string& path) {
  if (value.is_string()) return value.as_string();
  const Json* text = value.get("text");
  if (text == nullptr || !text->is_string()) return bad(path, "must be a string");
  return text->as_string();
}

Result<std::vector<std::string>> read_texts(const Json& value, const std::string& path, const ParseContext& context) {
  std::vector<std::string> out;
  if (!value.is_array()) {
    out.push_back(TRY(read_text(value, path)));
    return out;
  }
  int64_t limit = context.limits[LimitId::kBatchPrompts];
  if (value.size() == 0) return Error{ErrorCode::kEmptyPrompt, path + ": must not be empty", path};
  if (static_cast<int64_t>(value.size()) > limit) {
    return Error{ErrorCode::kTooManyPrompts, fmt::format("{}: {} entries, limit {}", path, value.size(), limit), path};
  }
  for (const Json& item : value.as_array()) {
    out.push_back(TRY(read_text(item, fmt::format("{}[{}]", path, out.size()))));
  }
  return out;
}

// The first of these names that the body has.
Result<std::pair<std::string, const Json*>> find_one(const Json& body, std::initializer_list<std::string_view> names) {
  for (std::string_view name : names) {
    if (const Json* value = body.get(name)) return std::pair<std::string, const Json*>(name, value);
  }
  std::string first(*names.begin());
  return Error{ErrorCode::kMissingField, first + " is required", first};
}

// The prompts of scores of first[i] with second[j].
struct Pair {
  uint32_t first;
  uint32_t second;
};

Result<void> check_scores(const ParseContext& context) {
  const PoolingFacts& facts = context.model.pooling;
  if (facts.n_scores > 1) {
    return Error{ErrorCode::kNotSupported,
                 fmt::format("this model has {} labels: scores need a model with one", facts.n_scores), "model"};
  }
  if (facts.n_scores == 0 && facts.pooling == flow::Pooling::kTokens) {
    return Error{ErrorCode::kInvalidValue, "scores need one vector of a text: use another --pooling than none",
                 "model"};
  }
  return {};
}

ScorePairs add_prompts(CompletionRequest& request, std::vector<std::string> first, std::vector<std::string> second,
                       const std::vector<Pair>& pairs, const PoolingFacts& facts) {
  ScorePairs out;
  out.head = facts.n_scores > 0;
  if (out.head) {
    for (const Pair& pair : pairs) {
      request.prompts.emplace_back(PromptPair{first[pair.first], second[pair.second]});
    }
    return out;
  }
  auto n_first = static_cast<uint32_t>(first.size());
  for (std::string& text : first) request.prompts.emplace_back(std::move(text));
  for (std::string& text : second) request.prompts.emplace_back(std::move(text));
  for (const Pair& pair : pairs) out.prompts.emplace_back(pair.first, n_first + pair.second);
  return out;
}

// A head's score as it is: llama-server's reply.
bool raw_scores(const ParseContext& context) { return context.profile->id == Compat::kLlamaServer; }

}  // namespace

Result<DialectRequest> parse_score(const Json& body, const ParseContext& context, const FormatOptions& options) {
  RankOptions rank;
  CompletionRequest request = TRY(read_pooling_fields(body, context, rank.pooling));
  TRY(check_scores(context));
  auto [first_name, first_value] = TRY(find_one(body, {"text_1", "queries", "data_1"}));
  auto [second_name, second_value] = TRY(find_one(body, {"text_2", "documents", "items", "data_2"}));
  std::vector<std::string> first = TRY(read_texts(*first_value, first_name, context));
  std::vector<std::string> second = TRY(read_texts(*second_value, second_name, context));
  if (first.size() != 1 && first.size() != second.size()) {
    return bad(first_name, fmt::format("has {} entries, {} has {}: must be one, or as many", first.size(), second_name,
                                       second.size()));
  }
  std::vector<Pair> pairs;
  for (uint32_t i = 0; i < second.size(); ++i) pairs.push_back({first.size() == 1 ? 0 : i, i});
  ScorePairs scored = add_prompts(request, std::move(first), std::move(second), pairs, context.model.pooling);
  return DialectRequest{.body = std::move(request),
                        .format = make_rank_format(std::move(rank), std::move(scored), options.error_style)};
}

Result<DialectRequest> parse_rerank(const Json& body, const ParseContext& context, const FormatOptions& options) {
  RankOptions rank;
  CompletionRequest request = TRY(read_pooling_fields(body, context, rank.pooling));
  TRY(check_scores(context));
  const Json* query = body.get("query");
  if (query == nullptr) return Error{ErrorCode::kMissingField, "query is required", "query"};
  std::string text = TRY(read_text(*query, "query"));
  auto [name, value] = TRY(find_one(body, {"documents", "texts"}));
  bool texts = name == "texts";  // text-embeddings-inference
  rank.reply = texts ? RankReply::kRerankTexts : RankReply::kRerank;
  if (!value->is_array()) return bad(name, "must be an array of strings");
  std::vector<std::string> documents = TRY(read_texts(*value, name, context));
  if (texts && body.get("return_text") == nullptr) rank.pooling.return_documents = false;
  if (raw_scores(context)) {
    rank.pooling.activation = false;
    if (body.get("return_documents") == nullptr) rank.pooling.return_documents = false;
  }
  if (rank.pooling.return_documents) rank.documents = documents;
  std::vector<Pair> pairs;
  for (uint32_t i = 0; i < documents.size(); ++i) pairs.push_back({0, i});
  std::vector<std::string> queries;
  queries.push_back(std::move(text));
  ScorePairs scored = add_prompts(request, std::move(queries), std::move(documents), pairs, context.model.pooling);
  return DialectRequest{.body = std::move(request),
                        .format = make_rank_format(std::move(rank), std::move(scored), options.error_style)};
}

}  // namespace millrace::api
