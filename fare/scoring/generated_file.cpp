#include "fare/scoring/generated_file.h"

#include "fare/core/json.h"

namespace fare {

std::string generated_line(const std::string& prompt_id, const GeneratedText& text, bool has_text) {
  OrderedJson line;
  line["id"] = prompt_id;
  line["sample"] = text.sample;
  line["text"] = has_text ? OrderedJson(text.text) : OrderedJson(nullptr);
  line["token_ids"] = text.token_ids;
  line["token_logprobs_nats"] = text.token_logprobs_nats;
  line["finish"] = finish_name(text.finish);
  line["prompt_tokens"] = text.prompt_tokens;
  line["truncated_tokens"] = text.truncated_tokens;
  return line.dump() + "\n";
}

}  // namespace fare
