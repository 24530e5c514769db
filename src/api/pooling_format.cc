#include "api/pooling_format.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <utility>

#include "api/json_text.h"
#include "api/vector_bytes.h"
#include "text/base64.h"

namespace millrace::api {
namespace {

double norm_of(std::span<const float> values, int64_t norm) {
  constexpr double kLargestInt16 = 32760.0;  // llama.cpp, common_embd_normalize
  double sum = 0;
  for (float value : values) {
    double size = std::abs(static_cast<double>(value));
    if (norm == 0) {
      sum = std::max(sum, size);
    } else {
      sum += norm == 2 ? size * size : std::pow(size, static_cast<double>(norm));
    }
  }
  if (norm == 0) return sum / kLargestInt16;
  return norm == 2 ? std::sqrt(sum) : std::pow(sum, 1.0 / static_cast<double>(norm));
}

void append_vector(std::string& out, std::span<const float> values, const PoolingOptions& options) {
  if (options.form == VectorForm::kBase64) {
    out += '"';
    out += text::encode_base64(vector_bytes(values, options.type, options.endianness == "big"));
    out += '"';
    return;
  }
  out += '[';
  for (float value : values) fmt::format_to(std::back_inserter(out), "{},", value);
  if (!values.empty()) out.pop_back();
  out += ']';
}

void append_usage(std::string& out, const Usage& usage) {
  fmt::format_to(std::back_inserter(out), R"("usage":{{"prompt_tokens":{0},"total_tokens":{0}}})", usage.prompt_tokens);
}

// {"id","object":"list","created","model"
void append_head(std::string& out, const ReplyHead& head) {
  out += R"({"id":)";
  append_json_string(out, head.id);
  fmt::format_to(std::back_inserter(out), R"(,"object":"list","created":{},"model":)", head.created);
  append_json_string(out, head.model);
}

// What no such route has: streams.
class WholeFormat : public ReplyFormat {
 public:
  explicit WholeFormat(ErrorStyle style) : style_(style) {}
  ErrorStyle error_style() const override { return style_; }
  void begin(std::string&, const StreamView&) override {}
  void piece(std::string&, const StreamView&, const Piece&) override {}
  void end(std::string&, const StreamView&) override {}
  void fail(std::string& out, const ApiError& error) override { out += error_event(error, style_); }

 private:
  ErrorStyle style_;
};

class EmbeddingFormat final : public WholeFormat {
 public:
  EmbeddingFormat(EmbeddingReply reply, PoolingOptions options, bool every_token, ErrorStyle style)
      : WholeFormat(style), reply_(reply), options_(options), every_token_(every_token) {}

  std::string_view id_prefix() const override { return reply_ == EmbeddingReply::kPooling ? "pool-" : "embd-"; }

  std::string whole(const ReplyParts& parts) override {
    const bool raw = options_.form == VectorForm::kBytes || options_.form == VectorForm::kBytesOnly;
    if (raw) return bytes(parts);
    switch (reply_) {
      case EmbeddingReply::kOpenAi:
      case EmbeddingReply::kPooling:
        return openai(parts);
      case EmbeddingReply::kLlama:
        return list(parts, [&](std::string& out, size_t i) {
          fmt::format_to(std::back_inserter(out), R"({{"index":{},"embedding":)", i);
          append_rows(out, parts.prompts[i]);
          out += '}';
        });
      case EmbeddingReply::kOllama:
        return ollama(parts);
      case EmbeddingReply::kOllamaOne: {
        std::string out = R"({"embedding":)";
        append_one(out, parts.prompts.front());
        return out + '}';
      }
      case EmbeddingReply::kCohere:
        return cohere(parts);
      case EmbeddingReply::kSglang: {
        std::string out;
        append_sglang(out, parts, 0);
        return out;
      }
      case EmbeddingReply::kSglangList:
        return list(parts, [&](std::string& out, size_t i) { append_sglang(out, parts, i); });
    }
    return {};
  }

  ReplyHeaders whole_headers() const override { return headers_; }

