#include "cli/tokenize.h"

#include <cstdio>
#include <filesystem>
#include <iostream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "cli/chat_flags.h"
#include "fare/core/error.h"
#include "fare/core/file.h"
#include "fare/core/json.h"
#include "fare/tokenizer/chat/chat_template.h"
#include "fare/tokenizer/tokenizer.h"
#include "fare/tokenizer/unicode.h"

namespace fare::cli {
namespace {

namespace fs = std::filesystem;

struct TokenizeFlags {
  fs::path tokenizer, input, out, chat_template;
  bool chat = false;
  bool no_special_tokens = false;
  bool quiet = false;
};

struct Text {
  Json id;
  std::string text;
  std::string where;  // for errors
};

Json id_of(const Json& line, const std::string& path, const std::string& where) {
  if (!line.contains("id")) throw FormatError(path, where, "field 'id' is missing");
  const Json& id = line["id"];
  if (!id.is_string() && !id.is_number_integer())
    throw FormatError(path, where, "field 'id' has the wrong type: " + id.dump());
  return id;
}

std::vector<Text> texts_of_file(const fs::path& path) {
  std::vector<Text> texts;
  for_each_json_line(path, [&](const Json& line, size_t number) {
    const std::string where = "line " + std::to_string(number);
    texts.push_back(
        {id_of(line, path.string(), where), require<std::string>(line, "text", path.string(), where), where});
  });
  return texts;
}

// Lines with "messages" in place of "text". Their order of keys counts: tools are written out as they came.
std::vector<Text> texts_of_chats(const fs::path& path, const ChatTemplate& chat_template, const Tokenizer& tokenizer) {
  std::vector<Text> texts;
  for_each_line(read_file(path), [&](std::string_view bytes, size_t number) {
    const std::string where = "line " + std::to_string(number);
    if (bytes.find_first_not_of(" \t\r") == std::string_view::npos) return;
    const Json checked = parse_json(bytes, path.string(), where);
    if (!checked.is_object())
      throw FormatError(path.string(), where, "expected an object with \"id\" and \"messages\"");
    const OrderedJson line = OrderedJson::parse(bytes);
    const Chat chat = read_chat(line, path.string(), where);
    texts.push_back({id_of(checked, path.string(), where), "", where});
    try {
      texts.back().text = render_chat(chat_template, chat, tokenizer.bos_text(), tokenizer.eos_text());
    } catch (const FormatError& error) {
      throw FormatError(path.string(), where, error.what());
    }
  });
  return texts;
}

// Plain lines; the id is the line's number.
std::vector<Text> texts_of_stdin() {
  const std::string all((std::istreambuf_iterator<char>(std::cin)), std::istreambuf_iterator<char>());
  std::vector<Text> texts;
  for_each_line(all, [&](std::string_view line, size_t number) {
    if (const auto bad = first_invalid_utf8(line))
      throw FormatError("stdin", "line " + std::to_string(number), "not UTF-8 at byte " + std::to_string(*bad));
    texts.push_back({std::to_string(number), std::string(line), "line " + std::to_string(number)});
  });
  return texts;
}

std::string result_line(const Tokenizer& tokenizer, const Text& text, bool special, bool chat,
                        const std::string& source) {
  Encoding encoding;
  try {
    encoding = tokenizer.encode(text.text, special);
  } catch (const UsageError& error) {
    throw FormatError(source, text.where, error.what());
  }
  OrderedJson line;
  line["id"] = text.id;
  if (chat) line["text"] = text.text;
  std::string decoded = tokenizer.decode(encoding.ids);
  line["ids"] = std::move(encoding.ids);
  line["pieces"] = std::move(encoding.pieces);
  line["offsets"] = std::move(encoding.offsets);
  line["decoded"] = std::move(decoded);
  return line.dump() + "\n";
}

void tokenize(const TokenizeFlags& flags) {
  const bool chat = flags.chat || !flags.chat_template.empty();
  if (chat && flags.input.empty()) throw UsageError("--chat reads conversations: name their file with --input");
  std::vector<Text> texts;
  if (!chat) texts = flags.input.empty() ? texts_of_stdin() : texts_of_file(flags.input);
  const std::string source = flags.input.empty() ? "stdin" : flags.input.string();
  const auto tokenizer = Tokenizer::open(flags.tokenizer);
  if (chat)
    texts =
        texts_of_chats(flags.input, *open_chat_template(flags.tokenizer, flags.chat_template, "--chat"), *tokenizer);
  if (!flags.quiet)
    for (const auto& note : tokenizer->notes())
      std::fprintf(stderr, "fare tokenize: %s: %s\n", flags.tokenizer.c_str(), note.c_str());
  const auto each = [&](auto&& write) {
    // A template writes BOS itself.
    const bool special = !flags.no_special_tokens && !chat;
    for (const auto& text : texts) write(result_line(*tokenizer, text, special, chat, source));
  };
  if (flags.out.empty()) {
    each([](const std::string& line) {
      if (std::fwrite(line.data(), 1, line.size(), stdout) != line.size()) throw IoError("stdout: cannot be written");
    });
    if (std::fflush(stdout) != 0) throw IoError("stdout: cannot be written");
    return;
  }
  AtomicFile file(flags.out);
  each([&](const std::string& line) { file.write(line); });
  file.commit();
}

}  // namespace

void add_tokenize_command(CLI::App& program, int& /*exit_status*/) {
  const auto flags = std::make_shared<TokenizeFlags>();
  CLI::App* command = program.add_subcommand("tokenize", "Ids and pieces of a text");
  command
      ->add_option("--tokenizer", flags->tokenizer,
                   "tokenizer.json (or .json.gz), a SentencePiece .model, or a checkpoint folder that holds one")
      ->required();
  command->add_option("--input", flags->input,
                      "JSON lines with \"id\" and \"text\"; without it plain lines are read from stdin");
  command->add_option("--out", flags->out,
                      "JSON lines with id, ids, pieces, offsets, decoded; without it they go to stdout");
  command->add_flag("--no-special-tokens", flags->no_special_tokens, "put no tokens around the text, such as a BOS");
  command->add_flag(
      "--chat", flags->chat,
      "conversations (\"messages\" in place of \"text\") through the chat template of the checkpoint folder; "
      "no tokens are put around them");
  command->add_option("--chat-template", flags->chat_template, "the same with the template in this file (Jinja)");
  command->add_flag("--quiet", flags->quiet, "say nothing on stderr about oddities of the tokenizer file");
  command->footer(
      "Examples:\n"
      "  echo 'The router decides.' | fare tokenize --tokenizer OLMoE-1B-7B\n"
      "  fare tokenize --tokenizer tokenizer.json --input texts.jsonl --out ids.jsonl --no-special-tokens\n"
      "  fare tokenize --tokenizer Mixtral-8x7B-Instruct --chat --input chats.jsonl");
  command->callback([flags] { tokenize(*flags); });
}

}  // namespace fare::cli
