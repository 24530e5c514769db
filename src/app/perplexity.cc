// millrace perplexity: how well a model predicts a text, and how far its distributions are from saved ones.
// The text is cut into windows of --ctx tokens; every position of a window but the last is scored.
#include <fmt/core.h>

#include <cmath>
#include <cstdio>
#include <optional>

#include "app/commands.h"
#include "app/flags.h"
#include "app/logits_file.h"
#include "app/model_flags.h"
#include "base/macros.h"
#include "device/cpu_topology.h"
#include "flow/generate_request.h"
#include "instance/model_text.h"
#include "kernels/cpu/detect.h"
#include "kernels/pick.h"
#include "models/model.h"
#include "runtime/score.h"

namespace millrace::app {
namespace {

constexpr uint64_t kMaxTextBytes = 256u << 20;

struct PerplexityFlags {
  std::string model;
  std::string file;
  std::string save_logits;
  std::string kl_base;
  std::string isa;
  std::string quantization = "none";
  std::string kv_dtype = "bf16";
  int64_t ctx = 512;
  int64_t chunks = 0;
  int64_t threads = 0;
  int64_t window_tokens = 0;
  int64_t sink_tokens = 0;
  bool json = false;
};

// Sums over scored positions.
struct Totals {
  double nll = 0;  // of the text's tokens
  double nll_base = 0;
  double kl = 0;  // base || this model
  int64_t n = 0;
  int64_t same_top = 0;
  std::vector<double> kls;  // one per position, for the quantiles
};

// logits -> natural log-probabilities, in double internally.
void log_softmax(std::span<float> x) {
  float max = *std::max_element(x.begin(), x.end());
  double sum = 0;
  for (float v : x) sum += std::exp(static_cast<double>(v) - static_cast<double>(max));
  double shift = static_cast<double>(max) + std::log(sum);
  for (float& v : x) v = static_cast<float>(static_cast<double>(v) - shift);
}

double divergence(std::span<const float> base, std::span<const float> mine, double floor) {
  double sum = 0;
  for (size_t i = 0; i < base.size(); ++i) {
    double p = static_cast<double>(base[i]);
    if (p > floor) sum += std::exp(p) * (p - static_cast<double>(mine[i]));
  }
  return sum;
}

int64_t top_of(std::span<const float> x) { return std::max_element(x.begin(), x.end()) - x.begin(); }

void compare_window(const LogitsReader& base, uint32_t window, std::span<const TokenId> tokens,
                    std::span<const float> rows, Totals& totals) {
  size_t n_vocab = base.head().n_vocab;
  std::vector<float> reference(n_vocab);
  for (uint32_t i = base.first_position(); i + 1 < tokens.size(); ++i) {
    base.row(window, i, reference);
    std::span<const float> mine = rows.subspan(i * n_vocab, n_vocab);
    double kl = divergence(reference, mine, base.floor());
    totals.kl += kl;
    totals.kls.push_back(kl);
    totals.same_top += top_of(reference) == top_of(mine) ? 1 : 0;
    totals.nll_base -= static_cast<double>(reference[static_cast<size_t>(tokens[i + 1])]);
  }
}

Json report(const Totals& t, bool has_base) {
  Json out = Json::object();
  auto n = static_cast<double>(t.n);
  double mean = t.nll / n;
  out.set("tokens", t.n);
  out.set("perplexity", std::exp(mean));
  if (!has_base) return out;
  std::vector<double> sorted = t.kls;
  std::sort(sorted.begin(), sorted.end());
  double square = 0;
  for (double kl : sorted) square += (kl - t.kl / n) * (kl - t.kl / n);
  out.set("base_perplexity", std::exp(t.nll_base / n));
  out.set("perplexity_ratio", std::exp(mean - t.nll_base / n));
  out.set("mean_kl", t.kl / n);
  out.set("mean_kl_standard_error", std::sqrt(square / n / n));
  out.set("median_kl", sorted[sorted.size() / 2]);
  out.set("p99_kl", sorted[sorted.size() * 99 / 100]);
  out.set("max_kl", sorted.back());
  out.set("same_top", static_cast<double>(t.same_top) / n);
  return out;
}

struct Loaded {
  std::unique_ptr<weights::ModelFile> file;
  std::unique_ptr<device::ThreadPool> pool;
  const kernels::KernelTable* table = nullptr;
  std::unique_ptr<models::Model> model;
};

Result<Loaded> load(const PerplexityFlags& f) {
  Loaded out;
  std::string path = TRY(resolve_model(f.model));
  out.file = std::make_unique<weights::ModelFile>(TRY(weights::ModelFile::open(path)));
  if (auto format = TRY(quantization_of(f.quantization))) TRY(out.file->quantize(*format));
  out.table = TRY(kernels::pick_kernels(kernels::detect_cpu(), f.isa));
  int n_threads =
      f.threads > 0 ? static_cast<int>(f.threads) : device::compute_threads_default(device::read_cpu_topology());
  out.pool = std::make_unique<device::ThreadPool>(n_threads, true);
  out.model = TRY(models::load_model(*out.file, {.table = *out.table, .pool = *out.pool}));
  return out;
}

// The windows to score: those of the base, or the text cut into pieces.
Result<std::vector<std::vector<TokenId>>> windows_of(const PerplexityFlags& f, const weights::ModelFile& file,
                                                     const std::optional<LogitsReader>& base) {
  std::vector<std::vector<TokenId>> out;
  auto enough = [&] { return f.chunks > 0 && static_cast<int64_t>(out.size()) >= f.chunks; };
  text::Tokenizer tokenizer = TRY(instance::load_tokenizer(file));
  if (base) {
    std::vector<TokenId> special = TRY(tokenizer.encode("", {.add_special = true, .parse_special = false}));
    bool wants_bos = base->bos_replaces_first() && !special.empty() && special.front() == tokenizer.bos();
    for (uint32_t i = 0; i < base->head().n_windows && !enough(); ++i) {
      out.push_back(base->tokens(i));
      if (wants_bos) out.back().front() = tokenizer.bos();
    }
    return out;
  }
  std::string text = TRY(read_file(f.file, kMaxTextBytes));
  std::vector<TokenId> tokens = TRY(tokenizer.encode(text, {.add_special = true, .parse_special = false}));
  auto size = static_cast<size_t>(f.ctx);
  for (size_t at = 0; at + size <= tokens.size() && !enough(); at += size) {
    out.emplace_back(tokens.begin() + static_cast<std::ptrdiff_t>(at),
                     tokens.begin() + static_cast<std::ptrdiff_t>(at + size));
  }
  if (out.empty())
    return Error{ErrorCode::kInvalidValue,
                 fmt::format("{}: {} tokens, one window needs {} (--ctx)", f.file, tokens.size(), size), "--ctx"};
  return out;
}

Result<Totals> score(const PerplexityFlags& f, Loaded& loaded, const std::vector<std::vector<TokenId>>& windows,
                     const std::optional<LogitsReader>& base) {
  auto n_vocab = static_cast<size_t>(loaded.model->desc().n_vocab);
  if (base && base->head().n_vocab != n_vocab) {
    return Error{ErrorCode::kBadFile,
                 fmt::format("{}: vocabulary of {}, the model has {}", f.kl_base, base->head().n_vocab, n_vocab),
                 "--kl-divergence"};
  }
  auto n_ctx = windows.front().size();
  auto dtype = f.kv_dtype == "int8" ? kernels::KvDType::kInt8 : kernels::KvDType::kBF16;
  runtime::Scorer scorer = TRY(runtime::Scorer::create({.model = *loaded.model,
                                                        .table = *loaded.table,
                                                        .pool = *loaded.pool,
                                                        .kv_dtype = dtype,
                                                        .max_len = static_cast<uint32_t>(n_ctx),
                                                        .window_tokens = static_cast<uint32_t>(f.window_tokens),
                                                        .sink_tokens = static_cast<uint32_t>(f.sink_tokens)}));
  std::optional<LogitsWriter> writer;
  if (!f.save_logits.empty()) {
    writer.emplace(
        TRY(LogitsWriter::create(f.save_logits, {static_cast<uint32_t>(n_vocab), static_cast<uint32_t>(n_ctx),
                                                 static_cast<uint32_t>(windows.size())})));
  }
  Totals totals;
  std::vector<float> rows(n_vocab * (n_ctx - 1));
  for (uint32_t w = 0; w < windows.size(); ++w) {
    const std::vector<TokenId>& tokens = windows[w];
    scorer.run(tokens, [&](int64_t position, std::span<float> logits) {
      if (position + 1 == static_cast<int64_t>(n_ctx)) return;
      log_softmax(logits.first(n_vocab));
      std::copy_n(logits.begin(), n_vocab, rows.begin() + position * static_cast<int64_t>(n_vocab));
    });
    uint32_t first = base ? base->first_position() : 0;
    for (size_t i = first; i + 1 < n_ctx; ++i)
      totals.nll -= static_cast<double>(rows[i * n_vocab + static_cast<size_t>(tokens[i + 1])]);
    totals.n += static_cast<int64_t>(n_ctx) - 1 - first;
    if (base) compare_window(*base, w, tokens, rows, totals);
    if (writer) TRY(writer->window(tokens, rows));
    fmt::print(stderr, "window {} of {}: perplexity {:.4f}{}\n", w + 1, windows.size(),
               std::exp(totals.nll / static_cast<double>(totals.n)),
               base ? fmt::format(", mean KL {:.6f}", totals.kl / static_cast<double>(totals.n)) : "");
  }
  if (writer) TRY(writer->close());
  return totals;
}

}  // namespace

Result<int> perplexity_command(std::span<const std::string> args) {
  PerplexityFlags f;
  FlagSet set("perplexity", "Perplexity of a text; with --kl-divergence the distance to saved log-probabilities.");
  set.positional("MODEL", &f.model, "as for run", true);
  set.add("-f,--file", &f.file, "the text");
  set.add("-c,--ctx", &f.ctx, "tokens of a window", {2, 1 << 20});
  set.add("--chunks", &f.chunks, "windows at most; 0 = all", {0, INT32_MAX});
  set.add("--save-logits", &f.save_logits, "write log-probabilities here (f32, large)");
  set.add(
      "--kl-divergence", &f.kl_base,
      "compare with this file of --save-logits, tools/golden/logits.py or llama-perplexity; its windows are scored");
  set.add("--kv-cache-dtype", &f.kv_dtype, "bf16 | int8");
  set.add("--window-tokens", &f.window_tokens, "full attention sees the last so many tokens only; 0 = all",
          {0, 1 << 20});
  set.add("--sink-tokens", &f.sink_tokens, "with --window-tokens: and the first so many", {0, flow::kMaxSinkTokens});
  set.add("--quantization,-q", &f.quantization, "none | q8_0 | q4_0 | q4_k: as bench model takes it");
  set.add("--isa", &f.isa, "kernels to use");
  set.add("-t,--threads", &f.threads, "compute threads; 0 = physical cores", {0, 1024});
  set.add("--json", &f.json, "JSON on stdout");
  if (!TRY(set.parse(args))) return 0;
  if (f.file.empty() && f.kl_base.empty())
    return Error{ErrorCode::kUsage, "want --file TEXT or --kl-divergence BASE", "--file"};
  if (f.kv_dtype != "bf16" && f.kv_dtype != "int8")
    return Error{ErrorCode::kUsage,
                 fmt::format("--kv-cache-dtype = {}: must be bf16 or int8", quote_for_message(f.kv_dtype)),
                 "--kv-cache-dtype"};
  std::optional<LogitsReader> base;
  if (!f.kl_base.empty()) base = TRY(LogitsReader::open(f.kl_base));
  Loaded loaded = TRY(load(f));
  auto windows = TRY(windows_of(f, *loaded.file, base));
  Totals totals = TRY(score(f, loaded, windows, base));
  Json out = report(totals, base.has_value());
  if (f.json) {
    fmt::print("{}\n", out.dump());
    return 0;
  }
  for (const auto& [name, value] : out.as_object().members) fmt::print("{:<24} {}\n", name, value.dump());
  return 0;
}

}  // namespace millrace::app
