// BERT through the engine against transformers (tools/golden/bert.py): hidden states, means, the scores of a head; the
// same bits alone and in company, with one thread and two, on every kernel table of a family.
// Thread: one test thread plus the pool.
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "kernels/cpu/detect.h"
#include "kernels/pick.h"
#include "runtime/worker_group.h"
#include "tests/support/collect_sink.h"
#include "tests/support/fake_clock.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tiny_bert.h"
#include "weights/model_file.h"

namespace millrace {
namespace {

struct Input {
  std::vector<TokenId> tokens;
  uint32_t second_begin = 0;
};

struct Golden {
  Json all = parse_json(testing::read_whole("tests/golden/data/bert.json")).value();

  std::vector<Input> inputs() const {
    std::vector<Input> out;
    for (const Json& item : all.find("inputs")->as_array()) {
      Input& input = out.emplace_back();
      for (const Json& id : item.find("tokens")->as_array()) input.tokens.push_back(static_cast<TokenId>(id.as_int()));
      input.second_begin = static_cast<uint32_t>(item.find("second_begin")->as_int());
    }
    return out;
  }
  Json config(const std::string& shape) const {
    Json out = *all.find("config");
    for (const auto& member : all.find("shapes")->find(shape)->find("config")->as_object().members) {
      out.set(member.first, member.second);
    }
    return out;
  }
  std::vector<float> output(const std::string& shape, size_t input, const char* kind) const {
    std::vector<float> out;
    const Json& row = all.find("shapes")->find(shape)->find("outputs")->as_array()[input];
    for (const Json& value : row.find(kind)->as_array()) out.push_back(static_cast<float>(value.as_double()));
    return out;
  }
};

// A loaded checkpoint.
class Encoder {
 public:
  Encoder(const Json& config, bool head, int n_threads, const kernels::KernelTable* table)
      : table_(table), pool_(n_threads, false) {
    testing::write_tiny_bert(config, head, folder_.path() + "/bert");
    file_ = std::make_unique<weights::ModelFile>(weights::ModelFile::open(folder_.path() + "/bert").value());
    model_ = models::load_model(*file_, {*table_, pool_}).value();
  }
  const weights::ModelDesc& desc() const { return model_->desc(); }

  // The outputs of the inputs, submitted together, with `budget` rows a step.
  std::vector<std::vector<float>> run(const std::vector<Input>& inputs, flow::Pooling pooling, uint32_t budget) {
    engine::EngineOptions options;
    options.kv = runtime::build_kv_geometry(model_->kv_layers(), kernels::KvDType::kBF16).value();
    options.kv.n_blocks = 64;
    options.kv.max_len = desc().max_len;
    options.sched.max_live = 8;
    options.sched.c_min = options.kv.max_len;
    options.sched.budget_tokens = budget;
    options.sched.tok_cap = std::max(options.kv.max_len, budget) + 8;
    options.prefix_cache = false;
    support::FakeClock clock;
    support::CollectSink sink;
    runtime::RunnerSetup setup{.model = *model_, .table = *table_, .pool = pool_, .geometry = options.kv};
    setup.max_rows = options.sched.tok_cap;
    auto workers = runtime::WorkerGroup::create(setup, options.sched.max_live, clock).value();
    workers->warm_up();
    engine::Engine engine(options, *workers, sink, clock);
    std::vector<flow::GenerateRequest> requests;
    for (const Input& input : inputs) {
      flow::GenerateRequest& request = requests.emplace_back();
      request.id = requests.size();
      request.prompt = input.tokens;
      request.second_begin = input.second_begin;
      request.sampling.max_tokens = 0;
      request.sampling.pooling = pooling;
      request.use_prefix_cache = false;
    }
    EXPECT_TRUE(engine.submit(std::move(requests)).ok());
    while (engine.step()) {
      EXPECT_EQ(engine.check_integrity(), "");
    }
    n_steps_ = engine.stats().n_steps;
    std::vector<std::vector<float>> out;
    for (size_t i = 0; i < inputs.size(); ++i) {
      for (const flow::TokenEvent& event : sink.text(i + 1, 0).events) out.push_back(event.pooled);
    }
    return out;
  }
  uint64_t n_steps() const { return n_steps_; }

