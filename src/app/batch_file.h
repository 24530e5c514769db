// The files of `millrace batch`: rows of requests in, rows of answers out, in OpenAI's batch format. Rows are lines of
// JSON: {"custom_id", "method", "url", "body"} and {"id", "custom_id", "response": {"status_code", "request_id",
// "body"}, "error"}.
// Thread: any (pure functions).
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/limits.h"
#include "base/result.h"

namespace millrace::app {

struct BatchRow {
  std::string custom_id;
  std::string url;
  Json body;
};

// One line of the input. An error names the member; nothing of the row is then run, but its custom_id is set if it has
// one.
Result<void> parse_batch_row(std::string_view line, const Limits& limits, BatchRow& out);

// A line of the output (with its line feed). `status` and `body` (a JSON text) are the answer of the API.
std::string batch_answer(std::string_view custom_id, std::string_view request_id, int status, std::string_view body);
// For a row that could not be read: the id may be empty.
std::string batch_refusal(std::string_view custom_id, const Error& error);

// What an earlier run has left: lines to keep, and the rows they answer.
struct BatchProgress {
  std::string kept;                // whole lines
  std::set<std::string> answered;  // custom_ids
};
// Keeps every line with an answer. A line torn by the end of the process, one that says the server could not answer
// (5xx, 429) and one without an id are left out, so that their rows run again.
BatchProgress read_batch_progress(std::string_view output, const Limits& limits);

}  // namespace millrace::app
