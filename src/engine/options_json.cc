#include "engine/options_json.h"

#include <fmt/core.h>

#include <tuple>
#include <type_traits>
#include <utility>

#include "base/macros.h"
#include "base/sha256.h"

namespace millrace::engine {
namespace {

// Calls fn(name, field) for every plain field; one list for both directions.
template <class Options, class Fn>
void each_field(Options& o, Fn&& fn) {
  fn("block_tokens", o.kv.block_tokens);
  fn("n_blocks", o.kv.n_blocks);
  fn("block_bytes", o.kv.block_bytes);
  fn("max_len", o.kv.max_len);
  fn("order", o.sched.order);
  fn("admit", o.sched.admit);
  fn("budget", o.sched.budget);
  fn("max_live", o.sched.max_live);
  fn("tok_cap", o.sched.tok_cap);
  fn("budget_tokens", o.sched.budget_tokens);
  fn("c_min", o.sched.c_min);
  fn("row_tile", o.sched.row_tile);
  fn("depth", o.sched.depth);
  fn("k_bypass", o.sched.k_bypass);
  fn("barrier_age", o.sched.barrier_age);
  fn("k_preempt", o.sched.k_preempt);
  fn("preempt_lower_bands", o.sched.preempt_lower_bands);
  fn("itl_target", o.sched.itl_target);
  fn("ttft_target", o.sched.ttft_target);
  fn("quantum", o.sched.quantum);
  fn("n_candidates", o.sched.n_candidates);
  fn("cost_split", o.sched.cost_split);
  fn("max_queued_requests", o.max_queued_requests);
  fn("prefix_cache", o.prefix_cache);
  fn("park_limit", o.park_limit);
  fn("tier_saves_all", o.tier_saves_all);
}
static_assert(sizeof(sched::SchedOptions) == 80, "a new option of the scheduler needs its row in each_field");

template <class T>
Json to_json(T value) {
  if constexpr (std::is_same_v<T, bool> || std::is_same_v<T, double>) {
    return Json(value);
  } else {
    return Json(static_cast<int64_t>(value));
  }
}

template <class T>
bool from_json(const Json& json, T& out) {
  if constexpr (std::is_same_v<T, bool>) {
    if (!json.is_bool()) return false;
    out = json.as_bool();
  } else if constexpr (std::is_same_v<T, double>) {
    if (!json.is_number()) return false;
    out = json.as_double();
  } else {
    if (!json.is_int() || json.as_int() < 0) return false;
    out = static_cast<T>(json.as_int());
    return static_cast<int64_t>(out) == json.as_int();
  }
  return true;
}

Error bad(std::string_view what) {
  return {ErrorCode::kBadFile, fmt::format("engine options: {}: missing, unknown or out of range", what), ""};
}

Result<flow::KvGroup> group_from_json(const Json& json) {
  const Json* window = json.find("window_tokens");
  if (window == nullptr || !window->is_int() || window->as_int() < 0 || window->as_int() > UINT32_MAX)
    return bad("kv_groups");
  flow::KvGroup group{.window_tokens = static_cast<uint32_t>(window->as_int()), .layers = {}};
  group.kind = group.window_tokens > 0 ? flow::KvGroupKind::kWindow : flow::KvGroupKind::kFull;
  if (json.find("chunked") != nullptr && group.window_tokens > 0) group.kind = flow::KvGroupKind::kChunk;
  return group;
}

// Split, then per regime the steps it saw and its coefficients.
Json cost_to_json(const sched::CostModel& cost) {
  Json out = Json::array();
  out.push_back(static_cast<int64_t>(cost.split_rows()));
  for (const sched::CostRegime* regime : {&cost.small(), &cost.large()}) {
    out.push_back(regime->n_seen);
    for (double c : regime->c) out.push_back(c);
  }
  return out;
}

Result<sched::CostModel> cost_from_json(const Json& json) {
  constexpr size_t kNumbers = 1 + 2 * (1 + std::tuple_size_v<sched::CostCoefficients>);
  if (!json.is_array() || json.size() != kNumbers) return bad("cost_prior");
  const JsonArray& numbers = json.as_array();
  if (!numbers[0].is_int() || numbers[0].as_int() < 0 || numbers[0].as_int() > UINT32_MAX) return bad("cost_prior");
  for (const Json& number : numbers) {
    if (!number.is_number() || !(number.as_double() >= 0.0)) return bad("cost_prior");
  }
  sched::CostRegime regimes[2];
  size_t next = 1;
  for (sched::CostRegime& regime : regimes) {
    regime.n_seen = numbers[next++].as_double();
    for (double& c : regime.c) c = numbers[next++].as_double();
  }
  return sched::CostModel(static_cast<uint32_t>(numbers[0].as_int()), regimes[0], regimes[1]);
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

Result<flow::TierName> name_from_json(const Json& json) {
  flow::TierName out{};
  if (!json.is_string() || json.as_string().size() != 2 * out.size()) return bad("layout");
  const std::string& text = json.as_string();
  for (size_t i = 0; i < out.size(); ++i) {
    int high = hex_digit(text[2 * i]);
    int low = hex_digit(text[2 * i + 1]);
    if (high < 0 || low < 0) return bad("layout");
    out[i] = static_cast<uint8_t>(high * 16 + low);
  }
  return out;
}

}  // namespace

Json setup_to_json(const EngineOptions& options) {
  Json out = Json::object();
  out.set("engine", options_to_json(options));
  out.set("sessions", static_cast<bool>(options.block_bytes));
  if (options.tier == nullptr) return out;
  Json tier = Json::object();
  tier.set("layout", hex(options.tier->layout()));
  tier.set("max_load_blocks", int64_t{options.tier->max_load_blocks()});
  out.set("tier", std::move(tier));
  return out;
}

Result<RecordedSetup> setup_from_json(const Json& json) {
  const Json* engine = json.find("engine");
  const Json* sessions = json.find("sessions");
  if (engine == nullptr || sessions == nullptr || !sessions->is_bool()) return bad("engine or sessions");
  RecordedSetup out;
  out.options = TRY(options_from_json(*engine));
  out.sessions = sessions->as_bool();
  const Json* tier = json.find("tier");
  if (tier == nullptr) return out;
  out.has_tier = true;
  const Json* layout = tier->find("layout");
  const Json* most = tier->find("max_load_blocks");
  if (layout == nullptr || most == nullptr || !from_json(*most, out.tier_max_load_blocks)) return bad("tier");
  out.tier_layout = TRY(name_from_json(*layout));
  return out;
}

Json options_to_json(const EngineOptions& options) {
  Json out = Json::object();
  each_field(options, [&](std::string_view name, const auto& field) { out.set(name, to_json(field)); });
  Json groups = Json::array();
  for (const flow::KvGroup& group : options.kv.groups) {
    Json one = Json::object();
    one.set("window_tokens", static_cast<int64_t>(group.window_tokens));
    if (group.kind == flow::KvGroupKind::kChunk) one.set("chunked", true);
    groups.push_back(std::move(one));
  }
  out.set("kv_groups", std::move(groups));
  out.set("cost_prior", cost_to_json(options.cost_prior));
  return out;
}

Result<EngineOptions> options_from_json(const Json& json) {
  EngineOptions out;
  std::string wrong;
  size_t n_known = 0;
  each_field(out, [&](std::string_view name, auto& field) {
    const Json* value = json.find(name);
    if (value == nullptr) return;
    ++n_known;
    if (!from_json(*value, field) && wrong.empty()) wrong = name;
  });
  if (!wrong.empty()) return bad(wrong);
  const Json* groups = json.find("kv_groups");
  if (groups == nullptr || !groups->is_array()) return bad("kv_groups");
  for (const Json& group : groups->as_array()) out.kv.groups.push_back(TRY(group_from_json(group)));
  const Json* cost = json.find("cost_prior");
  if (cost == nullptr) return bad("cost_prior");
  out.cost_prior = TRY(cost_from_json(*cost));
  if (json.size() != n_known + 2) return bad("a member");
  out.max_queued_tokens = INT64_MAX;  // what was recorded had been accepted
  TRY(Engine::validate(out));
  return out;
}

}  // namespace millrace::engine
