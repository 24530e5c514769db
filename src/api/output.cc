#include "api/output.h"

#include <fmt/core.h>

#include <algorithm>
#include <iterator>
#include <span>

#include "api/json_text.h"
#include "base/json.h"

namespace millrace::api {
namespace {

double ms_between(Tick from, Tick to) {
  return to > from ? static_cast<double>(to - from) / static_cast<double>(kMillisecond) : 0.0;
}

void append_head(std::string& out, const ReplyHead& head, std::string_view object) {
  out += R"({"id":)";
  append_json_string(out, head.id);
  fmt::format_to(std::back_inserter(out), R"(,"object":"{}","created":{},"model":)", object, head.created);
  append_json_string(out, head.model);
  out += R"(,"system_fingerprint":)";
  if (head.system_fingerprint.empty()) {
    out += "null";
  } else {
    append_json_string(out, head.system_fingerprint);
  }
}

void append_tail(std::string& out, const ReplyParts& parts) {
  out += R"(],"usage":)";
  append_usage_object(out, parts.usage);
  if (parts.timings != nullptr) {
    out += R"(,"timings":)";
    append_timings_object(out, *parts.timings);
  }
}

// What the prompt adds to a reply: whole chat replies carry it at the top, completions in each choice.
void append_prompt_keys(std::string& out, const CommonParams& params, const PromptOutput& prompt) {
  if (params.sampling.n_prompt_logprobs >= 0) {
    out += R"(,"prompt_logprobs":)";
    append_prompt_logprobs(out, prompt.logprobs);
  }
  if (params.output.return_token_ids) {
    out += R"(,"prompt_token_ids":)";
    append_ids(out, prompt.token_ids);
  }
  if (params.output.return_prompt_text) {
    out += R"(,"prompt_text":)";
    append_json_lossy(out, prompt.text);
  }
}

void append_choice_end(std::string& out, const CommonParams& params, const ChoiceOutput& choice) {
  out += ',';
  append_finish_keys(out, choice.finish);
  if (params.output.return_token_ids) {
    out += R"(,"token_ids":)";
    append_ids(out, choice.token_ids);
  }
}

// null beside calls, where nothing was said.
void append_content(std::string& out, const ReplyParts& parts, const ChoiceOutput& choice, bool calls) {
  bool echo = parts.params.output.echo;
  if (calls && choice.text.empty() && !echo) {
    out += "null";
  } else {
    append_json_string(out, echo ? parts.prompts[0].text + choice.text : choice.text);
  }
}

void append_chat_choice(std::string& out, const ReplyParts& parts, const ChoiceOutput& choice, ReasoningField field) {
  const OutputParams& output = parts.params.output;
  fmt::format_to(std::back_inserter(out), R"({{"index":{},"message":{{"role":"assistant","content":)", choice.index);
  bool calls = std::ranges::any_of(choice.parts, [](const OutputPart& part) { return part.kind == PartKind::kCall; });
  append_content(out, parts, choice, calls);
  out += R"(,"refusal":null,"annotations":[],"audio":null,"function_call":null)";
  if (calls) {
    out += ',';
    append_calls(out, choice.parts);
  }
  if (!choice.reasoning.empty()) {
    out += ',';
    append_reasoning_keys(out, choice.reasoning, field);
  }
  out += R"(},"logprobs":)";
  if (parts.params.sampling.n_logprobs >= 0) {
    append_chat_logprobs(out, choice.logprobs, output.return_tokens_as_token_ids);
  } else {
    out += "null";
  }
  append_choice_end(out, parts.params, choice);
  out += '}';
}

void append_completion_choice(std::string& out, const ReplyParts& parts, const ChoiceOutput& choice) {
  const OutputParams& output = parts.params.output;
  const PromptOutput& prompt = parts.prompts[choice.prompt_index];
  fmt::format_to(std::back_inserter(out), R"({{"index":{},"text":)", choice.index);
  append_json_string(out, output.echo ? prompt.text + choice.text : choice.text);
  out += R"(,"logprobs":)";
  if (parts.params.sampling.n_logprobs >= 0) {
    std::vector<PositionText> positions;
    if (output.echo) positions = prompt.logprobs;
    positions.insert(positions.end(), choice.logprobs.begin(), choice.logprobs.end());
    uint64_t offset = 0;
    append_completion_logprobs(out, positions, output.return_tokens_as_token_ids, offset);
  } else {
    out += "null";
  }
  append_choice_end(out, parts.params, choice);
  append_prompt_keys(out, parts.params, prompt);
  out += '}';
}

void append_strings(std::string& out, std::span<const std::string> texts) {
  out += '[';
  for (const std::string& text : texts) {
    if (&text != texts.data()) out += ',';
    append_json_string(out, text);
  }
  out += ']';
}

void append_card(std::string& out, const ModelCard& card) {
  out += R"({"id":)";
  append_json_string(out, card.id);
  fmt::format_to(std::back_inserter(out), R"(,"object":"model","created":{},"owned_by":"millrace","root":)",
                 card.created);
  append_json_string(out, card.root);
  out += R"(,"parent":)";
  if (card.parent.empty()) {
    out += "null";
  } else {
    append_json_string(out, card.parent);
  }
  fmt::format_to(std::back_inserter(out), R"(,"max_model_len":{},"permission":[{{"id":)", card.max_model_len);
  append_json_string(out, "modelperm-" + card.id);
  fmt::format_to(std::back_inserter(out),
                 R"(,"object":"model_permission","created":{},"allow_sampling":true,)"
                 R"("allow_logprobs":true}}],"meta":{{"vocab_type":)",
                 card.created);
  append_json_string(out, card.vocab_type);
  fmt::format_to(std::back_inserter(out),
                 R"(,"n_vocab":{},"n_ctx_train":{},"n_embd":{},"n_params":{},"size":{}}},)"
                 R"("architecture":{{"input_modalities":["text"],"output_modalities":["text"]}},"aliases":)",
                 card.n_vocab, card.n_ctx_train, card.n_embd, card.n_params, card.size_bytes);
  append_strings(out, card.aliases);
  out += R"(,"tags":)";
  append_strings(out, card.tags);
  if (!card.state.empty()) {  // as llama-server's router tells it
    fmt::format_to(std::back_inserter(out), R"(,"in_cache":true,"status":{{"value":"{}","args":[]{}}})", card.state,
                   card.failed ? R"(,"failed":true,"exit_code":1)" : "");
  }
  out += '}';
}

}  // namespace

Timings timings_of(const flow::TokenEvent& finish) {
  const flow::RequestTimes& times = finish.times;
  Tick first = times.first_token > 0 ? times.first_token : times.finished;
  return {.queue_ms = ms_between(times.arrival, times.first_scheduled),
          .cache_n = finish.n_cached,
          .prompt_n = finish.n_prompt >= finish.n_cached ? finish.n_prompt - finish.n_cached : 0,
          .prompt_ms = ms_between(times.first_scheduled, first),
          .predicted_n = finish.n_output,
          .predicted_ms = ms_between(first, times.finished)};
}

void add_part(ChoiceOutput& choice, PartKind kind, std::string_view text, const CallPiece* call) {
  if (kind == PartKind::kContent) choice.text += text;
  if (kind == PartKind::kReasoning) choice.reasoning += text;
  bool goes_on = !choice.parts.empty() && choice.parts.back().kind == kind && (call == nullptr || call->name.empty());
  if (!goes_on) {
    OutputPart part;
    part.kind = kind;
    choice.parts.push_back(std::move(part));
  }
  OutputPart& part = choice.parts.back();
  part.text += text;
  if (call == nullptr) return;
  if (goes_on) {
    part.call.arguments += call->arguments;
  } else {
    part.call = *call;
  }
}

std::string chat_reply(const ReplyParts& parts, ReasoningField field) {
  std::string out;
  append_head(out, parts.head, "chat.completion");
  out += R"(,"service_tier":null,"choices":[)";
  for (const ChoiceOutput& choice : parts.choices) {
    if (&choice != parts.choices.data()) out += ',';
    append_chat_choice(out, parts, choice, field);
  }
  append_tail(out, parts);
  append_prompt_keys(out, parts.params, parts.prompts[0]);
  out += '}';
  return out;
}

std::string completion_reply(const ReplyParts& parts) {
  std::string out;
  append_head(out, parts.head, "text_completion");
  out += R"(,"choices":[)";
  for (const ChoiceOutput& choice : parts.choices) {
    if (&choice != parts.choices.data()) out += ',';
    append_completion_choice(out, parts, choice);
  }
  append_tail(out, parts);
  out += '}';
  return out;
}

std::string models_reply(std::span<const ModelCard> cards) {
  std::string out = R"({"object":"list","data":[)";
  for (const ModelCard& card : cards) {
    if (&card != cards.data()) out += ',';
    append_card(out, card);
  }
  out += "]}";
  return out;
}

std::string model_reply(const ModelCard& card) {
  std::string out;
  append_card(out, card);
  return out;
}

std::string make_reply_id(std::string_view prefix, uint64_t high, uint64_t low) {
  return fmt::format("{}{:016x}{:016x}", prefix, high, low);
}

}  // namespace millrace::api
