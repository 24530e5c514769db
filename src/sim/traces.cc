// Readers of public request traces. Untrusted text: every line is checked and named in messages.
#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/byte_reader.h"
#include "base/file.h"
#include "base/json.h"
#include "base/macros.h"
#include "engine/event_log.h"
#include "sim/recorded_load.h"
#include "sim/workload.h"

namespace millrace::sim {
namespace {

constexpr uint64_t kMaxTraceBytes = uint64_t{1} << 30;
constexpr uint32_t kMooncakeBlock = 512;  // tokens per hash id
constexpr int64_t kMaxTokens = 1 << 24;   // of one prompt or answer
constexpr double kMaxSeconds = 1e8;

// Calls fn(line, number) for every line that is not empty.
template <class Fn>
Result<void> each_line(std::string_view text, Fn&& fn) {
  uint64_t number = 0;
  while (!text.empty()) {
    size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    ++number;
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    if (!line.empty()) TRY(fn(line, number));
  }
  return {};
}

Error bad_line(std::string_view name, uint64_t number, std::string_view what) {
  return {ErrorCode::kBadFile, fmt::format("{} line {}: {}", name, number, what), ""};
}

Result<int64_t> integer_field(const Json& line, std::string_view key, std::string_view name, uint64_t number) {
  const Json* value = line.find(key);
  if (value == nullptr || !value->is_int()) return bad_line(name, number, fmt::format("{}: want an integer", key));
  return value->as_int();
}

std::vector<std::string_view> split_commas(std::string_view line) {
  std::vector<std::string_view> out;
  while (true) {
    size_t comma = line.find(',');
    out.push_back(line.substr(0, comma));
    if (comma == std::string_view::npos) return out;
    line.remove_prefix(comma + 1);
  }
}

bool read_number(std::string_view text, double& out) {
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc{} && end == text.data() + text.size() && std::isfinite(out);
}

constexpr size_t kAbsent = SIZE_MAX;

struct Columns {
  size_t arrival = kAbsent;  // absent: all at once
  size_t n_prompt = kAbsent;
  size_t n_output = kAbsent;
  size_t tenant = kAbsent;
  size_t priority = kAbsent;
  size_t timeout = kAbsent;
};

struct ColumnName {
  std::string_view name;
  size_t Columns::*place;
};
constexpr ColumnName kColumnNames[] = {
    {"arrived_at", &Columns::arrival},         {"num_prefill_tokens", &Columns::n_prompt},
    {"num_decode_tokens", &Columns::n_output}, {"tenant", &Columns::tenant},
    {"priority", &Columns::priority},          {"timeout", &Columns::timeout}};

Result<Columns> read_header(std::string_view line, std::string_view name) {
  Columns columns;
  std::vector<std::string_view> cells = split_commas(line);
  for (size_t i = 0; i < cells.size(); ++i) {
    for (const ColumnName& known : kColumnNames) {
      if (cells[i] == known.name) columns.*known.place = i;
    }
  }
  if (columns.n_prompt == kAbsent || columns.n_output == kAbsent) {
    return bad_line(name, 1, "want a header with num_prefill_tokens and num_decode_tokens");
  }
  return columns;
}

struct Range {
  double low = 0;
  double high = 0;
  bool whole = false;  // numbers without a fraction
};
constexpr Range kTokens{.low = 0, .high = kMaxTokens};
constexpr Range kSeconds{.low = 0, .high = kMaxSeconds};
constexpr Range kTenants{.low = 0, .high = UINT32_MAX, .whole = true};
constexpr Range kPriorities{.low = -INT16_MAX, .high = INT16_MAX, .whole = true};

class Row {
 public:
  Row(std::string_view line, std::string_view name, uint64_t number)
      : cells_(split_commas(line)), name_(name), number_(number) {}

  Result<double> at(size_t column, Range range) const {
    double value = 0;
    bool good = column < cells_.size() && read_number(cells_[column], value) && value >= range.low &&
                value <= range.high && (!range.whole || value == std::floor(value));
    if (good) return value;
    return bad_line(name_, number_,
                    fmt::format("column {}: want a {}number from {} to {}", column + 1, range.whole ? "whole " : "",
                                range.low, range.high));
  }
  // 0 where there is no such column.
  Result<double> maybe(size_t column, Range range) const {
    if (column == kAbsent) return 0.0;
    return at(column, range);
  }

