#include "app/foreign_flags.h"

#include <algorithm>
#include <array>
#include <utility>

namespace millrace::app {
namespace {

using Value = ForeignValue;

constexpr std::string_view kShift =
    "context shifting rewrites cached positions, so shared blocks and equal output would be lost";
constexpr std::string_view kOneProcess = "one process serves the whole model";
constexpr std::string_view kNoRope = "the model's own rope settings are used";
constexpr std::string_view kNoDrafts = "speculative decoding is not supported yet";
constexpr std::string_view kNoLora = "LoRA adapters are not supported yet";
constexpr std::string_view kNoPage = "the web page is built in; --no-ui turns it off";
constexpr std::string_view kTextOnly = "models generate text from text only";

// Changes no output: accepted with a warning.
constexpr ForeignFlag harmless(std::string_view names, Value value = Value::kNone) { return {names, value}; }
constexpr ForeignFlag refused(std::string_view names, std::string_view reason, Value value = Value::kOne,
                              std::string_view neutral = {}) {
  return {names, value, reason, neutral};
}

constexpr ForeignFlag kFlags[] = {
    harmless("--enforce-eager"),
    harmless("--cuda-graph-sizes", Value::kOne),
    harmless("--jinja"),
    harmless("--no-jinja"),
    harmless("--no-cache-idle-slots"),
    harmless("--grp-attn-n,--grp-attn-w", Value::kOne),
    harmless("--cont-batching,-cb,--no-cont-batching,-nocb"),
    harmless("--perf,--no-perf,--repack,--no-repack,-nr,--no-host,--reuse-port,--escape,--no-escape"),
    harmless("--kv-offload,-kvo,--no-kv-offload,-nkvo,--op-offload,--no-op-offload,--cpu-moe,-cmoe"),
    harmless("--split-mode,-sm,--tensor-split,-ts,--main-gpu,-mg,--override-tensor,-ot,--n-cpu-moe,-ncmoe",
             Value::kOne),
    harmless("--prio,--prio-batch,--poll,--poll-batch,--cpu-mask,-C,--cpu-mask-batch,-Cb,--cpu-range,-Cr", Value::kOne),
    harmless("--cpu-range-batch,-Crb,--cpu-strict,--cpu-strict-batch,--lazy-mode,-lzm,--defrag-thold,-dt", Value::kOne),
    harmless("--ctx-checkpoints,-ctxcp,--swa-checkpoints,--checkpoint-min-step,-cms", Value::kOne),
    harmless("--slot-prompt-similarity,-sps,--log-colors,--log-verbosity,--verbosity,-lv", Value::kOne),
    harmless("--log-prefix,--no-log-prefix,--log-timestamps,--no-log-timestamps,--log-disable,--cache-prompt"),
    harmless("--uvicorn-log-level", Value::kOne),
    harmless("--disable-log-requests"),
    harmless("--disable-log-stats"),
    harmless("--ubatch-size,-ub", Value::kOne),
    harmless("--threads-batch,-tb", Value::kOne),
    harmless("--swa-full"),
    harmless("--trust-remote-code"),
    harmless("--no-context-shift"),
    harmless("--enable-chunked-prefill"),
    harmless("--prefix-caching-hash-algo", Value::kOne),
    harmless("--cache-reuse", Value::kOne),
    harmless("--cache-ram", Value::kOne),
    harmless("--gpu-memory-utilization", Value::kOne),
    harmless("--gpu-layers,--n-gpu-layers,-ngl", Value::kOne),
    {"--flash-attn,-fa", Value::kMaybe, {}, "on|off|auto"},
    harmless("--numa", Value::kOne),
    harmless("--mlock"),
    harmless("--no-mmap"),
    harmless("--mmap"),
    harmless("--load-mode", Value::kOne),
    harmless("--enable-request-id-headers"),
    harmless("--enable-prompt-tokens-details"),
    harmless("--master-addr", Value::kOne),
    harmless("--master-port", Value::kOne),
    refused("--context-shift", kShift, Value::kNone),
    refused("--keep", kShift, Value::kOne, "0|-1"),
    refused("--no-enable-chunked-prefill", "prefill is always chunked", Value::kNone),
    refused("--tokenizer", "the tokenizer is the model's own"),
    refused("--download-dir", "MILLRACE_HOME names the folder of the store"),
    refused("--model-url,-mu", "fetch the file yourself, or use --hf-repo"),
    refused("--load-format", "a model is a .gguf file or a folder of safetensors", Value::kOne,
            "auto|gguf|safetensors"),
    refused("--rope-scaling,--rope-freq-base,--rope-freq-scale,--yarn-orig-ctx,--yarn-ext-factor", kNoRope),
    refused("--yarn-attn-factor,--yarn-beta-slow,--yarn-beta-fast,--hf-overrides", kNoRope),
    refused("--device", "there is no GPU backend yet", Value::kOne, "auto|cpu|none"),
    refused("--dtype", "weights are used in the format of the file", Value::kOne, "auto"),
    refused("--tensor-parallel-size,-tp,--pipeline-parallel-size,-pp,--data-parallel-size,-dp", kOneProcess,
            Value::kOne, "1"),
    refused("--nnodes", kOneProcess, Value::kOne, "1"),
    refused("--node-rank", kOneProcess, Value::kOne, "0"),
    refused("--headless", kOneProcess, Value::kNone),
    refused("--cluster-bind", kOneProcess),
    refused("--chat-template-content-format", "it is read from the template", Value::kOne, "auto"),
    refused("--constraint-cache", "the cache of constraints has a fixed size"),
    refused("--speculative-config,--spec-model,--spec-tokens,--spec-method,-md,--model-draft", kNoDrafts),
    refused("--spec-draft-model,--spec-draft-n-max,--spec-draft-n-min,--spec-type", kNoDrafts),
    refused("--enable-lora,--enable-runtime-lora", kNoLora, Value::kNone),
    refused("--lora-modules,--max-loras,--max-lora-rank,--adapter-dir,--lora", kNoLora),
    refused("--kv-transfer-config", kOneProcess),
    refused("--path,--ui-config", kNoPage),
    refused("--timeout,-to", "use --limit-header-s, --limit-body-idle-s and --limit-send-stall-s"),
    refused("--trusted-proxies", "no forwarding header is read"),
    harmless("--embedding,--embeddings,--rerank,--reranking"),
    refused("--mmproj", kTextOnly),
    refused("--task,--runner,--convert", "the model says what it can do", Value::kOne,
            "auto|none|generate|pooling|embed|embedding|score|classify"),
    refused("--trust-request-mm-kwargs", kTextOnly, Value::kNone),
    refused("--allowed-media-domains", kTextOnly),
    refused("--props", "properties cannot be changed while serving", Value::kNone),
    refused("--enable-log-requests", "requests are never logged", Value::kNone),
    refused("--log-file", "the log goes to standard error"),
    refused("--enable-sleep-mode,--enable-dev-routes", "there are no such routes", Value::kNone),
    refused("--completion-bash", "there is no completion script", Value::kNone),
    refused("--models-preset", "models of one server share its flags"),
    refused("--sleep-idle-seconds", "use --keep-alive, with several models", Value::kOne, "-1"),
    refused("--mmproj-url,--media-path", kTextOnly),
    harmless("--no-mmproj,--no-mmproj-auto,--mmproj-auto,--mmproj-offload,--no-mmproj-offload"),
    refused("--kv-cache-metrics", "there are no such metrics", Value::kNone),
    refused("--custom-histogram-buckets", "buckets are vLLM's"),
    harmless("--collect-detailed-traces", Value::kOne),
};

// Short spellings of several letters, which the flag reader behind does not know.
constexpr std::array<std::pair<std::string_view, std::string_view>, 14> kSpellings = {{{"-np", "--max-num-seqs"},
                                                                                       {"-ctk", "--kv-cache-dtype"},
                                                                                       {"-ctv", "--cache-type-v"},
                                                                                       {"-kvu", "--kv-unified"},
                                                                                       {"-hf", "--hf-repo"},
                                                                                       {"-hfr", "--hf-repo"},
                                                                                       {"-hff", "--hf-file"},
                                                                                       {"-hft", "--hf-token"},
                                                                                       {"-no-kvu", "--no-kv-unified"},
                                                                                       {"-cram", "--cache-ram"},
                                                                                       {"-dev", "--device"},
                                                                                       {"-rea", "--reasoning"},
                                                                                       {"-lm", "--load-mode"},
                                                                                       {"-mm", "--mmproj"}}};

bool in_list(std::string_view list, char separator, std::string_view wanted) {
  while (!list.empty()) {
    size_t cut = std::min(list.find(separator), list.size());
    if (list.substr(0, cut) == wanted) return true;
    list.remove_prefix(std::min(cut + 1, list.size()));
  }
  return false;
}

}  // namespace

std::span<const ForeignFlag> foreign_flags() { return kFlags; }

const ForeignFlag* find_foreign_flag(std::string_view name) {
  const auto* found = std::find_if(std::begin(kFlags), std::end(kFlags),
                                   [&](const ForeignFlag& flag) { return in_list(flag.names, ',', name); });
  return found == std::end(kFlags) ? nullptr : found;
}

bool is_neutral(const ForeignFlag& flag, std::string_view value) { return in_list(flag.neutral, '|', value); }

std::string_view our_name(std::string_view name) {
  for (const auto& [theirs, ours] : kSpellings) {
    if (name == theirs) return ours;
  }
  return name;
}

}  // namespace millrace::app
