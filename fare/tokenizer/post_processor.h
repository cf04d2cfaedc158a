// The post-processors of tokenizer.json: TemplateProcessing, ByteLevel, Sequence.
#pragma once

#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "fare/tokenizer/json_node.h"

namespace fare {

// A token on its way out. `leading` and `trailing` count the white-space characters (spaces spelled as byte letters
// included) at the edges of its spelling.
struct OutputToken {
  int32_t id = 0;
  size_t begin = 0;  // bytes of the caller's text
  size_t end = 0;
  uint32_t leading = 0;
  uint32_t trailing = 0;
  bool first = false;  // first token of the text
};

struct PostProcessor {
  // Moves offsets off the white space at a token's edges.
  struct Trim {
    bool add_prefix_space = true;  // the one space before the first token was not in the text and is not counted
  };
  // The tokens around the text: ids, with kText where the text stands.
  static constexpr int32_t kText = -1;

  std::vector<Trim> trims_before;  // applied to the text's tokens, in order
  std::optional<std::vector<int32_t>> around;
};

// Throws FormatError naming the place of what is unknown or wrong.
PostProcessor read_post_processor(const JsonNode& node);

// Counts for OutputToken.
void count_edge_spaces(std::string_view spelling, uint32_t& leading, uint32_t& trailing);

// `text` is the caller's.
void trim_offsets(const PostProcessor::Trim& trim, std::string_view text, OutputToken& token);

}  // namespace fare
