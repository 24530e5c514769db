#include "server/metric_table.h"

#include <iterator>

#include "base/durations.h"
#include "server/tenant_service.h"

namespace millrace::server {
namespace {

using Id = MetricId;
using Buckets = BucketSet;
constexpr MetricKind kGauge = MetricKind::kGauge;
constexpr MetricKind kCounter = MetricKind::kCounter;
constexpr MetricKind kHistogram = MetricKind::kHistogram;
constexpr BaseLabels kModelOnly = BaseLabels::kModelOnly;

constexpr double kTtftBuckets[] = {.001, .005, .01, .02, .04, .06, .08, .1, .25, .5,  .75,
                                   1,    2.5,  5,   7.5, 10,  20,  40,  80, 160, 640, 2560};
constexpr double kItlBuckets[] = {.01, .025, .05, .075, .1, .15, .2, .3, .4, .5, .75, 1, 2.5, 5, 7.5, 10, 20, 40, 80};
constexpr double kLatencyBuckets[] = {.3, .5, .8, 1,  1.5, 2,   2.5, 5,   10,   15,  20,
                                      30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680};
constexpr double kTokensBuckets[] = {1,    2,     5,     10,    20,     50,     100,    200, 500, 1000, 2000,
                                     5000, 10000, 20000, 50000, 100000, 200000, 500000, 1e6, 2e6, 5e6};
constexpr double kNBuckets[] = {1, 2, 5, 10, 20};
constexpr double kIterationBuckets[] = {1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384};
constexpr double kPreemptionBuckets[] = {1, 2, 3, 4, 5, 10, 20};
constexpr double kFineBuckets[] = {50e-6, 100e-6, 200e-6, 500e-6, 1e-3, 2e-3, 5e-3, 10e-3, 20e-3,
                                   50e-3, 100e-3, 200e-3, 500e-3, 1,    2,    5,    10};
constexpr double kRatioBuckets[] = {.25, .5, .8, .9, .95, 1, 1.05, 1.1, 1.25, 2, 4};

constexpr MetricRow kMetrics[] = {
    {Id::kRequestsRunning, "vllm:num_requests_running", kGauge, "Sequences in the batch."},
    {Id::kRequestsWaiting, "vllm:num_requests_waiting", kGauge, "Sequences waiting for a place in the batch."},
    {Id::kWaitingByReason, "vllm:num_requests_waiting_by_reason", kGauge, "Waiting sequences by reason.",
     Buckets::kNone, "reason", "capacity|deferred"},
    {Id::kKvUsage, "vllm:kv_cache_usage_perc", kGauge, "Fraction of KV blocks in use; 1 = all."},
    {Id::kSleepState, "vllm:engine_sleep_state", kGauge, "1 for the state the engine is in; it never sleeps.",
     Buckets::kNone, "sleep_state", "awake|weights_offloaded|discard_all"},
    {Id::kPromptTokens, "vllm:prompt_tokens_total", kCounter, "Prompt tokens processed."},
    {Id::kGenerationTokens, "vllm:generation_tokens_total", kCounter, "Tokens generated."},
    {Id::kPreemptions, "vllm:num_preemptions_total", kCounter, "Preemptions of running sequences."},
    {Id::kRequestSuccess, "vllm:request_success_total", kCounter, "Choices ended, by reason.", Buckets::kNone,
     "finished_reason", "stop|length|abort|error|repetition"},
    {Id::kPrefixQueries, "vllm:prefix_cache_queries_total", kCounter, "Prompt tokens looked up in the prefix cache."},
    {Id::kPrefixHits, "vllm:prefix_cache_hits_total", kCounter, "Prompt tokens found in the prefix cache."},
    {Id::kExternalPrefixQueries, "vllm:external_prefix_cache_queries_total", kCounter,
     "Prompt tokens looked up in other engines."},
    {Id::kExternalPrefixHits, "vllm:external_prefix_cache_hits_total", kCounter,
     "Prompt tokens found in other engines."},
    {Id::kMmQueries, "vllm:mm_cache_queries_total", kCounter, "Media items looked up; no model here takes media."},
    {Id::kMmHits, "vllm:mm_cache_hits_total", kCounter, "Media items found."},
    {Id::kPromptTokensBySource, "vllm:prompt_tokens_by_source_total", kCounter,
     "Prompt tokens by where their KV came from.", Buckets::kNone, "source",
     "local_compute|local_cache_hit|external_kv_transfer"},
    {Id::kPromptTokensCached, "vllm:prompt_tokens_cached_total", kCounter, "Prompt tokens not computed."},
    {Id::kPromptTokensCachedBySource, "vllm:prompt_tokens_cached_by_source_total", kCounter,
     "Cached prompt tokens by tier.", Buckets::kNone, "source", "device|host|disk|p2p|external_unspecified"},
    {Id::kAdmissionRejections, "vllm:admission_rejections_total", kCounter, "Requests refused at admission.",
     Buckets::kNone, "reason", "max_num_queued_reqs|max_num_queued_tokens|deadline|draining", kModelOnly},
    {Id::kTtft, "vllm:time_to_first_token_seconds", kHistogram, "Arrival to first token.", Buckets::kTtft},
    {Id::kItl, "vllm:inter_token_latency_seconds", kHistogram, "Time between tokens.", Buckets::kItl},
    {Id::kTimePerOutputToken, "vllm:request_time_per_output_token_seconds", kHistogram, "Decode time / (tokens - 1).",
     Buckets::kItl},
    {Id::kE2e, "vllm:e2e_request_latency_seconds", kHistogram, "Arrival to finish.", Buckets::kLatency},
    {Id::kQueueTime, "vllm:request_queue_time_seconds", kHistogram, "Arrival to first scheduled.", Buckets::kLatency},
    {Id::kInferenceTime, "vllm:request_inference_time_seconds", kHistogram, "First scheduled to last token.",
     Buckets::kLatency},
    {Id::kPrefillTime, "vllm:request_prefill_time_seconds", kHistogram, "First scheduled to first token.",
     Buckets::kLatency},
    {Id::kDecodeTime, "vllm:request_decode_time_seconds", kHistogram, "First to last token.", Buckets::kLatency},
    {Id::kRequestPromptTokens, "vllm:request_prompt_tokens", kHistogram, "Prompt tokens of a request.",
     Buckets::kTokens},
    {Id::kRequestGenerationTokens, "vllm:request_generation_tokens", kHistogram, "Generated tokens of a choice.",
     Buckets::kTokens},
    {Id::kMaxGenerationTokens, "vllm:request_max_num_generation_tokens", kHistogram,
     "Longest generation among the choices of a request.", Buckets::kTokens},
    {Id::kParamsMaxTokens, "vllm:request_params_max_tokens", kHistogram, "max_tokens of a request.", Buckets::kTokens},
    {Id::kPrefillComputed, "vllm:request_prefill_kv_computed_tokens", kHistogram,
     "Prompt tokens computed, cached ones left out.", Buckets::kTokens},
    {Id::kParamsN, "vllm:request_params_n", kHistogram, "n of a request.", Buckets::kN},
    {Id::kIterationTokens, "vllm:iteration_tokens_total", kHistogram, "Tokens of a step.", Buckets::kIteration},
    {Id::kRequestPreemptions, "vllm:request_num_preemptions", kHistogram, "Preemptions of a choice.",
     Buckets::kPreemptions},
    {Id::kPredictedTtft, "millrace:predicted_ttft_seconds", kGauge, "Predicted time to first token of a new prompt.",
     Buckets::kNone, "prompt_tokens", "128|512|2048|8192"},
    {Id::kPredictedItl, "millrace:predicted_itl_seconds", kGauge, "Predicted time between tokens."},
    {Id::kPredictedDrain, "millrace:predicted_queue_drain_seconds", kGauge, "Predicted time until the queue is empty."},
    {Id::kQueuedPromptTokens, "millrace:queued_prompt_tokens", kGauge, "Prompt tokens not started."},
    {Id::kPrefillSpeed, "millrace:prefill_tokens_per_second", kGauge, "Measured prefill speed."},
    {Id::kDecodeSpeed, "millrace:decode_tokens_per_second", kGauge, "Measured decode speed, all sequences."},
    {Id::kKvBlocks, "millrace:kv_blocks", kGauge, "KV blocks by state.", Buckets::kNone, "state",
     "free|cached|active|cooling|external|quarantined"},
    {Id::kMemoryBytes, "millrace:memory_bytes", kGauge, "Memory by use.", Buckets::kNone, "kind",
     "weights|kv|activations|host_cache|other"},
    {Id::kHeartbeatAge, "millrace:engine_heartbeat_age_seconds", kGauge,
     "Time since the last step while work is pending."},
    {Id::kEngineState, "millrace:engine_state", kGauge, "1 for the state the engine is in.", Buckets::kNone, "state",
     "loading|ready|draining|dead"},
    {Id::kStreamsOpen, "millrace:http_streams_open", kGauge, "Event streams open."},
    {Id::kStreamsParked, "millrace:http_streams_parked", kGauge, "Event streams whose reader is slow."},
    {Id::kStepTime, "millrace:step_time_seconds", kHistogram, "Time of a step.", Buckets::kFine, "kind",
     "prefill|decode|mixed"},
    {Id::kItlFine, "millrace:inter_token_latency_fine_seconds", kHistogram, "Time between tokens, fine buckets.",
     Buckets::kFine},
    {Id::kItlViolations, "millrace:itl_contract_violations_total", kCounter,
     "Tokens later than the time between tokens that their request, or else the server, asked for."},
    {Id::kTtftRatio, "millrace:ttft_prediction_ratio", kHistogram, "Predicted / measured time to first token.",
     Buckets::kRatio},
    {Id::kStepRatio, "millrace:step_prediction_ratio", kHistogram, "Predicted / measured time of a step.",
     Buckets::kRatio},
    {Id::kRequestsShed, "millrace:requests_shed_total", kCounter, "Requests refused, by reason.", Buckets::kNone,
     "reason", "queue_reqs|queue_tokens|queue_bytes|deadline|kv|memory|draining|key_limit"},
    {Id::kDeadlineMissed, "millrace:deadline_missed_total", kCounter, "Deadlines passed.", Buckets::kNone, "phase",
     "queued|running"},
    {Id::kRecomputedTokens, "millrace:recomputed_tokens_total", kCounter, "Rows computed again after a preemption."},
    {Id::kSharedPrefixTokens, "millrace:shared_prefix_running_tokens_total", kCounter,
     "Prompt tokens found in blocks that another sequence was using."},
    {Id::kRequestCost, "millrace:request_cost_seconds_total", kCounter,
     "Time of steps, shared by their rows; and of constraints.", Buckets::kNone, "phase",
     "prefill|decode|grammar|draft|recompute"},
    {Id::kTenantService, "millrace:tenant_service_tokens_total", kCounter,
     "Prompt tokens computed and tokens generated, of answers that ended.", Buckets::kNone, "tenant",
     TenantService::kNobody},
    {Id::kKvEvictions, "millrace:kv_evictions_total", kCounter, "Cached blocks given up.", Buckets::kNone, "tier",
     "device"},
    {Id::kAccountingErrors, "millrace:accounting_errors_total", kCounter,
     "Errors found in the books of KV blocks: bugs that cost requests instead of the server."},
    {Id::kKvTierBytes, "millrace:kv_tier_bytes", kGauge, "Bytes of KV in use, by tier.", Buckets::kNone, "tier",
     "device|host|disk"},
    {Id::kKvSwapBytes, "millrace:kv_swap_bytes_total", kCounter, "Bytes of KV copied between the pool and a tier.",
     Buckets::kNone, "direction", "out|in", BaseLabels::kModelAndEngine, "tier", "disk"},
    {Id::kSpillCorrupt, "millrace:spill_corrupt_total", kCounter,
     "Entries of the disk tier that were not used: damaged, or not what their name says."},
    {Id::kKvEvents, "millrace:kv_events_total", kCounter, "Changes of the prefix cache for subscribers.",
     Buckets::kNone, "result", "sent|dropped"},
    {Id::kKvDiskEntries, "millrace:kv_disk_entries", kGauge, "Blocks of tokens that lie on disk."},
    {Id::kKvDiskSaved, "millrace:kv_disk_saved_blocks_total", kCounter, "Blocks of tokens copied to disk."},
    {Id::kKvDiskLoads, "millrace:kv_disk_loads_total", kCounter, "Prefixes asked for from disk."},
    {Id::kKvDiskFailedLoads, "millrace:kv_disk_failed_loads_total", kCounter,
     "Of those, ended with less than was asked for."},
    {Id::kKvDiskTokens, "millrace:kv_disk_loaded_tokens_total", kCounter, "Prompt tokens that came from disk."},
    {Id::kKvSwappedOut, "millrace:kv_swapped_out_blocks_total", kCounter, "Blocks copied down by preemptions."},
    {Id::kKvSwapLoads, "millrace:kv_swap_loads_total", kCounter, "Loads that preempted sequences waited for."},
    {Id::kGrammarDraftTokens, "millrace:grammar_draft_tokens_total", kCounter,
     "Tokens that constraints proposed, computed in one step."},
    {Id::kGrammarJumpTokens, "millrace:grammar_jump_tokens_total", kCounter, "Of those, the ones that were sampled."},
    {Id::kConstraintCompleted, "millrace:constraint_completed_total", kCounter,
     "Constrained answers that ended for the sake of their limit of tokens."},
    {Id::kGrammarCompile, "millrace:grammar_compile_seconds", kHistogram,
     "Time of compiling a constraint, or of refusing it.", Buckets::kDurations},
    {Id::kGrammarMask, "millrace:grammar_mask_seconds", kHistogram,
     "Time of finding the tokens that a constraint allows.", Buckets::kDurations},
    {Id::kHungSteps, "millrace:hung_steps_total", kCounter, "Steps of more than 1 s and 10 times their prediction."},
    {Id::kDisconnects, "millrace:client_disconnects_total", kCounter, "Clients gone before their answer.",
     Buckets::kNone, "phase", "queued|running"},
    {Id::kSlowReaderCancels, "millrace:slow_reader_cancels_total", kCounter, "Streams ended because nobody read them."},
    {Id::kUnknownFields, "millrace:unknown_fields_total", kCounter, "Request fields nobody knows.", Buckets::kNone,
     "dialect", "openai|llama-server|anthropic|ollama|tgi|sglang|kserve"},
    {Id::kConnectionsOpen, "millrace:http_connections_open", kGauge, "Connections open."},
    {Id::kHttpReplies, "millrace:http_replies_total", kCounter, "Replies by status class.", Buckets::kNone, "class",
     "2xx|4xx|5xx"},
};
static_assert(std::size(kMetrics) == static_cast<size_t>(MetricId::kCount));

}  // namespace

std::span<const MetricRow> metric_table() { return kMetrics; }

std::span<const double> metric_buckets(BucketSet set) {
  switch (set) {
    case Buckets::kNone:
      return {};
    case Buckets::kTtft:
      return kTtftBuckets;
    case Buckets::kItl:
      return kItlBuckets;
    case Buckets::kLatency:
      return kLatencyBuckets;
    case Buckets::kTokens:
      return kTokensBuckets;
    case Buckets::kN:
      return kNBuckets;
    case Buckets::kIteration:
      return kIterationBuckets;
    case Buckets::kPreemptions:
      return kPreemptionBuckets;
    case Buckets::kFine:
      return kFineBuckets;
    case Buckets::kRatio:
      return kRatioBuckets;
    case Buckets::kDurations:
      return kDurationBounds;
  }
  return {};
}

}  // namespace millrace::server