 private:
  const kernels::KernelTable* table_;
  device::ThreadPool pool_;
  testing::TempDir folder_;
  std::unique_ptr<weights::ModelFile> file_;
  std::unique_ptr<models::Model> model_;
  uint64_t n_steps_ = 0;
};

double relative_error(const std::vector<float>& got, const std::vector<float>& want) {
  EXPECT_EQ(got.size(), want.size());
  double error = 0;
  double norm = 0;
  for (size_t i = 0; i < std::min(got.size(), want.size()); ++i) {
    error += std::pow(static_cast<double>(got[i]) - want[i], 2);
    norm += std::pow(static_cast<double>(want[i]), 2);
  }
  return std::sqrt(error / norm);
}

const kernels::KernelTable* best_table() { return kernels::pick_kernels(kernels::detect_cpu(), "").value(); }

constexpr const char* kShapes[] = {"wide_heads", "narrow_heads"};
constexpr uint32_t kWide = 512;

// f32 weights, K and V rounded to bf16 on both sides; where the table has bf16 instructions, q and p are rounded here
// alone: 2^-9 a value, through three layers. Cosine 0.9999 is an error of 1.4e-2.
TEST(GoldenBert, HiddenStatesAndScoresAreThoseOfTransformers) {
  Golden golden;
  std::vector<Input> inputs = golden.inputs();
  double bound = std::string_view(best_table()->bf16_family) == "f32" ? 1.5e-3 : 5e-3;
  for (const char* shape : kShapes) {
    Encoder plain(golden.config(shape), false, 1, best_table());
    EXPECT_EQ(plain.desc().n_labels, 0u);
    auto first = plain.run(inputs, flow::Pooling::kFirst, kWide);
    auto mean = plain.run(inputs, flow::Pooling::kMean, kWide);
    auto tokens = plain.run(inputs, flow::Pooling::kTokens, kWide);
    Encoder scorer(golden.config(shape), true, 1, best_table());
    auto logits = scorer.run(inputs, flow::Pooling::kFirst, kWide);
    for (size_t i = 0; i < inputs.size(); ++i) {
      EXPECT_LT(relative_error(first[i], golden.output(shape, i, "first")), bound) << shape << " " << i;
      EXPECT_LT(relative_error(mean[i], golden.output(shape, i, "mean")), bound) << shape << " " << i;
      EXPECT_EQ(tokens[i].size(), inputs[i].tokens.size() * plain.desc().d_model);
      std::vector<float> row(tokens[i].begin(), tokens[i].begin() + plain.desc().d_model);
      EXPECT_EQ(row, first[i]);
      std::vector<float> want = golden.output(shape, i, "logits");
      ASSERT_EQ(logits[i].size(), want.size());
      for (size_t k = 0; k < want.size(); ++k) EXPECT_NEAR(logits[i][k], want[k], 6 * bound) << shape << " " << i;
    }
  }
}

TEST(GoldenBert, TheSecondTextHasItsOwnType) {
  Golden golden;
  Encoder encoder(golden.config("wide_heads"), false, 1, best_table());
  Input input = golden.inputs()[2];
  auto two = encoder.run({input}, flow::Pooling::kFirst, kWide);
  input.second_begin = 0;
  auto one = encoder.run({input}, flow::Pooling::kFirst, kWide);
  EXPECT_GT(relative_error(two[0], one[0]), 0.02);
}

// A prompt is one step's work or waits; a long one goes beyond the budget alone.
TEST(GoldenBert, AnyCompanyAnyBudgetAnyThreads) {
  Golden golden;
  std::vector<Input> inputs = golden.inputs();
  for (const char* shape : kShapes) {
    std::vector<std::vector<float>> want;
    Encoder alone(golden.config(shape), false, 1, best_table());
    for (const Input& input : inputs) want.push_back(alone.run({input}, flow::Pooling::kMean, kWide)[0]);
    for (int n_threads : {1, 2}) {
      Encoder encoder(golden.config(shape), false, n_threads, best_table());
      for (uint32_t budget : {8u, 32u, 100u, kWide}) {
        EXPECT_EQ(encoder.run(inputs, flow::Pooling::kMean, budget), want)
            << shape << " " << n_threads << " " << budget;
        EXPECT_LE(encoder.n_steps(), budget == kWide ? 2u : inputs.size());
      }
    }
  }
}

TEST(GoldenBert, EveryTableOfAFamilyGivesTheSameBits) {
  Golden golden;
  std::vector<Input> inputs = golden.inputs();
  inputs.pop_back();
  std::map<std::string, std::vector<std::vector<float>>> by_family;
  kernels::CpuFeatures cpu = kernels::detect_cpu();
  for (const kernels::IsaRow& row : kernels::isa_rows()) {
    if (!row.missing(cpu).empty()) continue;
    const kernels::KernelTable& table = row.table(cpu);
    Encoder encoder(golden.config("wide_heads"), false, 1, &table);
    auto got = encoder.run(inputs, flow::Pooling::kMean, kWide);
    auto [place, is_new] = by_family.emplace(table.bf16_family, got);
    if (!is_new) {
      EXPECT_EQ(got, place->second) << table.name;
    }
  }
}

TEST(GoldenBert, WhatAFolderSaysOfItsEmbeddings) {
  testing::TempDir folder;
  Golden golden;
  std::string path = folder.path() + "/bert";
  testing::write_tiny_bert(golden.config("wide_heads"), false, path);
  weights::ModelDesc plain = weights::ModelFile::open(path).value().desc();
  EXPECT_EQ(plain.embedding_rule, weights::EmbeddingRule::kUnset);
  EXPECT_EQ(plain.max_len, 300u);
  EXPECT_EQ(plain.usual_len, 0u);
  std::filesystem::create_directories(path + "/1_Pooling");
  std::ofstream(path + "/1_Pooling/config.json") << R"({"pooling_mode_mean_tokens":true})";
  std::ofstream(path + "/sentence_bert_config.json") << R"({"max_seq_length":128})";
  weights::ModelDesc sentence = weights::ModelFile::open(path).value().desc();
  EXPECT_EQ(sentence.embedding_rule, weights::EmbeddingRule::kMean);
  EXPECT_EQ(sentence.usual_len, 128u);
  std::ofstream(path + "/1_Pooling/config.json") << R"({"pooling_mode_max_tokens":true})";
  EXPECT_NE(weights::ModelFile::open(path).error().message.find("pooling_mode_max_tokens"), std::string::npos);
}

TEST(GoldenBert, RefusalsNameTheKey) {
  Golden golden;
  struct Row {
    const char* key;
    Json value;
  };
  for (const Row& row : {Row{"hidden_act", Json("relu")}, Row{"position_embedding_type", Json("relative_key")},
                         Row{"is_decoder", Json(true)}, Row{"max_position_embeddings", Json(0)},
                         Row{"type_vocab_size", Json("2")}, Row{"layer_norm_eps", Json(7)}}) {
    testing::TempDir folder;
    std::string path = folder.path() + "/bert";
    testing::write_tiny_bert(golden.config("wide_heads"), false, path);
    Json config = golden.config("wide_heads");
    config.set("model_type", "bert");
    config.set(row.key, row.value);
    std::ofstream(path + "/config.json") << config.dump();
    auto file = weights::ModelFile::open(path);
    ASSERT_FALSE(file.ok()) << row.key;
    EXPECT_NE(file.error().message.find(row.key), std::string::npos) << file.error().message;
  }
}

}  // namespace
}  // namespace millrace
