// Instance::load: model reference to a running engine. Memory is planned before it is taken; what is refused says which
// number was too large and which flag changes it.
// Thread: the loader's (its affinity is kept: the compute pool pins the engine thread, not this one).
#include <fmt/core.h>
#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <ctime>
#include <filesystem>
#include <memory>
#include <random>
#include <utility>

#include "base/file.h"
#include "base/macros.h"
#include "base/out_of_memory.h"
#include "base/sha256.h"
#include "cache/geometry.h"
#include "device/cpu_topology.h"
#include "device/heartbeat.h"
#include "device/thread_pool.h"
#include "instance/calibration.h"
#include "instance/instance.h"
#include "instance/kv_layout.h"
#include "instance/model_head.h"
#include "instance/model_text.h"
#include "instance/template_check.h"
#include "kernels/pick.h"
#include "models/model.h"
#include "runtime/disk_store.h"
#include "runtime/kv_store.h"
#include "runtime/own_thread.h"
#include "runtime/turns.h"
#include "runtime/worker_group.h"
#include "store/model_store.h"
#include "tensor/formats.h"
#include "weights/check_tensors.h"
#include "weights/memory_plan.h"
#include "weights/model_file.h"

namespace millrace::instance {
namespace {

constexpr double kMemoryShare = 0.9;  // of what is available, unless --memory-limit says otherwise
// Rows of a step, unless --max-num-batched-tokens says otherwise: 32 streams of 64 tokens behind prompts of 1,000 need
// 520 to be in balance, and a quarter more for a queue to shrink.
constexpr uint32_t kDefaultBudget = 768;
constexpr uint32_t kSpareRows = 6;  // SchedOptions::c_min: decodes and a least prefill always fit
constexpr int64_t kMaxLogitRows = 64;
constexpr uint64_t kTierStagingBytes = 64 << 20;  // one way: 2,000 tokens and more of a small model per load

// Everything the backend refers to, in the order it must outlive what comes after.
struct Loaded {
  explicit Loaded(weights::ModelFile opened) : file(std::move(opened)) {}
  SystemClock clock;
  weights::ModelFile file;
  std::unique_ptr<device::ThreadPool> pool;
  std::unique_ptr<models::Model> model;
  std::unique_ptr<flow::Backend> workers;  // with a thread of its own above it
};

struct Sizes {
  flow::KvGeometry geometry;
  uint64_t weight_bytes = 0;
  uint64_t scratch_bytes = 0;
  uint64_t kv_bytes = 0;
  uint64_t available_bytes = 0;
  uint32_t max_rows = 0;
  bool whole_prompts = false;  // an encoder: rows see the whole sequence
};

Result<kernels::KvDType> kv_dtype_of(const std::string& name) {
  if (name == "auto" || name == "bf16") return kernels::KvDType::kBF16;
  if (name == "int8") return kernels::KvDType::kInt8;
  return Error{ErrorCode::kUsage,
               fmt::format("--kv-cache-dtype {}: must be auto, bf16 or int8", quote_for_message(name)),
               "--kv-cache-dtype"};
}

// Builds the pool, which pins the calling thread to core 0, and gives the mask for the engine thread to take over.
cpu_set_t make_pool(Loaded& loaded, const InstanceOptions& options) {
  int n_threads = options.n_threads > 0 ? static_cast<int>(options.n_threads)
                                        : device::compute_threads_default(device::read_cpu_topology());
  cpu_set_t before;
  cpu_set_t pinned;
  CPU_ZERO(&before);
  CPU_ZERO(&pinned);
  pthread_getaffinity_np(pthread_self(), sizeof(before), &before);
  loaded.pool = std::make_unique<device::ThreadPool>(n_threads, options.pin_threads);
  pthread_getaffinity_np(pthread_self(), sizeof(pinned), &pinned);
  pthread_setaffinity_np(pthread_self(), sizeof(before), &before);
  return pinned;
}

// Threads that fill masks: for cores that the compute threads leave over, of those that the cgroup grants.
uint32_t mask_threads(int n_compute_threads) {
  constexpr int kMost = 2;
  device::CpuTopology topology = device::read_cpu_topology();
  int n_cpus = topology.n_logical;
  if (topology.quota_cpus > 0) n_cpus = std::min(n_cpus, static_cast<int>(topology.quota_cpus));
  return static_cast<uint32_t>(std::clamp(n_cpus - n_compute_threads, 0, kMost));
}

// Of rows that check proposals, kept until they are sampled, and of the row before those of each sequence.
uint64_t drafted_logit_bytes(const InstanceOptions& options, const models::Model& model) {
  constexpr uint64_t kMost = sched::kMostDraftRows;
  uint64_t n_seqs = options.constraint_draft_tokens > 0 ? std::min<uint64_t>(kMost, options.max_num_seqs) : 0;
  return (std::min(kMost, n_seqs * options.constraint_draft_tokens) + n_seqs) * model.desc().n_vocab * 4;
}

sched::SchedOptions sched_options(const InstanceOptions& options, const Sizes& sizes) {
  sched::SchedOptions sched;
  sched.order = options.order;
  sched.admit = options.admit;
  sched.budget = options.budget;
  sched.itl_target = options.itl_target_ms * kMillisecond;
  sched.ttft_target = options.ttft_target_ms * kMillisecond;
  sched.max_live = options.max_num_seqs;
  sched.depth = options.async_scheduling ? 2 : 1;
  sched.tok_cap = sizes.max_rows;
  sched.budget_tokens = options.max_num_batched_tokens > 0 ? options.max_num_batched_tokens : kDefaultBudget;
  if (sizes.whole_prompts) {
    sched.c_min = sizes.geometry.max_len;
    sched.budget_tokens = std::max(sched.budget_tokens, sched.c_min);
  }
  return sched;
}

// Most tokens one sequence can have in this pool.
uint32_t longest_sequence(const InstanceOptions& options, const Sizes& sizes, uint64_t n_blocks) {
  flow::KvGeometry kv = sizes.geometry;
  kv.n_blocks = static_cast<uint32_t>(std::min<uint64_t>(n_blocks, UINT32_MAX));
  return cache::longest_sequence(kv, sched::max_chunk(sched_options(options, sizes)));
}

weights::MemoryRequest memory_request(const InstanceOptions& options, const Sizes& sizes) {
  weights::MemoryRequest request;
  request.available_bytes = sizes.available_bytes;
  request.weight_bytes = sizes.weight_bytes;
  request.scratch_bytes = sizes.scratch_bytes;
  request.block_bytes = sizes.geometry.block_bytes;
  request.blocks_per_seq = cache::max_blocks_of_sequence(sizes.geometry, sizes.geometry.max_len,
                                                         sched::max_chunk(sched_options(options, sizes)));
  request.max_model_len = sizes.geometry.max_len;
  request.max_num_seqs = options.max_num_seqs;
  request.kv_cache_bytes = options.kv_cache_bytes;
  return request;
}

// Fills n_blocks and max_len. A length the model chose is cut to what fits; one the user chose is refused.
Result<void> plan_blocks(const InstanceOptions& options, Sizes& sizes) {
  weights::MemoryRequest request = memory_request(options, sizes);
  Result<weights::MemoryPlan> plan = weights::plan_memory(request);
  if (!plan.ok() && options.max_model_len == 0) {
    uint64_t fixed = request.weight_bytes + request.scratch_bytes;
    uint64_t left = request.available_bytes > fixed ? request.available_bytes - fixed : 0;
    uint64_t room = request.kv_cache_bytes == 0 ? left : std::min(left, request.kv_cache_bytes);
    uint32_t tokens = longest_sequence(options, sizes, room / request.block_bytes);
    if (tokens >= sizes.geometry.block_tokens && tokens < request.max_model_len) {
      LOG(LogLevel::kWarning, "context cut from {} to {} tokens: no more KV cache fits in memory",
          request.max_model_len, tokens);
      sizes.geometry.max_len = tokens;
      plan = weights::plan_memory(memory_request(options, sizes));
    }
  }
  if (!plan.ok()) return plan.take_error();
  sizes.geometry.n_blocks = plan->n_blocks;
  if (sizes.whole_prompts) {  // blocks of two steps: nothing is cached
    uint32_t in_step = cache::ceil_div(sizes.max_rows, sizes.geometry.block_tokens) + options.max_num_seqs;
    sizes.geometry.n_blocks = std::min(sizes.geometry.n_blocks, 2 * in_step);
  }
  sizes.kv_bytes = sizes.geometry.n_blocks * sizes.geometry.block_bytes;
  return {};
}

Result<Sizes> plan_sizes(const InstanceOptions& options, const weights::ModelFile& file, kernels::KvDType dtype) {
  const weights::ModelDesc& desc = file.desc();
  Sizes sizes;
  std::vector<tensor::KvLayerSpec> layers;
  for (uint32_t i = 0; i < desc.n_layers; ++i) layers.push_back(desc.kv_layer(i));
  sizes.geometry = TRY(runtime::build_kv_geometry(layers, dtype));
  if (options.max_model_len > desc.max_len) {
    return Error{
        ErrorCode::kUsage,
        fmt::format("--max-model-len {}: the model was trained for {} tokens", options.max_model_len, desc.max_len),
        "--max-model-len"};
  }
  uint32_t usual_len = desc.usual_len > 0 ? desc.usual_len : desc.max_len;
  sizes.geometry.max_len = options.max_model_len == 0 ? usual_len : options.max_model_len;
  sizes.whole_prompts = desc.is_encoder();
  sizes.weight_bytes = weights::packed_weight_bytes(file);
  auto free_bytes = static_cast<uint64_t>(std::max<int64_t>(0, device::memory_available_bytes()));
  sizes.available_bytes = options.memory_limit_bytes > 0
                              ? options.memory_limit_bytes
                              : static_cast<uint64_t>(static_cast<double>(free_bytes) * kMemoryShare);
  if (!options.kv_disk_path.empty())
    sizes.available_bytes -= std::min(sizes.available_bytes / 2, 2 * kTierStagingBytes);
  sizes.max_rows = std::max({kDefaultBudget, options.max_num_batched_tokens, options.max_num_seqs + kSpareRows});
  if (sizes.whole_prompts) sizes.max_rows = std::max(sizes.max_rows, options.max_num_seqs + sizes.geometry.max_len);
  TRY(plan_blocks(options, sizes));  // refuses before a byte of weights is read
  return sizes;
}

std::string fingerprint(const InstanceFacts& facts) {
  Sha256 digest;
  digest.update(fmt::format("{}/{}/{}/{}/{}", facts.architecture, facts.n_params, facts.file_bytes, facts.weight_format,
                            facts.kv_dtype));
  return "fp_" + hex(digest.finish()).substr(0, 10);
}

InstanceFacts gather_facts(const InstanceOptions& options, const Loaded& loaded, const Sizes& sizes) {
  const weights::ModelDesc& desc = loaded.file.desc();
  ModelHead head = head_of(loaded.file);
  InstanceFacts facts;
  facts.served_names = options.served_names;
  if (facts.served_names.empty()) facts.served_names.push_back(served_name(options.model));
  // Only the last part: replies tell nothing of the machine's folders.
  facts.root = options.model.find('/') == std::string::npos ? options.model : served_name(options.model);
  facts.architecture = std::move(head.architecture);
  facts.vocab_type = vocab_type(loaded.file);
  facts.weight_format = std::move(head.weight_format);
  if (options.quantization) {
    facts.weight_format =
        fmt::format("{} from {}", tensor::format_info(*options.quantization).name, facts.weight_format);
  }
  facts.kv_dtype = options.kv_cache_dtype == "auto" ? "bf16" : options.kv_cache_dtype;
  facts.created = static_cast<int64_t>(std::time(nullptr));
  facts.n_vocab = desc.n_vocab;
  facts.max_len = sizes.geometry.max_len;
  facts.n_ctx_train = desc.max_len;
  facts.d_model = desc.d_model;
  facts.n_params = head.n_params;
  facts.file_bytes = static_cast<int64_t>(loaded.file.source().bytes());
  facts.weight_bytes = sizes.weight_bytes;
  facts.kv_bytes = sizes.kv_bytes;
  facts.scratch_bytes = sizes.scratch_bytes;
  facts.system_fingerprint = fingerprint(facts);
  return facts;
}

engine::EngineOptions engine_options(const InstanceOptions& options, const Sizes& sizes,
                                     runtime::WorkerGroup& workers) {
  engine::EngineOptions engine;
  engine.kv = sizes.geometry;
  engine.sched = sched_options(options, sizes);
  engine.max_queued_requests = static_cast<uint32_t>(options.limits[LimitId::kQueuedRequests]);
  engine.max_queued_tokens = static_cast<uint64_t>(options.limits[LimitId::kQueuedTokens]);
  engine.contain_accounting_errors = true;
  engine.park_limit = (options.limits[LimitId::kParkSeconds] + 5) * kSecond;  // behind the server's own, which says why
  engine.prefix_cache = options.prefix_cache && !sizes.whole_prompts;
  engine.on_kv_events = options.on_kv_events;
  if (!options.slot_save_path.empty()) {
    engine.block_bytes = [&workers](flow::BlockId id) { return workers.kv().block(id); };
  }
  std::random_device device;
  engine.hash_secret = uint64_t{device()} << 32 | device();
  return engine;
}

Result<std::unique_ptr<flow::TierStore>> open_tier(const InstanceOptions& options, const flow::TierName& layout,
                                                   const Sizes& sizes, runtime::WorkerGroup& workers) {
  if (options.kv_disk_path.empty()) return std::unique_ptr<flow::TierStore>();
  runtime::DiskOptions disk{.folder = options.kv_disk_path, .max_bytes = options.kv_disk_bytes};
  disk.staging_bytes = kTierStagingBytes;
  disk.layout = {
      .layout = layout, .block_tokens = sizes.geometry.block_tokens, .block_bytes = sizes.geometry.block_bytes};
  auto store = TRY(runtime::DiskStore::open(disk, [&workers](flow::BlockId id) { return workers.kv().block(id); }));
  LOG(LogLevel::kInfo, "KV cache on disk: {} MiB of {} MiB used", store->totals().bytes >> 20,
      options.kv_disk_bytes >> 20);
  return std::unique_ptr<flow::TierStore>(std::move(store));
}

// An encoder without a word of its own takes the first token, as vLLM does; a decoder the last one, which saw the
// others.
api::PoolingFacts pooling_facts(const InstanceOptions& options, const weights::ModelDesc& desc) {
  api::PoolingFacts facts{.generates = !desc.is_encoder(), .n_scores = desc.n_labels, .d_model = desc.d_model};
  switch (desc.embedding_rule) {
    case weights::EmbeddingRule::kUnset:
      facts.pooling = desc.is_encoder() ? flow::Pooling::kFirst : flow::Pooling::kLast;
      break;
    case weights::EmbeddingRule::kMean:
      facts.pooling = flow::Pooling::kMean;
      break;
    case weights::EmbeddingRule::kFirst:
      facts.pooling = flow::Pooling::kFirst;
      break;
    case weights::EmbeddingRule::kLast:
      facts.pooling = flow::Pooling::kLast;
      break;
  }
  if (facts.n_scores > 0) facts.pooling = flow::Pooling::kFirst;  // what its head was trained on
  if (options.pooling && facts.n_scores == 0) facts.pooling = *options.pooling;
  return facts;
}

TextParts make_text_parts(const InstanceOptions& options, const Sizes& sizes, const weights::ModelFile& file,
                          text::Tokenizer tokenizer) {
  TextParts text{.tokenizer = std::move(tokenizer),
                 .chat_template = {},
                 .defaults = load_defaults(file, options.use_generation_config, options.override_defaults),
                 .eos_token_ids = {},
                 .max_len = sizes.geometry.max_len,
                 .block_tokens = sizes.geometry.block_tokens,
                 .n_blocks = cache::ceil_div(longest_sequence(options, sizes, sizes.geometry.n_blocks),
                                             sizes.geometry.block_tokens),
                 .pooling = pooling_facts(options, file.desc()),
                 .names_slots = !options.slot_save_path.empty(),
                 .limits = options.limits};
  text.eos_token_ids = end_tokens(file, text.tokenizer);
  text.answers = options.answers;
  return text;
}

// What `bench calibrate` measured here, or nothing.
sched::CostModel known_cost(const InstanceFacts& facts) {
  std::string path =
      calibration_path(store::ModelStore::default_root(), facts.system_fingerprint, facts.isa, facts.n_threads);
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) return sched::CostModel();
  Result<sched::CostModel> cost = read_calibration(path);
  if (cost.ok()) return *cost;
  LOG(LogLevel::kWarning, "{}: {}; starting without it", path, cost.error().message);
  return sched::CostModel();
}

// Who computes: the engine thread itself, or a thread of its own, so that the engine plans meanwhile.
struct Compute {
  std::unique_ptr<flow::Backend> backend;
  runtime::OwnThread* aside = nullptr;
  std::function<void()> on_engine_thread;
};

Compute place_compute(const InstanceOptions& options, Loaded& loaded, std::unique_ptr<runtime::WorkerGroup> group,
                      const cpu_set_t& mask) {
  device::Heartbeat& heart = group->heartbeat();
  std::unique_ptr<flow::Backend> workers = std::move(group);
  auto pin = [mask] { pthread_setaffinity_np(pthread_self(), sizeof(mask), &mask); };
  if (options.turns != nullptr) {
    auto wait_beat = [&heart] { heart.beat(); };
    workers = std::make_unique<runtime::TurnBackend>(std::move(workers), options.turns, wait_beat);
  }
  if (!options.async_scheduling) return {.backend = std::move(workers), .on_engine_thread = pin};
  loaded.workers = std::move(workers);
  auto aside = std::make_unique<runtime::OwnThread>(*loaded.workers, pin);
  runtime::OwnThread* thread = aside.get();
  return {.backend = std::move(aside), .aside = thread};
}

// A progress function that never says stop when none was given.
bool report(const ProgressFn& progress, std::string_view stage, double fraction) {
  return !progress || progress({stage, fraction});
}

Error given_up() { return {ErrorCode::kCancelled, "the load was given up", ""}; }

struct WeightSource {
  const kernels::KernelTable& table;
  const std::string& path;
};

Result<void> load_weights(Loaded& loaded, const InstanceOptions& options, WeightSource from,
                          const ProgressFn& progress) {
  auto show = [&](int64_t done, int64_t total) {
    return report(progress, "weights", static_cast<double>(done) / static_cast<double>(std::max<int64_t>(total, 1)));
  };
  models::LoadOptions load{.table = from.table,
                           .pool = *loaded.pool,
                           .progress = show,
                           .image = {.folder = options.packed_folder, .model_path = from.path}};
  loaded.model = TRY(models::load_model(loaded.file, load));
  return {};
}

}  // namespace

