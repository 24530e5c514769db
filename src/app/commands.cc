#include "app/commands.h"

#include <fmt/core.h>

#include <cstdio>

#include "app/build_info.h"

namespace millrace::app {
namespace {

constexpr Command kBenchCommands[] = {
    {"kernels", "rates of the kernels beside the peak of the machine", bench_kernels_command},
    {"model", "prefill and decode rates of a model (pp512, tg128)", bench_model_command},
    {"serve", "load an OpenAI-style server and report latencies", bench_serve_command},
    {"latency", "seconds until a batch of answers has ended, without a server", bench_latency_command},
    {"throughput", "requests and tokens a second, without a server", bench_throughput_command},
    {"startup", "seconds of loading a model", bench_startup_command},
    {"plan", "time of planning a step, for each scheduling policy", bench_plan_command},
    {"grammar", "time of compiling constraints and of their masks", bench_grammar_command},
    {"calibrate", "learn how long steps take here, for the scheduler of later starts", bench_calibrate_command},
};

constexpr Command kCommands[] = {
    {"run", "answer one prompt, or chat in the terminal", run_command},
    {"serve", "serve a model over the OpenAI API", serve_command},
    {"batch", "answer a file of requests without a server", batch_command},
    {"run-batch", "the same, as vLLM calls it", batch_command},
    {"bench", "kernels | model | latency | throughput | startup | serve | plan | grammar | calibrate", bench_command},
    {"inspect", "what a model file holds and what it needs", inspect_command},
    {"perplexity", "perplexity of a text, and KL divergence to saved logits", perplexity_command},
    {"simulate", "the scheduler on a cost model: a trace in, latencies out", simulate_command},
    {"tokenize", "text to token ids and back", tokenize_command},
    {"session", "saved conversations: list | rm | save | restore | erase", session_command},
    {"convert", "write a tokenizer folder for client tools", convert_command},
    {"pull", "fetch a model into the local store", pull_command},
    {"list", "the models in the local store", list_command},
    {"show", "what a model file holds (as inspect)", inspect_command},
    {"rm", "remove a model from the local store", rm_command},
    {"cp", "give a model a second name in the local store", cp_command},
    {"version", "version, build and instruction set", version_command},
};

}  // namespace

std::span<const Command> command_table() { return kCommands; }

Result<int> bench_command(std::span<const std::string> args) {
  for (const Command& command : kBenchCommands) {
    if (!args.empty() && (args[0] == command.name || args[0] == fmt::format("--{}", command.name)))
      return command.run(args.subspan(1));
  }
  bool help = args.empty() || args[0] == "--help" || args[0] == "-h";
  if (!help)
    return Error{
        ErrorCode::kUsage,
        fmt::format("bench {}: want calibrate, grammar, kernels, latency, model, plan, serve, startup or throughput",
                    quote_for_message(args[0])),
        ""};
  for (const Command& command : kBenchCommands) fmt::print("millrace bench {:<12} {}\n", command.name, command.summary);
  return args.empty() ? 2 : 0;
}

int exit_code(ErrorCode code) {
  switch (code) {
    case ErrorCode::kUsage:
      return 2;
    case ErrorCode::kBadFile:
    case ErrorCode::kNotFound:
    case ErrorCode::kInvalidTemplate:
    case ErrorCode::kInvalidJson:
    case ErrorCode::kDuplicateKey:
      return 3;
    case ErrorCode::kResource:
      return 4;
    case ErrorCode::kInternal:
      return 5;
    default:
      return 1;
  }
}

}  // namespace millrace::app
