// A report as a picture: how many requests (or gaps between tokens) took how long, as one SVG file's text.
#pragma once

#include <string>

#include "sim/report.h"

namespace millrace::sim {

// Cumulative distributions of TTFT, TBT, TPOT and end-to-end time over a logarithmic axis of milliseconds; bounds of
// the report are vertical lines. Fixed size, no scripts, no fonts but the viewer's.
std::string plot_svg(const Report& report, const std::string& title);

}  // namespace millrace::sim
