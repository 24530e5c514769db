#include "base/limits.h"

#include <fmt/core.h>

namespace millrace {
namespace {

using Id = LimitId;
using Code = ErrorCode;
constexpr int64_t kKiB = 1024;
constexpr int64_t kMiB = 1024 * 1024;

constexpr Limit kLimits[] = {
    {Id::kUriBytes, "uri_bytes", 8 * kKiB, 64 * kKiB, "bytes", "--limit-uri-bytes", Code::kUriTooLong},
    {Id::kHeaderBytes, "header_bytes", 8 * kKiB, 64 * kKiB, "bytes", "--limit-header-bytes", Code::kHeadersTooLarge},
    {Id::kHeadersBytes, "headers_bytes", 32 * kKiB, 256 * kKiB, "bytes", "--limit-headers-bytes",
     Code::kHeadersTooLarge},
    {Id::kHeaderCount, "header_count", 100, 1000, "items", "--limit-header-count", Code::kHeadersTooLarge},
    {Id::kHeaderSeconds, "header_s", 10, 600, "s", "--limit-header-s", Code::kRequestTimeout},
    {Id::kBodyIdleSeconds, "body_idle_s", 30, 600, "s", "--limit-body-idle-s", Code::kRequestTimeout},
    {Id::kSendStallSeconds, "send_stall_s", 30, 600, "s", "--limit-send-stall-s", Code::kSlowReader},
    {Id::kKeepaliveIdleSeconds, "keepalive_idle_s", 75, 600, "s", "--limit-keepalive-idle-s", Code::kRequestTimeout},
    {Id::kBodyBytes, "body_bytes", 8 * kMiB, 1024 * kMiB, "bytes", "--limit-body-bytes", Code::kRequestTooLarge},
    {Id::kConnections, "connections", 16384, 1'000'000, "items", "--limit-connections", Code::kQueueFull},
    {Id::kConnectionsPerIp, "connections_per_ip", 1024, 1'000'000, "items", "--limit-connections-per-ip",
     Code::kRateLimitExceeded},
    {Id::kPipelined, "pipelined", 16, 256, "items", "--limit-pipelined", Code::kQueueFull},
    {Id::kRequestsPerKey, "requests_per_key", 256, 65536, "items", "--limit-requests-per-key", Code::kKeyConcurrency},
    {Id::kJsonDepth, "json_depth", 64, 512, "levels", "--limit-json-depth", Code::kInvalidJson},
    {Id::kJsonNodes, "json_nodes", 1'000'000, 10'000'000, "values", "--limit-json-nodes", Code::kInvalidJson},
    {Id::kMessages, "messages", 4096, 100'000, "items", "--limit-messages", Code::kInvalidValue},
    {Id::kTools, "tools", 128, 1024, "items", "--limit-tools", Code::kInvalidValue},
    {Id::kBatchPrompts, "batch_prompts", 1024, 2048, "items", "--limit-batch-prompts", Code::kTooManyPrompts},
    {Id::kN, "n", 128, 1024, "items", "--max-n", Code::kInvalidValue},
    {Id::kChoices, "choices", 16384, 16384, "items", "", Code::kInvalidValue},
    {Id::kStopStrings, "stop_strings", 16, 64, "items", "--limit-stop-strings", Code::kInvalidValue},
    {Id::kStopBytes, "stop_bytes", 256, 4096, "bytes", "--limit-stop-bytes", Code::kInvalidValue},
    {Id::kStopTokenIds, "stop_token_ids", 256, 4096, "items", "--limit-stop-token-ids", Code::kInvalidValue},
    {Id::kTopLogprobs, "top_logprobs", 20, 2'000'000, "items", "--max-logprobs", Code::kInvalidValue},
    {Id::kLogitBias, "logit_bias", 1024, 1'000'000, "items", "--limit-logit-bias", Code::kInvalidValue},
    {Id::kRequestTimeoutSeconds, "request_timeout_s", 86400, 86400, "s", "", Code::kInvalidValue},
    {Id::kQueuedRequests, "queued_requests", 512, 65536, "items", "--max-num-queued-reqs", Code::kQueueFull},
    {Id::kQueuedTokens, "queued_tokens", 1'000'000, 1'000'000'000, "tokens", "--max-num-queued-tokens",
     Code::kQueueFull},
    {Id::kQueuedBytes, "queued_bytes", 256 * kMiB, 4096 * kMiB, "bytes", "--limit-queued-bytes", Code::kQueueFull},
    {Id::kSseRingBytes, "sse_ring_bytes", 64 * kKiB, kMiB, "bytes", "--limit-sse-ring-bytes", Code::kSlowReader},
    {Id::kStreamCredits, "stream_credits", 256, 4096, "tokens", "--limit-stream-credits", Code::kSlowReader},
    {Id::kParkSeconds, "park_s", 30, 600, "s", "--limit-park-s", Code::kSlowReader},
    {Id::kTemplateSteps, "template_steps", 1'000'000, 50'000'000, "steps", "--limit-template-steps",
     Code::kInvalidTemplate},
    {Id::kTemplateOutput, "template_output", 8 * kMiB, 64 * kMiB, "bytes", "--limit-template-output",
     Code::kInvalidTemplate},
    {Id::kTemplateDepth, "template_depth", 128, 512, "levels", "--limit-template-depth", Code::kInvalidTemplate},
    {Id::kTemplateRange, "template_range", 100'000, 1'000'000, "items", "--limit-template-range",
     Code::kInvalidTemplate},
    {Id::kTemplateKwargs, "template_kwargs", 64, 1024, "items", "--limit-template-kwargs", Code::kInvalidValue},
    {Id::kPretokPatternBytes, "pretok_pattern_bytes", 4 * kKiB, 4 * kKiB, "bytes", "", Code::kBadFile},
    {Id::kMatchSteps, "match_steps", 1'000'000, 100'000'000, "steps", "--limit-match-steps", Code::kTokenizerLimit},
    {Id::kGgufTensors, "gguf_tensors", 65536, 65536, "items", "", Code::kBadFile},
    {Id::kGgufKeys, "gguf_keys", 65536, 65536, "items", "", Code::kBadFile},
    {Id::kGgufStringBytes, "gguf_string", 64 * kMiB, 64 * kMiB, "bytes", "", Code::kBadFile},
    {Id::kSafetensorsHeaderBytes, "safetensors_header", 100'000'000, 100'000'000, "bytes", "", Code::kBadFile},
    {Id::kConfigBytes, "config_bytes", 16 * kMiB, 16 * kMiB, "bytes", "", Code::kBadFile},
    {Id::kTokenizerBytes, "tokenizer_bytes", 128 * kMiB, 128 * kMiB, "bytes", "", Code::kBadFile},
    {Id::kVocabulary, "vocabulary", 2'000'000, 2'000'000, "items", "", Code::kBadFile},
    {Id::kMerges, "merges", 4'000'000, 4'000'000, "items", "", Code::kBadFile},
    {Id::kTokenBytes, "token_bytes", 4 * kKiB, 4 * kKiB, "bytes", "", Code::kBadFile},
    {Id::kSchemaBytes, "schema_bytes", 256 * kKiB, 4 * kMiB, "bytes", "--limit-schema-bytes", Code::kInvalidSchema},
    {Id::kSchemaDepth, "schema_depth", 64, 256, "levels", "--limit-schema-depth", Code::kInvalidSchema},
    {Id::kSchemaEnum, "schema_enum", 10'000, 100'000, "items", "--limit-schema-enum", Code::kInvalidSchema},
    {Id::kSchemaAlternatives, "schema_alternatives", 1'000, 10'000, "items", "--limit-schema-alternatives",
     Code::kInvalidSchema},
    {Id::kSchemaProperties, "schema_properties", 10'000, 100'000, "items", "--limit-schema-properties",
     Code::kInvalidSchema},
    {Id::kSchemaRefs, "schema_refs", 2'000, 20'000, "items", "--limit-schema-refs", Code::kInvalidSchema},
    {Id::kGrammarBytes, "grammar_bytes", 256 * kKiB, 4 * kMiB, "bytes", "--limit-grammar-bytes", Code::kInvalidGrammar},
    {Id::kGrammarNesting, "grammar_nesting", 256, 1'000, "levels", "--limit-grammar-nesting", Code::kInvalidGrammar},
    {Id::kGrammarRules, "grammar_rules", 20'000, 200'000, "items", "--limit-grammar-rules", Code::kInvalidGrammar},
    {Id::kGrammarStates, "grammar_states", 100'000, 1'000'000, "states", "--limit-grammar-states",
     Code::kInvalidGrammar},
    {Id::kRegexBytes, "regex_bytes", 4 * kKiB, 64 * kKiB, "bytes", "--limit-regex-bytes", Code::kInvalidRegex},
    {Id::kRegexNesting, "regex_nesting", 64, 256, "levels", "--limit-regex-nesting", Code::kInvalidRegex},
    {Id::kCompileMs, "compile_ms", 500, 10'000, "ms", "--limit-compile-ms", Code::kConstraintTooCostly},
    {Id::kCompileBytes, "compile_bytes", 64 * kMiB, 1024 * kMiB, "bytes", "--limit-compile-bytes",
     Code::kConstraintTooCostly},
    {Id::kCompileQueue, "compile_queue", 32, 4096, "items", "--limit-compile-queue", Code::kConstraintQueueFull},
    {Id::kRequestIdBytes, "request_id", 128, 128, "bytes", "", Code::kInvalidValue},
    {Id::kKeyBytes, "key_bytes", 512, 512, "bytes", "", Code::kInvalidApiKey},
    {Id::kDrainSeconds, "drain_s", 30, 86400, "s", "--shutdown-timeout", Code::kDraining},
    {Id::kLiveStallSeconds, "live_stall_s", 30, 3600, "s", "--live-stall", Code::kEngineDead},
    {Id::kWatchdogSeconds, "watchdog_s", 60, 3600, "s", "--watchdog", Code::kEngineDead},
};
static_assert(std::size(kLimits) == static_cast<size_t>(LimitId::kCount));

}  // namespace

std::span<const Limit> limit_table() { return kLimits; }

Limits::Limits() {
  for (const Limit& row : kLimits) values_[static_cast<size_t>(row.id)] = row.default_value;
}

Result<void> Limits::set(LimitId id, int64_t value) {
  const Limit& row = kLimits[static_cast<size_t>(id)];
  if (value < 1 || value > row.hard_max) {
    return Error{ErrorCode::kUsage, fmt::format("{} = {}: must be 1..{} {}", row.flag, value, row.hard_max, row.unit),
                 std::string(row.flag)};
  }
  values_[static_cast<size_t>(id)] = value;
  return {};
}

}  // namespace millrace