std::string served_name(const std::string& reference) {
  if (store::is_hub_reference(reference) && !file_exists(reference) && !is_directory(reference)) {
    auto hub = store::parse_hub_reference(reference);
    if (hub.ok()) return hub->repo;
  }
  std::string name = std::filesystem::path(reference).filename().string();
  if (name.empty()) name = std::filesystem::path(reference).parent_path().filename().string();
  if (name.ends_with(".gguf")) name.resize(name.size() - std::string_view(".gguf").size());
  return name.empty() ? "model" : name;
}

Result<MemoryNeed> Instance::memory_need(const InstanceOptions& options, const ProgressFn& progress) {
  constexpr uint64_t kSpareBytes = uint64_t{32} << 20;
  constexpr uint64_t kRowVectors = 16;      // of d_model or d_ff values that a row of a step has at once, at most
  constexpr uint32_t kLeastContext = 4096;  // tokens: load() cuts a longer context before it refuses
  kernels::KvDType dtype = TRY(kv_dtype_of(options.kv_cache_dtype));
  store::ModelStore store(store::ModelStore::default_root(), options.hub);
  std::string path =
      TRY(store.resolve({.reference = options.model, .hub_file = options.hub_file},
                        [&](std::string_view stage, double fraction) { return report(progress, stage, fraction); }));
  weights::ModelFile file = TRY(weights::ModelFile::open(path));
  if (options.quantization) TRY(file.quantize(*options.quantization));
  InstanceOptions free = options;
  free.memory_limit_bytes = uint64_t{1} << 62;
  Sizes sizes = TRY(plan_sizes(free, file, dtype));
  const weights::ModelDesc& desc = file.desc();
  uint64_t row = kRowVectors * (uint64_t{desc.d_model} + desc.d_ff) * sizeof(float);
  uint64_t scratch = kSpareBytes + sizes.max_rows * row + kMaxLogitRows * uint64_t{desc.n_vocab} * sizeof(float);
  MemoryNeed need{.usual_bytes = sizes.weight_bytes + scratch + sizes.kv_bytes};
  if (options.max_model_len == 0) sizes.geometry.max_len = std::min(sizes.geometry.max_len, kLeastContext);
  weights::MemoryRequest one = memory_request(free, sizes);
  uint64_t least_kv = std::min(sizes.kv_bytes, one.blocks_per_seq * one.block_bytes);
  need.least_bytes = sizes.weight_bytes + scratch + std::max(least_kv, options.kv_cache_bytes);
  return need;
}