 private:
  // The vectors one behind the other. Source of the header: vLLM, entrypoints/pooling/utils.py (MetadataItem).
  std::string bytes(const ReplyParts& parts) {
    std::string out;
    std::string items;
    for (size_t i = 0; i < parts.prompts.size(); ++i) {
      const PromptOutput& prompt = parts.prompts[i];
      const size_t n_rows = every_token_ ? std::max<size_t>(prompt.token_ids.size(), 1) : 1;
      std::vector<float> values = every_token_ ? prompt.pooled : finished_embedding(prompt.pooled, options_);
      const std::string shape =
          every_token_ ? fmt::format("{}, {}", n_rows, values.size() / n_rows) : std::to_string(values.size());
      const size_t begin = out.size();
      out += vector_bytes(values, options_.type, options_.endianness == "big");
      fmt::format_to(std::back_inserter(items),
                     R"({}{{"index":{},"embed_dtype":"{}","endianness":"{}","start":{},"end":{},"shape":[{}]}})",
                     i > 0 ? "," : "", i, type_name(options_.type), options_.endianness, begin, out.size(), shape);
    }
    headers_ = {.content_type = kBinaryType, .more = {}};
    if (options_.form == VectorForm::kBytesOnly) return out;
    std::string metadata;
    append_head(metadata, parts.head);
    metadata += R"(,"data":[)" + items + "],";
    append_usage(metadata, parts.usage);
    headers_.more.emplace_back("metadata", metadata + '}');
    return out;
  }

  template <class Append>
  static std::string list(const ReplyParts& parts, const Append& append) {
    std::string out = "[";
    for (size_t i = 0; i < parts.prompts.size(); ++i) {
      if (i > 0) out += ',';
      append(out, i);
    }
    return out + ']';
  }

  // The vector of a prompt, or with every_token the array of its vectors.
  void append_one(std::string& out, const PromptOutput& prompt) const {
    if (every_token_) {
      append_rows(out, prompt);
    } else {
      append_vector(out, finished_embedding(prompt.pooled, options_), options_);
    }
  }
  void append_rows(std::string& out, const PromptOutput& prompt) const {
    size_t n_rows = every_token_ ? std::max<size_t>(prompt.token_ids.size(), 1) : 1;
    size_t width = prompt.pooled.size() / n_rows;
    out += '[';
    for (size_t row = 0; row < n_rows; ++row) {
      if (row > 0) out += ',';
      auto values = std::span(prompt.pooled).subspan(row * width, width);
      if (every_token_) {
        append_vector(out, values, options_);
      } else {
        append_vector(out, finished_embedding(values, options_), options_);
      }
    }
    out += ']';
  }

  std::string openai(const ReplyParts& parts) const {
    bool pooling = reply_ == EmbeddingReply::kPooling;
    std::string out;
    append_head(out, parts.head);
    out += R"(,"data":)";
    out += list(parts, [&](std::string& to, size_t i) {
      fmt::format_to(std::back_inserter(to), R"({{"index":{},"object":"{}","{}":)", i,
                     pooling ? "pooling" : "embedding", pooling ? "data" : "embedding");
      append_one(to, parts.prompts[i]);
      to += '}';
    });
    out += ',';
    append_usage(out, parts.usage);
    return out + '}';
  }

  std::string ollama(const ReplyParts& parts) const {
    constexpr double kNanosPerMs = 1e6;
    auto total = static_cast<int64_t>(parts.timings == nullptr ? 0 : parts.timings->prompt_ms * kNanosPerMs);
    std::string out = R"({"model":)";
    append_json_string(out, parts.head.model);
    out += R"(,"embeddings":)";
    out += list(parts, [&](std::string& to, size_t i) { append_one(to, parts.prompts[i]); });
    fmt::format_to(std::back_inserter(out), R"(,"total_duration":{},"load_duration":0,"prompt_eval_count":{}}})", total,
                   parts.usage.prompt_tokens);
    return out;
  }

