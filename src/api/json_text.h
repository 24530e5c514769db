// Appenders of JSON pieces that base/json.h does not have: token bytes, floats, logprob objects. Shared by the writers
// of whole replies (output.cc) and of chunks (chunks.cc).
// Thread: any.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "api/output.h"

namespace millrace::api {

constexpr float kLogprobFloor = -9999.0f;

// Shortest text that reads back as the same float, at least kLogprobFloor; null for NaN.
void append_logprob(std::string& out, float value);
// Any bytes as a JSON string: each maximal invalid part of UTF-8 becomes U+FFFD.
void append_json_lossy(std::string& out, std::string_view bytes);
// Valid UTF-8 of any bytes, as append_json_lossy shows them.
std::string repair_utf8(std::string_view bytes);
bool is_utf8(std::string_view bytes);
// [1,2,3]
void append_ids(std::string& out, std::span<const TokenId> ids);
// Number of characters (code points) of token bytes, after repair.
uint64_t count_characters(std::string_view bytes);

// {"content":[{"token","logprob","bytes","top_logprobs"}]}
void append_chat_logprobs(std::string& out, std::span<const PositionText> positions, bool tokens_as_ids);
// {"text_offset","token_logprobs","tokens","top_logprobs"}; offset counts characters and is advanced.
void append_completion_logprobs(std::string& out, std::span<const PositionText> positions, bool tokens_as_ids,
                                uint64_t& offset);
// [null,{"id":{"logprob","rank","decoded_token"}},...]
void append_prompt_logprobs(std::string& out, std::span<const PositionText> positions);
// The JSON text of an object: what the arguments of a call are unless the answer was cut off inside them.
bool is_object(std::string_view text);
// "tool_calls":[{"index","id","type","function"}]: one piece; id, type and name only in the first one of a call.
void append_call_piece(std::string& out, const CallPiece& call);
// "tool_calls":[...]: whole calls.
void append_calls(std::string& out, std::span<const OutputPart> parts);
// "reasoning":...,"reasoning_content":...
void append_reasoning_keys(std::string& out, std::string_view text, ReasoningField field);
// {"prompt_tokens",...}
void append_usage_object(std::string& out, const Usage& usage);
void append_timings_object(std::string& out, const Timings& timings);
// {"time_to_first_token_ms",...}: vLLM's metrics of a request.
void append_metrics_object(std::string& out, const Timings& timings);
// "finish_reason":...,"stop_reason":...
void append_finish_keys(std::string& out, const Finish& finish);

}  // namespace millrace::api
