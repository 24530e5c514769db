// The flags that every command with a model shares, and how loading shows its progress.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "app/flags.h"
#include "app/hub_flags.h"
#include "base/result.h"
#include "instance/instance.h"
#include "tensor/format_id.h"

namespace millrace::app {

struct ModelFlags {
  std::string model;
  HubFlags hub;
  std::vector<std::string> served_names;
  std::vector<std::string> tenants;
  std::string chat_template;  // a file
  std::string generation_config = "auto";
  std::string override_generation_config;  // JSON
  std::string pooling;                     // empty: the model's
  std::string kv_cache_dtype = "auto";
  std::string cache_type_v;  // empty, or the same
  std::string quantization = "none";
  std::string isa;
  std::string scheduling_policy = "dlpm";
  std::string admission_policy = "predictive";
  std::string budget_policy = "slack";
  int64_t max_model_len = 0;
  int64_t max_num_seqs = 256;
  int64_t constraint_draft_tokens = 16;
  std::string constraint_ending = "complete";
  int64_t max_num_batched_tokens = 0;
  int64_t itl_target_ms = 0;
  int64_t ttft_target_ms = 0;
  int64_t kv_cache_memory_bytes = 0;
  int64_t memory_limit = 0;
  int64_t threads = 0;
  std::string kv_disk_path;
  std::string slot_save_path;
  bool async_scheduling = false;
  int64_t kv_disk_size = int64_t{8} << 30;
  std::string kv_disk_write = "selective";
  int64_t block_size = 0;
  bool prefix_caching = true;
  bool check_tensors = false;
  bool packed_image = false;
  bool warmup = true;
  bool verbose = false;
};

// Whether --batch-size is one more name of the tokens of a step, as in llama-server, or left to the command.
enum class BatchSize : uint8_t { kTokensOfAStep, kOfTheCommand };
void declare_model_flags(FlagSet& set, ModelFlags& flags, BatchSize batch_size = BatchSize::kTokensOfAStep);
// kUsage for values out of range, or no model unless there need be none; reads the chat template file.
Result<instance::InstanceOptions> instance_options(const ModelFlags& flags, bool needs_model = true);

// --quantization: none for "none" and "gguf" (the formats of the file).
Result<std::optional<tensor::Format>> quantization_of(const std::string& value);

// Where images of packed weights lie, in the store.
std::string packed_folder();

// Progress lines on stderr: a bar on a terminal, else one line per 10 % of each stage.
instance::ProgressFn progress_printer();

// The path of a model reference (store/model_store.h), fetched into the store when it is not there.
Result<std::string> resolve_model(const std::string& reference);

// Loads with progress; blocks until the model is warm.
Result<std::unique_ptr<instance::Instance>> load_instance(const ModelFlags& flags);

}  // namespace millrace::app
