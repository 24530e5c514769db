// The text parts of a model file: tokenizer, chat template, sampling defaults. Thread: the loader.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "api/common.h"
#include "base/limits.h"
#include "base/result.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"
#include "weights/model_file.h"

namespace millrace::instance {

// What the tokenizer is made of: from GGUF metadata or tokenizer.json.
Result<text::TokenizerSpec> load_tokenizer_spec(const weights::ModelFile& file);
// The Jinja text of the model's own chat template, if it has one.
std::optional<std::string> chat_template_source(const weights::ModelFile& file);
// The limit match_steps bounds one match of a pattern from the file.
Result<text::Tokenizer> load_tokenizer(const weights::ModelFile& file, const Limits& limits = {});
// The name of the vocabulary's kind, for /v1/models.
std::string vocab_type(const weights::ModelFile& file);
// override_text replaces the model's own template when it is not empty. Nothing when the model has none.
Result<std::optional<text::ChatTemplate>> load_chat_template(const weights::ModelFile& file,
                                                             const std::string& override_text, const Limits& limits);
// generation_config.json; values of `over` win.
api::SamplingDefaults load_defaults(const weights::ModelFile& file, bool use_generation_config,
                                    const api::SamplingDefaults& over);
// Every id that ends an answer.
std::vector<TokenId> end_tokens(const weights::ModelFile& file, const text::Tokenizer& tokenizer);

}  // namespace millrace::instance
