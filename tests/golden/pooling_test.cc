// What decoders give for embeddings, through the engine, against transformers' last_hidden_state. Made by
// tools/golden/pooling.py. Thread: one test thread plus the pool.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <string>
#include <vector>

#include "kernels/cpu/detect.h"
#include "kernels/pick.h"
#include "tests/support/engine_machine.h"

namespace millrace {
namespace {

using support::EngineRig;
using support::Machine;

std::vector<float> floats(const Json& list) {
  std::vector<float> out;
  for (const Json& value : list.as_array()) out.push_back(static_cast<float>(value.as_double()));
  return out;
}

double cosine(const std::vector<float>& a, const std::vector<float>& b) {
  double ab = 0;
  double aa = 0;
  double bb = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    ab += static_cast<double>(a[i]) * b[i];
    aa += static_cast<double>(a[i]) * a[i];
    bb += static_cast<double>(b[i]) * b[i];
  }
  return ab / std::sqrt(aa * bb);
}

// f32 weights; K and V are rounded to bf16 on both sides, q and p here too where the table has bf16 instructions.
TEST(GoldenPooling, DecodersGiveTheHiddenStatesOfTransformers) {
  Json golden = parse_json(testing::read_whole("tests/golden/data/pooling.json")).value();
  auto n_tokens = static_cast<size_t>(golden.find("n_tokens")->as_int());
  constexpr std::pair<const char*, flow::Pooling> kKinds[] = {
      {"last", flow::Pooling::kLast}, {"first", flow::Pooling::kFirst}, {"mean", flow::Pooling::kMean}};
  const kernels::KernelTable* table = kernels::pick_kernels(kernels::detect_cpu(), "").value();
  for (const auto& member : golden.find("shapes")->as_object().members) {
    Machine machine(
        {.shape = member.first.c_str(), .format = tensor::Format::kF32, .kv = kernels::KvDType::kBF16, .table = table});
    testing::TinyShape shape = testing::load_tiny_shape(member.first);
    std::vector<flow::GenerateRequest> requests;
    for (const auto& kind : kKinds) {
      flow::GenerateRequest request;
      request.id = requests.size() + 1;
      request.prompt.assign(shape.tokens.begin(), shape.tokens.begin() + static_cast<std::ptrdiff_t>(n_tokens));
      request.sampling.max_tokens = 0;
      request.sampling.pooling = kind.second;
      requests.push_back(std::move(request));
    }
    EngineRig rig(machine, {.budget = 32});
    support::Traces traces = rig.run(requests);
    for (size_t i = 0; i < requests.size(); ++i) {
      std::vector<float> want = floats(*member.second.find(kKinds[i].first));
      std::vector<float> got;
      for (uint32_t bits : traces.at({i + 1, 0}).bits) got.push_back(std::bit_cast<float>(bits));
      ASSERT_EQ(got.size(), want.size()) << member.first << " " << kKinds[i].first;
      EXPECT_GT(cosine(got, want), 0.99998) << member.first << " " << kKinds[i].first;
      double size = 0;
      double size_wanted = 0;
      for (size_t j = 0; j < got.size(); ++j) {
        size += static_cast<double>(got[j]) * got[j];
        size_wanted += static_cast<double>(want[j]) * want[j];
      }
      EXPECT_NEAR(std::sqrt(size / size_wanted), 1.0, 5e-3) << member.first << " " << kKinds[i].first;
    }
  }
}

}  // namespace
}  // namespace millrace
