// The answers of three native dialects: TGI's /generate and /generate_stream, SGLang's /generate, KServe's generate
// extension and infer. Thread: one at a time per request.
#pragma once

#include <memory>
#include <string>

#include "api/reply_format.h"

namespace millrace::api {

struct TgiOptions {
  bool details = false;
  bool full_text = false;  // return_full_text: the prompt before the answer
  bool list = false;       // the whole answer is a list of one
};
std::unique_ptr<ReplyFormat> make_tgi_format(const TgiOptions& options);
// many: a list was asked, a list is answered.
std::unique_ptr<ReplyFormat> make_sglang_format(bool many);
std::unique_ptr<ReplyFormat> make_kserve_format(bool details);
// KServe's infer: the texts as a tensor, `binary`: behind the JSON. `id` is repeated when it is not empty.
std::unique_ptr<ReplyFormat> make_kserve_infer_format(std::string id, bool binary);

}  // namespace millrace::api