  std::string cohere(const ReplyParts& parts) const {
    std::string out = R"({"id":)";
    append_json_string(out, parts.head.id);
    fmt::format_to(std::back_inserter(out), R"(,"embeddings":{{"{}":)",
                   options_.form == VectorForm::kBase64 ? "base64" : "float");
    out += list(parts, [&](std::string& to, size_t i) { append_one(to, parts.prompts[i]); });
    fmt::format_to(std::back_inserter(out),
                   R"(}},"meta":{{"api_version":{{"version":"2"}},"billed_units":{{"input_tokens":{}}}}},)",
                   parts.usage.prompt_tokens);
    out += R"("response_type":"embeddings_by_type",)";
    append_usage(out, parts.usage);
    return out + '}';
  }

  void append_sglang(std::string& out, const ReplyParts& parts, size_t i) const {
    out += R"({"embedding":)";
    append_one(out, parts.prompts[i]);
    out += R"(,"meta_info":{"id":)";
    append_json_string(out, parts.head.id);
    fmt::format_to(std::back_inserter(out), R"(,"finish_reason":null,"prompt_tokens":{}}}}})",
                   parts.prompts[i].token_ids.size());
  }

  EmbeddingReply reply_;
  PoolingOptions options_;
  bool every_token_;
  ReplyHeaders headers_;
};

double cosine(std::span<const float> a, std::span<const float> b) {
  double dot = 0;
  double aa = 0;
  double bb = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    dot += static_cast<double>(a[i]) * b[i];
    aa += static_cast<double>(a[i]) * a[i];
    bb += static_cast<double>(b[i]) * b[i];
  }
  return aa > 0 && bb > 0 ? dot / std::sqrt(aa * bb) : 0.0;
}

class RankFormat final : public WholeFormat {
 public:
  RankFormat(RankOptions options, ScorePairs pairs, ErrorStyle style)
      : WholeFormat(style), options_(std::move(options)), pairs_(std::move(pairs)) {}

  std::string_view id_prefix() const override { return options_.reply == RankReply::kScore ? "score-" : "rerank-"; }

  std::string whole(const ReplyParts& parts) override {
    std::vector<double> scores = scores_of(parts.prompts);
    if (options_.reply == RankReply::kScore) return score_reply(parts, scores);
    std::vector<uint32_t> order(scores.size());
    for (uint32_t i = 0; i < order.size(); ++i) order[i] = i;
    std::stable_sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return scores[a] > scores[b]; });
    auto top = static_cast<size_t>(options_.pooling.top_n);
    if (top > 0 && top < order.size()) order.resize(top);
    return rerank_reply(parts, scores, order);
  }

 private:
  std::vector<double> scores_of(std::span<const PromptOutput> prompts) const {
    std::vector<double> scores;
    if (!pairs_.head) {
      for (auto [a, b] : pairs_.prompts) scores.push_back(cosine(prompts[a].pooled, prompts[b].pooled));
      return scores;
    }
    for (const PromptOutput& prompt : prompts) {
      double raw = prompt.pooled.empty() ? 0.0 : static_cast<double>(prompt.pooled.front());
      scores.push_back(options_.pooling.activation ? 1.0 / (1.0 + std::exp(-raw)) : raw);
    }
    return scores;
  }

  static std::string score_reply(const ReplyParts& parts, const std::vector<double>& scores) {
    std::string out;
    append_head(out, parts.head);
    out += R"(,"data":[)";
    for (size_t i = 0; i < scores.size(); ++i) {
      fmt::format_to(std::back_inserter(out), R"({}{{"index":{},"object":"score","score":)", i > 0 ? "," : "", i);
      append_json_double(out, scores[i]);
      out += '}';
    }
    out += "],";
    append_usage(out, parts.usage);
    return out + '}';
  }

  void append_result(std::string& out, uint32_t index, double score) const {
    bool texts = options_.reply == RankReply::kRerankTexts;
    fmt::format_to(std::back_inserter(out), R"({{"index":{},)", index);
    if (index < options_.documents.size() && options_.pooling.return_documents) {
      out += texts ? R"("text":)" : R"("document":{"text":)";
      append_json_string(out, options_.documents[index]);
      out += texts ? "," : "},";
    }
    out += texts ? R"("score":)" : R"("relevance_score":)";
    append_json_double(out, score);
    out += '}';
  }

  std::string rerank_reply(const ReplyParts& parts, const std::vector<double>& scores,
                           const std::vector<uint32_t>& order) const {
    std::string results = "[";
    for (uint32_t i : order) {
      if (results.size() > 1) results += ',';
      append_result(results, i, scores[i]);
    }
    results += ']';
    if (options_.reply == RankReply::kRerankTexts) return results;
    std::string out = R"({"id":)";
    append_json_string(out, parts.head.id);
    out += R"(,"model":)";
    append_json_string(out, parts.head.model);
    out += R"(,"object":"list",)";
    append_usage(out, parts.usage);
    out += R"(,"results":)";
    return out + results + '}';
  }

  RankOptions options_;
  ScorePairs pairs_;
};

