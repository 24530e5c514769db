// millrace tokenize, and convert --tokenizer-only: the small commands around a model's tokenizer.
#include <fmt/format.h>
#include <sys/stat.h>

#include <charconv>
#include <cstdio>

#include "app/commands.h"
#include "app/flags.h"
#include "app/model_flags.h"
#include "app/standard_input.h"
#include "base/file.h"
#include "base/macros.h"
#include "instance/model_text.h"
#include "text/tokenizer_writer.h"
#include "weights/model_file.h"

namespace millrace::app {
namespace {

constexpr uint64_t kMaxTextBytes = 256u << 20;

Result<std::vector<TokenId>> parse_ids(std::string_view text, size_t n_vocab) {
  std::vector<TokenId> out;
  while (true) {
    size_t begin = text.find_first_not_of(" ,\n\t[]");
    if (begin == std::string_view::npos) return out;
    text.remove_prefix(begin);
    TokenId id = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
    if (error != std::errc{} || id < 0 || static_cast<size_t>(id) >= n_vocab) {
      return Error{ErrorCode::kUsage,
                   fmt::format("\"{}\": want token ids in 0..{}", quote_for_message(text.substr(0, 20)), n_vocab - 1),
                   "--decode"};
    }
    out.push_back(id);
    text.remove_prefix(static_cast<size_t>(end - text.data()));
  }
}

}  // namespace

Result<int> tokenize_command(std::span<const std::string> args) {
  std::string model;
  std::string text;
  std::string file;
  bool decode = false;
  bool special = true;
  bool parse_special = true;
  bool pieces = false;
  FlagSet set("tokenize", "Text to token ids, or ids to text. Without TEXT and --file, standard input is read.");
  set.positional("MODEL", &model, "as for run", true);
  set.positional("TEXT", &text, "text, or ids with --decode", false);
  set.add("-f,--file", &file, "read the text from a file");
  set.add("--decode", &decode, "ids to text");
  set.add("--add-special", &special, "add BOS and the like as the model asks");
  set.add("--parse-special", &parse_special, "read special tokens written in the text");
  set.add("--pieces", &pieces, "one line a token: id and piece");
  if (!TRY(set.parse(args))) return 0;
  weights::ModelFile model_file = TRY(weights::ModelFile::open(TRY(resolve_model(model))));
  text::Tokenizer tokenizer = TRY(instance::load_tokenizer(model_file));
  if (!file.empty()) {
    text = TRY(read_file(file, kMaxTextBytes));
  } else if (text.empty()) {
    text = read_piped_input();
  }
  if (decode) {
    std::vector<TokenId> ids = TRY(parse_ids(text, tokenizer.n_vocab()));
    std::string out = tokenizer.decode(ids, false);
    std::fwrite(out.data(), 1, out.size(), stdout);
    fmt::print("\n");
    return 0;
  }
  std::vector<TokenId> ids = TRY(tokenizer.encode(text, {.add_special = special, .parse_special = parse_special}));
  if (pieces) {
    for (TokenId id : ids) fmt::print("{:8} {}\n", id, quote_for_message(tokenizer.token_text(id)));
  } else {
    fmt::print("[{}]\n", fmt::join(ids, ", "));
  }
  return 0;
}

Result<int> convert_command(std::span<const std::string> args) {
  std::string in;
  std::string out;
  bool tokenizer_only = false;
  FlagSet set("convert", "Write a model's tokenizer as tokenizer.json and tokenizer_config.json, for client tools.");
  set.positional("IN", &in, "model", true);
  set.positional("OUT", &out, "folder, made if it is not there", true);
  set.add("--tokenizer-only", &tokenizer_only, "required: whole models are not converted yet");
  if (!TRY(set.parse(args))) return 0;
  if (!tokenizer_only)
    return Error{ErrorCode::kUsage, "convert: only --tokenizer-only is supported", "--tokenizer-only"};
  weights::ModelFile file = TRY(weights::ModelFile::open(TRY(resolve_model(in))));
  text::TokenizerSpec spec = TRY(instance::load_tokenizer_spec(file));
  if (::mkdir(out.c_str(), 0755) != 0 && !is_directory(out))
    return Error{ErrorCode::kIo, fmt::format("{}: cannot make the folder", out), "OUT"};
  TRY(write_file_atomic(out + "/tokenizer.json", TRY(text::to_tokenizer_json(spec))));
  TRY(write_file_atomic(
      out + "/tokenizer_config.json",
      text::to_tokenizer_config(spec, instance::chat_template_source(file).value_or(""), file.desc().max_len)));
  fmt::print("{}\n", out);
  return 0;
}

}  // namespace millrace::app
