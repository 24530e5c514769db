// What the two builders of ModelDesc share: the ranges of its fields and the rules between them.
// Thread: any (pure functions).
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "weights/gguf.h"
#include "weights/model_desc.h"

namespace millrace::weights {

// Products of any three of these fit int64.
constexpr IntRange kLayersRange{1, 1024};
constexpr IntRange kModelWidthRange{1, 262'144};
constexpr IntRange kFfnWidthRange{1, 2'097'152};
constexpr IntRange kHeadsRange{1, 1024};
constexpr IntRange kHeadDimRange{2, 1024};
constexpr IntRange kContextRange{1, 134'217'728};
constexpr IntRange kVocabRange{1, 2'000'000};
constexpr IntRange kWindowRange{0, 134'217'728};
constexpr FloatRange kEpsRange{0.0, 0.1};
constexpr FloatRange kRopeBaseRange{1.0, 1e12};
constexpr FloatRange kRopeFactorRange{1e-3, 1e6};
constexpr FloatRange kSoftcapRange{0.0, 1e6};

constexpr double kGemma3LocalRopeBase = 10000.0;  // transformers Gemma3TextConfig.default_theta["local"]
constexpr uint32_t kGemma3Pattern = 6;            // every 6th layer sees everything

// The builders of encoders (model_desc_bert.cc).
Result<ModelDesc> bert_desc_from_hf(const HfConfigs& configs);
Result<ModelDesc> bert_desc_from_gguf(const GgufFile& file);

Error unknown_architecture(std::string_view file, std::string_view found);

// The flags that follow from the architecture alone.
void apply_architecture(ModelDesc& desc);

// Names of the fields in the file, for messages.
struct HeadKeys {
  std::string file;
  std::string n_heads;
  std::string n_kv_heads;
  std::string head_dim;
  std::string rope_dims;
};
Result<void> check_heads(const ModelDesc& desc, const HeadKeys& keys);

void add_eos(ModelDesc& desc, TokenId id);

}  // namespace millrace::weights