// One score goes through a sigmoid, several through a softmax, as vLLM does.
std::vector<double> probabilities(std::span<const float> scores, bool activation) {
  std::vector<double> out;
  double largest = scores.empty() ? 0.0 : static_cast<double>(*std::max_element(scores.begin(), scores.end()));
  double sum = 0;
  for (float score : scores) {
    auto x = static_cast<double>(score);
    if (activation) x = scores.size() == 1 ? 1.0 / (1.0 + std::exp(-x)) : std::exp(x - largest);
    out.push_back(x);
    sum += x;
  }
  for (double& x : out) {
    if (activation && out.size() > 1) x /= sum;
  }
  return out;
}

class ClassifyFormat final : public WholeFormat {
 public:
  ClassifyFormat(bool activation, ErrorStyle style) : WholeFormat(style), activation_(activation) {}
  std::string_view id_prefix() const override { return "classify-"; }

  std::string whole(const ReplyParts& parts) override {
    std::string out;
    append_head(out, parts.head);
    out += R"(,"data":[)";
    for (size_t i = 0; i < parts.prompts.size(); ++i) {
      std::vector<double> probs = probabilities(parts.prompts[i].pooled, activation_);
      auto best = std::max_element(probs.begin(), probs.end()) - probs.begin();
      fmt::format_to(std::back_inserter(out), R"({}{{"index":{},"label":"LABEL_{}","probs":[)", i > 0 ? "," : "", i,
                     best);
      for (size_t k = 0; k < probs.size(); ++k) {
        if (k > 0) out += ',';
        append_json_double(out, probs[k]);
      }
      fmt::format_to(std::back_inserter(out), R"(],"num_classes":{}}})", probs.size());
    }
    out += "],";
    append_usage(out, parts.usage);
    return out + '}';
  }

 private:
  bool activation_;
};

}  // namespace

std::unique_ptr<ReplyFormat> make_classify_format(bool activation, ErrorStyle style) {
  return std::make_unique<ClassifyFormat>(activation, style);
}

std::vector<float> finished_embedding(std::span<const float> vector, const PoolingOptions& options) {
  size_t n = vector.size();
  if (options.dimensions) n = std::min(n, static_cast<size_t>(*options.dimensions));
  std::vector<float> out(vector.begin(), vector.begin() + static_cast<std::ptrdiff_t>(n));
  if (!options.activation || options.norm < 0) return out;
  double norm = norm_of(out, options.norm);
  for (float& value : out) value = norm > 0 ? static_cast<float>(static_cast<double>(value) / norm) : 0.0f;
  return out;
}

std::unique_ptr<ReplyFormat> make_embedding_format(EmbeddingReply reply, PoolingOptions options, bool every_token,
                                                   ErrorStyle style) {
  return std::make_unique<EmbeddingFormat>(reply, options, every_token, style);
}

std::unique_ptr<ReplyFormat> make_rank_format(RankOptions options, ScorePairs pairs, ErrorStyle style) {
  return std::make_unique<RankFormat>(std::move(options), std::move(pairs), style);
}

}  // namespace millrace::api
