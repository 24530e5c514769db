// The answers of three native dialects: TGI's /generate and /generate_stream, SGLang's /generate, KServe's generate
// extension and infer. Thread: one at a time per request.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "api/reply_format.h"

namespace millrace::api {

struct TgiOptions {
  bool details = false;
  int32_t n_top = 0;          // top_n_tokens: with so many of the likeliest
  bool prefill = false;       // decoder_input_details: the tokens of the prompt among them
  bool full_text = false;     // return_full_text: the prompt before the answer
  bool list = false;          // the whole answer is a list of one
  bool ranked = false;        // best_of with details: of all the answers the likeliest, the others behind it
  uint64_t n_characters = 0;  // of `inputs`
};
// Beside the answer it tells its times, in headers x-...
std::unique_ptr<ReplyFormat> make_tgi_format(const TgiOptions& options);
// many: a list was asked, a list is answered. logprob_start: the first token of the prompt whose log probability is
// told, when they were asked for.
std::unique_ptr<ReplyFormat> make_sglang_format(bool many, int64_t logprob_start);
std::unique_ptr<ReplyFormat> make_kserve_format(bool details);
// KServe's infer: the texts as a tensor, `binary`: behind the JSON. `id` is repeated when it is not empty.
std::unique_ptr<ReplyFormat> make_kserve_infer_format(std::string id, bool binary);

}  // namespace millrace::api
