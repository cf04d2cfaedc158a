#include "cli/generate.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>

#include "cli/chat_flags.h"
#include "cli/console.h"
#include "cli/flags.h"
#include "fare/core/error.h"
#include "fare/core/file.h"
#include "fare/evaluation/calibration_outputs.h"
#include "fare/scoring/generate.h"
#include "fare/scoring/generated_file.h"
#include "fare/scoring/prompt_file.h"
#include "fare/scoring/text_encoder.h"

namespace fare::cli {
namespace {

namespace fs = std::filesystem;

struct GenerateFlags {
  CommonFlags common;
  fs::path prompts, intervention, chat_template;
  int64_t max_new_tokens = 256, samples = 1, unit_rows = 4096;
  std::optional<double> temperature;
  double top_p = 1;
  std::vector<std::string> stop;
  std::optional<int32_t> prefix_token;
  bool chat = false, allow_no_effect = false;
};

GenerateOptions options_of(const GenerateFlags& flags) {
  GenerateOptions options;
  options.max_new_tokens = flags.max_new_tokens;
  options.samples = flags.samples;
  options.sampling.top_p = flags.top_p;
  const bool sampled = flags.samples > 1 || flags.top_p < 1;
  options.sampling.temperature = flags.temperature.value_or(sampled ? 1.0 : 0.0);
  options.seed = flags.common.seed;
  options.stop = flags.stop;
  options.max_length = flags.common.max_length;
  options.unit_rows = flags.unit_rows;
  return options;
}

// The checkpoint's tokenizer; null where it has none and none is needed.
std::unique_ptr<Tokenizer> open_tokenizer(const fs::path& folder, bool needed, const Progress& progress) {
  const bool there = fs::exists(folder / "tokenizer.json") || fs::exists(folder / "tokenizer.json.gz") ||
                     fs::exists(folder / "tokenizer.model");
  if (there || needed) return Tokenizer::open(folder);
  progress.say(folder.string() + " holds no tokenizer: texts are left out (null), token ids are given");
  return nullptr;
}

std::vector<Prompt> encode_prompts(const std::vector<PromptLine>& lines, const GenerateFlags& flags, const Model& model,
                                   const Tokenizer* tokenizer, const ChatTemplate* chat_template) {
  const int64_t vocab_size = model.spec().vocab_size;
  if (flags.prefix_token && *flags.prefix_token >= vocab_size)
    throw ModelMismatch(
        fmt::format("--prefix-token {} lies outside the vocabulary of {}", *flags.prefix_token, vocab_size));
  std::optional<TextEncoder> encoder;
  if (tokenizer != nullptr) encoder.emplace(*tokenizer, flags.prefix_token);
  std::vector<Prompt> prompts;
  for (const PromptLine& line : lines) {
    const std::string where = fmt::format("line {}", line.line);
    Prompt prompt;
    prompt.id = line.id;
    try {
      if (line.chat)  // a template writes BOS itself
        prompt.ids = tokenizer->ids(
            render_chat(*chat_template, *line.chat, tokenizer->bos_text(), tokenizer->eos_text()), false);
      else prompt.ids = line.has_ids ? line.prompt_ids : encoder->prompt(line.id, line.prompt);
    } catch (const FormatError& error) {
      throw FormatError(flags.prompts.string(), where, error.what());
    } catch (const UsageError& error) {
      throw FormatError(flags.prompts.string(), where, error.what());
    }
    if (prompt.ids.empty() && flags.prefix_token) prompt.ids = {*flags.prefix_token};
    if (prompt.ids.empty())
      throw FormatError(flags.prompts.string(), where,
                        fmt::format("prompt '{}' has no tokens; give one to begin with by "
                                    "--prefix-token ID",
                                    line.id));
    for (const int32_t id : prompt.ids)
      if (id >= vocab_size)
        throw FormatError(
            flags.prompts.string(), where,
            fmt::format("prompt '{}': token id {} lies outside the vocabulary of {}", line.id, id, vocab_size));
    prompts.push_back(std::move(prompt));
  }
  return prompts;
}

int generate_texts(const GenerateFlags& flags) {
  const Progress progress = console(flags.common);
  const fs::path& out = flags.common.out;
  if (out.empty() && !flags.intervention.empty())
    throw UsageError("--out FILE is needed with --intervention: the receipt lies beside the texts");
  if (flags.common.max_length > 0 && flags.max_new_tokens >= flags.common.max_length)
    throw UsageError(fmt::format("--max-new-tokens {} leaves no room for a prompt in --max-length {}",
                                 flags.max_new_tokens, flags.common.max_length));
  if (std::any_of(flags.stop.begin(), flags.stop.end(), [](const std::string& stop) { return stop.empty(); }))
    throw UsageError("--stop: an empty text would end every text at once");
  std::vector<PromptLine> lines = read_prompts(flags.prompts);
  if (flags.common.limit > 0 && lines.size() > static_cast<size_t>(flags.common.limit)) {
    progress.say(
        fmt::format("--limit {}: the first {} of {} prompts", flags.common.limit, flags.common.limit, lines.size()));
    lines.resize(static_cast<size_t>(flags.common.limit));
  }
  const auto chat =
      std::find_if(lines.begin(), lines.end(), [](const PromptLine& line) { return line.chat.has_value(); });
  if (chat != lines.end() && !flags.chat && flags.chat_template.empty())
    throw UsageError(
        fmt::format("{}: line {} is a conversation ('messages'): say --chat for the checkpoint's chat template, or "
                    "--chat-template FILE",
                    flags.prompts.string(), chat->line));
  if (chat == lines.end() && (flags.chat || !flags.chat_template.empty()))
    throw UsageError("--chat: " + flags.prompts.string() +
                     " holds no conversation; put 'messages' in place of 'prompt'");
  std::unique_ptr<ChatTemplate> chat_template;
  if (chat != lines.end()) chat_template = open_chat_template(flags.common.model, flags.chat_template, "--chat");
  std::optional<Intervention> intervention;
  if (!flags.intervention.empty()) intervention = Intervention::read(flags.intervention);
  if (fs::is_directory(out)) throw IoError(out.string() + ": is a folder; --out names the file of texts");
  const bool first = flags.common.ranks->rank() == 0;
  std::optional<AtomicFile> output;  // opened first: a folder that cannot be written stops here
  if (!out.empty() && first) output.emplace(out);

  const auto model = open_model(flags.common, progress);
  const bool needed =
      !flags.stop.empty() || std::any_of(lines.begin(), lines.end(), [](const PromptLine& l) { return !l.has_ids; });
  const auto tokenizer = open_tokenizer(flags.common.model, needed, progress);
  if (intervention && needs_calibration(*intervention)) {
    Intervention* calibrated = &*intervention;
    take_calibration_outputs({&calibrated, 1}, *model, tokenizer ? *tokenizer : *Tokenizer::open(flags.common.model),
                             flags.common.max_length, flags.prefix_token);
  }
  const std::vector<Prompt> prompts = encode_prompts(lines, flags, *model, tokenizer.get(), chat_template.get());
  GenerateOptions options = options_of(flags);
  options.eos = end_tokens(model->checkpoint());
  const GenerateResult result =
      generate_divided(*model, tokenizer.get(), prompts, options, intervention ? &*intervention : nullptr,
                       *flags.common.ranks, progress);
  if (!first) return 0;
  if (!result.memory_problem.empty()) warn(result.memory_problem);

  for (const GeneratedText& text : result.texts) {
    const std::string line = generated_line(prompts[static_cast<size_t>(text.prompt)].id, text, tokenizer != nullptr);
    if (output) output->write(line);
    else if (std::fwrite(line.data(), 1, line.size(), stdout) != line.size())
      throw IoError("stdout: cannot be written");
  }
  if (!output) {
    if (std::fflush(stdout) != 0) throw IoError("stdout: cannot be written");
    return 0;
  }
  output->commit();
  const std::string stem = out.extension() == ".jsonl" ? out.stem().string() : out.filename().string();
  write_file(
      out.parent_path() / (stem + ".receipt.json"),
      result.receipt.to_json(intervention ? intervention->name : "", intervention ? intervention->sha256 : "").dump(2) +
          "\n");
  if (!intervention || !result.receipt.no_effect()) return 0;
  warn(fmt::format("intervention '{}' had no effect: no token's experts or weights changed", intervention->name));
  return flags.allow_no_effect ? 0 : 3;
}

}  // namespace

void add_generate_command(CLI::App& program, int& exit_status, Ranks& ranks) {
  auto flags = std::make_shared<GenerateFlags>();
  flags->common.ranks = &ranks;
  CLI::App* command = program.add_subcommand("generate", "Continuations of prompts, under an optional intervention");
  add_model_flags(*command, flags->common);
  command->add_option("--prompts", flags->prompts, "JSON lines: id, and prompt, prompt_ids or messages")->required();
  command->add_flag("--chat", flags->chat, "Conversations (\"messages\") through the checkpoint's chat template");
  command->add_option("--chat-template", flags->chat_template, "The same with the template in this file (Jinja)");
  add_output_flag(*command, flags->common, false);
  command->add_option("--limit", flags->common.limit, "Only the first N prompts; 0 = all")
      ->check(at_least(0))
      ->capture_default_str();
  command->add_option("--max-new-tokens", flags->max_new_tokens, "Tokens per text at most")
      ->check(at_least(1))
      ->capture_default_str();
  command->add_option("--samples", flags->samples, "Texts per prompt")->check(at_least(1))->capture_default_str();
  command
      ->add_option("--temperature", flags->temperature,
                   "0 = greedy; default 0, or 1 where --samples or --top-p ask for sampling")
      ->check(CLI::Range(0.0, 1e6));
  command->add_option("--top-p", flags->top_p, "Draw among the most probable tokens that hold this share; 1 = all")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  command->add_option("--stop", flags->stop, "Texts that end a continuation; it is cut before the first of them");
  command
      ->add_option("--seed", flags->common.seed,
                   "Of the random numbers; texts under different interventions share them")
      ->check(at_least(0))
      ->capture_default_str();
  command->add_option("--intervention", flags->intervention, "Intervention file (fare-intervention/1)");
  command->add_option("--prefix-token", flags->prefix_token, "Token id that stands in for an empty prompt")
      ->check(at_least(0));
  command
      ->add_option("--unit-rows", flags->unit_rows,
                   "Rows of the cache of keys and values; larger is faster and takes more memory")
      ->check(at_least(1))
      ->capture_default_str();
  command->add_flag("--allow-no-effect", flags->allow_no_effect, "An intervention without effect is not status 3");
  add_console_flags(*command, flags->common);
  command->footer(
      "Examples:\n"
      "  fare generate --model DIR --prompts prompts.jsonl --out texts.jsonl --max-new-tokens 64\n"
      "  fare generate --model DIR --prompts prompts.jsonl --out texts.jsonl --max-new-tokens 64 --samples 5 \\\n"
      "      --temperature 0.7 --top-p 0.95 --stop Question: --intervention edit.json");
  command->callback([flags, &exit_status] { exit_status = generate_texts(*flags); });
}

}  // namespace fare::cli
