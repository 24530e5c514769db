// Tools and reasoning over real sockets: an echo instance answers with what the user says, so a test writes the model's
// output. The same output gives the same calls through every dialect, whole and as a stream.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/server_fixture.h"

namespace millrace::server {
namespace {

using testing::EchoOptions;
using testing::HttpClient;
using testing::stream_events;
using testing::TestServer;

using Calls = std::vector<std::pair<std::string, std::string>>;  // name, arguments as compact JSON

struct Told {
  std::string content;
  std::string reasoning;
  Calls calls;
  std::string finish;
  bool operator==(const Told&) const = default;
};
void PrintTo(const Told& told, std::ostream* out) {
  *out << "content \"" << told.content << "\" reasoning \"" << told.reasoning << "\" finish " << told.finish;
  for (const auto& [name, arguments] : told.calls) *out << " [" << name << " " << arguments << "]";
}

std::string compact(const std::string& json) {
  auto parsed = parse_json(json);
  return parsed.ok() ? parsed->dump() : "not JSON: " + json;
}
std::string text_at(const Json& object, std::string_view key) {
  const Json* value = object.get(key);
  return value == nullptr ? "" : value->as_string();
}

EchoOptions hermes() {
  EchoOptions options;
  options.tags = "<tool_call> <think></think>";
  return options;
}

std::string quoted(std::string_view text) {
  std::string out;
  append_json_string(out, text);
  return out;
}

constexpr std::string_view kTools =
    R"([{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object","properties":)"
    R"({"a":{"type":"integer"}},"required":["a"]}}},{"type":"function","function":{"name":"g"}}])";

std::string chat_body(std::string_view output, std::string_view more) {
  return R"({"messages":[{"role":"user","content":)" + quoted(output) + R"(}],"tools":)" + std::string(kTools) +
         std::string(more) + "}";
}

Told openai(const Json& reply) {
  const Json& choice = reply.get("choices")->as_array()[0];
  const Json& message = *choice.get("message");
  Told told{.content = text_at(message, "content"), .finish = text_at(choice, "finish_reason")};
  told.reasoning = text_at(message, "reasoning");
  EXPECT_EQ(told.reasoning, text_at(message, "reasoning_content"));
  if (const Json* calls = message.get("tool_calls")) {
    for (const Json& call : calls->as_array()) {
      EXPECT_EQ(text_at(call, "type"), "function");
      EXPECT_FALSE(text_at(call, "id").empty());
      const Json& function = *call.get("function");
      told.calls.emplace_back(text_at(function, "name"), compact(text_at(function, "arguments")));
    }
  }
  return told;
}

Told openai_stream(const std::string& body) {
  Told told;
  for (const Json& event : stream_events(body)) {
    if (!event.is_object()) continue;  // the end mark
    const Json& choice = event.get("choices")->as_array()[0];
    told.finish += text_at(choice, "finish_reason");
    const Json& delta = *choice.get("delta");
    told.content += text_at(delta, "content");
    told.reasoning += text_at(delta, "reasoning_content");
    const Json* calls = delta.get("tool_calls");
    if (calls == nullptr) continue;
    for (const Json& call : calls->as_array()) {
      auto index = static_cast<size_t>(call.get("index")->as_int());
      const Json& function = *call.get("function");
      EXPECT_EQ(call.get("id") != nullptr, index == told.calls.size()) << call.dump();
      EXPECT_EQ(function.get("name") != nullptr, index == told.calls.size());
      if (index == told.calls.size()) told.calls.emplace_back(text_at(function, "name"), "");
      told.calls[index].second += text_at(function, "arguments");
    }
  }
  for (auto& [name, arguments] : told.calls) arguments = compact(arguments);
  return told;
}

Told anthropic(const Json& reply) {
  Told told{.finish = text_at(reply, "stop_reason")};
  for (const Json& block : reply.get("content")->as_array()) {
    std::string type = text_at(block, "type");
    if (type == "text") told.content += text_at(block, "text");
    if (type == "thinking") told.reasoning += text_at(block, "thinking");
    if (type == "tool_use") told.calls.emplace_back(text_at(block, "name"), block.get("input")->dump());
  }
  return told;
}

std::vector<Json> data_of(const std::string& body) {
  std::vector<Json> out;
  for (size_t at = 0; (at = body.find("data: ", at)) != std::string::npos; at += 6) {
    out.push_back(parse_json(body.substr(at + 6, body.find('\n', at) - at - 6)).value());
  }
  return out;
}

Told anthropic_stream(const std::string& body) {
  Told told;
  int64_t open = -1;
  int64_t n_blocks = 0;
  for (const Json& event : data_of(body)) {
    std::string type = text_at(event, "type");
    if (type == "content_block_start") {
      EXPECT_EQ(open, -1);
      open = event.get("index")->as_int();
      EXPECT_EQ(open, n_blocks++);
      const Json& block = *event.get("content_block");
      if (text_at(block, "type") == "tool_use") told.calls.emplace_back(text_at(block, "name"), "");
    }
    if (type == "content_block_delta") {
      EXPECT_EQ(event.get("index")->as_int(), open);
      const Json& delta = *event.get("delta");
      told.content += text_at(delta, "text");
      told.reasoning += text_at(delta, "thinking");
      if (text_at(delta, "type") == "input_json_delta") told.calls.back().second += text_at(delta, "partial_json");
    }
    if (type == "content_block_stop") open = -1;
    if (type == "message_delta") told.finish = text_at(*event.get("delta"), "stop_reason");
  }
  for (auto& [name, arguments] : told.calls) arguments = compact(arguments);
  return told;
}

Told ollama_lines(const std::string& body) {
  Told told;
  for (size_t at = 0; at < body.size();) {
    size_t end = std::min(body.find('\n', at), body.size());
    Json line = parse_json(body.substr(at, end - at)).value();
    at = end + 1;
    const Json& message = *line.get("message");
    told.content += text_at(message, "content");
    told.reasoning += text_at(message, "thinking");
    if (const Json* calls = message.get("tool_calls")) {
      for (const Json& call : calls->as_array()) {
        const Json& function = *call.get("function");
        told.calls.emplace_back(text_at(function, "name"), function.get("arguments")->dump());
      }
    }
    if (line.get("done_reason") != nullptr) told.finish = text_at(line, "done_reason");
  }
  return told;
}

Told responses(const Json& response) {
  Told told{.finish = text_at(response, "status")};
  for (const Json& item : response.get("output")->as_array()) {
    std::string type = text_at(item, "type");
    if (type == "function_call") told.calls.emplace_back(text_at(item, "name"), compact(text_at(item, "arguments")));
    if (type == "function_call") continue;
    for (const Json& part : item.get("content")->as_array()) {
      (type == "message" ? told.content : told.reasoning) += text_at(part, "text");
    }
  }
  return told;
}

// The gathered deltas, checked against the response of the last event.
Told responses_stream(const std::string& body) {
  Told told;
  Told whole;
  int64_t sequence = 0;
  for (const Json& event : data_of(body)) {
    EXPECT_EQ(event.get("sequence_number")->as_int(), sequence++);
    std::string type = text_at(event, "type");
    if (type == "response.output_text.delta") told.content += text_at(event, "delta");
    if (type == "response.reasoning_text.delta") told.reasoning += text_at(event, "delta");
    bool call = type == "response.output_item.added" && text_at(*event.get("item"), "type") == "function_call";
    if (call) told.calls.emplace_back(text_at(*event.get("item"), "name"), "");
    if (type == "response.function_call_arguments.delta") told.calls.back().second += text_at(event, "delta");
    if (type == "response.completed") whole = responses(*event.get("response"));
  }
  for (auto& [name, arguments] : told.calls) arguments = compact(arguments);
  told.finish = whole.finish;
  EXPECT_EQ(told, whole);
  return told;
}

struct Case {
  const char* output;
  Told want;  // finish: of OpenAI
};

const Case kCases[] = {
    {"plain", {"plain", "", {}, "stop"}},
    {"<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool_call>",
     {"", "", {{"f", R"({"a":1})"}}, "tool_calls"}},
    {"<think>\nhm\n</think>\n\nLet me see.<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool_call>\n"
     "<tool_call>\n{\"name\": \"g\", \"arguments\": {}}\n</tool_call>",
     {"Let me see.", "hm", {{"f", R"({"a":1})"}, {"g", "{}"}}, "tool_calls"}},
    {"<tool_call>{\"name\": \"h\", \"arguments\": {}}</tool_call>",
     {"<tool_call>{\"name\": \"h\", \"arguments\": {}}</tool_call>", "", {}, "stop"}},
    {"<tool_call>{\"name\": \"f\", \"argu", {"<tool_call>{\"name\": \"f\", \"argu", "", {}, "stop"}},
    {"<think>never ends", {"", "never ends", {}, "stop"}},
};

Told with_finish(Told told, std::string_view calls, std::string_view text) {
  told.finish = told.finish == "tool_calls" ? calls : text;
  return told;
}

TEST(Tools, SameCallsThroughFourDialects) {
  TestServer server({}, hermes());
  HttpClient client(server.port());
  for (const Case& one : kCases) {
    SCOPED_TRACE(one.output);
    EXPECT_EQ(openai(client.post("/v1/chat/completions", chat_body(one.output, "")).json()), one.want);
    auto chunks = client.post("/v1/chat/completions", chat_body(one.output, R"(,"stream":true)"));
    EXPECT_EQ(openai_stream(chunks.body), one.want);

    std::string tools = R"(,"tools":[{"name":"f","input_schema":{"type":"object"}},{"name":"g","input_schema":{}}]})";
    std::string messages = R"({"max_tokens":500,"messages":[{"role":"user","content":)" + quoted(one.output) + "}]";
    Told want = with_finish(one.want, "tool_use", "end_turn");
    EXPECT_EQ(anthropic(client.post("/v1/messages", messages + tools).json()), want);
    EXPECT_EQ(anthropic_stream(client.post("/v1/messages", messages + R"(,"stream":true)" + tools).body), want);

    want = with_finish(one.want, "stop", "stop");
    EXPECT_EQ(ollama_lines(client.post("/api/chat", chat_body(one.output, R"(,"stream":false)")).body), want);
    EXPECT_EQ(ollama_lines(client.post("/api/chat", chat_body(one.output, "")).body), want);

    want = with_finish(one.want, "completed", "completed");
    std::string input = R"({"input":)" + quoted(one.output) +
                        R"(,"tools":[{"type":"function","name":"f","parameters":{}},{"type":"function","name":"g"}])";
    EXPECT_EQ(responses(client.post("/v1/responses", input + "}").json()), want);
    EXPECT_EQ(responses_stream(client.post("/v1/responses", input + R"(,"stream":true})").body), want);
  }
}

TEST(Tools, RequiredCallsAreConstrained) {
  TestServer server({}, hermes());
  HttpClient client(server.port());
  const char* call = "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 12}}\n</tool_call>";
  for (const char* choice :
       {R"(,"tool_choice":"required")", R"(,"tool_choice":{"type":"function","function":{"name":"f"}})"}) {
    auto chunks = client.post("/v1/chat/completions", chat_body(call, std::string(choice) + R"(,"stream":true)"));
    Told told = openai_stream(chunks.body);
    EXPECT_EQ(told.calls, (Calls{{"f", R"({"a":12})"}})) << chunks.body;
    EXPECT_EQ(told.content, "");
    bool named = std::string_view(choice).find("name") != std::string_view::npos;
    EXPECT_EQ(told.finish, named ? "stop" : "tool_calls");
    size_t n_pieces = 0;
    for (const Json& event : stream_events(chunks.body)) {
      if (!event.is_object()) continue;
      n_pieces +=
          event.get("choices")->as_array()[0].get("delta")->get("tool_calls") != nullptr ? size_t{1} : size_t{0};
    }
    EXPECT_GT(n_pieces, 5u);  // a byte each
  }
}

TEST(Tools, Refusals) {
  TestServer server({}, hermes());
  HttpClient client(server.port());
  auto refused = [&](const std::string& members) {
    auto reply = client.post("/v1/chat/completions", R"({"messages":[{"role":"user","content":"x"}],)" + members + "}");
    if (reply.status != 400) return std::string("accepted");
    return text_at(*reply.json().get("error"), "param");
  };
  auto tool = [](std::string_view function) {
    return R"("tools":[{"type":"function","function":)" + std::string(function) + "}]";
  };
  std::string many = R"("tools":[)";
  for (int i = 0; i < 200; ++i) many += R"({"type":"function","function":{"name":"f)" + std::to_string(i) + R"("}},)";
  many.back() = ']';
  EXPECT_EQ(refused(many), "tools");
  EXPECT_EQ(refused(R"("tools":[])"), "tools");
  EXPECT_EQ(refused(R"("tools":{})"), "tools");
  EXPECT_EQ(refused(R"("tools":[1])"), "tools[0]");
  EXPECT_EQ(refused(R"("tools":[{"type":"retrieval"}])"), "tools[0].type");
  EXPECT_EQ(refused(R"("tools":[{"type":"function"}])"), "tools[0].function");
  EXPECT_EQ(refused(tool(R"({"name":"a b"})")), "tools[0].function.name");
  EXPECT_EQ(refused(tool(R"({"name":""})")), "tools[0].function.name");
  EXPECT_EQ(refused(tool(R"({"name":")" + std::string(65, 'x') + R"("})")), "tools[0].function.name");
  EXPECT_EQ(refused(tool(R"({"name":"f","description":7})")), "tools[0].function.description");
  EXPECT_EQ(refused(tool(R"({"name":"f","parameters":7})")), "tools[0].function.parameters");
  EXPECT_EQ(refused(tool(R"({"name":"f","parameters":{"type":7}})")), "tools[0].function.parameters.type");
  EXPECT_EQ(refused(tool(R"({"name":"f","strict":1})")), "tools[0].function.strict");
  EXPECT_EQ(
      refused(tool(R"({"name":"f","strict":true,"parameters":{"type":"object","properties":{"a":{"type":"x"}}}})")),
      "tools[0].function.parameters");
  EXPECT_EQ(refused(tool(R"({"name":"f"})") + R"(,"tool_choice":"other")"), "tool_choice");
  EXPECT_EQ(refused(tool(R"({"name":"f"})") + R"(,"tool_choice":{"type":"function","function":{"name":"g"}})"),
            "tool_choice");
  EXPECT_EQ(refused(R"("tool_choice":"required")"), "tool_choice");
  EXPECT_EQ(refused(tool(R"({"name":"f"})") + R"(,"tool_choice":"required","regex":"a+")"), "regex");
  EXPECT_EQ(refused(R"("functions":[{"name":"a b"}])"), "functions[0].name");
  EXPECT_EQ(refused(tool(R"({"name":"f"})") + R"(,"thinking_token_budget":-2)"), "thinking_token_budget");
}

TEST(Tools, ReasoningSwitches) {
  TestServer server({}, hermes());
  HttpClient client(server.port());
  auto told = [&](const std::string& more) {
    return openai(client
                      .post("/v1/chat/completions",
                            R"({"messages":[{"role":"user","content":"<think>abc</think>def"}])" + more + "}")
                      .json());
  };
  EXPECT_EQ(told(""), (Told{"def", "abc", {}, "stop"}));
  EXPECT_EQ(told(R"(,"include_reasoning":false)"), (Told{"def", "", {}, "stop"}));
  EXPECT_EQ(told(R"(,"reasoning_format":"none")"), (Told{"<think>abc</think>def", "", {}, "stop"}));
  Json reply =
      client.post("/v1/chat/completions", R"({"messages":[{"role":"user","content":"<think>abc</think>def"}]})").json();
  int64_t n = reply.get("usage")->get("completion_tokens_details")->get("reasoning_tokens")->as_int();
  EXPECT_EQ(n, 11);  // "abc</think>", a byte each
}

// Without a word of tools in the template they are described in text, and calls are read all the same.
TEST(Tools, TemplateWithoutTools) {
  TestServer server;
  HttpClient client(server.port());
  Json history =
      parse_json(R"([{"role":"user","content":"q"},{"role":"assistant","content":null,"tool_calls":[{"id":"c",)"
                 R"("type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}]},)"
                 R"({"role":"tool","tool_call_id":"c","content":"42"}])")
          .value();
  auto reply =
      client.post("/apply-template", R"({"messages":)" + history.dump() + R"(,"tools":)" + std::string(kTools) + "}");
  ASSERT_EQ(reply.status, 200) << reply.body;
  std::string prompt = text_at(reply.json(), "prompt");
  EXPECT_NE(prompt.find(R"("name":"f","description":"d")"), std::string::npos) << prompt;
  EXPECT_NE(prompt.find(R"({"name":"f","arguments":{"a":1}})"), std::string::npos) << prompt;
  EXPECT_NE(prompt.find("Result of the call: 42"), std::string::npos) << prompt;
}

}  // namespace
}  // namespace millrace::server
