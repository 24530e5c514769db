// Arms the FAULT_POINTs of a test build by name. Thread: any.
#pragma once

#include <string_view>

namespace millrace {

void arm_fault(std::string_view name);
void disarm_faults();

}  // namespace millrace
