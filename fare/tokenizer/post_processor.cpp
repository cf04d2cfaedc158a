#include "fare/tokenizer/post_processor.h"

#include <algorithm>
#include <limits>

#include "fare/tokenizer/byte_alphabet.h"
#include "fare/tokenizer/unicode.h"

namespace fare {
namespace {

std::vector<int32_t> read_template(const JsonNode& pieces, const JsonNode& special_tokens) {
  std::vector<int32_t> around;
  bool has_text = false;
  for (const auto& piece : pieces.items()) {
    if (const auto sequence = piece.find("Sequence")) {
      const std::string id = sequence->text("id");
      if (id != "A") sequence->at("id").fail("a template for a single text has no sequence '" + id + "'");
      around.push_back(PostProcessor::kText);
      has_text = true;
    } else if (const auto special = piece.find("SpecialToken")) {
      const std::string name = special->text("id");
      if (!special_tokens.json().contains(name))
        special->at("id").fail("'" + name + "' is not among the special_tokens");
      for (const auto& id : special_tokens.at(name).at("ids").items())
        around.push_back(static_cast<int32_t>(id.integer(0, std::numeric_limits<int32_t>::max() - 1)));
    } else {
      piece.fail("expected {\"SpecialToken\": ..} or {\"Sequence\": ..}");
    }
  }
  if (!has_text) pieces.fail("the template drops the text: no {\"Sequence\": {\"id\": \"A\"}} in it");
  return around;
}

void read_into(const JsonNode& node, PostProcessor& out) {
  const std::string type = node.text("type");
  if (type == "TemplateProcessing") {
    if (out.around) node.fail("a second TemplateProcessing in one Sequence is not supported");
    out.around = read_template(node.at("single"), node.at("special_tokens"));
    node.note_other_fields({"type", "single", "pair", "special_tokens"});
  } else if (type == "ByteLevel") {
    PostProcessor::Trim trim;
    trim.add_prefix_space = node.boolean("add_prefix_space");
    if (node.boolean("trim_offsets")) out.trims_before.push_back(trim);
    node.note_other_fields({"type", "add_prefix_space", "trim_offsets", "use_regex"});
  } else if (type == "Sequence") {
    for (const auto& item : node.at("processors").items()) read_into(item, out);
    node.note_other_fields({"type", "processors"});
  } else {
    fail_unknown_component(node, "post-processor", type, {"TemplateProcessing", "ByteLevel", "Sequence"});
  }
}

}  // namespace

PostProcessor read_post_processor(const JsonNode& node) {
  PostProcessor out;
  read_into(node, out);
  return out;
}

void count_edge_spaces(std::string_view spelling, uint32_t& leading, uint32_t& trailing) {
  const char32_t space = kByteAlphabet.letter(' ');
  const auto is_space = [&](char32_t c) { return c == space || is_white_space(c); };
  leading = trailing = 0;
  bool only_spaces = true;
  for (size_t i = 0; i < spelling.size();) {
    if (is_space(next_code_point(spelling, i))) {
      if (only_spaces) ++leading;
      ++trailing;
    } else {
      only_spaces = false;
      trailing = 0;
    }
  }
}

void trim_offsets(const PostProcessor::Trim& trim, std::string_view text, OutputToken& token) {
  uint32_t leading = token.leading;
  if (leading == 1 && trim.add_prefix_space && (token.first || token.begin == 0)) leading = 0;
  for (; leading > 0 && token.begin < token.end; --leading) token.begin += utf8_length(text[token.begin]);
  token.begin = std::min(token.begin, token.end);
  // The end only moves when the text before it holds that many characters at all.
  size_t end = token.end;
  uint32_t left = token.trailing;
  for (; left > 0 && end > 0; --left) do
      --end;
    while (end > 0 && is_continuation_byte(text[end]));
  if (left == 0) token.end = std::max(end, token.begin);
}

}  // namespace fare