 private:
  std::vector<std::string_view> cells_;
  std::string_view name_;
  uint64_t number_;
};

Tick from_seconds(double seconds) { return static_cast<Tick>(std::llround(seconds * 1e9)); }

}  // namespace

Result<Workload> parse_mooncake(std::string_view text, std::string_view name) {
  Workload out;
  TRY(each_line(text, [&](std::string_view line, uint64_t number) -> Result<void> {
    Result<Json> json = parse_json(line);
    if (!json.ok()) return bad_line(name, number, json.error().message);
    int64_t at_ms = TRY(integer_field(*json, "timestamp", name, number));
    int64_t n_prompt = TRY(integer_field(*json, "input_length", name, number));
    int64_t n_output = TRY(integer_field(*json, "output_length", name, number));
    const Json* ids = json->find("hash_ids");
    bool sane = at_ms >= 0 && n_prompt > 0 && n_prompt <= kMaxTokens && n_output >= 0 && n_output <= kMaxTokens &&
                static_cast<double>(at_ms) <= kMaxSeconds * 1e3;
    if (!sane) return bad_line(name, number, "a time or length out of range");
    auto n_ids = static_cast<size_t>((n_prompt + kMooncakeBlock - 1) / kMooncakeBlock);
    if (ids == nullptr || !ids->is_array() || ids->size() != n_ids) {
      return bad_line(name, number, fmt::format("hash_ids: want {} ids for {} tokens", n_ids, n_prompt));
    }
    SimRequest request{.arrival = at_ms * kMillisecond, .n_output = std::max(1u, static_cast<uint32_t>(n_output))};
    auto left = static_cast<uint32_t>(n_prompt);
    for (const Json& id : ids->as_array()) {
      if (!id.is_int() || id.as_int() < 0) return bad_line(name, number, "hash_ids: want integers >= 0");
      request.prompt.push_back(
          {.content = static_cast<uint64_t>(id.as_int()), .n_tokens = std::min(left, kMooncakeBlock)});
      left -= request.prompt.back().n_tokens;
    }
    out.requests.push_back(std::move(request));
    return {};
  }));
  std::ranges::stable_sort(out.requests, {}, &SimRequest::arrival);
  return out;
}

Result<Workload> parse_lengths_csv(std::string_view text, std::string_view name) {
  Workload out;
  Columns columns;
  bool have_header = false;
  TRY(each_line(text, [&](std::string_view line, uint64_t number) -> Result<void> {
    if (!have_header) {
      columns = TRY(read_header(line, name));
      have_header = true;
      return {};
    }
    Row row(line, name, number);
    double n_prompt = TRY(row.at(columns.n_prompt, kTokens));
    double n_output = TRY(row.at(columns.n_output, kTokens));
    double arrival_s = TRY(row.maybe(columns.arrival, kSeconds));
    double tenant = TRY(row.maybe(columns.tenant, kTenants));
    double priority = TRY(row.maybe(columns.priority, kPriorities));
    double timeout_s = TRY(row.maybe(columns.timeout, kSeconds));
    out.requests.push_back({.arrival = from_seconds(arrival_s),
                            .tenant = static_cast<uint32_t>(tenant),
                            .band = static_cast<int16_t>(-priority),
                            .deadline = from_seconds(timeout_s),
                            .n_output = std::max(1u, static_cast<uint32_t>(n_output)),
                            .prompt = {{.content = unique_content(out.requests.size()),
                                        .n_tokens = std::max(1u, static_cast<uint32_t>(n_prompt))}}});
    return {};
  }));
  if (!have_header) return bad_line(name, 1, "the file is empty");
  std::ranges::stable_sort(out.requests, {}, &SimRequest::arrival);
  return out;
}

Result<Workload> read_trace(const std::string& path) {
  std::string text = TRY(read_file(path, kMaxTraceBytes));
  if (text.starts_with(engine::kEventLogMagic)) return recorded_load(as_bytes(text));
  return path.ends_with(".csv") ? parse_lengths_csv(text, path) : parse_mooncake(text, path);
}

}  // namespace millrace::sim
