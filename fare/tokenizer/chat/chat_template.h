// Chat templates: a conversation to the text a model was trained on, in the part of Jinja that published templates use.
#pragma once

#include <ctime>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "fare/core/json.h"

namespace fare {

// Read-only after parse(); render() may be called from many threads at once.
class ChatTemplate {
 public:
  // `name` stands for the file in errors. Throws FormatError with the line: broken syntax, or something of Jinja that
  // is not supported, by its name (docs/chat-templates.md has the list of what is).
  static std::unique_ptr<ChatTemplate> parse(std::string_view source, const std::string& name);

  // The template of a checkpoint folder: chat_template.jinja, else "chat_template" of tokenizer_config.json (a text, or
  // a list of named ones, of which "default" counts), else chat_template.json; nullptr where there is none.
  static std::unique_ptr<ChatTemplate> of_folder(const std::filesystem::path& folder);

  ~ChatTemplate();
  ChatTemplate(const ChatTemplate&) = delete;
  ChatTemplate& operator=(const ChatTemplate&) = delete;

  // `variables` is an object: messages, add_generation_prompt, bos_token, eos_token, tools, .. as the template wants
  // them. `now` is what strftime_now shows, in local time. Throws FormatError with the line: a value that does not fit,
  // or what the template itself refuses (raise_exception).
  std::string render(const OrderedJson& variables, std::time_t now = std::time(nullptr)) const;
  const std::string& source() const;  // as it was parsed

 private:
  struct Parts;
  explicit ChatTemplate(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

// A conversation, as a line of a JSON-lines file has it.
struct Chat {
  OrderedJson messages;                                    // list of objects with "role" and what the template wants
  OrderedJson tools;                                       // list, or null
  OrderedJson template_variables = OrderedJson::object();  // further variables
  bool add_generation_prompt = true;                       // end with the beginning of the assistant's answer
};

// Checks the fields "messages" (a list, not empty, of objects with a text "role"), "tools" (list or null),
// "add_generation_prompt" (default true) and "template_variables" (object) of `line`. Throws FormatError(path, where,
// ..).
Chat read_chat(const OrderedJson& line, const std::string& path, const std::string& where);

// The text of a chat. `bos` and `eos` are the tokenizer's, where it has them. Its ids are those of the text without
// tokens put around it: a template writes BOS itself.
std::string render_chat(const ChatTemplate& chat_template, const Chat& chat, const std::optional<std::string>& bos,
                        const std::optional<std::string>& eos, std::time_t now = std::time(nullptr));

}  // namespace fare
