// millrace run: one answer to a prompt, or a chat in the terminal. The answer goes to stdout as it is made.
#include <fmt/core.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <iostream>

#include "api/chat.h"
#include "app/commands.h"
#include "app/flags.h"
#include "app/interrupt.h"
#include "app/model_flags.h"
#include "app/standard_input.h"
#include "base/macros.h"
#include "instance/session.h"

namespace millrace::app {
namespace {

struct RunFlags {
  ModelFlags model;
  std::string prompt;
  std::string system;
  double temperature = -1;
  double top_p = -1;
  double min_p = -1;
  int64_t top_k = -1;
  int64_t max_tokens = 0;
  int64_t seed = -1;
  bool raw = false;
};

Json message(std::string_view role, std::string_view content) {
  Json out = Json::object();
  out.set("role", role);
  out.set("content", content);
  return out;
}

// A conversation in the terminal: settings, messages, and one request per turn.
class Chat {
 public:
  Chat(instance::Instance& instance, const RunFlags& flags) : instance_(instance), flags_(flags) { clear(); }

  void clear() {
    messages_ = Json::array();
    if (!flags_.system.empty()) messages_.push_back(message("system", flags_.system));
  }
  void set_system(std::string text) {
    flags_.system = std::move(text);
    clear();
  }
  bool verbose = false;

  // Prints the answer as it comes; the conversation goes on with it.
  Result<void> ask(const std::string& text) {
    Json trial = messages_;
    trial.push_back(message("user", text));
    Json body = parameters();
    body.set("messages", trial);
    instance::Job job{.body = TRY(api::parse_chat(body, instance_.parse_context())),
                      .arrival = instance_.clock().now()};
    std::string answer = TRY(answer_to(std::move(job)));
    messages_ = std::move(trial);
    messages_.push_back(message("assistant", answer));
    return {};
  }

  // The prompt as it is, without a chat template.
  Result<void> complete(const std::string& text) {
    Json body = parameters();
    body.set("prompt", text);
    if (flags_.max_tokens == 0) body.set("max_tokens", -1);
    instance::Job job{.body = TRY(api::parse_completion(body, instance_.parse_context())),
                      .arrival = instance_.clock().now()};
    TRY(answer_to(std::move(job)));
    return {};
  }

  Result<void> set_parameter(const std::string& name, const std::string& value) {
    Json number = TRY(parse_json(value));
    Json trial = parameters();
    trial.set(name, number);
    trial.set("messages", Json(JsonArray{message("user", "x")}));
    TRY(api::parse_chat(trial, instance_.parse_context()));
    extra_.set(name, std::move(number));
    return {};
  }
  std::string show() const { return parameters().dump() + "\n" + messages_.dump(); }

 private:
  Json parameters() const {
    Json body = Json::object();
    body.set("stream", true);
    if (flags_.temperature >= 0) body.set("temperature", flags_.temperature);
    if (flags_.top_p >= 0) body.set("top_p", flags_.top_p);
    if (flags_.min_p >= 0) body.set("min_p", flags_.min_p);
    if (flags_.top_k >= 0) body.set("top_k", flags_.top_k);
    if (flags_.max_tokens > 0) body.set("max_tokens", flags_.max_tokens);
    if (flags_.seed >= 0) body.set("seed", flags_.seed);
    for (const auto& [name, value] : extra_.is_object() ? extra_.as_object().members : kNone) body.set(name, value);
    return body;
  }

  Result<std::string> answer_to(instance::Job job) {
    Tick begin = instance_.clock().now();
    Interrupt interrupt;
    std::string text;
    auto answer = instance::generate_blocking(instance_, std::move(job), [&](const instance::ChoiceDelta& delta) {
      text += delta.text;
      std::fwrite(delta.text.data(), 1, delta.text.size(), stdout);
      std::fflush(stdout);
      return !interrupt.seen();
    });
    fmt::print("\n");
    if (!answer.ok()) {
      if (answer.error().code == ErrorCode::kCancelled) return text;
      return answer.take_error();
    }
    if (verbose) report(*answer, instance_.clock().now() - begin);
    return text;
  }

  static void report(const instance::Answer& answer, Tick total) {
    const api::Timings& t = answer.timings;
    auto rate = [](uint64_t n, double ms) { return ms > 0 ? static_cast<double>(n) * 1e3 / ms : 0.0; };
    fmt::print(stderr, "total duration:       {:.3f} s\n", static_cast<double>(total) / static_cast<double>(kSecond));
    fmt::print(stderr, "prompt eval:          {} tokens ({} cached) in {:.1f} ms, {:.1f} tokens/s\n", t.prompt_n,
               t.cache_n, t.prompt_ms, rate(t.prompt_n, t.prompt_ms));
    uint64_t gaps = t.predicted_n > 0 ? t.predicted_n - 1 : 0;
    fmt::print(stderr, "eval:                 {} tokens in {:.1f} ms, {:.1f} tokens/s\n", t.predicted_n, t.predicted_ms,
               rate(gaps, t.predicted_ms));
  }

