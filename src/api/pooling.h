// Embeddings and scores: requests whose prompts are read out instead of continued. Each becomes a CompletionRequest of
// prompts without output tokens; its ReplyFormat makes vectors or scores of what the model gave for each prompt.
//  1. How hidden states become one vector (SamplingParams::pooling) is the model's matter, or the request's where its
//     dialect has a field for it. Lengths and normalising are the reply's.
//  2. A model with a head scores pairs of texts itself; any other model scores by the cosine of two embeddings.
// Source of the wire formats: vLLM 0.32 (entrypoints/pooling), llama-server b11434, Ollama docs/api.md, Cohere v2/embed
// and v2/rerank, Jina rerank, SGLang /encode. Thread: any.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/dialect.h"

namespace millrace::api {

// How a vector is written: numbers, the base64 of its bytes, or its bytes behind those of the others, which are then
// the whole body; kBytes: a header tells where each begins.
enum class VectorForm : uint8_t { kFloat, kBase64, kBytes, kBytesOnly };
enum class VectorType : uint8_t { kFloat32, kFloat16, kBfloat16 };  // of base64 and bytes

// What the rows of the field table set on these routes.
struct PoolingOptions {
  VectorForm form = VectorForm::kFloat;
  VectorType type = VectorType::kFloat32;
  std::string_view endianness = "native";  // native and little are the same here; big
  std::optional<int64_t> dimensions;       // the first so many values of a vector; none: all
  bool activation = true;                  // vectors are normalised, scores of a head go through its activation
  int64_t norm = 2;                        // of embd_normalize: -1 none, 0 largest value, 1, 2, p: p-norm
  bool every_token = false;                // task token_embed: a vector of each token
  int64_t top_n = 0;                       // rerank: most results; 0: all
  bool return_documents = true;
};

Result<DialectRequest> parse_embeddings(const Json& body, const ParseContext& context, const FormatOptions& options);
Result<DialectRequest> parse_pooling(const Json& body, const ParseContext& context, const FormatOptions& options);
Result<DialectRequest> parse_llama_embedding(const Json& body, const ParseContext& context,
                                             const FormatOptions& options);
Result<DialectRequest> parse_ollama_embed(const Json& body, const ParseContext& context, const FormatOptions& options);
// The older route: `prompt`, one vector.
Result<DialectRequest> parse_ollama_embeddings(const Json& body, const ParseContext& context,
                                               const FormatOptions& options);
Result<DialectRequest> parse_cohere_embed(const Json& body, const ParseContext& context, const FormatOptions& options);
Result<DialectRequest> parse_sglang_encode(const Json& body, const ParseContext& context, const FormatOptions& options);

// /score and /rerank with all their paths (scoring.cc).
Result<DialectRequest> parse_score(const Json& body, const ParseContext& context, const FormatOptions& options);
Result<DialectRequest> parse_rerank(const Json& body, const ParseContext& context, const FormatOptions& options);

// /classify of a model with a head (classify.cc): its labels are LABEL_0, LABEL_1, ...
Result<DialectRequest> parse_classify(const Json& body, const ParseContext& context, const FormatOptions& options);

// A request of such a route with its common fields read, no prompts yet and no output tokens.
Result<CompletionRequest> read_pooling_fields(const Json& body, const ParseContext& context, PoolingOptions& options);

// What `input` of an embedding route may be: a text, ids, both in one sequence, an object with prompt_string or
// content, or a list of such. An empty text is none of the parser's business: a model may have tokens for it.
// `list` tells whether it was a list.
Result<std::vector<PromptInput>> read_inputs(const Json& input, std::string_view name, const ParseContext& context,
                                             bool& list);

}  // namespace millrace::api
