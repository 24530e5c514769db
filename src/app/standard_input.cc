#include "app/standard_input.h"

#include <unistd.h>

#include <cstdio>

namespace millrace::app {

std::string read_piped_input() {
  std::string out;
  if (::isatty(STDIN_FILENO) != 0) return out;
  char piece[4096];
  while (size_t n = std::fread(piece, 1, sizeof piece, stdin)) out.append(piece, n);
  return out;
}

}  // namespace millrace::app