  static inline const std::vector<std::pair<std::string, Json>> kNone;
  instance::Instance& instance_;
  RunFlags flags_;
  Json messages_;
  Json extra_;
};

constexpr std::string_view kReplHelp =
    "/set parameter NAME VALUE   a field of the API, for example temperature 0.2\n"
    "/set system TEXT            the system message (starts a new conversation)\n"
    "/set verbose | /set quiet   rates after each answer\n"
    "/show                       parameters and conversation\n"
    "/clear                      forget the conversation\n"
    "\"\"\"                         begin or end a text of several lines\n"
    "/bye                        leave (so does Ctrl-D); Ctrl-C stops an answer\n";

// False: leave.
Result<bool> repl_command(Chat& chat, const std::string& line) {
  auto rest_after = [&](std::string_view head) {
    return line.size() > head.size() ? line.substr(head.size()) : std::string();
  };
  if (line == "/bye" || line == "/exit") return false;
  if (line == "/?" || line == "/help") {
    fmt::print(stderr, "{}", kReplHelp);
  } else if (line == "/clear") {
    chat.clear();
  } else if (line == "/show") {
    fmt::print(stderr, "{}\n", chat.show());
  } else if (line == "/set verbose") {
    chat.verbose = true;
  } else if (line == "/set quiet") {
    chat.verbose = false;
  } else if (line.rfind("/set system ", 0) == 0) {
    chat.set_system(rest_after("/set system "));
  } else if (line.rfind("/set parameter ", 0) == 0) {
    std::string rest = rest_after("/set parameter ");
    size_t space = rest.find(' ');
    if (space == std::string::npos) return Error{ErrorCode::kInvalidValue, "want /set parameter NAME VALUE", ""};
    TRY(chat.set_parameter(rest.substr(0, space), rest.substr(space + 1)));
  } else {
    return Error{ErrorCode::kInvalidValue, fmt::format("unknown command {} (/? lists them)", quote_for_message(line)),
                 ""};
  }
  return true;
}

// One input: a line, or the lines between two """.
bool read_input(std::string& out) {
  std::string line;
  if (!std::getline(std::cin, line)) return false;
  if (line.rfind("\"\"\"", 0) != 0) {
    out = line;
    return true;
  }
  out = line.substr(3);
  while (std::getline(std::cin, line)) {
    size_t end = line.find("\"\"\"");
    out += "\n" + line.substr(0, end);
    if (end != std::string::npos) return true;
  }
  return true;
}

void repl(Chat& chat) {
  bool terminal = ::isatty(STDIN_FILENO) != 0;
  if (terminal) fmt::print(stderr, "Type a message, /? for help, /bye to leave.\n");
  std::string input;
  for (;;) {
    if (terminal) fmt::print(stderr, ">>> ");
    if (!read_input(input)) return;
    if (input.empty()) continue;
    if (input[0] == '/') {
      auto going = repl_command(chat, input);
      if (!going.ok()) fmt::print(stderr, "error: {}\n", going.error().message);
      if (going.ok() && !*going) return;
      continue;
    }
    if (auto asked = chat.ask(input); !asked.ok()) fmt::print(stderr, "error: {}\n", asked.error().message);
  }
}

}  // namespace

Result<int> run_command(std::span<const std::string> args) {
  RunFlags f;
  f.model.max_num_seqs = 8;
  FlagSet set(
      "run",
      "Answer one prompt, or chat in the terminal. Standard input, when it is no terminal, is appended to PROMPT.");
  declare_model_flags(set, f.model);
  set.positional("PROMPT", &f.prompt, "the prompt; none: a chat", false);
  set.add("--system,--system-prompt", &f.system, "system message");
  set.add("--temperature,--temp", &f.temperature, "0 = greedy; default: the model's, else 1", {-1, 100});
  set.add("--top-p", &f.top_p, "nucleus size", {-1, 1});
  set.add("--min-p", &f.min_p, "least share of the best token's probability", {-1, 1});
  set.add("--top-k", &f.top_k, "0 = off", {-1, INT32_MAX});
  set.add("-n,--max-tokens,--n-predict", &f.max_tokens, "of one answer; 0 = rest of the context", {0, INT32_MAX});
  set.add("-s,--seed", &f.seed, "-1 = random", {-1, INT64_MAX});
  set.add("--raw", &f.raw, "no chat template: continue PROMPT");
  if (!TRY(set.parse(args))) return 0;
  bool one_shot = !f.prompt.empty() || f.raw;
  if (one_shot) {
    std::string more = read_piped_input();
    if (!more.empty()) f.prompt += (f.prompt.empty() ? "" : "\n") + more;
  }
  auto loaded = TRY(load_instance(f.model));
  Chat chat(*loaded, f);
  chat.verbose = f.model.verbose;
  if (!one_shot) {
    repl(chat);
    return 0;
  }
  if (f.raw) {
    TRY(chat.complete(f.prompt));
  } else {
    TRY(chat.ask(f.prompt));
  }
  return 0;
}

}  // namespace millrace::app
