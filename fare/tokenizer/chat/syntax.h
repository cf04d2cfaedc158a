// The syntax tree of a chat template.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "fare/tokenizer/chat/value.h"

namespace fare::chat {

struct Expression;
using ExpressionPtr = std::unique_ptr<Expression>;
using Expressions = std::vector<ExpressionPtr>;

struct Expression {
  enum class Kind {
    kLiteral,      // value
    kName,         // name
    kList,         // parts
    kTuple,        // parts
    kDict,         // parts: key, value, key, value, ..
    kAttribute,    // parts[0] . name
    kItem,         // parts[0] [ parts[1] ]
    kSlice,        // parts[0] [ parts[1] : parts[2] : parts[3] ], each of the last three may be null
    kCall,         // parts[0] ( parts[1..], named )
    kFilter,       // parts[0] | name ( parts[1..], named ); parts[0] is null for the body of a filter block
    kTest,         // parts[0] is name ( parts[1..], named )
    kUnary,        // name: not, -, +
    kBinary,       // name: and, or, +, -, *, /, //, %, **, ~
    kCompare,      // parts[0] names[0] parts[1] names[1] ..
    kConditional,  // parts[0] if parts[1] else parts[2] (may be null)
  };
  Kind kind = Kind::kLiteral;
  int line = 1;
  std::string name;
  Value value;
  Expressions parts;
  std::vector<std::pair<std::string, ExpressionPtr>> named;
  std::vector<std::string> names;
};

struct Statement;
using Block = std::vector<Statement>;

// What a set or a for assigns to: a name, name.field of a namespace, or several names.
struct Target {
  std::vector<std::string> names;
  std::string field;      // of names[0]
  bool is_tuple = false;  // several, or one with a comma behind it
};

struct Statement {
  enum class Kind {
    kText,      // text
    kPrint,     // expression
    kFor,       // target, expression, condition (may be null), body, otherwise
    kIf,        // branches, otherwise
    kSet,       // target, expression
    kSetBlock,  // target, body; expression: filters, or null
    kMacro,     // text: its name; target.names: parameters; defaults: of the last ones; body
    kFilter,    // expression: filters; body
    kWith,      // withs; body
    kScope,     // body, as it is (generation)
    kBreak,
    kContinue,
  };
  Kind kind = Kind::kText;
  int line = 1;
  std::string text;
  Target target;
  ExpressionPtr expression;
  ExpressionPtr condition;
  Expressions defaults;
  std::vector<std::pair<ExpressionPtr, Block>> branches;
  std::vector<std::pair<Target, ExpressionPtr>> withs;
  Block body;
  Block otherwise;
};

}  // namespace fare::chat
