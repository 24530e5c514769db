// What the parsers of the API are told of a model in tests: "tiny", 1000 token ids, 64 tokens long, ended by token 7.
// Thread: the test's.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "api/common.h"
#include "base/json.h"
#include "base/limits.h"

namespace millrace::support {

inline const Limits kLimits;
inline const std::vector<std::string> kNames = {"tiny"};
inline const std::vector<TokenId> kEnds = {7};
inline const api::ParseContext kTinyContext{
    .limits = kLimits, .served_names = kNames, .model = {.n_vocab = 1000, .max_len = 64, .eos_token_ids = kEnds}};

inline Json json(std::string_view text) { return parse_json(text).value(); }

}  // namespace millrace::support
