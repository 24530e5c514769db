// See cpu_topology.h. Kernel documentation: Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/, and
// Documentation/ABI/stable/sysfs-devices-system-cpu.
#include "device/cpu_topology.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <set>
#include <string_view>

namespace millrace::device {
namespace {

// Files of /proc and /sys have no size; 1 MiB is enough for all that are read here. Empty when it cannot be read.
std::string read_text(const std::string& path) {
  std::string text;
  int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return text;
  char piece[4096];
  ssize_t n = 0;
  while (text.size() < (size_t{1} << 20) && (n = read(fd, piece, sizeof piece)) > 0)
    text.append(piece, static_cast<size_t>(n));
  close(fd);
  return text;
}

std::optional<int64_t> leading_int(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t' || text.front() == ':')) text.remove_prefix(1);
  int64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc()) return std::nullopt;
  return value;
}

// The number after the first line start that equals `key`.
std::optional<int64_t> field(std::string_view text, std::string_view key) {
  for (size_t at = text.find(key); at != std::string_view::npos; at = text.find(key, at + 1)) {
    if (at == 0 || text[at - 1] == '\n') return leading_int(text.substr(at + key.size()));
  }
  return std::nullopt;
}

// The path of this process in one hierarchy: controller "" is cgroup v2. Lines are "id:controllers:path".
std::string cgroup_path(std::string_view table, std::string_view controller) {
  while (!table.empty()) {
    size_t eol = std::min(table.find('\n'), table.size());
    std::string_view line = table.substr(0, eol);
    table.remove_prefix(std::min(eol + 1, table.size()));
    size_t first = line.find(':');
    size_t second = first == std::string_view::npos ? first : line.find(':', first + 1);
    if (second == std::string_view::npos) continue;
    std::string_view names = line.substr(first + 1, second - first - 1);
    std::string padded = fmt::format(",{},", names);
    bool match = controller.empty() ? names.empty() : padded.find(fmt::format(",{},", controller)) != std::string::npos;
    if (match) return std::string(line.substr(second + 1));
  }
  return "/";
}

// The directories of a hierarchy from this process up to the mount point, whose limits all apply.
std::vector<std::string> cgroup_dirs(const std::string& mount, std::string path) {
  std::vector<std::string> dirs;
  while (path.size() > 1) {
    dirs.push_back(mount + path);
    path.resize(path.rfind('/') == std::string::npos ? 0 : path.rfind('/'));
  }
  dirs.push_back(mount);
  return dirs;
}

double read_quota_cpus(const std::string& root) {
  std::string table = read_text(root + "/proc/self/cgroup");
  double least = 0;
  auto limit = [&](std::optional<int64_t> quota, std::optional<int64_t> period) {
    if (!quota || !period || *quota <= 0 || *period <= 0) return;
    double cpus = static_cast<double>(*quota) / static_cast<double>(*period);
    least = least == 0 ? cpus : std::min(least, cpus);
  };
  for (const auto& dir : cgroup_dirs(root + "/sys/fs/cgroup", cgroup_path(table, ""))) {
    std::string text = read_text(dir + "/cpu.max");  // "200000 100000" or "max 100000"
    size_t space = text.find(' ');
    if (space != std::string::npos) limit(leading_int(text), leading_int(std::string_view(text).substr(space)));
  }
  for (const auto& dir : cgroup_dirs(root + "/sys/fs/cgroup/cpu", cgroup_path(table, "cpu"))) {
    limit(leading_int(read_text(dir + "/cpu.cfs_quota_us")), leading_int(read_text(dir + "/cpu.cfs_period_us")));
  }
  return least;
}

// "32768K" or "1M".
int64_t cache_bytes(const std::string& root, int cpu, int level, int64_t otherwise) {
  std::string dir = fmt::format("{}/sys/devices/system/cpu/cpu{}/cache/index", root, cpu);
  for (int index = 0; index < 8; ++index) {
    std::string at = dir + std::to_string(index);
    if (leading_int(read_text(at + "/level")) != level || read_text(at + "/type").starts_with("Instruction")) continue;
    std::string text = read_text(at + "/size");
    auto size = leading_int(text);
    if (!size || *size <= 0 || *size > (int64_t{1} << 40)) continue;
    if (text.find('K') != std::string::npos) return *size << 10;
    return text.find('M') != std::string::npos ? *size << 20 : *size;
  }
  return otherwise;
}

std::string read_cpu_name(const std::string& root) {
  std::string text = read_text(root + "/proc/cpuinfo");
  size_t at = text.find("model name");
  if (at == std::string::npos) return "unknown";
  size_t begin = text.find(": ", at);
  size_t end = text.find('\n', at);
  if (begin == std::string::npos || end == std::string::npos || begin + 2 >= end) return "unknown";
  return text.substr(begin + 2, end - begin - 2);
}

}  // namespace