Result<std::unique_ptr<Instance>> Instance::load(const InstanceOptions& options, const ProgressFn& progress) try {
  kernels::KvDType dtype = TRY(kv_dtype_of(options.kv_cache_dtype));
  if (!options.slot_save_path.empty() && !is_directory(options.slot_save_path)) {
    return Error{ErrorCode::kResource, fmt::format("{}: no such folder", options.slot_save_path), "--slot-save-path"};
  }
  store::ModelStore store(store::ModelStore::default_root(), options.hub);
  std::string path =
      TRY(store.resolve({.reference = options.model, .hub_file = options.hub_file},
                        [&](std::string_view stage, double fraction) { return report(progress, stage, fraction); }));
  const kernels::KernelTable* table = TRY(kernels::pick_kernels(kernels::detect_cpu(), options.isa));
  weights::ModelFile file = TRY(weights::ModelFile::open(path));
  if (options.quantization) TRY(file.quantize(*options.quantization));
  if (options.check_tensors) TRY(weights::check_tensors(file.source(), path));
  Sizes sizes = TRY(plan_sizes(options, file, dtype));
  auto loaded = std::make_shared<Loaded>(std::move(file));

  if (!report(progress, "tokenizer", 0.0)) return given_up();
  text::Tokenizer tokenizer = TRY(load_tokenizer(loaded->file, options.limits));
  auto chat_template = TRY(load_chat_template(loaded->file, options.chat_template, options.limits));
  if (chat_template) {
    for (const auto& text : template_warnings(*chat_template, tokenizer)) LOG(LogLevel::kWarning, "template: {}", text);
  }

  cpu_set_t engine_mask = make_pool(*loaded, options);
  TRY(load_weights(*loaded, options, {*table, path}, progress));
  models::StepLimits limits{.max_rows = sizes.max_rows,
                            .max_len = sizes.geometry.max_len,
                            .max_logit_rows = kMaxLogitRows,
                            .n_threads = loaded->pool->n_threads()};
  sizes.scratch_bytes =
      runtime::StepRunner::scratch_bytes(*loaded->model, limits) + drafted_logit_bytes(options, *loaded->model);
  TRY(plan_blocks(options, sizes));
  runtime::RunnerSetup setup{.model = *loaded->model,
                             .table = *table,
                             .pool = *loaded->pool,
                             .geometry = sizes.geometry,
                             .kv_dtype = dtype,
                             .max_rows = sizes.max_rows,
                             .max_logit_rows = kMaxLogitRows,
                             .max_draft = options.constraint_draft_tokens,
                             .constraints_complete = options.constraints_complete,
                             .mask_threads = mask_threads(loaded->pool->n_threads())};
  auto workers = TRY(runtime::WorkerGroup::create(setup, options.max_num_seqs, loaded->clock));
  if (options.warm_up) workers->warm_up();
  InstanceFacts facts = gather_facts(options, *loaded, sizes);
  facts.file_name = std::filesystem::path(path).filename().string();
  facts.isa = table->name;
  facts.n_threads = static_cast<uint32_t>(loaded->pool->n_threads());
  TextParts text = make_text_parts(options, sizes, loaded->file, std::move(tokenizer));
  text.chat_template = std::move(chat_template);
  runtime::WorkerGroup* group = workers.get();
  flow::TierName layout = {};
  if (!options.kv_disk_path.empty() || !options.slot_save_path.empty()) {
    layout = kv_layout_name(loaded->file, sizes.geometry, options.kv_cache_dtype, table->name);
  }
  std::unique_ptr<flow::TierStore> tier = TRY(open_tier(options, layout, sizes, *group));
  engine::EngineOptions engine = engine_options(options, sizes, *group);
  engine.cost_prior = known_cost(facts);
  engine.tier = tier.get();
  engine.tier_saves_all = options.kv_disk_all;
  Compute compute = place_compute(options, *loaded, std::move(workers), engine_mask);
  InstanceParts parts{.facts = std::move(facts),
                      .text = std::move(text),
                      .engine = engine,
                      .record_events = options.record_events,
                      .holds = loaded,
                      .backend = std::move(compute.backend),
                      .session_folder = options.slot_save_path,
                      .session_layout = layout,
                      .tier = std::move(tier),
                      .on_engine_thread = std::move(compute.on_engine_thread),
                      .heartbeat = [group] { return group->heartbeat().read(); },
                      .tenants = options.tenants,
                      .tenant_table = options.tenant_table};
  auto instance = TRY(Instance::make(std::move(parts)));
  if (compute.aside != nullptr) compute.aside->set_on_done([engine = &instance->engine()] { engine->wake(); });
  if (!report(progress, "warm-up", 1.0)) return given_up();
  if (options.warm_up) TRY(instance->warm_up());
  return instance;
} catch (const std::bad_alloc&) {
  return out_of_memory("loading the model", ErrorCode::kResource);
}

}  // namespace millrace::instance
