// The table of request fields: name, aliases, routes, type, range and what is done with the value. The parser, the
// documentation and the tests iterate it; adding a field is one row here (and its struct member).
// Thread: any (constant data).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "api/common.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/result.h"

namespace millrace::api {

struct ChatRequest;
struct CompletionRequest;
struct PoolingOptions;

// Routes, as bits.
constexpr uint8_t kRouteChat = 1;
constexpr uint8_t kRouteCompletions = 2;
constexpr uint8_t kRouteNative = 4;      // a text in a native dialect (llama-server, Ollama, TGI, SGLang, KServe)
constexpr uint8_t kRouteNativeChat = 8;  // messages in a native dialect (Ollama, Anthropic)
constexpr uint8_t kRoutePooling = 16;    // embeddings and scores
constexpr uint8_t kRouteOpenAi = kRouteChat | kRouteCompletions;
constexpr uint8_t kRouteGenerate = kRouteOpenAi | kRouteNative | kRouteNativeChat;

enum class FieldType : uint8_t {
  kBool,
  kInt,       // range in Field::low .. high
  kNumber,    // range in Field::low_number .. high_number
  kString,    // length in bytes in low .. high
  kVisible,   // string of 0x21..0x7E, length in low .. high
  kSalt,      // string of 1..high bytes without @ / \\ and NUL
  kStop,      // a string or an array of strings
  kTokenIds,  // an array of token ids, at most `high`
  kLogitBias,
  kTextLogitBias,  // the same, with texts and false (logit_bias.h)
  kObject,
  kArray,
  kChoice,  // one of the words in Field::words
  kAny,     // looked at by the route's own parser
};

enum class Support : uint8_t {
  kHonoured,
  kNoEffect,       // accepted and ignored
  kUnlessNeutral,  // 400 unsupported_parameter unless the value is one of Field::words (JSON texts)
};

// Whether -1, below the range of a kInt, is allowed too.
enum class MinusOne : uint8_t {
  kNo,
  kRest,  // the rest of the context, where lengths are cut to what fits (CompatProfile::clamp)
  kAll,   // every token of the vocabulary, where the field's limit is no less
};

// Where a field's setter puts the value; the pointer of the other route is null.
struct FieldTarget {
  CommonParams& common;
  ChatRequest* chat = nullptr;
  CompletionRequest* completion = nullptr;
  PoolingOptions* pooling = nullptr;  // with kRoutePooling
  std::string_view sent_name = {};    // while a setter runs: what the client called the field
  // what only the checks across fields need
  std::string_view logprob_token_ids_name = {};  // the name sent
  bool chat_logprobs = false;
  bool top_logprobs_set = false;
  int64_t best_of = 0;
  std::optional<int64_t> repeat_last_n;  // native dialects: the window of the penalties
  bool stream_options_set = false;
  bool generation_prompt_sent = false;
  bool add_generation_sent = false;  // whatever its value
  int64_t n_vocab = 0;
  bool grammar_lazy = false;
  std::vector<flow::Trigger> grammar_triggers = {};
};

struct Field {
  std::string_view name;
  std::string_view aliases = {};  // separated by spaces; the name wins over an alias, an earlier alias over a later one
  uint8_t routes = kRouteGenerate;
  FieldType type = FieldType::kAny;
  Support support = Support::kHonoured;
  int64_t low = 0;
  int64_t high = INT64_MAX;
  double low_number = 0;
  double high_number = 0;
  bool low_open = false;            // low_number itself is refused
  LimitId limit = LimitId::kCount;  // replaces `high` when set
  MinusOne minus_one = MinusOne::kNo;
  std::string_view words = {};         // kChoice and neutral values, separated by "|"
  std::string_view default_text = {};  // for documentation
  std::string_view note = {};          // kUnlessNeutral: why, appended to the message
  void (*set)(FieldTarget& target, const Json& value) = nullptr;
};

std::span<const Field> request_fields();

// Largest value or count of a field under these limits.
int64_t field_high(const Field& field, const Limits& limits);
// Most ids of a kTokenIds field: as many as there are tokens unless the row says less.
int64_t token_ids_high(const Field& field, const Limits& limits, int64_t n_vocab);
// "n must be an integer in 1..128": what a bad value of this field is answered with.
std::string range_text(const Field& field, const Limits& limits);
// The field's own checks (type and range), before set().
Result<void> check_field(const Field& field, const Json& value, const ParseContext& context);
// Applies every member of body that is a row of the table for this route; unknown names are counted or refused.
Result<void> read_fields(const Json& body, uint8_t route, const ParseContext& context, FieldTarget& target);

// Depth and number of values of a body. A schema in it may be as deep as schema_depth allows, two levels of JSON each.
JsonLimits body_limits(const Limits& limits);
// The body of a POST: a JSON object within the limits, in memory too (kInvalidJson, kDuplicateKey). Pass a temporary:
// the text need not outlive the call.
Result<Json> parse_body(std::string_view text, const Limits& limits);

// The model name to answer under, or 404 model_not_found.
Result<std::string> resolve_model(const Json& body, const ParseContext& context);

}  // namespace millrace::api
