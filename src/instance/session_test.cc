// Sessions over the real engine and text code with an echo backend: text, stop strings, logprobs, cancelling.
#include "instance/session.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "instance/blocking_notifier.h"
#include "instance/choice.h"
#include "instance/template_check.h"
#include "tests/support/echo_instance.h"

namespace millrace::instance {
namespace {

using testing::EchoInstance;
using testing::make_echo;

Job completion(std::string prompt, int64_t max_tokens = 1000) {
  api::CompletionRequest request;
  request.prompts.emplace_back(std::move(prompt));
  request.common.max_tokens = max_tokens;
  Job job;
  job.body = std::move(request);
  return job;
}

TEST(Session, EchoesAPrompt) {
  EchoInstance echo = make_echo();
  std::string streamed;
  auto answer = generate_blocking(*echo.instance, completion("hello"), [&](const ChoiceDelta& delta) {
    streamed += delta.text;
    return true;
  });
  ASSERT_TRUE(answer.ok()) << answer.error().message;
  ASSERT_EQ(answer->choices.size(), 1u);
  EXPECT_EQ(answer->choices[0].text, "hello");
  EXPECT_EQ(streamed, "hello");
  EXPECT_EQ(answer->usage.prompt_tokens, 5u);
  EXPECT_EQ(answer->usage.completion_tokens, 6u);
  EXPECT_EQ(answer->timings.predicted_n, 6u);
  EXPECT_EQ(echo.instance->router().n_open(), 0u);
}

// llama-server's n_indent: the answer ends at a line that is indented by less, of which no more is shown.
TEST(Session, ALineThatIsIndentedByLessEndsTheAnswer) {
  EchoInstance echo = make_echo();
  Job job = completion("if x:\n  a\n b\n");
  job.params().output.n_indent = 2;
  job.params().sampling.n_logprobs = 0;
  auto answer = generate_blocking(*echo.instance, job, {});
  ASSERT_TRUE(answer.ok()) << answer.error().message;
  const api::ChoiceOutput& choice = answer->choices[0];
  EXPECT_EQ(choice.text, "if x:\n  a\n ");
  EXPECT_EQ(choice.finish.kind, api::FinishKind::kLength);
  std::string joined;
  for (const api::PositionText& position : choice.logprobs) joined += position.chosen.text;
  EXPECT_EQ(joined, choice.text);
  EXPECT_EQ(answer->usage.completion_tokens, 12u);
}

// t_max_predict_ms: the clock is that of the tokens; the first new line behind the time is the last, and what a stop
// string held back is shown.
TEST(Session, ANewLineBehindTheTimeEndsTheAnswer) {
  EchoInstance echo = make_echo();
  echo.switches->step_us = 2000;  // so the sixth token comes 10 ms behind the first, or later
  Job job = completion("a\nbcd\nefg\n");
  job.params().output.t_max_predict_ms = 8;
  job.params().output.stop = {"\nx"};
  auto answer = generate_blocking(*echo.instance, job, {});
  ASSERT_TRUE(answer.ok()) << answer.error().message;
  const std::string& text = answer->choices[0].text;
  EXPECT_TRUE(text == "a\n" || text == "a\nb" || text == "a\nbcd\n" || text == "a\nbcd\ne") << text;
  EXPECT_EQ(answer->choices[0].finish.kind, api::FinishKind::kLength);
  job.params().output.t_max_predict_ms = 1'000'000'000;
  answer = generate_blocking(*echo.instance, job, {});
  ASSERT_TRUE(answer.ok()) << answer.error().message;
  EXPECT_EQ(answer->choices[0].text, "a\nbcd\nefg\n");
  EXPECT_EQ(answer->choices[0].finish.kind, api::FinishKind::kStop);
}

// Forks 2, 1 and 0 of the echo have log probabilities of -0.25, -0.375 and -0.5 a token.
TEST(Session, BestOfGivesTheMostLikelyAnswers) {
  EchoInstance echo = make_echo();
  Job job = completion("hello");
  std::get<api::CompletionRequest>(job.body).prompts.emplace_back(std::string("by"));
  job.params().n = 2;
  job.params().best_of = 3;
  job.params().sampling.n_logprobs = 0;
  auto answer = generate_blocking(*echo.instance, job, {});
  ASSERT_TRUE(answer.ok()) << answer.error().message;
  ASSERT_EQ(answer->choices.size(), 4u);
  for (uint32_t i = 0; i < 4; ++i) {
    const api::ChoiceOutput& choice = answer->choices[i];
    EXPECT_EQ(choice.index, i);
    EXPECT_EQ(choice.prompt_index, i / 2);
    EXPECT_EQ(choice.text, i < 2 ? "hello" : "by");
    ASSERT_FALSE(choice.logprobs.empty());
    EXPECT_FLOAT_EQ(choice.logprobs[0].chosen.logprob, i % 2 == 0 ? -0.25f : -0.375f);
  }
  EXPECT_EQ(answer->usage.completion_tokens, 3u * 6 + 3u * 3) << "all that was generated";
  job.params().sampling.n_logprobs = -1;
  answer = generate_blocking(*echo.instance, job, {});
  ASSERT_TRUE(answer.ok()) << answer.error().message;
  ASSERT_EQ(answer->choices.size(), 4u);
  for (const api::ChoiceOutput& choice : answer->choices) EXPECT_TRUE(choice.logprobs.empty()) << "not asked for";
}

TEST(Session, RefusalsAreErrors) {
  EchoInstance echo = make_echo();
  auto too_long = generate_blocking(*echo.instance, completion(std::string(5000, 'a')), {});
  ASSERT_FALSE(too_long.ok());
  EXPECT_EQ(too_long.error().code, ErrorCode::kContextLengthExceeded);
  testing::EchoOptions options;
  options.chat = false;
  EchoInstance plain = make_echo(options);
  Job chat;
  api::ChatRequest request;
  request.messages = *parse_json(R"([{"role":"user","content":"hi"}])");
  chat.body = std::move(request);
  EXPECT_EQ(generate_blocking(*plain.instance, std::move(chat), {}).error().code, ErrorCode::kInvalidTemplate);
}

TEST(Session, DeltaCallbackCancels) {
  EchoInstance echo = make_echo();
  echo.switches->step_us = 200;  // else the answer may be complete before the first delta is read
  int n_deltas = 0;
  Job job = completion("abc");
  job.params().sampling.ignore_eos = true;
  auto answer = generate_blocking(*echo.instance, std::move(job), [&](const ChoiceDelta&) { return ++n_deltas < 3; });
  ASSERT_FALSE(answer.ok());
  EXPECT_EQ(answer.error().code, ErrorCode::kCancelled);
  for (int i = 0; i < 1000 && echo.instance->stats().n_running > 0; ++i) std::this_thread::yield();
}

TEST(Session, ContentPartsAreJoined) {
  EchoInstance echo = make_echo();
  Job chat;
  api::ChatRequest request;
  request.messages =
      *parse_json(R"([{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}])");
  request.common.max_tokens = 3;
  chat.body = std::move(request);
  auto answer = generate_blocking(*echo.instance, std::move(chat), {});
  ASSERT_TRUE(answer.ok()) << answer.error().message;
  EXPECT_EQ(answer->choices[0].text, "ab");
}

TEST(Session, UserTextNeverBecomesSpecialTokens) {
  EchoInstance echo = make_echo();
  api::ChatRequest request;
  request.messages = *parse_json(R"([{"role":"user","content":"<bot>"}])");
  Job job;
  job.body = std::move(request);
  Prepared prepared = echo.instance->text().prepare(job, 1);
  ASSERT_FALSE(prepared.error);
  EXPECT_EQ(prepared.prompts[0].tokens, (std::vector<TokenId>{257, '<', 'b', 'o', 't', '>', 258}));
}

TEST(TemplateCheck, OddTemplatesAreNamed) {
  text::TokenizerSpec spec = testing::byte_tokenizer_spec();
  spec.bos = testing::kUserToken;
  auto tokenizer = text::Tokenizer::create(std::move(spec));
  ASSERT_TRUE(tokenizer.ok());
  auto warnings = [&](const std::string& source) {
    auto chat = text::ChatTemplate::parse(source, Limits());
    EXPECT_TRUE(chat.ok()) << source;
    std::string joined;
    for (const std::string& text : template_warnings(*chat, *tokenizer)) joined += text + "\n";
    return joined;
  };
  EXPECT_EQ(warnings("{{ bos_token }}{% for m in messages %}{{ m.content }}{% endfor %}"), "");
  EXPECT_EQ(warnings("{% for m in messages %}{% for p in m.content %}{{ p.text }}{% endfor %}{% endfor %}"), "");
  EXPECT_EQ(warnings("{{ bos_token }}hello"), "the chat template never prints the user's message\n");
  EXPECT_EQ(warnings("{{ bos_token }}{{ bos_token }}{{ messages[0]['content'] }}"),
            "the chat template prints <user> twice\n");
  EXPECT_EQ(warnings("{{ raise_exception('no') }}").find("the chat template fails"), 0u);
}

TEST(Session, SaltsSeparateScopes) {
  EchoInstance echo = make_echo();
  auto scope = [&](const std::string& salt) {
    Job job = completion("x");
    job.params().prompt.cache_salt = salt;
    return echo.instance->text().prepare(job, 1).prompts[0].request.scope;
  };
  EXPECT_EQ(scope(""), scope(""));
  EXPECT_EQ(scope("a"), scope("a"));
  EXPECT_NE(scope("a"), scope("b"));
  EXPECT_NE(scope("a"), scope(""));
}

TEST(Session, WarmUpLeavesTotalsAtZero) {
  EchoInstance echo = make_echo();
  ASSERT_TRUE(echo.instance->warm_up().ok());
  engine::EngineStats stats = echo.instance->stats();
  EXPECT_EQ(stats.prompt_tokens, 0u);
  EXPECT_EQ(stats.generated_tokens, 0u);
  EXPECT_EQ(stats.n_steps, 0u);
  ASSERT_TRUE(generate_blocking(*echo.instance, completion("ab"), {}).ok());
  EXPECT_EQ(echo.instance->stats().prompt_tokens, 2u);
}

TEST(Router, KeysOfClosedSessionsAreDead) {
  Router router;
  struct Count final : Notifier {
    void notify(std::span<const SessionKey> keys) override { n += keys.size(); }
    size_t n = 0;
  } count;
  SessionKey first = router.open(count);
  flow::TokenEvent event;
  event.request = request_id_of(first, 3);
  EXPECT_EQ(key_of(event.request), first);
  EXPECT_EQ(prompt_of(event.request), 3u);
  std::vector<flow::TokenEvent> events;
  events.push_back({.request = request_id_of(first, 0)});
  events.push_back({.request = request_id_of(first, 1)});
  router.deliver(events);
  EXPECT_EQ(count.n, 1u);  // told once until the mail is taken
  EXPECT_EQ(router.take(first).events.size(), 2u);
  router.close(first);
  SessionKey second = router.open(count);
  EXPECT_NE(first, second);
  events.clear();
  events.push_back({.request = request_id_of(first, 0)});
  router.deliver(events);
  EXPECT_EQ(count.n, 1u);
  EXPECT_TRUE(router.take(second).events.empty());
  EXPECT_TRUE(router.take(first).events.empty());
  EXPECT_EQ(router.n_open(), 1u);
}

// Feeds bytes as tokens and gathers what comes out.
class ChoiceRig {
 public:
  explicit ChoiceRig(api::CommonParams params) : params_(std::move(params)), choice_(tokenizer(), params_, {}, {}, 0) {}
  bool say(const std::string& text) {
    bool stopped = false;
    for (char c : text) {
      flow::TokenEvent event;
      event.token = static_cast<uint8_t>(c);
      event.logprobs = std::make_unique<flow::PositionLogprobs>();
      event.logprobs->chosen = {event.token, -1.0f, 1};
      stopped |= choice_.push(event, deltas_);
    }
    return stopped;
  }
  void end(flow::FinishReason reason, TokenId token = kNoToken) {
    flow::TokenEvent event;
    event.finish = reason;
    event.token = event.stop_token = token;
    choice_.push(event, deltas_);
  }
  std::string text() const {
    std::string out;
    for (const ChoiceDelta& delta : deltas_) out += delta.text;
    return out;
  }
  std::string logprob_text() const {
    std::string out;
    for (const ChoiceDelta& delta : deltas_) {
      for (const api::PositionText& position : delta.logprobs) out += position.chosen.text;
    }
    return out;
  }
  const ChoiceDelta& last() const { return deltas_.back(); }
  uint32_t n_output() const { return choice_.n_output(); }

