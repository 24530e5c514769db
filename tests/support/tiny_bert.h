// Tiny random BERT checkpoints: the C++ half of tools/golden/bert.py, as Hugging Face folders.
// Invariant: names here follow transformers, not our own name map. Thread: one.
#pragma once

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/philox.h"
#include "tests/support/safetensors_writer.h"
#include "tests/support/tiny_checkpoint.h"

namespace millrace::testing {

inline std::vector<float> tiny_bert_values(std::string_view name, const tensor::Shape& shape) {
  float offset = 0.0f;
  float scale = 0.5f;  // biases
  if (name.ends_with("LayerNorm.weight")) {
    offset = 1.0f;
  } else if (!name.ends_with(".bias")) {
    bool qk = name.find(".query.") != std::string_view::npos || name.find(".key.") != std::string_view::npos;
    scale = (qk ? 6.0f : 2.5f) / std::sqrt(static_cast<float>(shape.cols()));
  }
  uint64_t hash = 0xCBF29CE484222325;
  for (char c : name) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001B3;
  std::vector<float> values(static_cast<size_t>(shape.n_values()));
  PhiloxBlock block{};
  for (size_t i = 0; i < values.size(); ++i) {
    if (i % 4 == 0) block = philox4x32(kTinySeed ^ hash, {static_cast<uint32_t>(i / 4), 0, 0, 0});
    values[i] = offset + (philox_unit_f32(block[i % 4]) - 0.5f) * scale;
  }
  return values;
}

// `config`: the keys of config.json. With `head`, a checkpoint of BertForSequenceClassification; else of BertModel with
// the numbered positions that old files carry.
inline void write_tiny_bert(const Json& config, bool head, const std::string& folder) {
  auto number = [&](std::string_view key) { return config.find(key)->as_int(); };
  int64_t d = number("hidden_size");
  int64_t ff = number("intermediate_size");
  SafetensorsWriter writer;
  std::string prefix = head ? "bert." : "";
  auto add = [&](const std::string& name, const tensor::Shape& shape) {
    writer.add(prefix + name, "F32", shape, tiny_bert_values("bert." + name, shape));
  };
  auto add_norm = [&](const std::string& name) {
    add(name + ".weight", {d});
    add(name + ".bias", {d});
  };
  auto add_dense = [&](const std::string& name, int64_t n, int64_t k) {
    add(name + ".weight", {n, k});
    add(name + ".bias", {n});
  };
  add("embeddings.word_embeddings.weight", {number("vocab_size"), d});
  add("embeddings.position_embeddings.weight", {number("max_position_embeddings"), d});
  add("embeddings.token_type_embeddings.weight", {number("type_vocab_size"), d});
  add_norm("embeddings.LayerNorm");
  for (int64_t i = 0; i < number("num_hidden_layers"); ++i) {
    std::string layer = "encoder.layer." + std::to_string(i) + ".";
    for (const char* part : {"query", "key", "value"}) add_dense(layer + "attention.self." + part, d, d);
    add_dense(layer + "attention.output.dense", d, d);
    add_norm(layer + "attention.output.LayerNorm");
    add_dense(layer + "intermediate.dense", ff, d);
    add_dense(layer + "output.dense", d, ff);
    add_norm(layer + "output.LayerNorm");
  }
  add_dense("pooler.dense", d, d);
  Json out = config;
  out.set("model_type", "bert");
  Json architectures = Json::array();
  architectures.push_back(head ? "BertForSequenceClassification" : "BertModel");
  out.set("architectures", std::move(architectures));
  if (head) {
    int64_t n = number("num_labels");
    writer.add("classifier.weight", "F32", {n, d}, tiny_bert_values("classifier.weight", {n, d}));
    writer.add("classifier.bias", "F32", {n}, tiny_bert_values("classifier.bias", {n}));
  }
  std::filesystem::create_directories(folder);
  std::ofstream(folder + "/config.json") << out.dump();
  std::ofstream(folder + "/model.safetensors", std::ios::binary) << writer.build();
}

}  // namespace millrace::testing
