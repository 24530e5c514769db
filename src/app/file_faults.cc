#include "app/file_faults.h"

#include <unistd.h>

#include <csignal>
#include <string_view>

namespace millrace::app {
namespace {

constexpr int kExitBadFile = 3;

// Async-signal-safe: write and _exit only.
void on_bus_error(int) {
  constexpr std::string_view kMessage = "error: file changed during load\n";
  if (::write(STDERR_FILENO, kMessage.data(), kMessage.size()) < 0) ::_exit(kExitBadFile);
  ::_exit(kExitBadFile);
}

}  // namespace

void report_file_faults() {
  struct sigaction action {};
  action.sa_handler = on_bus_error;
  sigaction(SIGBUS, &action, nullptr);
}

}  // namespace millrace::app
