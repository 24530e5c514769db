#include "sim/step_cost.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "base/file.h"
#include "base/json.h"
#include "base/macros.h"

namespace millrace::sim {
namespace {

constexpr double kUs = 1e3;  // ns
constexpr double kMs = 1e6;

double time_of(const LinearTerms& t, const StepLoad& load) {
  return t.a + t.p * load.n_prefill + t.d * load.n_decode + t.e * static_cast<double>(load.ctx_decode) +
         t.f * static_cast<double>(load.ctx_prefill);
}

double time_of(const TwoRegimes& cost, const StepLoad& load) {
  return time_of(load.n_rows() <= cost.split ? cost.small : cost.large, load);
}

double time_of(const FloorCost& c, const StepLoad& load) {
  return std::max(c.floor, c.base + c.row * load.n_rows() + c.prefill * load.n_prefill) + c.decode * load.n_decode +
         c.ctx * static_cast<double>(load.ctx_decode) + c.area * load.area;
}

double time_of(const SeparateCost& c, const StepLoad& load) {
  double ns = 0;
  if (load.n_prefill > 0) ns += c.prefill.base + c.prefill.row * load.n_prefill + c.prefill.square * 2 * load.area;
  const DecodeTerms& d = load.n_decode < c.split ? c.small : c.large;
  if (load.n_decode > 0) ns += d.base + d.ctx * static_cast<double>(load.ctx_decode) + d.seq * load.n_decode;
  if (load.n_decode > 0 && load.n_prefill > 0) ns -= std::min(d.base, c.prefill.base);
  return ns;
}

// The cell below `x` and how far x lies towards the next.
std::pair<size_t, double> locate(const std::vector<double>& axis, double x) {
  if (axis.size() == 1 || x <= axis.front()) return {0, 0.0};
  if (x >= axis.back()) return {axis.size() - 2, 1.0};
  auto above = static_cast<size_t>(std::upper_bound(axis.begin(), axis.end(), x) - axis.begin());
  return {above - 1, (x - axis[above - 1]) / (axis[above] - axis[above - 1])};
}

double time_of(const TableCost& c, const StepLoad& load) {
  auto [i, u] = locate(c.rows, load.n_rows());
  auto [j, v] = locate(c.ctx, static_cast<double>(load.ctx_decode + load.ctx_prefill));
  size_t width = c.ctx.size();
  auto at = [&](size_t row, size_t column) {
    return c.ns[std::min(row, c.rows.size() - 1) * width + std::min(column, width - 1)];
  };
  return (1 - u) * ((1 - v) * at(i, j) + v * at(i, j + 1)) + u * ((1 - v) * at(i + 1, j) + v * at(i + 1, j + 1));
}

double time_of(const RooflineCost& c, const StepLoad& load) {
  double pairs = load.area + static_cast<double>(load.ctx_decode);
  double flops = c.flops_per_row * load.n_rows() + c.flops_per_pair * pairs;
  double seen =
      static_cast<double>(load.ctx_decode + load.ctx_prefill) + load.n_rows();  // tokens of KV, read or written
  double bytes = c.weight_bytes + c.kv_bytes * seen;
  return c.overhead + std::max(flops / c.flops_per_ns, bytes / c.bytes_per_ns);
}

double time_of(const sched::CostModel& c, const StepLoad& load) {
  auto ctx_prefill = static_cast<uint64_t>(load.area);  // it sums over rows
  return static_cast<double>(c.predict({.n_prefill = load.n_prefill,
                                        .n_decode = load.n_decode,
                                        .ctx_decode = load.ctx_decode,
                                        .ctx_prefill = ctx_prefill}));
}

const CostPreset kPresets[] = {
    // Niyama (arXiv 2503.22562), published artifact, terms merged
    {"llama3-8b-a100", "Llama-3 8B on one A100, two linear regimes (Niyama)",
     TwoRegimes{.small = {14.936 * kMs, 81.30 * kUs, 95.17 * kUs, 0.1111 * kUs, 0.7555 * kUs},
                .large = {5.004 * kMs, 95.82 * kUs, -14.25 * kUs, 0.1663 * kUs, 2.727 * kUs},
                .split = 512}},
    // fitted to the tables of the Sarathi-Serve artifact (OSDI 2024)
    {"yi-34b-tp2-a100", "Yi 34B on two A100 (Sarathi-Serve)",
     FloorCost{.floor = 46.8 * kMs,
               .base = 10 * kMs,
               .row = 0.172 * kMs,
               .decode = 0.55 * kMs,
               .ctx = 8.2e-5 * kMs,
               .area = 1.3e-5 * kMs}},
    // DistServe (OSDI 2024), coefficients of its simulator
    {"opt-13b-a100", "OPT 13B on one A100 (DistServe)",
     SeparateCost{.prefill = {19.10 * kMs, 0.10191 * kMs, 7.122e-6 * kMs},
                  .small = {19.93 * kMs, 6.269e-4 * kMs, 0.03851 * kMs},
                  .large = {7.166 * kMs, 5.798e-4 * kMs, 0.15831 * kMs},
                  .split = 95}},
    // the machine of the fairness suite of VTC (OSDI 2024)
    {"vtc-a10g", "Llama-2 7B on one A10G, as in the VTC suites",
     FloorCost{.floor = 28 * kMs, .base = 5 * kMs, .prefill = 0.25 * kMs, .decode = 0.054 * kMs, .ctx = 6e-5 * kMs}},
};

Result<double> number_of(const Json& json, std::string_view key, std::string_view name) {
  const Json* value = json.find(key);
  if (value == nullptr || !value->is_number()) {
    return Error{ErrorCode::kBadFile, fmt::format("{}: {}: want a number", name, key), ""};
  }
  return value->as_double();
}

Result<LinearTerms> terms_of(const Json& json, std::string_view key, std::string_view name) {
  const Json* terms = json.find(key);
  if (terms == nullptr || !terms->is_object()) {
    return Error{ErrorCode::kBadFile, fmt::format("{}: {}: want an object with a, p, d, e, f", name, key), ""};
  }
  LinearTerms out;
  out.a = TRY(number_of(*terms, "a", name)) * kUs;
  out.p = TRY(number_of(*terms, "p", name)) * kUs;
  out.d = TRY(number_of(*terms, "d", name)) * kUs;
  out.e = TRY(number_of(*terms, "e", name)) * kUs;
  out.f = TRY(number_of(*terms, "f", name)) * kUs;
  return out;
}

Result<std::vector<double>> axis_of(const Json& json, std::string_view key, std::string_view name) {
  const Json* list = json.find(key);
  std::vector<double> out;
  if (list != nullptr && list->is_array()) {
    for (const Json& value : list->as_array()) {
      if (!value.is_number() || (!out.empty() && value.as_double() <= out.back())) {
        out.clear();
        break;
      }
      out.push_back(value.as_double());
    }
  }
  if (out.empty()) return Error{ErrorCode::kBadFile, fmt::format("{}: {}: want ascending numbers", name, key), ""};
  return out;
}

Result<StepCost> table_of(const Json& json, std::string_view name) {
  TableCost table{.rows = TRY(axis_of(json, "rows", name)), .ctx = TRY(axis_of(json, "ctx", name)), .ns = {}};
  const Json* grid = json.find("ms");
  Error bad{ErrorCode::kBadFile,
            fmt::format("{}: ms: want {} lists of {} numbers >= 0", name, table.rows.size(), table.ctx.size()), ""};
  if (grid == nullptr || !grid->is_array() || grid->size() != table.rows.size()) return bad;
  for (const Json& line : grid->as_array()) {
    if (!line.is_array() || line.size() != table.ctx.size()) return bad;
    for (const Json& value : line.as_array()) {
      if (!value.is_number() || value.as_double() < 0) return bad;
      table.ns.push_back(value.as_double() * kMs);
    }
  }
  return StepCost{std::move(table)};
}

Result<StepCost> roofline_of(const Json& json, std::string_view name) {
  auto above_0 = [&](std::string_view key) -> Result<double> {
    double value = TRY(number_of(json, key, name));
    if (value > 0) return value;
    return Error{ErrorCode::kBadFile, fmt::format("{}: {}: want a number above 0", name, key), ""};
  };
  RooflineCost cost;
  double params = TRY(above_0("params"));
  cost.weight_bytes = params * TRY(above_0("bytes_per_param"));
  cost.flops_per_row = 2 * params;
  cost.flops_per_pair = 4 * TRY(above_0("attention_width"));  // 2 for q k, 2 for p v
  cost.kv_bytes = TRY(above_0("kv_bytes_per_token"));
  cost.flops_per_ns = TRY(above_0("tflops")) * 1e3;
  cost.bytes_per_ns = TRY(above_0("gbps"));
  cost.overhead = TRY(above_0("overhead_us")) * kUs;
  return StepCost{cost};
}

}  // namespace

void StepLoad::add_chunk(uint32_t ctx, uint32_t n_rows) {
  n_prefill += n_rows;
  ctx_prefill += ctx;
  area += static_cast<double>(n_rows) * (static_cast<double>(ctx) + static_cast<double>(n_rows) / 2);
}

void StepLoad::add_decode(uint32_t ctx) {
  ++n_decode;
  ctx_decode += ctx;
}

Tick step_time(const StepCost& cost, const StepLoad& load) {
  double ns = std::visit([&](const auto& form) { return time_of(form, load); }, cost);
  return std::max<Tick>(1, std::llround(ns));
}

std::span<const CostPreset> cost_presets() { return kPresets; }

Result<StepCost> parse_cost(std::string_view json, std::string_view name) {
  Json root = TRY(parse_json(json));
  if (root.find("ms") != nullptr) return table_of(root, name);
  if (const Json* roofline = root.find("roofline")) return roofline_of(*roofline, name);
  double split = TRY(number_of(root, "split", name));
  if (split < 0 || split > 1e9) return Error{ErrorCode::kBadFile, fmt::format("{}: split: want rows", name), ""};
  TwoRegimes cost{.small = TRY(terms_of(root, "small", name)),
                  .large = TRY(terms_of(root, "large", name)),
                  .split = static_cast<uint32_t>(split)};
  return StepCost{cost};
}

Result<StepCost> load_cost(const std::string& name_or_path) {
  std::string names;
  for (const CostPreset& preset : kPresets) {
    if (preset.name == name_or_path) return preset.cost;
    names += names.empty() ? "" : ", ";
    names += preset.name;
  }
  if (!name_or_path.ends_with(".json")) {
    return Error{ErrorCode::kUsage,
                 fmt::format("cost model {}: want one of {} or a .json file", quote_for_message(name_or_path), names),
                 ""};
  }
  return parse_cost(TRY(read_file(name_or_path, 1 << 20)), name_or_path);
}

}  // namespace millrace::sim
