// millrace batch: a file of requests in, a file of answers out, without a server. Rows go through the same parsers and
// the same engine as requests over HTTP; as many run at once as the engine takes sequences.
// Threads: one reads the input in order (under a lock), any of the workers; each worker waits for its own row.
#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <map>
#include <mutex>
#include <optional>
#include <random>
#include <thread>

#include "api/dialect.h"
#include "api/pooling.h"
#include "api/responses.h"
#include "app/batch_file.h"
#include "app/commands.h"
#include "app/flags.h"
#include "app/interrupt.h"
#include "app/model_flags.h"
#include "base/byte_reader.h"
#include "base/file.h"
#include "base/macros.h"
#include "base/out_of_memory.h"
#include "instance/session.h"

namespace millrace::app {
namespace {

constexpr uint64_t kMaxOutputBytes = uint64_t{16} << 30;  // of an earlier run
constexpr auto kBusyPause = std::chrono::milliseconds(50);
constexpr int kBusyTries = 2000;    // of a row that the engine has no room for: 100 s
constexpr size_t kHeldRows = 4096;  // answers that wait for their turn with --in-order

struct Url {
  std::string_view path;
  api::DialectParser parse;
};
constexpr Url kUrls[] = {{"/v1/chat/completions", api::parse_openai_chat},
                         {"/v1/completions", api::parse_openai_completion},
                         {"/v1/responses", api::parse_responses},
                         {"/v1/embeddings", api::parse_embeddings},
                         {"/v1/score", api::parse_score},
                         {"/v1/rerank", api::parse_rerank}};

struct BatchFlags {
  ModelFlags model;
  std::string input;
  std::string output;
  bool in_order = false;
};

struct Totals {
  std::atomic<uint64_t> n_ok{0};
  std::atomic<uint64_t> n_failed{0};
  std::atomic<uint64_t> prompt_tokens{0};
  std::atomic<uint64_t> output_tokens{0};
};

// The output file: lines appended whole, in the order of the answers or of the rows.
class Output {
 public:
  Output(int fd, std::string path, bool in_order) : fd_(fd), path_(std::move(path)), in_order_(in_order) {}
  ~Output() { ::close(fd_); }
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

  void put(uint64_t turn, std::string line) {
    std::lock_guard lock(mutex_);
    if (!in_order_) {
      write(line);
      return;
    }
    held_.emplace(turn, std::move(line));
    while (!held_.empty() && held_.begin()->first == next_) {
      write(held_.begin()->second);
      held_.erase(held_.begin());
      ++next_;
    }
  }
  bool full() {
    std::lock_guard lock(mutex_);
    return held_.size() >= kHeldRows;
  }
  Result<void> state() {
    std::lock_guard lock(mutex_);
    if (error_) return *error_;
    return {};
  }
  // Success is told after the answers are on the disk.
  void sync() {
    std::lock_guard lock(mutex_);
    if (!error_ && ::fsync(fd_) != 0 && errno != EINVAL && errno != EROFS)  // those: not a file, a pipe for instance
      error_ = Error{ErrorCode::kIo, fmt::format("{}: fsync: {}", path_, std::strerror(errno)), path_};
  }

 private:
  void write(const std::string& line) {
    if (error_) return;
    (void)FAULT_POINT("batch.row.before");
    if (Result<void> done = write_all(fd_, as_bytes(line), path_); !done.ok()) error_ = done.error();
    (void)FAULT_POINT("batch.row.after");
  }

  std::mutex mutex_;
  int fd_;
  std::string path_;
  bool in_order_;
  uint64_t next_ = 0;
  std::map<uint64_t, std::string> held_;
  std::optional<Error> error_;
};

// The input file, one line at a time. Rows that an earlier run has answered are passed over.
class Input {
 public:
  Input(const std::string& path, std::set<std::string> answered) : file_(path), answered_(std::move(answered)) {}
  bool opened() const { return file_.is_open(); }
  // A disk that fails ends the rows as the end of the file does.
  bool unreadable() const { return file_.bad(); }

