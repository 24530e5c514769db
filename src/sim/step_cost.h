// StepCost: how long a step takes, as a function of what it computes. Three published forms, a table, a roofline, and
// presets with their sources. All coefficients in nanoseconds; results are integer ns, at least 1.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "sched/cost_model.h"

namespace millrace::sim {

// What a step computes. A share is a decode when it is one row that continues an answer, else a prefill chunk.
struct StepLoad {
  uint32_t n_prefill = 0;    // rows of prefill chunks
  uint32_t n_decode = 0;     // decodes, one row each
  uint64_t ctx_prefill = 0;  // sum over chunks of the tokens before them
  uint64_t ctx_decode = 0;   // sum over decodes of the tokens before them
  double area = 0;  // sum over chunks of c (p + c/2): c rows after p tokens; sum of squares of whole prompts = 2x

  uint32_t n_rows() const { return n_prefill + n_decode; }
  void add_chunk(uint32_t ctx, uint32_t n_rows);
  void add_decode(uint32_t ctx);
};

// t = a + p n_prefill + d n_decode + e ctx_decode + f ctx_prefill
struct LinearTerms {
  double a = 0, p = 0, d = 0, e = 0, f = 0;
};
struct TwoRegimes {
  LinearTerms small, large;
  uint32_t split = 512;  // rows; `small` holds up to and including it
};

// t = max(floor, base + row n_rows + prefill n_prefill) + decode n_decode + ctx ctx_decode + area area
struct FloorCost {
  double floor = 0, base = 0, row = 0, prefill = 0, decode = 0, ctx = 0, area = 0;
};

// A step's prefill and its decodes take their own times; in a step with both, the smaller base is not paid: the weights
// are read once.
// prefill = base + row n_prefill + square 2 area; decode = base + ctx ctx_decode + seq n_decode
struct PrefillTerms {
  double base = 0, row = 0, square = 0;
};
struct DecodeTerms {
  double base = 0, ctx = 0, seq = 0;
};
struct SeparateCost {
  PrefillTerms prefill;
  DecodeTerms small, large;
  uint32_t split = 95;  // decodes; `small` holds below it
};

// Bilinear between measured points over (rows, context tokens in all), clamped at the edges.
struct TableCost {
  std::vector<double> rows, ctx;  // ascending, >= 1 entry
  std::vector<double> ns;         // [rows, ctx]
};

// t = overhead + max(arithmetic, bytes): what a machine of these rates needs at least for a model of these sizes.
// Weights are read once a step, the KV of every sequence once. Source of the form: Williams et al., Roofline, CACM
// 2009.
struct RooflineCost {
  double overhead = 0;
  double flops_per_row = 0;   // 2 for each weight that a row is multiplied with
  double flops_per_pair = 0;  // of attention, for a row and a token that it sees
  double weight_bytes = 0;
  double kv_bytes = 0;  // of a token
  double flops_per_ns = 0;
  double bytes_per_ns = 0;
};

// The engine's own model (sched/cost_model.h), as measured on a machine, is the sixth form.
using StepCost = std::variant<TwoRegimes, FloorCost, SeparateCost, TableCost, RooflineCost, sched::CostModel>;

Tick step_time(const StepCost& cost, const StepLoad& load);

struct CostPreset {
  std::string_view name;
  std::string_view what;
  StepCost cost;
};
std::span<const CostPreset> cost_presets();

// A preset's name, or a JSON file: {"split": N, "small": {a, p, d, e, f}, "large": {...}} in microseconds,
// {"rows": [...], "ctx": [...], "ms": [[...], ...]}, or {"roofline": {"params": N, "bytes_per_param": B,
// "attention_width": layers * heads * head_dim, "kv_bytes_per_token": K, "tflops": F, "gbps": G, "overhead_us": U}}
// with rates as the machine reaches them. kUsage names the presets; kBadFile names the field.
Result<StepCost> load_cost(const std::string& name_or_path);
Result<StepCost> parse_cost(std::string_view json, std::string_view name);

}  // namespace millrace::sim
