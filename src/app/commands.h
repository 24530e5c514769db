// The subcommands: one row each in kCommands (app/main.cc prints and dispatches them). Results go to stdout, logs and
// progress to stderr. The int is the exit code; an Error's code decides it otherwise (app/main.cc).
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace millrace::app {

struct Command {
  std::string_view name;
  std::string_view summary;
  Result<int> (*run)(std::span<const std::string> args);  // args after the subcommand's name
};

std::span<const Command> command_table();

// The exit code of an error: 2 usage, 3 model or file, 4 resource or bind, 5 internal, else 1.
int exit_code(ErrorCode code);

Result<int> run_command(std::span<const std::string> args);
Result<int> serve_command(std::span<const std::string> args);
// What serve would refuse before it starts: flags, values, key and template files.
Result<void> check_serve_flags(std::span<const std::string> args);
Result<int> batch_command(std::span<const std::string> args);
Result<int> bench_command(std::span<const std::string> args);
Result<int> bench_kernels_command(std::span<const std::string> args);
Result<int> bench_model_command(std::span<const std::string> args);
Result<int> bench_calibrate_command(std::span<const std::string> args);
Result<int> bench_plan_command(std::span<const std::string> args);
Result<int> bench_grammar_command(std::span<const std::string> args);
Result<int> bench_serve_command(std::span<const std::string> args);
Result<int> bench_latency_command(std::span<const std::string> args);
Result<int> bench_throughput_command(std::span<const std::string> args);
Result<int> bench_startup_command(std::span<const std::string> args);
Result<int> inspect_command(std::span<const std::string> args);
Result<int> perplexity_command(std::span<const std::string> args);
Result<int> simulate_command(std::span<const std::string> args);
Result<int> tokenize_command(std::span<const std::string> args);
Result<int> session_command(std::span<const std::string> args);
Result<int> convert_command(std::span<const std::string> args);
Result<int> pull_command(std::span<const std::string> args);
Result<int> list_command(std::span<const std::string> args);
Result<int> rm_command(std::span<const std::string> args);
Result<int> cp_command(std::span<const std::string> args);
Result<int> version_command(std::span<const std::string> args);

}  // namespace millrace::app
