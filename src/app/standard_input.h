// Standard input as text, for commands that take their text from a pipe.
#pragma once

#include <string>

namespace millrace::app {

// Everything up to the end; empty when standard input is a terminal.
std::string read_piped_input();

}  // namespace millrace::app