 private:
  static const text::Tokenizer& tokenizer() {
    static const text::Tokenizer kTokenizer =
        std::move(text::Tokenizer::create(testing::byte_tokenizer_spec())).value();
    return kTokenizer;
  }
  api::CommonParams params_;
  Choice choice_;
  std::vector<ChoiceDelta> deltas_;
};

TEST(Choice, HoldsBackWhatMayBeAStopString) {
  api::CommonParams params;
  params.output.stop = {"stop", "op!"};
  ChoiceRig rig(params);
  EXPECT_FALSE(rig.say("a sto"));
  EXPECT_EQ(rig.text(), "a ");
  EXPECT_FALSE(rig.say("re; "));
  EXPECT_EQ(rig.text(), "a store; ");
  EXPECT_TRUE(rig.say("stop"));
  rig.say("ignored");
  rig.end(flow::FinishReason::kCancelled);
  EXPECT_EQ(rig.text(), "a store; ");
  EXPECT_EQ(rig.logprob_text(), "a store; ");
  EXPECT_EQ(std::get<std::string>(rig.last().finish->reason), "stop");
  EXPECT_EQ(rig.n_output(), 13u);
}

TEST(Choice, StopStringsWaitForMinTokens) {
  api::CommonParams params;
  params.output.stop = {"end"};
  params.sampling.min_tokens = 6;
  ChoiceRig early(params);
  EXPECT_FALSE(early.say("an end"));  // its last token is the sixth
  EXPECT_FALSE(early.say(" on"));
  EXPECT_TRUE(early.say("end"));
  early.end(flow::FinishReason::kCancelled);
  EXPECT_EQ(early.text(), "an end on");
  EXPECT_EQ(early.logprob_text(), "an end on");
  ChoiceRig late(params);
  EXPECT_TRUE(late.say("one end"));  // began early, ends with the seventh
  late.end(flow::FinishReason::kCancelled);
  EXPECT_EQ(late.text(), "one ");
}

TEST(Choice, EndTokensGiveNoTextUnlessAskedFor) {
  ChoiceRig plain({});
  plain.say("ab");
  plain.end(flow::FinishReason::kStopToken, 'c');
  EXPECT_EQ(plain.text(), "ab");
  EXPECT_EQ(std::get<TokenId>(plain.last().finish->reason), 'c');
  EXPECT_EQ(plain.n_output(), 3u);
  api::CommonParams params;
  params.output.include_stop_str_in_output = true;
  ChoiceRig shown(params);
  shown.say("ab");
  shown.end(flow::FinishReason::kStopToken, 'c');
  EXPECT_EQ(shown.text(), "abc");
}

TEST(Choice, UnfinishedCharactersComeOutAtTheEnd) {
  ChoiceRig rig({});
  rig.say("a\xe2\x82");
  EXPECT_EQ(rig.text(), "a");
  rig.end(flow::FinishReason::kLength);
  EXPECT_EQ(rig.text(), "a\xef\xbf\xbd");
  EXPECT_EQ(rig.last().finish->kind, api::FinishKind::kLength);
  EXPECT_EQ(rig.logprob_text(), "a\xef\xbf\xbd");
}

}  // namespace
}  // namespace millrace::instance
