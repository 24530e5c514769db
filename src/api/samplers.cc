#include "api/samplers.h"

#include <fmt/core.h>

#include <algorithm>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "api/json_object.h"
#include "base/macros.h"

namespace millrace::api {
namespace {

using flow::SamplerStep;

// llama.cpp b11434, common/sampling.cpp.
constexpr SamplerName kNames[] = {
    {SamplerStep::kPenalties, "penalties", "", 'e'},
    {SamplerStep::kDry, "dry", "", 'd'},
    {SamplerStep::kTopNSigma, "top_n_sigma", "top-n-sigma", 's'},
    {SamplerStep::kTopK, "top_k", "top-k", 'k'},
    {SamplerStep::kTypicalP, "typ_p", "typical_p", 'y'},
    {SamplerStep::kTopP, "top_p", "top-p", 'p'},
    {SamplerStep::kMinP, "min_p", "min-p", 'm'},
    {SamplerStep::kXtc, "xtc", "", 'x'},
    {SamplerStep::kTemperature, "temperature", "temp", 't'},
};
constexpr size_t kMostSteps = 32;

Error bad() {
  std::string names;
  for (const SamplerName& one : kNames)
    names += fmt::format("{}{} ({})", names.empty() ? "" : ", ", one.name, one.letter);
  return {ErrorCode::kInvalidValue, "samplers must be an array of names, or a text of letters, of: " + names,
          "samplers"};
}

template <class Matches>
Result<SamplerStep> step_of(const Matches& matches) {
  const SamplerName* found = std::find_if(std::begin(kNames), std::end(kNames), matches);
  if (found == std::end(kNames)) return bad();
  return found->step;
}

}  // namespace

std::span<const SamplerName> sampler_names() { return kNames; }

std::string_view name_of(SamplerStep step) {
  const SamplerName* found =
      std::find_if(std::begin(kNames), std::end(kNames), [step](const SamplerName& one) { return one.step == step; });
  CHECK(found != std::end(kNames), "sampler step {}", static_cast<int>(step));
  return found->name;
}

Json samplers_schema() {
  std::string letters;
  Json names = Json::array();
  for (const SamplerName& one : kNames) {
    letters += one.letter;
    names.push_back(one.name);
    if (!one.alias.empty()) names.push_back(one.alias);
  }
  const auto most = static_cast<int64_t>(kMostSteps);
  return json_object({{"type", json_array({"array", "string", "null"})},
                      {"maxItems", most},
                      {"maxLength", most},
                      {"pattern", "^[" + letters + "]*$"},
                      {"items", json_object({{"enum", std::move(names)}})}});
}

void use_llama_order(flow::SamplingParams& sampling) {
  if (!sampling.steps.empty()) return;
  for (const SamplerName& one : kNames) sampling.steps.push_back(one.step);
}

Result<void> read_samplers(const Json& value, flow::SamplingParams& sampling) {
  std::vector<SamplerStep> steps;
  if (value.is_string()) {
    if (value.as_string().size() > kMostSteps) return bad();
    for (char letter : value.as_string()) {
      steps.push_back(TRY(step_of([letter](const SamplerName& one) { return one.letter == letter; })));
    }
  } else if (value.is_array() && value.size() <= kMostSteps) {
    for (const Json& item : value.as_array()) {
      if (!item.is_string()) return bad();
      const std::string& name = item.as_string();
      steps.push_back(TRY(step_of(
          [&name](const SamplerName& one) { return one.name == name || (!one.alias.empty() && one.alias == name); })));
    }
  } else {
    return bad();
  }
  if (!steps.empty()) sampling.steps = std::move(steps);
  return {};
}

}  // namespace millrace::api
