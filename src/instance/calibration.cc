#include "instance/calibration.h"

#include <fmt/core.h>

#include <cmath>
#include <filesystem>

#include "base/file.h"
#include "base/json.h"
#include "base/macros.h"

namespace millrace::instance {
namespace {

constexpr uint64_t kMaxBytes = 64 * 1024;
constexpr int64_t kVersion = 1;
constexpr int64_t kMostSplit = 1 << 20;
constexpr double kMostCost = 1e15;  // ns
constexpr const char* kTerms[] = {"step_ns", "prefill_row_ns", "decode_row_ns", "decode_context_ns",
                                  "prefill_context_ns"};

Json to_json(const sched::CostRegime& regime) {
  Json out = Json::object();
  out.set("steps", regime.n_seen);
  for (size_t i = 0; i < regime.c.size(); ++i) out.set(kTerms[i], regime.c[i]);
  return out;
}

Result<double> number(const Json& object, std::string_view what, std::string_view field) {
  const Json* value = object.find(field);
  if (value == nullptr || !value->is_number())
    return Error{ErrorCode::kBadFile, fmt::format("{}.{} is missing or no number", what, field), ""};
  double got = value->as_double();
  if (!std::isfinite(got) || got < 0.0 || got > kMostCost)
    return Error{ErrorCode::kBadFile, fmt::format("{}.{} = {}: want 0..{}", what, field, got, kMostCost), ""};
  return got;
}

Result<sched::CostRegime> regime_of(const Json& document, std::string_view what) {
  const Json* object = document.find(what);
  if (object == nullptr) return Error{ErrorCode::kBadFile, fmt::format("{} is missing", what), ""};
  sched::CostRegime regime;
  regime.n_seen = TRY(number(*object, what, "steps"));
  for (size_t i = 0; i < regime.c.size(); ++i) regime.c[i] = TRY(number(*object, what, kTerms[i]));
  return regime;
}

}  // namespace

std::string calibration_path(const std::string& store_root, const std::string& fingerprint, const std::string& isa,
                             uint32_t n_threads) {
  return fmt::format("{}/calibration/{}-{}-t{}.json", store_root, fingerprint, isa, n_threads);
}

Result<void> write_calibration(const std::string& path, const sched::CostModel& cost) {
  Json document = Json::object();
  document.set("version", kVersion);
  document.set("split_rows", static_cast<int64_t>(cost.split_rows()));
  document.set("small", to_json(cost.small()));
  document.set("large", to_json(cost.large()));
  std::error_code failed;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), failed);
  if (failed) return Error{ErrorCode::kIo, fmt::format("{}: {}", path, failed.message()), ""};
  return write_file_atomic(path, document.dump() + "\n");
}

Result<sched::CostModel> read_calibration(const std::string& path) {
  std::string text = TRY(read_file(path, kMaxBytes));
  Json document = TRY(parse_json(text));
  const Json* version = document.find("version");
  if (version == nullptr || !version->is_int() || version->as_int() != kVersion)
    return Error{ErrorCode::kBadFile, fmt::format("version: want {}", kVersion), ""};
  const Json* split = document.find("split_rows");
  if (split == nullptr || !split->is_int() || split->as_int() < 0 || split->as_int() > kMostSplit)
    return Error{ErrorCode::kBadFile, fmt::format("split_rows: want 0..{}", kMostSplit), ""};
  sched::CostRegime small = TRY(regime_of(document, "small"));
  sched::CostRegime large = TRY(regime_of(document, "large"));
  return sched::CostModel(static_cast<uint32_t>(split->as_int()), small, large);
}

}  // namespace millrace::instance
