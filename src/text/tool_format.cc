// The rows. Sources: the chat templates of the models named, as llama.cpp b11434 keeps them (models/templates).
#include "text/tool_format.h"

namespace millrace::text {
namespace {

// Of two rows whose hints a template has, the first is taken.
constexpr ToolFormat kFormats[] = {
    {.name = "qwen3_coder",
     .aliases = "qwen3_xml",
     .syntax = CallSyntax::kTagged,
     .begin = "<tool_call>\n",
     .end = "\n</tool_call>",
     .hint = "<function=",
     .second_hint = "<parameter="},
    {.name = "glm45",
     .aliases = "glm47",
     .syntax = CallSyntax::kPairs,
     .begin = "<tool_call>",
     .end = "</tool_call>",
     .hint = "<arg_key>",
     .second_hint = "<tool_call>"},
    {.name = "granite",
     .aliases = "granite-20b-fc",
     .open = "<|tool_call|>",
     .array = true,
     .hint = "<|tool_call|>",
     .second_hint = "JSON list"},
    {.name = "phi4_mini_json",
     .aliases = "phi phi4",
     .open = "<|tool_call|>",
     .close = "<|/tool_call|>",
     .array = true,
     .hint = "<|tool_call|>"},
    {.name = "hermes",
     .aliases = "qwen qwen25 granite4 internlm",
     .begin = "<tool_call>\n",
     .end = "\n</tool_call>",
     .hint = "<tool_call>"},
    {.name = "mistral_args",
     .begin = "[TOOL_CALLS]",
     .name_end = "[ARGS]",
     .short_ids = true,
     .hint = "[TOOL_CALLS]",
     .second_hint = "[ARGS]"},
    {.name = "mistral", .open = "[TOOL_CALLS]", .array = true, .short_ids = true, .hint = "[TOOL_CALLS]"},
    {.name = "functionary",
     .aliases = "functionary_v3_1",
     .begin = "<function=",
     .name_end = ">",
     .end = "</function>",
     .hint = "<function="},
    {.name = "functionary_v3_2",
     .begin = ">>>",
     .name_end = "\n",
     .content_name = "all",
     .hint = ">>>",
     .second_hint = "recipient"},
    {.name = "deepseek_v3",
     .aliases = "deepseek deepseek_r1",
     .open = "<\uFF5Ctool\u2581calls\u2581begin\uFF5C>",
     .begin = "<\uFF5Ctool\u2581call\u2581begin\uFF5C>function<\uFF5Ctool\u2581sep\uFF5C>",
     .name_end = "\n```json\n",
     .end = "\n```<\uFF5Ctool\u2581call\u2581end\uFF5C>",
     .close = "<\uFF5Ctool\u2581calls\u2581end\uFF5C>",
     .hint = "<\uFF5Ctool\u2581calls\u2581begin\uFF5C>",
     .second_hint = "```json"},
    {.name = "deepseek_v31",
     .open = "<\uFF5Ctool\u2581calls\u2581begin\uFF5C>",
     .begin = "<\uFF5Ctool\u2581call\u2581begin\uFF5C>",
     .name_end = "<\uFF5Ctool\u2581sep\uFF5C>",
     .end = "<\uFF5Ctool\u2581call\u2581end\uFF5C>",
     .close = "<\uFF5Ctool\u2581calls\u2581end\uFF5C>",
     .hint = "<\uFF5Ctool\u2581calls\u2581begin\uFF5C>"},
    {.name = "gemma4",
     .syntax = CallSyntax::kGemma,
     .begin = "<|tool_call>",
     .end = "<tool_call|>",
     .quote = "<|\"|>",
     .hint = "<|tool_call>"},
    {.name = "functiongemma",
     .aliases = "gemma",
     .syntax = CallSyntax::kGemma,
     .begin = "<start_function_call>",
     .end = "<end_function_call>",
     .quote = "<escape>",
     .hint = "<start_function_call>"},
    {.name = "command_r",
     .aliases = "command-r cohere",
     .open = "<|START_ACTION|>",
     .close = "<|END_ACTION|>",
     .name_key = "tool_name",
     .arguments_key = "parameters",
     .id_key = "tool_call_id",
     .array = true,
     .hint = "<|START_ACTION|>"},
    {.name = "firefunction", .open = "functools", .array = true, .hint = "functools["},
    {.name = "pythonic",
     .aliases = "llama4_pythonic llama3_pythonic",
     .syntax = CallSyntax::kPythonic,
     .bare = true,
     .hint = "[func_name1(params_name1"},
    {.name = "llama3_json",
     .aliases = "llama3 llama4_json llama",
     .begin = "<|python_tag|>",
     .arguments_key = "parameters",
     .bare = true,
     .hint = "\"parameters\": "},
    {.name = "generic", .bare = true},
};

struct ReasoningRow {
  ReasoningTags tags;
  std::string_view names;  // of parsers
};
constexpr ReasoningRow kReasoning[] = {
    {{"<think>", "</think>"}, "qwen3 think deepseek_v3 glm45 granite holo2 nemotron_v3"},
    {{"<think>", "</think>", true}, "deepseek_r1 deepseek minimax_m2"},
    {{"[THINK]", "[/THINK]"}, "mistral"},
    {{"<|START_THINKING|>", "<|END_THINKING|>"}, "command_r cohere_cmd"},
    {{"<reasoning>", "</reasoning>"}, "reasoning"},
    {{"<seed:think>", "</seed:think>"}, "seed_oss"},
    {{"<|channel>thought\n", "<channel|>"}, "gemma4"},
};

bool in_list(std::string_view list, std::string_view name) {
  while (!list.empty() && !name.empty()) {
    size_t space = list.find(' ');
    if (list.substr(0, space) == name) return true;
    list = space == std::string_view::npos ? std::string_view() : list.substr(space + 1);
  }
  return false;
}

bool has(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

}  // namespace

std::span<const ToolFormat> tool_formats() { return kFormats; }

const ToolFormat* find_tool_format(std::string_view name) {
  for (const ToolFormat& format : kFormats) {
    if (format.name == name || in_list(format.aliases, name)) return &format;
  }
  return nullptr;
}

const ToolFormat* tool_format_of(std::string_view chat_template) {
  if (!has(chat_template, "tools")) return nullptr;
  for (const ToolFormat& format : kFormats) {
    if (has(chat_template, format.hint) && has(chat_template, format.second_hint)) return &format;
  }
  return nullptr;
}

ReasoningTags find_reasoning(std::string_view name) {
  for (const ReasoningRow& row : kReasoning) {
    if (in_list(row.names, name)) return row.tags;
  }
  return {};
}

std::string reasoning_names() {
  std::string out;
  for (const ReasoningRow& row : kReasoning) {
    for (char c : row.names) out.append(c == ' ' ? ", " : std::string(1, c));
    out += ", ";
  }
  out.resize(out.size() - 2);
  return out;
}

ReasoningTags reasoning_tags_of(std::string_view chat_template) {
  for (const ReasoningRow& row : kReasoning) {
    if (has(chat_template, row.tags.close)) return row.tags;
  }
  return {};
}

}  // namespace millrace::text
