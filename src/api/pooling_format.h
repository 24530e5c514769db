// The replies of pooling routes. Key order is fixed and follows API.md 4.8. Thread: any.
#pragma once

#include <memory>

#include "api/pooling.h"

namespace millrace::api {

enum class EmbeddingReply : uint8_t {
  kOpenAi,
  kPooling,  // vLLM: object "pooling", the vector under "data"
  kLlama,    // an array of {index, embedding: [[...]]}
  kOllama,
  kOllamaOne,  // {"embedding": [...]}
  kCohere,
  kSglang,      // {embedding, meta_info}
  kSglangList,  // an array of such
};
// `every_token`: a prompt gives a vector for each of its tokens, which stay as they are.
std::unique_ptr<ReplyFormat> make_embedding_format(EmbeddingReply reply, PoolingOptions options, bool every_token,
                                                   ErrorStyle style);

// Which prompts a score is of. With a head every prompt is a pair and has its score; else a pair of embeddings.
struct ScorePairs {
  bool head = false;
  std::vector<std::pair<uint32_t, uint32_t>> prompts;  // without a head: [n_scores] prompt indices
};

enum class RankReply : uint8_t { kScore, kRerank, kRerankTexts };
struct RankOptions {
  RankReply reply = RankReply::kScore;
  PoolingOptions pooling;
  std::vector<std::string> documents;  // for return_documents; may be empty
};
std::unique_ptr<ReplyFormat> make_rank_format(RankOptions options, ScorePairs pairs, ErrorStyle style);

// {"object":"list","data":[{index,label,probs,num_classes}]}
std::unique_ptr<ReplyFormat> make_classify_format(bool activation, ErrorStyle style);

// Cuts to the first `dimensions` values and normalises, as the options say.
std::vector<float> finished_embedding(std::span<const float> vector, const PoolingOptions& options);

}  // namespace millrace::api
