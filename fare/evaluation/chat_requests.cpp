#include "fare/evaluation/chat_requests.h"

#include <fmt/format.h>

#include <algorithm>

#include "fare/core/error.h"
#include "fare/core/sha256.h"

namespace fare {
namespace {

OrderedJson message(const char* role, const std::string& content) { return {{"role", role}, {"content", content}}; }

bool writes_texts(const LoadedBenchmark& task) {
  return std::any_of(task.data.documents.begin(), task.data.documents.end(), [](const Document& document) {
    return std::any_of(document.requests.begin(), document.requests.end(),
                       [](const TextRequest& request) { return request.kind == RequestKind::kGenerate; });
  });
}

// The text of a question after what stands before it; `system_used` becomes true where a system message is among that.
std::string conversation(const ChatTemplate& chat_template, const Tokenizer& tokenizer, const Primer& primer,
                         const std::string& question, bool& system_used) {
  const auto render = [&](bool with_system) {
    Chat chat;
    chat.messages = OrderedJson::array();
    if (with_system) chat.messages.push_back(message("system", primer.system));
    for (const auto& [asked, answer] : primer.examples) {
      chat.messages.push_back(message("user", asked));
      chat.messages.push_back(message("assistant", answer));
    }
    chat.messages.push_back(message("user", question));
    return render_chat(chat_template, chat, tokenizer.bos_text(), tokenizer.eos_text());
  };
  if (primer.system.empty()) return render(false);
  try {
    std::string text = render(true);
    system_used = true;
    return text;
  } catch (const FormatError&) {
    return render(false);
  }
}

}  // namespace

void apply_chat_template(const ChatTemplate& chat_template, const Tokenizer& tokenizer, BenchmarkSet& set) {
  static const Primer kNothing;
  for (LoadedBenchmark& task : set.tasks) {
    const OrderedJson& config = task.task->info.config;
    const std::string delimiter =
        config.value("output_type", "") == "multiple_choice" ? config.value("target_delimiter", " ") : "";
    bool system_used = false;
    for (Document& document : task.data.documents) {
      const Primer& primer = document.primer ? *document.primer : kNothing;
      const bool has_contexts = std::any_of(document.requests.begin(), document.requests.end(),
                                            [](const TextRequest& request) { return !request.context.empty(); });
      std::string last_context, last_text;  // choices of one question follow each other
      bool known = false;
      for (TextRequest& request : document.requests) {
        if (request.kind != RequestKind::kLoglikelihood && request.kind != RequestKind::kGenerate) continue;
        if (!delimiter.empty() && request.continuation.starts_with(delimiter))
          request.continuation.erase(0, delimiter.size());
        if (has_contexts && request.context.empty()) continue;
        FARE_CHECK(request.context.starts_with(primer.text), "a context does not begin with the primer");
        if (!known || request.context != last_context) {
          last_context = request.context;
          known = true;
          try {
            last_text =
                conversation(chat_template, tokenizer, primer, request.context.substr(primer.text.size()), system_used);
          } catch (const FormatError& error) {
            throw FormatError("task " + task.task->info.name, "document " + std::to_string(document.doc_id),
                              error.what());
          }
        }
        request.context = last_text;
      }
    }
    if (!writes_texts(task)) continue;
    const char* system = system_used ? "with the task's description as system message"
                                     : "without a system message but what the template itself puts in";
    task.data.notes.push_back(fmt::format("each prompt goes through the chat template sha256:{}, {}",
                                          sha256_hex(chat_template.source()), system));
  }
}

void note_plain_prompts(BenchmarkSet& set) {
  for (LoadedBenchmark& task : set.tasks)
    if (writes_texts(task))
      task.data.notes.push_back("each prompt is given as plain text, without chat template and system prompt");
}

}  // namespace fare
