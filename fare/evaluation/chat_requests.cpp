#include "fare/evaluation/chat_requests.h"

#include <algorithm>

#include "fare/core/error.h"

namespace fare {
namespace {

OrderedJson message(const char* role, const std::string& content) { return {{"role", role}, {"content", content}}; }

// The text of a question after what stands before it.
std::string conversation(const ChatTemplate& chat_template, const Tokenizer& tokenizer, const Primer& primer,
                         const std::string& question) {
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
    return render(true);
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
    for (Document& document : task.data.documents) {
      const Primer& primer = document.primer ? *document.primer : kNothing;
      const bool has_contexts = std::any_of(document.requests.begin(), document.requests.end(),
                                            [](const TextRequest& request) { return !request.context.empty(); });
      std::string last_context, last_text;  // choices of one question follow each other
      bool known = false;
      for (TextRequest& request : document.requests) {
        if (request.kind != RequestKind::kLoglikelihood && request.kind != RequestKind::kGenerate) continue;
        if (!delimiter.empty() && request.continuation.starts_with(delimiter)) request.continuation.erase(0, delimiter.size());
        if (has_contexts && request.context.empty()) continue;
        FARE_CHECK(request.context.starts_with(primer.text), "a context does not begin with the primer");
        if (!known || request.context != last_context) {
          last_context = request.context;
          known = true;
          try {
            last_text = conversation(chat_template, tokenizer, primer, request.context.substr(primer.text.size()));
          } catch (const FormatError& error) {
            throw FormatError("task " + task.task->info.name, "document " + std::to_string(document.doc_id), error.what());
          }
        }
        request.context = last_text;
      }
    }
  }
}

}  // namespace fare
