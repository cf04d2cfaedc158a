#include "fare/tokenizer/chat/parser.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "fare/tokenizer/chat/functions.h"

namespace fare::chat {
namespace {

using Kind = Expression::Kind;
using Words = std::initializer_list<const char*>;

// Deeper than any template is nested; keeps a hostile one from using up the stack.
constexpr int kMaxDepth = 200;

class Parser {
 public:
  explicit Parser(std::string_view source) : tokens_(tokens_of_template(source)) {}

  Block run() {
    Block block = parse_block({});
    if (peek().kind != Token::Kind::kEnd) fail("unexpected '" + peek().text + "'");
    return block;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const { throw SyntaxError{peek().line, what}; }

  const Token& peek(size_t ahead = 0) const { return tokens_[std::min(at_ + ahead, tokens_.size() - 1)]; }
  Token take() {
    Token token = peek();
    if (at_ + 1 < tokens_.size()) ++at_;
    return token;
  }
  bool skip(const char* word) {
    if (!peek().is(word)) return false;
    take();
    return true;
  }
  void expect(const char* word) {
    if (!skip(word)) fail(std::string("expected '") + word + "', found " + shown());
  }
  std::string shown() const {
    switch (peek().kind) {
      case Token::Kind::kBlockEnd: return "the end of the block";
      case Token::Kind::kPrintEnd: return "the end of the print";
      case Token::Kind::kEnd: return "the end of the template";
      default: return "'" + peek().text + "'";
    }
  }
  std::string name(const char* what) {
    if (peek().kind != Token::Kind::kName) fail(std::string("expected ") + what + ", found " + shown());
    return take().text;
  }
  void expect_block_end() {
    if (peek().kind != Token::Kind::kBlockEnd) fail("expected the end of the block, found " + shown());
    take();
  }

  struct Deeper {
    explicit Deeper(Parser& parser) : parser_(parser) {
      if (++parser_.depth_ > kMaxDepth) parser_.fail("the template is nested too deeply");
    }
    ~Deeper() { --parser_.depth_; }
    Parser& parser_;
  };

  // ---- statements ----

  // Up to a block that begins with one of `ends` (at whose word the parser then stands), or the end of the template.
  Block parse_block(Words ends) {
    const Deeper deeper(*this);
    Block block;
    const int begin = at_ > 0 ? tokens_[at_ - 1].line : 1;
    for (;;) {
      const Token token = peek();
      if (token.kind == Token::Kind::kEnd) {
        if (ends.size() > 0)
          throw SyntaxError{begin,
                            std::string("the block that begins here is not ended; expected '") + *ends.begin() + "'"};
        return block;
      }
      take();
      if (token.kind == Token::Kind::kText) {
        Statement& statement = add(block, Statement::Kind::kText, token.line);
        statement.text = token.text;
      } else if (token.kind == Token::Kind::kPrintBegin) {
        Statement& statement = add(block, Statement::Kind::kPrint, token.line);
        statement.expression = parse_tuple();
        if (peek().kind != Token::Kind::kPrintEnd) fail("expected the end of the print statement, found " + shown());
        take();
      } else if (token.kind == Token::Kind::kBlockBegin) {
        if (std::any_of(ends.begin(), ends.end(), [&](const char* word) { return peek().is(word); })) return block;
        parse_statement(block);
      } else {
        fail("unexpected " + shown());
      }
    }
  }

  static Statement& add(Block& block, Statement::Kind kind, int line) {
    block.emplace_back();
    block.back().kind = kind;
    block.back().line = line;
    return block.back();
  }

  void parse_statement(Block& block) {
    const int line = peek().line;
    const std::string word = name("the name of a statement");
    if (word == "if") return parse_if(add(block, Statement::Kind::kIf, line));
    if (word == "for") return parse_for(add(block, Statement::Kind::kFor, line));
    if (word == "set") return parse_set(add(block, Statement::Kind::kSet, line));
    if (word == "macro") return parse_macro(add(block, Statement::Kind::kMacro, line));
    if (word == "filter") {
      Statement& statement = add(block, Statement::Kind::kFilter, line);
      statement.expression = parse_filters(nullptr, true);
      expect_block_end();
      return end_body(statement, "endfilter");
    }
    if (word == "with") {
      Statement& statement = add(block, Statement::Kind::kWith, line);
      while (peek().kind != Token::Kind::kBlockEnd) {
        if (!statement.withs.empty()) expect(",");
        Target target = parse_target();
        expect("=");
        statement.withs.emplace_back(std::move(target), parse_expression());
      }
      expect_block_end();
      return end_body(statement, "endwith");
    }
    if (word == "generation") {
      Statement& statement = add(block, Statement::Kind::kScope, line);
      expect_block_end();
      return end_body(statement, "endgeneration");
    }
    if (word == "break" || word == "continue") {
      if (loops_ == 0) throw SyntaxError{line, "'" + word + "' outside of a loop"};
      add(block, word == "break" ? Statement::Kind::kBreak : Statement::Kind::kContinue, line);
      return expect_block_end();
    }
    for (const char* known :
         {"include", "import", "from", "extends", "block", "call", "autoescape", "do", "trans", "debug", "print"})
      if (word == known) throw SyntaxError{line, "the statement '" + word + "' is not supported"};
    throw SyntaxError{line, "'" + word + "' is no statement that is expected here"};
  }

  void end_body(Statement& statement, const char* end) {
    statement.body = parse_block({end});
    take();
    expect_block_end();
  }

  void parse_if(Statement& statement) {
    for (;;) {
      ExpressionPtr condition = parse_tuple(false);
      expect_block_end();
      Block body = parse_block({"endif", "elif", "else"});
      statement.branches.emplace_back(std::move(condition), std::move(body));
      const std::string word = take().text;
      if (word == "elif") continue;
      expect_block_end();
      if (word == "else") {
        statement.otherwise = parse_block({"endif"});
        take();
        expect_block_end();
      }
      return;
    }
  }

  void parse_for(Statement& statement) {
    statement.target = parse_target();
    if (!statement.target.field.empty()) fail("a loop cannot assign to a field");
    expect("in");
    statement.expression = parse_tuple(false, true);
    if (skip("if")) statement.condition = parse_expression();
    if (peek().is("recursive")) fail("'recursive' loops are not supported");
    expect_block_end();
    ++loops_;
    statement.body = parse_block({"endfor", "else"});
    --loops_;
    const std::string word = take().text;
    expect_block_end();
    if (word == "else") {
      statement.otherwise = parse_block({"endfor"});
      take();
      expect_block_end();
    }
  }

  void parse_set(Statement& statement) {
    statement.target = parse_target();
    if (skip("=")) {
      statement.expression = parse_tuple();
      return expect_block_end();
    }
    statement.kind = Statement::Kind::kSetBlock;
    if (peek().is("|")) statement.expression = parse_filters(nullptr, false);
    expect_block_end();
    end_body(statement, "endset");
  }

  void parse_macro(Statement& statement) {
    statement.text = name("the name of the macro");
    expect("(");
    while (!peek().is(")")) {
      if (!statement.target.names.empty()) expect(",");
      if (peek().is(")")) break;
      if (peek().is("*") || peek().is("**"))
        fail("'" + peek().text + "' among the parameters of a macro is not supported");
      statement.target.names.push_back(name("a parameter"));
      if (skip("=")) statement.defaults.push_back(parse_expression());
      else if (!statement.defaults.empty()) fail("a parameter without default behind one that has it");
    }
    expect(")");
    expect_block_end();
    const int outer = std::exchange(loops_, 0);
    end_body(statement, "endmacro");
    loops_ = outer;
  }

  Target parse_target() {
    Target target;
    const bool bracket = skip("(");
    do {
      if (!target.names.empty() && (peek().is("in") || peek().is("=") || peek().is(")"))) break;
      const Token token = peek();
      target.names.push_back(name("a name to assign to"));
      for (const char* constant : {"true", "false", "none", "True", "False", "None"})
        if (token.text == constant) throw SyntaxError{token.line, "'" + token.text + "' cannot be assigned to"};
      if (target.names.size() == 1 && skip(".")) target.field = name("a field");
      if (peek().is(",")) target.is_tuple = true;
    } while (skip(","));
    if (bracket) expect(")");
    if (!target.field.empty() && target.is_tuple) fail("several targets cannot hold a field");
    return target;
  }

  // ---- expressions ----

  static ExpressionPtr made(Kind kind, int line, std::string name = "") {
    auto expression = std::make_unique<Expression>();
    expression->kind = kind;
    expression->line = line;
    expression->name = std::move(name);
    return expression;
  }
  static ExpressionPtr binary(const std::string& operation, int line, ExpressionPtr left, ExpressionPtr right) {
    auto expression = made(Kind::kBinary, line, operation);
    expression->parts.push_back(std::move(left));
    expression->parts.push_back(std::move(right));
    return expression;
  }

  // An expression, or several with commas between them.
  ExpressionPtr parse_tuple(bool conditional = true, bool stops_at_if = false) {
    const int line = peek().line;
    ExpressionPtr first = conditional || !stops_at_if ? parse_expression() : parse_or();
    if (!peek().is(",")) return first;
    auto tuple = made(Kind::kTuple, line);
    tuple->parts.push_back(std::move(first));
    while (skip(",")) {
      const auto kind = peek().kind;
      if (kind == Token::Kind::kBlockEnd || kind == Token::Kind::kPrintEnd || peek().is(")")) break;
      tuple->parts.push_back(stops_at_if ? parse_or() : parse_expression());
    }
    return tuple;
  }

  ExpressionPtr parse_expression() {
    const Deeper deeper(*this);
    ExpressionPtr value = parse_or();
    while (peek().is("if")) {
      const int line = take().line;
      auto conditional = made(Kind::kConditional, line);
      ExpressionPtr condition = parse_or();
      conditional->parts.push_back(std::move(value));
      conditional->parts.push_back(std::move(condition));
      conditional->parts.push_back(skip("else") ? parse_expression() : nullptr);
      value = std::move(conditional);
    }
    return value;
  }

  ExpressionPtr parse_or() {
    ExpressionPtr left = parse_and();
    while (peek().is("or")) {
      const int line = take().line;
      left = binary("or", line, std::move(left), parse_and());
    }
    return left;
  }

  ExpressionPtr parse_and() {
    ExpressionPtr left = parse_not();
    while (peek().is("and")) {
      const int line = take().line;
      left = binary("and", line, std::move(left), parse_not());
    }
    return left;
  }

  ExpressionPtr parse_not() {
    if (!peek().is("not")) return parse_compare();
    const Deeper deeper(*this);
    auto expression = made(Kind::kUnary, take().line, "not");
    expression->parts.push_back(parse_not());
    return expression;
  }

  ExpressionPtr parse_compare() {
    const int line = peek().line;
    ExpressionPtr first = parse_sum();
    auto compare = made(Kind::kCompare, line);
    for (;;) {
      std::string operation;
      for (const char* known : {"==", "!=", "<", "<=", ">", ">=", "in"})
        if (peek().is(known)) operation = known;
      if (operation.empty() && peek().is("not") && peek(1).is("in")) {
        take();
        operation = "not in";
      }
      if (operation.empty()) break;
      take();
      compare->names.push_back(operation);
      compare->parts.push_back(parse_sum());
    }
    if (compare->names.empty()) return first;
    compare->parts.insert(compare->parts.begin(), std::move(first));
    return compare;
  }

  template <typename Next>
  ExpressionPtr parse_chain(Words operations, Next&& next) {
    ExpressionPtr left = next();
    for (;;) {
      const auto found =
          std::find_if(operations.begin(), operations.end(), [&](const char* word) { return peek().is(word); });
      if (found == operations.end()) return left;
      const int line = take().line;
      left = binary(*found, line, std::move(left), next());
    }
  }
  ExpressionPtr parse_sum() {
    return parse_chain({"+", "-"}, [&] { return parse_concatenation(); });
  }
  ExpressionPtr parse_concatenation() {
    return parse_chain({"~"}, [&] { return parse_product(); });
  }
  ExpressionPtr parse_product() {
    return parse_chain({"*", "/", "//", "%"}, [&] { return parse_power(); });
  }
  ExpressionPtr parse_power() {
    return parse_chain({"**"}, [&] { return parse_unary(true); });
  }

  ExpressionPtr parse_unary(bool with_filters) {
    const Deeper deeper(*this);
    ExpressionPtr expression;
    if (peek().is("-") || peek().is("+")) {
      const Token token = take();
      expression = made(Kind::kUnary, token.line, token.text);
      expression->parts.push_back(parse_unary(false));
    } else {
      expression = parse_primary();
    }
    expression = parse_postfix(std::move(expression));
    return with_filters ? parse_filters_and_tests(std::move(expression)) : std::move(expression);
  }

  ExpressionPtr literal(int line, Value value) {
    auto expression = made(Kind::kLiteral, line);
    expression->value = std::move(value);
    return expression;
  }

  ExpressionPtr parse_primary() {
    const Token token = peek();
    if (token.kind == Token::Kind::kName) {
      take();
      if (token.text == "true" || token.text == "True") return literal(token.line, true);
      if (token.text == "false" || token.text == "False") return literal(token.line, false);
      if (token.text == "none" || token.text == "None") return literal(token.line, {});
      for (const char* word : {"if", "else", "elif", "for", "in", "is", "not", "and", "or"})
        if (token.text == word) throw SyntaxError{token.line, "unexpected '" + token.text + "'"};
      if (peek().is("(") && is_unsupported_function(token.text))
        throw SyntaxError{token.line, "the function '" + token.text + "' is not supported"};
      return made(Kind::kName, token.line, token.text);
    }
    if (token.kind == Token::Kind::kString) {
      std::string text;
      while (peek().kind == Token::Kind::kString) text += take().text;
      return literal(token.line, text);
    }
    if (token.kind == Token::Kind::kInteger) {
      take();
      int64_t value = 0;
      if (std::from_chars(token.text.data(), token.text.data() + token.text.size(), value).ec != std::errc())
        throw SyntaxError{token.line, "the number " + token.text + " is beyond 64 bits"};
      return literal(token.line, value);
    }
    if (token.kind == Token::Kind::kFloat) {
      take();
      return literal(token.line, std::strtod(token.text.c_str(), nullptr));
    }
    if (skip("(")) {
      if (skip(")")) return made(Kind::kTuple, token.line);
      ExpressionPtr inner = parse_tuple();
      expect(")");
      return inner;
    }
    if (skip("[")) {
      auto list = made(Kind::kList, token.line);
      while (!peek().is("]")) {
        if (!list->parts.empty()) expect(",");
        if (peek().is("]")) break;
        list->parts.push_back(parse_expression());
      }
      expect("]");
      return list;
    }
    if (skip("{")) {
      auto dict = made(Kind::kDict, token.line);
      while (!peek().is("}")) {
        if (!dict->parts.empty()) expect(",");
        if (peek().is("}")) break;
        dict->parts.push_back(parse_expression());
        expect(":");
        dict->parts.push_back(parse_expression());
      }
      expect("}");
      return dict;
    }
    fail("expected an expression, found " + shown());
  }

  ExpressionPtr parse_postfix(ExpressionPtr expression) {
    for (;;) {
      const int line = peek().line;
      if (skip(".")) {
        if (peek().kind == Token::Kind::kInteger) {
          auto item = made(Kind::kItem, line);
          item->parts.push_back(std::move(expression));
          item->parts.push_back(parse_primary());
          expression = std::move(item);
        } else {
          auto attribute = made(Kind::kAttribute, line, name("a field or method"));
          attribute->parts.push_back(std::move(expression));
          expression = std::move(attribute);
        }
      } else if (skip("[")) {
        expression = parse_subscript(std::move(expression), line);
      } else if (peek().is("(")) {
        auto call = made(Kind::kCall, line);
        call->parts.push_back(std::move(expression));
        parse_arguments(*call);
        expression = std::move(call);
      } else {
        return expression;
      }
    }
  }

  ExpressionPtr parse_subscript(ExpressionPtr object, int line) {
    auto slice = made(Kind::kSlice, line);
    slice->parts.push_back(std::move(object));
    bool colon = false;
    for (int part = 0; part < 3; ++part) {
      const bool absent = peek().is(":") || peek().is("]");
      slice->parts.push_back(absent ? nullptr : parse_expression());
      if (part < 2 && skip(":")) colon = true;
      else break;
    }
    if (peek().is(",")) fail("several indices are not supported");
    expect("]");
    if (!colon) {
      if (slice->parts[1] == nullptr) fail("an index is missing");
      slice->kind = Kind::kItem;
      return slice;
    }
    slice->parts.resize(4);
    return slice;
  }

  void parse_arguments(Expression& call) {
    expect("(");
    bool first = true;
    while (!peek().is(")")) {
      if (!first) expect(",");
      if (peek().is(")")) break;
      first = false;
      if (peek().is("*") || peek().is("**")) fail("'" + peek().text + "' in front of an argument is not supported");
      if (peek().kind == Token::Kind::kName && peek(1).is("=")) {
        std::string key = take().text;
        take();
        call.named.emplace_back(std::move(key), parse_expression());
      } else {
        if (!call.named.empty()) fail("an argument without name behind one with a name");
        call.parts.push_back(parse_expression());
      }
    }
    expect(")");
  }

  // One filter or more, applied to `value` (null: to a body). With `first` the bar in front of the first is left out.
  ExpressionPtr parse_filters(ExpressionPtr value, bool first) {
    while (first || peek().is("|")) {
      if (!first) take();
      first = false;
      const int line = peek().line;
      auto filter = made(Kind::kFilter, line, name("the name of a filter"));
      require_filter(filter->name, line);
      filter->parts.push_back(std::move(value));
      if (peek().is("(")) parse_arguments(*filter);
      value = std::move(filter);
    }
    return value;
  }

  static void require_filter(const std::string& filter, int line) {
    if (!is_filter(filter)) throw SyntaxError{line, "the filter '" + filter + "' is not supported"};
  }

  ExpressionPtr parse_filters_and_tests(ExpressionPtr expression) {
    for (;;) {
      if (peek().is("|")) {
        expression = parse_filters(std::move(expression), false);
      } else if (peek().is("is")) {
        expression = parse_test(std::move(expression));
      } else if (peek().is("(")) {  // behind a filter or a test
        auto call = made(Kind::kCall, peek().line);
        call->parts.push_back(std::move(expression));
        parse_arguments(*call);
        expression = std::move(call);
      } else {
        return expression;
      }
    }
  }

  ExpressionPtr parse_test(ExpressionPtr expression) {
    const int line = take().line;
    const bool negated = skip("not");
    auto test = made(Kind::kTest, line, name("the name of a test"));
    if (!is_test(test->name)) throw SyntaxError{line, "the test '" + test->name + "' is not supported"};
    test->parts.push_back(std::move(expression));
    const Token& next = peek();
    const bool word = next.kind == Token::Kind::kName && !next.is("else") && !next.is("or") && !next.is("and") &&
                      !next.is("if") && !next.is("not") && !next.is("in");
    if (next.is("(")) {
      parse_arguments(*test);
    } else if (next.is("is")) {
      fail("a test right behind a test; use brackets");
    } else if (word || next.kind == Token::Kind::kString || next.kind == Token::Kind::kInteger ||
               next.kind == Token::Kind::kFloat || next.is("[") || next.is("{")) {
      test->parts.push_back(parse_postfix(parse_primary()));
    }
    if (!negated) return test;
    auto result = made(Kind::kUnary, line, "not");
    result->parts.push_back(std::move(test));
    return result;
  }

  std::vector<Token> tokens_;
  size_t at_ = 0;
  int depth_ = 0;
  int loops_ = 0;
};

}  // namespace

Block parse_template(std::string_view source) { return Parser(source).run(); }

}  // namespace fare::chat
