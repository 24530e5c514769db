// What is odd about a model's chat template, found at load by rendering one short conversation. Never a reason to
// refuse the model. Thread: any; pure.
#pragma once

#include <string>
#include <vector>

#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace millrace::instance {

// Sentences for the log; empty when nothing is odd.
std::vector<std::string> template_warnings(const text::ChatTemplate& chat, const text::Tokenizer& tokenizer);

}  // namespace millrace::instance
