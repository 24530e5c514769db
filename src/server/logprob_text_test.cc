// Logprobs over HTTP where a character spans several tokens: joined tokens are the text, offsets stay inside it. With a
// vocabulary of single bytes and with SmolLM2's. Also those of tokens that the request lists.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/json.h"
#include "tests/support/real_vocabulary.h"
#include "tests/support/server_fixture.h"

namespace millrace::server {
namespace {

using testing::EchoOptions;
using testing::HttpClient;
using testing::TestServer;

// "na\u00efve \U0001F600\U0001F9EC \u6f22\u5b57 \u9f98 end": emoji and rare characters take several tokens each.
const std::string kText = "na\xC3\xAFve \xF0\x9F\x98\x80\xF0\x9F\xA7\xAC \xE6\xBC\xA2\xE5\xAD\x97 \xE9\xBE\x98 end";

uint64_t characters(const std::string& text) {
  uint64_t n = 0;
  for (char c : text) n += (static_cast<uint8_t>(c) & 0xC0) != 0x80;
  return n;
}

EchoOptions vocabulary(const std::string& name) {
  EchoOptions out;
  if (name == "bytes") return out;
  out.vocabulary = testing::smollm2_vocabulary();
  return out;
}

// The parts of one answer, whole or gathered from a stream.
struct Seen {
  std::string text;
  std::string joined;  // tokens
  std::string bytes;
  size_t n_tokens = 0;
  size_t n_empty = 0;
  std::vector<int64_t> offsets;
};

void add_completion(const Json& choice, Seen& seen) {
  seen.text += choice.find("text")->as_string();
  const Json* logprobs = choice.get("logprobs");
  if (logprobs == nullptr) return;
  for (const Json& token : logprobs->find("tokens")->as_array()) {
    ++seen.n_tokens;
    if (token.as_string().empty()) ++seen.n_empty;
    seen.joined += token.as_string();
  }
  for (const Json& offset : logprobs->find("text_offset")->as_array()) seen.offsets.push_back(offset.as_int());
}

void add_chat(const Json& message, const Json* logprobs, Seen& seen) {
  if (const Json* content = message.get("content")) seen.text += content->as_string();
  if (logprobs == nullptr) return;
  for (const Json& entry : logprobs->find("content")->as_array()) {
    ++seen.n_tokens;
    if (entry.find("token")->as_string().empty()) ++seen.n_empty;
    seen.joined += entry.find("token")->as_string();
    for (const Json& byte : entry.find("bytes")->as_array()) seen.bytes += static_cast<char>(byte.as_int());
    const JsonArray& top = entry.find("top_logprobs")->as_array();
    ASSERT_FALSE(top.empty());
    if (*top[0].find("bytes") == *entry.find("bytes")) {
      EXPECT_EQ(top[0].find("token")->as_string(), entry.find("token")->as_string());
    }
  }
}

Seen ask(TestServer& server, const std::string& path, Json body, bool stream) {
  body.set("stream", stream);
  auto reply = HttpClient(server.port()).post(path, body.dump());
  EXPECT_EQ(reply.status, 200) << reply.body;
  bool chat = path.find("chat") != std::string::npos;
  std::vector<Json> bodies;
  if (stream) {
    bodies = testing::stream_events(reply.body);
  } else {
    bodies.push_back(reply.json());
  }
  Seen seen;
  for (const Json& event : bodies) {
    if (!event.is_object()) continue;  // [DONE]
    for (const Json& choice : event.find("choices")->as_array()) {
      if (chat) {
        add_chat(*choice.find(stream ? "delta" : "message"), choice.get("logprobs"), seen);
      } else {
        add_completion(choice, seen);
      }
    }
  }
  return seen;
}

class LogprobText : public ::testing::TestWithParam<const char*> {};

TEST_P(LogprobText, JoinedTokensAreTheText) {
  TestServer server({}, vocabulary(GetParam()));
  Json completion = Json::object();
  completion.set("prompt", kText);
  completion.set("max_tokens", 200);
  completion.set("logprobs", 2);
  Json echo = completion;
  echo.set("echo", true);
  Json chat = Json::object();
  Json user = Json::object();
  user.set("role", "user");
  user.set("content", kText);
  chat.set("messages", Json(JsonArray{user}));
  chat.set("logprobs", true);
  chat.set("top_logprobs", 3);
  for (bool stream : {false, true}) {
    SCOPED_TRACE(stream);
    Seen plain = ask(server, "/v1/completions", completion, stream);
    EXPECT_EQ(plain.text, kText);
    EXPECT_EQ(plain.joined, kText);
    EXPECT_GT(plain.n_empty, 3u);
    Seen echoed = ask(server, "/v1/completions", echo, stream);
    EXPECT_EQ(echoed.text, kText + kText);
    EXPECT_EQ(echoed.joined, kText + kText);
    EXPECT_EQ(echoed.n_tokens, 2 * plain.n_tokens);
    for (const Seen* seen : {&plain, &echoed}) {
      ASSERT_EQ(seen->offsets.size(), seen->n_tokens);
      EXPECT_TRUE(std::is_sorted(seen->offsets.begin(), seen->offsets.end()));
      EXPECT_EQ(seen->offsets.front(), 0);
      EXPECT_LT(static_cast<uint64_t>(seen->offsets.back()), characters(seen->text));
    }
    Seen talked = ask(server, "/v1/chat/completions", chat, stream);
    EXPECT_NE(talked.text.find(kText), std::string::npos);
    EXPECT_EQ(talked.joined, talked.text);
    EXPECT_NE(talked.bytes.find(kText), std::string::npos);  // hidden special tokens have bytes and no text
    EXPECT_GT(talked.n_empty, 3u);
  }
}

// The answer ends inside a character.
TEST_P(LogprobText, ACutCharacterBelongsToTheLastToken) {
  TestServer server({}, vocabulary(GetParam()));
  Json body = Json::object();
  body.set("prompt", "\xF0\x9F\xA7\xAC\xF0\x9F\xA7\xAC");
  body.set("logprobs", 1);
  for (int64_t max_tokens = 1; max_tokens < 6; ++max_tokens) {
    body.set("max_tokens", max_tokens);
    for (bool stream : {false, true}) {
      for (bool echo : {false, true}) {
        body.set("echo", echo);
        Seen seen = ask(server, "/v1/completions", body, stream);
        EXPECT_EQ(seen.joined, seen.text);
        for (int64_t offset : seen.offsets) EXPECT_LT(static_cast<uint64_t>(offset), characters(seen.text));
      }
    }
  }
}

TEST_P(LogprobText, AStopStringInsideATokenCutsItsText) {
  TestServer server({}, vocabulary(GetParam()));
  Json body = *parse_json(R"({"prompt":"a wonderful world","max_tokens":99,"logprobs":2,"stop":"derful w"})");
  for (bool stream : {false, true}) {
    Seen seen = ask(server, "/v1/completions", body, stream);
    EXPECT_EQ(seen.text, "a won");
    EXPECT_EQ(seen.joined, "a won");
  }
}

TEST_P(LogprobText, APromptOfOneTokenIsEchoedWithItsToken) {
  TestServer server({}, vocabulary(GetParam()));
  Json body = *parse_json(R"({"prompt":"a","echo":true,"logprobs":1,"max_tokens":1})");
  for (bool stream : {false, true}) {
    Seen seen = ask(server, "/v1/completions", body, stream);
    EXPECT_EQ(seen.text, "aa");
    EXPECT_EQ(seen.joined, "aa");
    EXPECT_EQ(seen.offsets, (std::vector<int64_t>{0, 1}));
  }
}

INSTANTIATE_TEST_SUITE_P(Vocabularies, LogprobText, ::testing::Values("bytes", "smollm2"));

TEST(Sglang, LogProbabilitiesOfListedTokens) {
  TestServer server;
  HttpClient client(server.port());
  auto ask = [&](const std::string& more) {
    return client.post("/generate", R"({"text":"hey","sampling_params":{"max_new_tokens":1})" + more + "}");
  };
  Json info = *ask(R"(,"return_logprob":true,"token_ids_logprob":[122,97])").json().get("meta_info");
  EXPECT_EQ(info.get("output_token_ids_logprobs")->dump(), R"([[[-1.5,122,"z"],[-1.5,97,"a"]]])");
  EXPECT_EQ(info.get("output_token_logprobs")->dump(), R"([[-0.5,104,"h"]])");
  EXPECT_EQ(info.find("output_top_logprobs"), nullptr);
  EXPECT_EQ(ask(R"(,"token_ids_logprob":[122])").status, 200) << "without return_logprob it says nothing";
  for (const char* bad :
       {R"("token_ids_logprob":[999])", R"("token_ids_logprob":"z")", R"("token_ids_logprob":[[1]])",
        R"("token_ids_logprob":[1],"top_logprobs_num":1)", R"("token_ids_logprob":[1],"logprob_start_len":0)"}) {
    EXPECT_EQ(ask(std::string(R"(,"return_logprob":true,)") + bad).status, 422) << bad;
  }
}

TEST(OpenAi, LogProbabilitiesOfListedTokens) {
  TestServer server;
  HttpClient client(server.port());
  Json text =
      client.post("/v1/completions", R"({"prompt":"hi","max_tokens":1,"logprobs":1,"logprob_token_ids":[122]})").json();
  EXPECT_EQ(text.find("choices")->as_array()[0].find("logprobs")->find("top_logprobs")->dump(),
            R"([{"z":-1.5,"h":-0.5}])");
  Json chat = client
                  .post("/v1/chat/completions",
                        R"({"messages":[{"role":"user","content":"hi"}],"max_tokens":2,"logprobs":true,)"
                        R"("logprob_token_ids":[122,121]})")
                  .json();
  const Json& last = chat.find("choices")->as_array()[0].find("logprobs")->find("content")->as_array().back();
  EXPECT_EQ(last.find("top_logprobs")->size(), 2u);
  EXPECT_EQ(last.find("top_logprobs")->as_array()[1].find("token")->as_string(), "y");
}

TEST(Tgi, TheLikeliestTokensBesideEach) {
  TestServer server;
  HttpClient client(server.port());
  auto ask = [&](const char* path, const std::string& parameters) {
    return client.post(path, R"({"inputs":"hi","parameters":{"max_new_tokens":2,)" + parameters + "}}");
  };
  Json details = *ask("/generate", R"("details":true,"top_n_tokens":3)").json().find("details");
  ASSERT_EQ(details.find("top_tokens")->size(), 2u);
  EXPECT_EQ(details.find("top_tokens")->as_array()[1].size(), 3u);
  EXPECT_EQ(details.find("top_tokens")->as_array()[1].as_array()[0].find("text")->as_string(), "i");
  EXPECT_EQ(ask("/generate", R"("details":true)").json().find("details")->find("top_tokens"), nullptr);
  std::string body = ask("/generate_stream", R"("top_n_tokens":3)").body;
  EXPECT_EQ(testing::stream_events(body).front().find("top_tokens")->size(), 3u);
  for (const char* bad : {"21", "-1", "1.5", "\"2\""}) {
    EXPECT_EQ(ask("/generate", std::string(R"("top_n_tokens":)") + bad).status, 422) << bad;
  }
}

}  // namespace
}  // namespace millrace::server
