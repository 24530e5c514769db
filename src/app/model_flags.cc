#include "app/model_flags.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "base/file.h"
#include "base/macros.h"
#include "instance/model_store.h"

namespace millrace::app {
namespace {

constexpr uint64_t kMaxTemplateBytes = 16u << 20;
constexpr int64_t kMaxLen = int64_t{1} << 24;  // tokens
constexpr int64_t kMaxSeqs = 4096;
constexpr int64_t kMaxThreads = 1024;

Result<int64_t> in_range(std::string_view flag, int64_t value, int64_t min, int64_t max) {
  if (value < min || value > max) {
    return Error{ErrorCode::kUsage, fmt::format("{} = {}: must be {}..{}", flag, value, min, max), std::string(flag)};
  }
  return value;
}

Result<std::string> one_of(std::string_view flag, const std::string& value,
                           std::initializer_list<std::string_view> known) {
  if (std::find(known.begin(), known.end(), value) != known.end()) return value;
  return Error{ErrorCode::kUsage,
               fmt::format("{} = {}: must be one of {}", flag, quote_for_message(value), fmt::join(known, ", ")),
               std::string(flag)};
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

void declare_model_flags(FlagSet& set, ModelFlags& f) {
  set.positional("MODEL", &f.model, "path to .gguf, folder, store name, pypi:NAME==VERSION, or smollm2 | gemma3-270m",
                 false);
  set.add("-m,--model", &f.model, "the model, instead of the positional");
  set.add("-a,--served-model-name,--alias", &f.served_names, "names in the API; default: last part of MODEL");
  set.add("-c,--max-model-len,--ctx-size", &f.max_model_len, "longest sequence in tokens; 0 = the model's, cut to fit");
  set.add("--max-num-seqs,--parallel", &f.max_num_seqs, "sequences running at once");
  set.add("-b,--max-num-batched-tokens,--batch-size", &f.max_num_batched_tokens, "tokens of one step; 0 = automatic");
  set.add("--kv-cache-memory-bytes", &f.kv_cache_memory_bytes, "bytes of KV cache; 0 = what is left");
  set.add("--memory-limit", &f.memory_limit, "bytes this process may use; 0 = 90 % of the machine or its cgroup");
  set.add("--kv-cache-dtype,--cache-type-k", &f.kv_cache_dtype, "auto | bf16 | int8; auto is bf16");
  set.add("--kv-disk-path", &f.kv_disk_path,
          "folder for cached KV that no longer fits in memory or outlives a restart");
  set.add("--kv-disk-size", &f.kv_disk_size, "most bytes in that folder");
  set.add("--kv-disk-write", &f.kv_disk_write,
          "selective | all; selective: what was used twice, has a session, or is about to be evicted");
  set.add("--block-size", &f.block_size, "tokens of a KV block; 32 is the only value on CPU");
  set.add("--enable-prefix-caching", &f.prefix_caching, "share the KV of equal prefixes");
  set.add("--scheduling-policy", &f.scheduling_policy, "priority | fcfs");
  set.add("-t,--threads", &f.threads, "compute threads; 0 = physical cores");
  set.add("--isa", &f.isa, "kernels: avx512vnni | avx2 | generic; default: the best this CPU has");
  set.add("--chat-template,--chat-template-file", &f.chat_template, "Jinja file instead of the model's template");
  set.add("--generation-config", &f.generation_config, "auto: defaults from the model | vllm: none");
  set.add("--check-tensors", &f.check_tensors, "refuse a file with non-finite scales");
  set.add("--warmup", &f.warmup, "run one step of each kind before ready");
  set.add("-v,--verbose", &f.verbose, "more on stderr");
}

Result<instance::InstanceOptions> instance_options(const ModelFlags& f) {
  if (f.model.empty())
    return Error{ErrorCode::kUsage, "no model given: want a path, a name or pypi:NAME (for example smollm2)", "MODEL"};
  instance::InstanceOptions out;
  out.model = f.model;
  out.served_names = f.served_names;
  if (!f.chat_template.empty()) out.chat_template = TRY(read_file(f.chat_template, kMaxTemplateBytes));
  out.max_model_len = static_cast<uint32_t>(TRY(in_range("--max-model-len", f.max_model_len, 0, kMaxLen)));
  out.max_num_seqs = static_cast<uint32_t>(TRY(in_range("--max-num-seqs", f.max_num_seqs, 1, kMaxSeqs)));
  out.max_num_batched_tokens =
      static_cast<uint32_t>(TRY(in_range("--max-num-batched-tokens", f.max_num_batched_tokens, 0, kMaxLen)));
  out.kv_cache_bytes =
      static_cast<uint64_t>(TRY(in_range("--kv-cache-memory-bytes", f.kv_cache_memory_bytes, 0, INT64_MAX)));
  out.memory_limit_bytes = static_cast<uint64_t>(TRY(in_range("--memory-limit", f.memory_limit, 0, INT64_MAX)));
  out.kv_cache_dtype = TRY(one_of("--kv-cache-dtype", kv_alias(f.kv_cache_dtype), {"auto", "bf16", "int8"}));
  out.kv_disk_path = f.kv_disk_path;
  out.kv_disk_bytes = static_cast<uint64_t>(TRY(in_range("--kv-disk-size", f.kv_disk_size, 1 << 20, INT64_MAX)));
  out.kv_disk_all = TRY(one_of("--kv-disk-write", f.kv_disk_write, {"selective", "all"})) == "all";
  if (!out.kv_disk_path.empty() && !f.prefix_caching) {
    return Error{ErrorCode::kUsage, "--kv-disk-path needs --enable-prefix-caching", "--kv-disk-path"};
  }
  if (f.block_size != 0 && f.block_size != 32) {
    return Error{ErrorCode::kUsage, fmt::format("--block-size = {}: 32 is the only value on CPU", f.block_size),
                 "--block-size"};
  }
  out.isa = f.isa;
  out.n_threads = static_cast<uint32_t>(TRY(in_range("--threads", f.threads, 0, kMaxThreads)));
  out.prefix_cache = f.prefix_caching;
  out.priority_policy = TRY(one_of("--scheduling-policy", f.scheduling_policy, {"priority", "fcfs"})) == "priority";
  out.use_generation_config = TRY(one_of("--generation-config", f.generation_config, {"auto", "vllm"})) == "auto";
  out.check_tensors = f.check_tensors;
  out.warm_up = f.warmup;
  if (f.verbose) set_log_level(LogLevel::kDebug);
  return out;
}

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
  instance::ModelStore store(instance::ModelStore::default_root());
  auto show = progress_printer();
  return store.resolve(
      reference, [&](std::string_view stage, double fraction) { return show({.stage = stage, .fraction = fraction}); });
}

Result<std::unique_ptr<instance::Instance>> load_instance(const ModelFlags& flags) {
  return instance::Instance::load(TRY(instance_options(flags)), progress_printer());
}

}  // namespace millrace::app
