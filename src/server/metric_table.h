// The table of every metric: name, type, help, buckets and extra label. Metrics stores one row of numbers per entry,
// the exposition and the tests iterate it. Names and definitions: API.md 7. Thread: any (constant data).
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace millrace::server {

enum class MetricId : uint8_t {
  kRequestsRunning,
  kRequestsWaiting,
  kWaitingByReason,
  kKvUsage,
  kSleepState,
  kPromptTokens,
  kGenerationTokens,
  kPreemptions,
  kRequestSuccess,
  kPrefixQueries,
  kPrefixHits,
  kExternalPrefixQueries,
  kExternalPrefixHits,
  kMmQueries,
  kMmHits,
  kPromptTokensBySource,
  kPromptTokensCached,
  kPromptTokensCachedBySource,
  kAdmissionRejections,
  kTtft,
  kItl,
  kTimePerOutputToken,
  kE2e,
  kQueueTime,
  kInferenceTime,
  kPrefillTime,
  kDecodeTime,
  kRequestPromptTokens,
  kRequestGenerationTokens,
  kMaxGenerationTokens,
  kParamsMaxTokens,
  kPrefillComputed,
  kParamsN,
  kIterationTokens,
  kRequestPreemptions,
  kPredictedTtft,
  kPredictedItl,
  kPredictedDrain,
  kQueuedPromptTokens,
  kPrefillSpeed,
  kDecodeSpeed,
  kKvBlocks,
  kMemoryBytes,
  kHeartbeatAge,
  kEngineState,
  kStreamsOpen,
  kStreamsParked,
  kStepTime,
  kItlFine,
  kItlViolations,
  kTtftRatio,
  kStepRatio,
  kRequestsShed,
  kDeadlineMissed,
  kRecomputedTokens,
  kSharedPrefixTokens,
  kRequestCost,
  kTenantService,
  kKvEvictions,
  kAccountingErrors,
  kKvTierBytes,
  kKvSwapBytes,
  kSpillCorrupt,
  kKvEvents,
  kKvDiskEntries,
  kKvDiskSaved,
  kKvDiskLoads,
  kKvDiskFailedLoads,
  kKvDiskTokens,
  kKvSwappedOut,
  kKvSwapLoads,
  kGrammarDraftTokens,
  kGrammarJumpTokens,
  kConstraintCompleted,
  kGrammarCompile,
  kGrammarMask,
  kHungSteps,
  kDisconnects,
  kSlowReaderCancels,
  kUnknownFields,
  kConnectionsOpen,
  kHttpReplies,
  kCount,
};

enum class MetricKind : uint8_t { kGauge, kCounter, kHistogram };

enum class BucketSet : uint8_t {
  kNone,
  kTtft,
  kItl,
  kLatency,
  kTokens,
  kN,
  kIteration,
  kPreemptions,
  kFine,
  kRatio,
  kDurations
};

// kNoEngine: the label `engine` is left out.
enum class BaseLabels : uint8_t { kModelAndEngine, kModelOnly };

struct MetricRow {
  MetricId id;
  std::string_view name;
  MetricKind kind = MetricKind::kGauge;
  std::string_view help;
  BucketSet buckets = BucketSet::kNone;
  std::string_view label = {};         // name of the extra label
  std::string_view label_values = {};  // its values, separated by "|"
  BaseLabels base = BaseLabels::kModelAndEngine;
  std::string_view fixed_label = {};  // a further label, and the one value it has
  std::string_view fixed_value = {};
};

std::span<const MetricRow> metric_table();
// Upper bounds; kTokens ends at max_len. Empty for kNone.
std::span<const double> metric_buckets(BucketSet set);

}  // namespace millrace::server
