#include "sim/generators.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numbers>

#include "base/macros.h"
#include "base/philox.h"

namespace millrace::sim {

double Draws::uniform() {
  uint64_t n = next_++;
  PhiloxBlock block = philox4x32(seed_, {static_cast<uint32_t>(n), static_cast<uint32_t>(n >> 32), 0, 0});
  return philox_unit_f64(block[0], block[1]);
}

uint64_t Draws::below(uint64_t n) { return std::min(static_cast<uint64_t>(uniform() * static_cast<double>(n)), n - 1); }

double Draws::exponential() { return -std::log1p(-uniform()); }

double Draws::normal() {
  double radius = std::sqrt(2 * exponential());
  return radius * std::cos(2 * std::numbers::pi * uniform());
}

uint32_t draw_length(const LengthSpec& spec, Draws& draws) {
  double value = spec.center;
  switch (spec.kind) {
    case LengthSpec::Kind::kFixed:
      break;
    case LengthSpec::Kind::kUniform:
      return spec.low + static_cast<uint32_t>(draws.below(uint64_t{spec.high} - spec.low + 1));
    case LengthSpec::Kind::kLognormal:
      value = spec.center * std::exp(spec.spread * draws.normal());
      break;
    case LengthSpec::Kind::kNormal:
      value = spec.center + spec.spread * draws.normal();
      break;
  }
  value = std::clamp(std::round(value), static_cast<double>(spec.low), static_cast<double>(spec.high));
  return static_cast<uint32_t>(value);
}

Result<LengthSpec> parse_length(std::string_view text) {
  auto refuse = [&] {
    return Error{ErrorCode::kUsage,
                 fmt::format("length {}: want N, uniform:LOW:HIGH, lognormal:MEDIAN:SIGMA[:LOW:HIGH] or "
                             "normal:MEAN:DEVIATION[:LOW:HIGH]",
                             quote_for_message(text)),
                 ""};
  };
  std::vector<double> numbers;
  std::string_view kind;
  std::string_view rest = text;
  if (size_t colon = text.find(':'); colon != std::string_view::npos) {
    kind = text.substr(0, colon);
    rest = text.substr(colon + 1);
  }
  while (true) {
    size_t colon = std::min(rest.find(':'), rest.size());
    double value = 0;
    auto [end, error] = std::from_chars(rest.data(), rest.data() + colon, value);
    bool sane = error == std::errc{} && end == rest.data() + colon && value >= 0 && value <= 1 << 24;
    if (!sane) return refuse();
    numbers.push_back(value);
    if (colon == rest.size()) break;
    rest.remove_prefix(colon + 1);
  }
  LengthSpec spec{.center = numbers[0]};
  bool ranged = numbers.size() == 4;
  if (ranged) {
    spec.low = static_cast<uint32_t>(numbers[2]);
    spec.high = static_cast<uint32_t>(numbers[3]);
  }
  if (kind.empty() && numbers.size() == 1 && numbers[0] >= 1) return spec;
  if (kind == "uniform" && numbers.size() == 2) {
    spec.kind = LengthSpec::Kind::kUniform;
    spec.low = static_cast<uint32_t>(numbers[0]);
    spec.high = static_cast<uint32_t>(numbers[1]);
  } else if ((kind == "lognormal" || kind == "normal") && (numbers.size() == 2 || ranged)) {
    spec.kind = kind == "normal" ? LengthSpec::Kind::kNormal : LengthSpec::Kind::kLognormal;
    spec.spread = numbers[1];
  } else {
    return refuse();
  }
  if (spec.low < 1 || spec.low > spec.high) return refuse();
  return spec;
}

Workload generate(const SyntheticSpec& spec) {
  CHECK(spec.n_tenants > 0, "{} tenants", spec.n_tenants);
  constexpr int kMostTries = 1000;  // draws of one pair of lengths before it is cut to fit
  Draws draws(spec.seed);
  Workload out;
  for (uint32_t i = 0; i < spec.n_requests; ++i) {
    uint32_t n_prompt = 0;
    SimRequest request;
    for (int tries = 0; tries < kMostTries; ++tries) {
      n_prompt = draw_length(spec.prompt, draws);
      request.n_output = draw_length(spec.output, draws);
      if (spec.max_total == 0 || n_prompt + request.n_output < spec.max_total) break;
    }
    if (spec.max_total > 0 && n_prompt + request.n_output >= spec.max_total) {
      n_prompt = std::max(1u, std::min(n_prompt, spec.max_total / 2));
      request.n_output = std::max(1u, std::min(request.n_output, spec.max_total - n_prompt - 1));
    }
    request.tenant = static_cast<uint32_t>(draws.below(spec.n_tenants));
    if (spec.n_prefixes > 0 && spec.prefix_tokens > 0) {
      request.prompt.push_back({.content = draws.below(spec.n_prefixes), .n_tokens = spec.prefix_tokens});
    }
    request.prompt.push_back({.content = unique_content(i), .n_tokens = n_prompt});
    out.requests.push_back(std::move(request));
  }
  if (spec.rate > 0) arrive_poisson(out, spec.rate, spec.seed);
  return out;
}

void arrive_poisson(Workload& workload, double rate, uint64_t seed) {
  Draws draws(seed ^ 0xa5a5a5a5a5a5a5a5);
  double seconds = 0;
  for (SimRequest& request : workload.requests) {
    seconds += draws.exponential() / rate;
    request.arrival = static_cast<Tick>(seconds * 1e9);
  }
}

}  // namespace millrace::sim
