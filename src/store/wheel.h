// Wheels (PEP 427) as archives of files: fetched by pip, unpacked by Python's zipfile, checked against their RECORD.
// Nothing in them is run or imported. Thread: any.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace millrace::store {

// Runs a program of PATH without a shell; its output goes to our stderr. kIo with the exit code.
Result<void> run_program(const std::vector<std::string>& arguments);

// Downloads `package` ("name==version") into folder and unpacks it to folder/unpacked.
Result<std::string> fetch_wheel(const std::string& package, const std::string& folder);

struct WheelFile {
  std::string path;    // inside the wheel
  std::string sha256;  // as RECORD writes it
  uint64_t bytes = 0;
};
// The rows of a RECORD that carry a hash.
Result<std::vector<WheelFile>> parse_record(std::string_view record);
// The file whose path ends in member, or the largest one, of an unpacked wheel.
Result<WheelFile> find_member(const std::string& unpacked, const std::string& member);

}  // namespace millrace::store
