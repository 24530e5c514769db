// A model file that is cut while it is mapped ends in SIGBUS on the next read. This turns the signal into the message
// and the exit code of a bad file.
#pragma once

namespace millrace::app {

// Call once, first thing in main().
void report_file_faults();

}  // namespace millrace::app
