#include "fare/tokenizer/chat/chat_template.h"

#include "fare/core/error.h"
#include "fare/core/file.h"
#include "fare/tokenizer/chat/parser.h"
#include "fare/tokenizer/chat/renderer.h"
#include "fare/tokenizer/unicode.h"

namespace fare {

struct ChatTemplate::Parts {
  std::string name, source;
  chat::Block block;
};

namespace {

std::string at_line(int line) { return "line " + std::to_string(line); }

// The text of a template, or the one called "default" of a list of {"name", "template"}.
std::unique_ptr<ChatTemplate> from_json_value(const Json& value, const std::string& path) {
  if (value.is_string()) return ChatTemplate::parse(value.get<std::string>(), path + ": chat_template");
  if (value.is_array())
    for (const auto& entry : value)
      if (entry.is_object() && entry.value("name", Json()) == "default" && entry.value("template", Json()).is_string())
        return ChatTemplate::parse(entry["template"].get<std::string>(), path + ": chat_template");
  throw FormatError(path, "chat_template", "expected a text, or a list with a template named \"default\"");
}

}  // namespace

ChatTemplate::ChatTemplate(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
ChatTemplate::~ChatTemplate() = default;

std::unique_ptr<ChatTemplate> ChatTemplate::parse(std::string_view source, const std::string& name) {
  if (const auto bad = first_invalid_utf8(source))
    throw FormatError(name, "byte " + std::to_string(*bad), "the template is not UTF-8");
  auto parts = std::make_unique<Parts>();
  parts->name = name;
  parts->source = source;
  try {
    parts->block = chat::parse_template(source);
  } catch (const chat::SyntaxError& error) {
    throw FormatError(name, at_line(error.line), error.what);
  }
  return std::unique_ptr<ChatTemplate>(new ChatTemplate(std::move(parts)));
}

std::unique_ptr<ChatTemplate> ChatTemplate::of_folder(const std::filesystem::path& folder) {
  const auto own = folder / "chat_template.jinja";
  if (std::filesystem::exists(own)) return parse(read_file(own), own.string());
  for (const char* file : {"tokenizer_config.json", "chat_template.json"}) {
    const auto path = folder / file;
    if (!std::filesystem::exists(path)) continue;
    const Json json = read_json_file(path);
    if (json.is_object() && json.contains("chat_template") && !json["chat_template"].is_null())
      return from_json_value(json["chat_template"], path.string());
  }
  return nullptr;
}

const std::string& ChatTemplate::source() const { return parts_->source; }

std::string ChatTemplate::render(const OrderedJson& variables, std::time_t now) const {
  try {
    return chat::render(parts_->block, chat::Value::from_json(variables).dict(), now);
  } catch (const chat::SyntaxError& error) {
    throw FormatError(parts_->name, at_line(error.line), error.what);
  } catch (const chat::TemplateError& error) {
    throw FormatError(parts_->name, "", error.what());
  }
}

Chat read_chat(const OrderedJson& line, const std::string& path, const std::string& where) {
  const auto fail = [&](const std::string& what) { throw FormatError(path, where, what); };
  if (!line.contains("messages")) fail("field 'messages' is missing");
  Chat chat;
  chat.messages = line["messages"];
  if (!chat.messages.is_array() || chat.messages.empty())
    fail("field 'messages' must be a list of at least one message");
  for (size_t i = 0; i < chat.messages.size(); ++i) {
    const auto& message = chat.messages[i];
    if (!message.is_object() || !message.contains("role") || !message["role"].is_string())
      fail("messages[" + std::to_string(i) + "] must be an object with a text 'role'");
  }
  if (line.contains("tools") && !line["tools"].is_null()) {
    if (!line["tools"].is_array()) fail("field 'tools' must be a list");
    chat.tools = line["tools"];
  }
  if (line.contains("add_generation_prompt")) {
    if (!line["add_generation_prompt"].is_boolean()) fail("field 'add_generation_prompt' must be true or false");
    chat.add_generation_prompt = line["add_generation_prompt"].get<bool>();
  }
  if (line.contains("template_variables")) {
    if (!line["template_variables"].is_object()) fail("field 'template_variables' must be an object");
    chat.template_variables = line["template_variables"];
  }
  return chat;
}

std::string render_chat(const ChatTemplate& chat_template, const Chat& chat, const std::optional<std::string>& bos,
                        const std::optional<std::string>& eos, std::time_t now) {
  OrderedJson variables = OrderedJson::object();
  if (bos) variables["bos_token"] = *bos;
  if (eos) variables["eos_token"] = *eos;
  variables["messages"] = chat.messages;
  variables["tools"] = chat.tools;
  variables["documents"] = nullptr;
  variables["add_generation_prompt"] = chat.add_generation_prompt;
  for (const auto& item : chat.template_variables.items()) variables[item.key()] = item.value();
  return chat_template.render(variables, now);
}

}  // namespace fare
