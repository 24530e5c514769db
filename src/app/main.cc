// millrace: finds the subcommand and turns its error into one line on stderr and an exit code.
#include <fmt/core.h>

#include <algorithm>
#include <cstdio>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "app/build_info.h"
#include "app/commands.h"
#include "app/compat_flags.h"
#include "app/file_faults.h"

namespace {

void print_help(FILE* out) {
  fmt::print(out,
             "millrace {}: inference and serving of large language models\n\nusage: millrace COMMAND [FLAGS]; every "
             "command has --help\n\n",
             millrace::app::build_version());
  for (const auto& command : millrace::app::command_table())
    fmt::print(out, "  {:<12} {}\n", command.name, command.summary);
}

// A full disk or a closed stdout is an error, not a success with half an answer; a closed pipe ends by its signal.
int run(const millrace::app::Command& command, std::span<const std::string> args) {
  try {
    auto result = command.run(args);
    if (!result.ok()) {
      fmt::print(stderr, "error: {}\n", result.error().message);
      return millrace::app::exit_code(result.error().code);
    }
    if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return *result;
  } catch (const std::system_error&) {  // fmt::print reports a failed write so
  }
  fmt::print(stderr, "error: cannot write to standard output\n");
  return 1;
}

bool is_version(std::string_view argument) {
  return argument == "--version" || argument == "-V" || argument == "version";
}

bool is_vllm(std::string_view program) {
  const millrace::api::CompatProfile* profile = millrace::api::compat_of_program(program);
  return profile != nullptr && profile->id == millrace::api::Compat::kVllm;
}

}  // namespace

int main(int argc, char** argv) {
  millrace::app::report_file_faults();
  std::string_view program = argc > 0 ? argv[0] : "";
  std::vector<std::string> args = millrace::app::own_arguments(program, {argv + std::min(argc, 1), argv + argc});
  if (args.empty() || args[0] == "--help" || args[0] == "-h" || args[0] == "help") {
    print_help(args.empty() ? stderr : stdout);
    return args.empty() ? 2 : 0;
  }
  if (is_version(args[0]) && is_vllm(program)) {
    fmt::print("{}\n", millrace::app::kVllmVersion);
    return 0;
  }
  std::string name = is_version(args[0]) ? "version" : args[0];
  for (const auto& command : millrace::app::command_table()) {
    if (command.name != name) continue;
    return run(command, std::span<const std::string>(args).subspan(1));
  }
  fmt::print(stderr, "error: unknown command {} (see millrace --help)\n", millrace::quote_for_message(name));
  return 2;
}
