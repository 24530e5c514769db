// TempDir: a fresh folder for the files of one test, removed with its contents at the end. Thread: one.
#pragma once

#include <stdlib.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <string_view>

#include "base/byte_reader.h"

namespace millrace::testing {

class TempDir {
 public:
  TempDir() {
    std::string shape = (std::filesystem::temp_directory_path() / "millrace-test-XXXXXX").string();
    if (::mkdtemp(shape.data()) != nullptr) path_ = shape;
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  ~TempDir() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }

  const std::string& path() const { return path_; }
  std::string file(const std::string& name) const { return path_ + "/" + name; }
  // Writes the file and returns its path.
  std::string write(const std::string& name, std::string_view bytes) const {
    std::string at = file(name);
    std::ofstream out(at, std::ios::binary | std::ios::trunc);
    out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    return at;
  }
  std::string write(const std::string& name, std::span<const uint8_t> bytes) const {
    return write(name, as_text(bytes));
  }

 private:
  std::string path_;
};

}  // namespace millrace::testing
