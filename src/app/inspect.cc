// millrace inspect: what a model file holds, and what running it would take. Loads nothing but headers.
#include <fmt/core.h>

#include <map>

#include "app/commands.h"
#include "app/flags.h"
#include "app/model_flags.h"
#include "base/json.h"
#include "base/macros.h"
#include "device/cpu_topology.h"
#include "tensor/formats.h"
#include "weights/memory_plan.h"
#include "weights/model_file.h"

namespace millrace::app {
namespace {

constexpr int64_t kMetadataShown = 60;  // characters of one value

std::string value_text(const weights::GgufFile& file, const weights::GgufValue& value) {
  if (value.type == weights::GgufType::kArray) return fmt::format("array of {}", value.count);
  if (value.type == weights::GgufType::kString) {
    auto text = file.get_string(value.key);
    return text.ok() ? quote_for_message(*text, kMetadataShown) : text.error().message;
  }
  if (auto flag = file.get_bool(value.key); value.type == weights::GgufType::kBool && flag.ok())
    return *flag ? "true" : "false";
  if (auto number = file.get_int(value.key, {INT64_MIN, INT64_MAX}); number.ok()) return fmt::format("{}", *number);
  if (auto number = file.get_float(value.key, {-1e300, 1e300}); number.ok()) return fmt::format("{:g}", *number);
  return "?";
}

Json describe(const weights::ModelDesc& d) {
  Json out = Json::object();
  out.set("architecture", architecture_name(d.architecture));
  out.set("name", d.name);
  out.set("n_layers", static_cast<int64_t>(d.n_layers));
  out.set("d_model", static_cast<int64_t>(d.d_model));
  out.set("d_ff", static_cast<int64_t>(d.d_ff));
  out.set("n_heads", static_cast<int64_t>(d.n_heads));
  out.set("n_kv_heads", static_cast<int64_t>(d.n_kv_heads));
  out.set("head_dim", static_cast<int64_t>(d.head_dim));
  out.set("n_vocab", static_cast<int64_t>(d.n_vocab));
  out.set("max_len", static_cast<int64_t>(d.max_len));
  out.set("tied_embeddings", d.tied_embeddings);
  int64_t windowed = 0;
  for (uint32_t layer = 0; layer < d.n_layers; ++layer) windowed += d.is_window_layer(layer) ? 1 : 0;
  out.set("window_layers", windowed);
  return out;
}

// Bytes and tensors by format.
Json formats_of(const weights::ModelFile& file) {
  std::map<std::string, std::pair<int64_t, int64_t>> sums;
  for (std::string_view name : file.source().names()) {
    auto view = file.source().tensor(name);
    if (!view.ok()) continue;
    auto& [tensors, bytes] = sums[std::string(tensor::format_info(view->format).name)];
    ++tensors;
    bytes += static_cast<int64_t>(view->bytes);
  }
  Json out = Json::object();
  for (const auto& [name, sum] : sums) {
    Json row = Json::object();
    row.set("tensors", sum.first);
    row.set("bytes", sum.second);
    out.set(name, row);
  }
  return out;
}

Json memory_of(const weights::ModelFile& file, int64_t max_len, int64_t max_seqs) {
  const weights::ModelDesc& d = file.desc();
  int64_t length = max_len > 0 ? max_len : d.max_len;
  auto per_token = static_cast<int64_t>(weights::kv_bytes_per_token(d, tensor::Format::kBF16));
  auto weight_bytes = static_cast<int64_t>(weights::packed_weight_bytes(file));
  Json out = Json::object();
  out.set("weight_bytes", weight_bytes);
  out.set("kv_bytes_per_token", per_token);
  out.set("max_model_len", length);
  out.set("max_num_seqs", max_seqs);
  out.set("kv_bytes_one_sequence", per_token * length);
  out.set("kv_bytes_all_sequences", per_token * length * max_seqs);
  out.set("available_bytes", device::memory_available_bytes());
  return out;
}

void print_object(const Json& object, const std::string& indent) {
  for (const auto& [name, value] : object.as_object().members) {
    if (value.is_object()) {
      fmt::print("{}{}:\n", indent, name);
      print_object(value, indent + "  ");
    } else {
      fmt::print("{}{:<26} {}\n", indent, name, value.is_string() ? value.as_string() : value.dump());
    }
  }
}

Json tensor_rows(const weights::ModelFile& file) {
  Json out = Json::array();
  for (std::string_view name : file.source().names()) {
    auto view = file.source().tensor(name);
    if (!view.ok()) continue;
    Json row = Json::object();
    row.set("name", name);
    row.set("format", tensor::format_info(view->format).name);
    row.set("shape", view->shape.text());
    row.set("bytes", static_cast<int64_t>(view->bytes));
    out.push_back(row);
  }
  return out;
}

}  // namespace

Result<int> inspect_command(std::span<const std::string> args) {
  std::string model;
  int64_t max_len = 0;
  int64_t max_seqs = 1;
  bool tensors = false;
  bool metadata = false;
  bool json = false;
  FlagSet set("inspect", "Print what a model file holds and what running it would take.");
  set.positional("MODEL", &model, "as for run", true);
  set.add("-c,--max-model-len", &max_len, "tokens of a sequence in the memory plan; 0 = the model's", {0, 1 << 24});
  set.add("--max-num-seqs", &max_seqs, "sequences in the memory plan", {1, 4096});
  set.add("--tensors", &tensors, "list every tensor");
  set.add("--metadata", &metadata, "list every GGUF key");
  set.add("--json", &json, "JSON on stdout");
  if (!TRY(set.parse(args))) return 0;
  std::string path = TRY(resolve_model(model));
  weights::ModelFile file = TRY(weights::ModelFile::open(path));
  Json out = Json::object();
  out.set("model", describe(file.desc()));
  out.set("formats", formats_of(file));
  out.set("memory", memory_of(file, max_len, max_seqs));
  if (metadata && file.gguf() != nullptr) {
    Json keys = Json::object();
    for (const weights::GgufValue& value : file.gguf()->values()) keys.set(value.key, value_text(*file.gguf(), value));
    out.set("metadata", keys);
  }
  if (tensors && json) out.set("tensors", tensor_rows(file));
  if (json) {
    fmt::print("{}\n", out.dump());
    return 0;
  }
  print_object(out, "");
  if (!tensors) return 0;
  fmt::print("tensors:\n");
  const Json rows = tensor_rows(file);
  for (const Json& row : rows.as_array()) {
    fmt::print("  {:<48} {:<8} {:<20} {}\n", row.get("name")->as_string(), row.get("format")->as_string(),
               row.get("shape")->as_string(), row.get("bytes")->as_int());
  }
  return 0;
}

}  // namespace millrace::app
