// The text of single tokens, as logprobs show it. A character may span several tokens: the token that completes it has
// the whole character, those before it have "". So the joined tokens of an answer are the answer, and those of an
// echoed prompt the prompt. `bytes` always has the token's own bytes.
// Thread: any.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "api/output.h"
#include "base/ids.h"
#include "flow/token_event.h"
#include "text/detokenizer.h"
#include "text/tokenizer.h"

namespace millrace::instance {

// One position: `before` is the detokenizer as it stood before the chosen token, `chosen_text` what that token added.
// The other candidates show what they would have added; special tokens their name.
api::PositionText position_text(const text::Tokenizer& tokenizer, const text::Detokenizer& before,
                                std::string chosen_text, const flow::PositionLogprobs& position);

// The positions of a prompt, one per token, the first without a logprob. `positions` are those of ids[1..]; fewer are
// allowed. `shown`: the text the tokens are joined to; null: special tokens show their name.
std::vector<api::PositionText> prompt_positions(const text::Tokenizer& tokenizer, std::span<const TokenId> ids,
                                                std::span<const flow::PositionLogprobs> positions,
                                                const std::string* shown);

}  // namespace millrace::instance
