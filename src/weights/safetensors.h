// SafetensorsDir: a folder with config.json and one model.safetensors, or shards listed in
// model.safetensors.index.json. Tensors are F32, F16 or BF16, mapped read-only and checked once at open.
// Invariants: 1. the tensors of a shard cover its buffer exactly, without holes or overlaps; 2. every shard lies in
// the folder itself; 3. no code, pickle or link out of the folder is ever followed.
// Source of the layout: github.com/huggingface/safetensors, README "Format".
// Thread: any after open (const).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "weights/tensor_source.h"

namespace millrace::weights {

struct SafetensorsEntry {
  std::string name;
  tensor::TensorView view;
};

// The tensors of one file whose bytes the caller keeps alive, in the order of their bytes. The numbered positions that
// checkpoints of encoders carry (position_ids, I64) are checked like the others and left out.
Result<std::vector<SafetensorsEntry>> parse_safetensors(std::span<const uint8_t> bytes,
                                                        const std::string& name = "model.safetensors");

class SafetensorsDir final : public TensorSource {
 public:
  static Result<SafetensorsDir> open(const std::string& folder);

  SafetensorsDir(SafetensorsDir&&) noexcept;
  SafetensorsDir& operator=(SafetensorsDir&&) noexcept;
  ~SafetensorsDir() override;

  const std::string& folder() const;
  const Json& config() const;                                // config.json (an object)
  const Json* generation_config() const;                     // nullptr when the file is not there
  const Json* tokenizer_config() const;                      // tokenizer_config.json, or nullptr
  const Json* sentence_config() const;                       // sentence_bert_config.json, or nullptr
  const Json* pooling_config() const;                        // 1_Pooling/config.json, or nullptr
  const std::optional<std::string>& vocab_txt() const;       // the text of vocab.txt
  const std::optional<std::string>& tokenizer_json() const;  // the text of tokenizer.json
  const std::optional<std::string>& chat_template() const;   // the text of chat_template.jinja

  // TensorSource
  bool has(std::string_view name) const override;
  Result<tensor::TensorView> tensor(std::string_view name) const override;
  std::vector<std::string_view> names() const override;
  uint64_t bytes() const override;
  void release(std::string_view name) const override;

 private:
  struct State;
  explicit SafetensorsDir(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace millrace::weights
