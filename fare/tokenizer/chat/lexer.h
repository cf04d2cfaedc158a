// A chat template cut into text, marks and the words between them, as Jinja does with trim_blocks and lstrip_blocks.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace fare::chat {

struct Token {
  enum class Kind {
    kText,
    kBlockBegin,
    kBlockEnd,
    kPrintBegin,
    kPrintEnd,
    kName,
    kString,
    kInteger,
    kFloat,
    kOperator,
    kEnd
  };
  Kind kind = Kind::kEnd;
  std::string text;  // of a string its value, of an operator its spelling
  int line = 1;

  bool is(const char* spelling) const { return (kind == Kind::kOperator || kind == Kind::kName) && text == spelling; }
};

// Whether a template has a fault: thrown with the line, so that the caller can name the file.
struct SyntaxError {
  int line = 1;
  std::string what;
};

// Line ends become \n and one at the very end goes. The last token is kEnd. Throws SyntaxError.
std::vector<Token> tokens_of_template(std::string_view source);

}  // namespace fare::chat