  struct Line {
    uint64_t turn = 0;
    BatchRow row;  // custom_id is empty when there is none
    std::optional<Error> error;
  };
  std::optional<Line> next(const Limits& limits) {
    std::lock_guard lock(mutex_);
    std::string text;
    while (std::getline(file_, text)) {
      if (!text.empty() && text.back() == '\r') text.pop_back();
      if (text.empty()) continue;
      Line line{.turn = turn_, .row = {}, .error = std::nullopt};
      Result<void> read = or_out_of_memory("reading a row", ErrorCode::kMemoryPressure,
                                           [&] { return parse_batch_row(text, limits, line.row); });
      if (!read.ok()) line.error = read.error();
      const std::string& id = line.row.custom_id;
      bool first = id.empty() || seen_.insert(id).second;
      if (first && answered_.contains(id)) continue;
      if (!first) line.error = Error{ErrorCode::kInvalidValue, "custom_id: another row has the same", "custom_id"};
      ++turn_;
      return line;
    }
    return std::nullopt;
  }

 private:
  std::mutex mutex_;
  std::ifstream file_;
  std::set<std::string> answered_;
  std::set<std::string> seen_;
  uint64_t turn_ = 0;
};

struct Reply {
  std::string request_id;
  int status = 200;
  std::string body;
};

std::string new_request_id() {
  std::random_device device;
  auto word = [&] { return uint64_t{device()} << 32 | device(); };
  return api::make_reply_id("", word(), word());
}

bool busy(ErrorCode code) {
  return code == ErrorCode::kQueueFull || code == ErrorCode::kMemoryPressure || code == ErrorCode::kKvExhausted ||
         code == ErrorCode::kConstraintQueueFull;
}

Result<instance::Answer> answer_row(instance::Instance& instance, const api::DialectRequest& request,
                                    const Interrupt& interrupt) {
  for (int tries = 1;; ++tries) {
    instance::Job job{.body = request.body, .arrival = instance.clock().now()};
    auto answer = instance::generate_blocking(instance, std::move(job),
                                              [&](const instance::ChoiceDelta&) { return !interrupt.seen(); });
    if (answer.ok() || !busy(answer.error().code) || tries == kBusyTries) return answer;
    std::this_thread::sleep_for(kBusyPause);
  }
}

Result<std::string> run_row(instance::Instance& instance, const BatchRow& row, const std::string& id,
                            const Interrupt& interrupt, Totals& totals) {
  for (const Url& url : kUrls) {
    if (url.path != row.url) continue;
    api::DialectRequest request = TRY(url.parse(row.body, instance.parse_context(), {}));
    if (!request.instant.empty()) return request.instant;
    instance::Answer answer = TRY(answer_row(instance, request, interrupt));
    const api::CommonParams& params = std::visit(
        [](const auto& body) -> const auto& { return body.common; }, request.body);
    api::ReplyHead head{.id = std::string(request.format->id_prefix()) + id,
                        .created = static_cast<int64_t>(std::time(nullptr)),
                        .model = params.model,
                        .system_fingerprint = instance.facts().system_fingerprint};
    api::ReplyParts parts{.head = head,
                          .params = params,
                          .prompts = answer.prompts,
                          .choices = answer.choices,
                          .usage = answer.usage,
                          .timings = &answer.timings};
    totals.prompt_tokens += answer.usage.prompt_tokens;
    totals.output_tokens += answer.usage.completion_tokens;
    return request.format->whole(parts);
  }
  return Error{ErrorCode::kRouteNotFound, fmt::format("no such route in a batch: {}", quote_for_message(row.url)),
               "url"};
}

void work(instance::Instance& instance, Input& input, Output& output, const Interrupt& interrupt, Totals& totals) {
  while (!interrupt.seen() && output.state().ok()) {
    while (output.full() && !interrupt.seen()) std::this_thread::sleep_for(kBusyPause);
    std::optional<Input::Line> line = input.next(instance.limits());
    if (!line) return;
    if (line->error) {
      ++totals.n_failed;
      output.put(line->turn, batch_refusal(line->row.custom_id, *line->error));
      continue;
    }
    std::string id = new_request_id();
    Result<std::string> body = run_row(instance, line->row, id, interrupt, totals);
    if (!body.ok() && body.error().code == ErrorCode::kCancelled) return;  // its row stays open
    ++(body.ok() ? totals.n_ok : totals.n_failed);
    int status = body.ok() ? 200 : api::error_status(body.error().code, api::ErrorStyle::kOpenAi);
    output.put(line->turn, batch_answer(line->row.custom_id, id, status,
                                        body.ok() ? *body : api::error_body(body.error(), api::ErrorStyle::kOpenAi)));
  }
}

// What is there of an earlier run is tidied up, then appended to.
Result<int> open_output(const BatchFlags& f, const Limits& limits, std::set<std::string>& answered) {
  if (file_exists(f.output)) {
    BatchProgress progress = read_batch_progress(TRY(read_file(f.output, kMaxOutputBytes)), limits);
    answered = std::move(progress.answered);
    (void)FAULT_POINT("batch.tidy.before");
    TRY(write_file_atomic(f.output, progress.kept));
    fmt::print(stderr, "{}: {} rows were answered before\n", f.output, answered.size());
  }
  int fd = ::open(f.output.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (fd < 0) return Error{ErrorCode::kUsage, fmt::format("cannot write {}", quote_for_message(f.output)), "-o"};
  (void)FAULT_POINT("batch.open.after");
  return fd;
}

void report(const Totals& totals, double seconds) {
  auto rate = [&](uint64_t n) { return seconds > 0 ? static_cast<double>(n) / seconds : 0.0; };
  fmt::print(stderr, "{} rows answered, {} refused in {:.1f} s: prompt {:.1f} tok/s, generation {:.1f} tok/s\n",
             totals.n_ok.load(), totals.n_failed.load(), seconds, rate(totals.prompt_tokens),
             rate(totals.output_tokens));
}

}  // namespace

Result<int> batch_command(std::span<const std::string> args) {
  BatchFlags f;
  f.model.max_num_seqs = 32;
  FlagSet set(
      "batch",
      "Answer a file of requests (OpenAI's batch format: custom_id, url and body in each line) without a server. "
      "Run again after an interruption, it goes on where it stopped.");
  declare_model_flags(set, f.model);
  set.add("-i,--input-file", &f.input, "the requests, one JSON object a line");
  set.add("-o,--output-file", &f.output, "the answers; rows that are answered in it are not run again");
  set.add("--in-order", &f.in_order, "answers in the order of the requests, not as they are ready");
  if (!TRY(set.parse(args))) return 0;
  if (f.input.empty() || f.output.empty()) {
    return Error{ErrorCode::kUsage, "batch needs -i FILE and -o FILE", f.input.empty() ? "-i" : "-o"};
  }
  if (f.input == f.output) return Error{ErrorCode::kUsage, "-i and -o name the same file", "-o"};
  std::set<std::string> answered;
  int fd = TRY(open_output(f, Limits(), answered));
  Output output(fd, f.output, f.in_order);
  Input input(f.input, std::move(answered));
  if (!input.opened()) return Error{ErrorCode::kUsage, fmt::format("cannot read {}", quote_for_message(f.input)), "-i"};
  auto loaded = TRY(load_instance(f.model));
  Interrupt interrupt;
  Totals totals;
  Tick begin = loaded->clock().now();
  std::vector<std::thread> workers;
  for (uint32_t i = 0; i < loaded->max_seqs(); ++i) {
    workers.emplace_back([&] { work(*loaded, input, output, interrupt, totals); });
  }
  for (std::thread& worker : workers) worker.join();
  report(totals, static_cast<double>(loaded->clock().now() - begin) / static_cast<double>(kSecond));
  output.sync();
  TRY(output.state());
  if (input.unreadable())
    return Error{ErrorCode::kIo, fmt::format("{} cannot be read to its end", quote_for_message(f.input)), "-i"};
  return interrupt.seen() ? 1 : 0;
}

}  // namespace millrace::app