CpuTopology read_cpu_topology(const std::string& root) {
  CpuTopology topology;
  topology.cpu_name = read_cpu_name(root);
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) CPU_SET(0, &set);
  topology.n_logical = std::max(1, CPU_COUNT(&set));
  std::set<std::pair<int64_t, int64_t>> seen;  // (package, core)
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(static_cast<size_t>(cpu), &set)) continue;
    std::string dir = fmt::format("{}/sys/devices/system/cpu/cpu{}/topology/", root, cpu);
    int64_t package = leading_int(read_text(dir + "physical_package_id")).value_or(0);
    int64_t core = leading_int(read_text(dir + "core_id")).value_or(cpu);
    int64_t die = leading_int(read_text(dir + "die_id")).value_or(0);
    if (seen.emplace(package * 4096 + die, core).second) topology.cores.push_back(cpu);
  }
  if (topology.cores.empty()) topology.cores.push_back(0);
  topology.quota_cpus = read_quota_cpus(root);
  topology.l2_bytes = cache_bytes(root, topology.cores.front(), 2, int64_t{1} << 20);
  topology.l3_bytes = cache_bytes(root, topology.cores.front(), 3, int64_t{32} << 20);
  return topology;
}

int compute_threads_default(const CpuTopology& topology) {
  int n = static_cast<int>(topology.cores.size());
  if (topology.quota_cpus > 0) n = std::min(n, static_cast<int>(std::min(topology.quota_cpus, 1e6)));
  return std::clamp(n, 1, 1024);
}

int64_t memory_available_bytes(const std::string& root) {
  auto available_kb = field(read_text(root + "/proc/meminfo"), "MemAvailable:");
  int64_t least = available_kb ? *available_kb * 1024 : 0;
  // Pages of cached files that are not in use count as usage but are given back on demand.
  auto limit = [&](std::optional<int64_t> bound, std::optional<int64_t> usage, std::optional<int64_t> cached) {
    if (!bound || !usage || *bound >= (int64_t{1} << 60)) return;
    int64_t left = std::max<int64_t>(*bound - *usage + cached.value_or(0), 1);
    least = least == 0 ? left : std::min(least, left);
  };
  std::string table = read_text(root + "/proc/self/cgroup");
  for (const auto& dir : cgroup_dirs(root + "/sys/fs/cgroup", cgroup_path(table, ""))) {
    limit(leading_int(read_text(dir + "/memory.max")), leading_int(read_text(dir + "/memory.current")),
          field(read_text(dir + "/memory.stat"), "inactive_file "));
  }
  for (const auto& dir : cgroup_dirs(root + "/sys/fs/cgroup/memory", cgroup_path(table, "memory"))) {
    limit(leading_int(read_text(dir + "/memory.limit_in_bytes")),
          leading_int(read_text(dir + "/memory.usage_in_bytes")),
          field(read_text(dir + "/memory.stat"), "total_inactive_file "));
  }
  return least;
}

}  // namespace millrace::device
