// Every bound on outside input, once. Flags, documentation, validators and the boundary tests iterate kLimits.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/result.h"

namespace millrace {

// Index into kLimits.
enum class LimitId : uint8_t {
  kUriBytes,
  kHeaderBytes,
  kHeadersBytes,
  kHeaderCount,
  kHeaderSeconds,
  kBodyIdleSeconds,
  kSendStallSeconds,
  kKeepaliveIdleSeconds,
  kBodyBytes,
  kConnections,
  kConnectionsPerIp,
  kPipelined,
  kRequestsPerKey,
  kJsonDepth,
  kJsonNodes,
  kMessages,
  kTools,
  kBatchPrompts,
  kN,
  kChoices,
  kStopStrings,
  kStopBytes,
  kStopTokenIds,
  kTopLogprobs,
  kLogitBias,
  kRequestTimeoutSeconds,
  kQueuedRequests,
  kQueuedTokens,
  kQueuedBytes,
  kSseRingBytes,
  kStreamCredits,
  kParkSeconds,
  kTemplateSteps,
  kTemplateOutput,
  kTemplateDepth,
  kTemplateRange,
  kTemplateKwargs,
  kPretokPatternBytes,
  kMatchSteps,
  kGgufTensors,
  kGgufKeys,
  kGgufStringBytes,
  kSafetensorsHeaderBytes,
  kConfigBytes,
  kTokenizerBytes,
  kVocabulary,
  kMerges,
  kTokenBytes,
  kSchemaBytes,
  kSchemaDepth,
  kSchemaEnum,
  kSchemaAlternatives,
  kSchemaProperties,
  kSchemaRefs,
  kGrammarBytes,
  kGrammarNesting,
  kGrammarRules,
  kGrammarStates,
  kRegexBytes,
  kRegexNesting,
  kCompileMs,
  kCompileBytes,
  kCompileQueue,
  kRequestIdBytes,
  kKeyBytes,
  kDrainSeconds,
  kLiveStallSeconds,
  kWatchdogSeconds,
  kCount,
};

struct Limit {
  LimitId id;
  std::string_view name;  // snake_case; the flag is --limit-<name with dashes> unless flag says otherwise
  int64_t default_value;
  int64_t hard_max;       // a larger setting is a usage error; equal to default_value when fixed
  std::string_view unit;  // bytes, s, ms, items, ...
  std::string_view flag;  // empty: no flag (fixed)
  ErrorCode code;         // what passing the limit is called
};

std::span<const Limit> limit_table();

// The limits in force. Value type: copied where needed, set at start-up from flags.
class Limits {
 public:
  Limits();
  int64_t operator[](LimitId id) const { return values_[static_cast<size_t>(id)]; }
  // kUsage when value < 1 or above the hard maximum; the message names the flag.
  Result<void> set(LimitId id, int64_t value);

 private:
  std::array<int64_t, static_cast<size_t>(LimitId::kCount)> values_{};
};

}  // namespace millrace
