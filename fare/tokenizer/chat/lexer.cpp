#include "fare/tokenizer/chat/lexer.h"

#include <algorithm>

#include "fare/tokenizer/chat/value.h"
#include "fare/tokenizer/unicode.h"

namespace fare::chat {
namespace {

using Kind = Token::Kind;

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_name_start(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || static_cast<unsigned char>(c) >= 0x80;
}

// Longer ones first.
constexpr std::string_view kOperators[] = {"**", "//", "==", "!=", "<=", ">=", "+", "-", "*", "/", "%", "~", "<",
                                           ">",  "=",  ".",  ":",  "|",  ",",  ";", "(", ")", "[", "]", "{", "}"};

std::string normal_lines(std::string_view source) {
  std::string out;
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') out += source[i];
    else if (i + 1 >= source.size() || source[i + 1] != '\n') out += '\n';
  }
  if (out.ends_with('\n')) out.pop_back();
  return out;
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : storage_(normal_lines(source)), in_(storage_) {}

  std::vector<Token> run() {
    while (at_ < in_.size()) {
      const size_t mark = next_mark(at_);
      if (mark == std::string_view::npos) {
        add(Kind::kText, std::string(in_.substr(at_)));
        break;
      }
      const char kind = in_[mark + 1];
      size_t inside = mark + 2;
      const char sign = inside < in_.size() && (in_[inside] == '-' || in_[inside] == '+') ? in_[inside] : ' ';
      if (sign != ' ') ++inside;
      text_before(mark, kind, sign);
      move_to(inside);
      line_starting_ = false;
      if (kind == '#') comment();
      else if (kind == '%' && word_at(at_) == "raw") raw();
      else mark_content(kind);
    }
    add(Kind::kEnd, "");
    return std::move(tokens_);
  }

 private:
  [[noreturn]] void fail(const std::string& what) const { throw SyntaxError{line_, what}; }

  void add(Kind kind, std::string text) {
    if (kind == Kind::kText && text.empty()) return;
    tokens_.push_back({kind, std::move(text), line_});
  }

  void move_to(size_t at) {
    line_ += static_cast<int>(std::count(in_.begin() + static_cast<std::ptrdiff_t>(at_),
                                         in_.begin() + static_cast<std::ptrdiff_t>(at), '\n'));
    at_ = at;
  }

  size_t next_mark(size_t from) const {
    for (size_t i = in_.find('{', from); i + 1 < in_.size() && i != std::string_view::npos; i = in_.find('{', i + 1))
      if (in_[i + 1] == '{' || in_[i + 1] == '%' || in_[i + 1] == '#') return i;
    return std::string_view::npos;
  }

  // The text up to a mark, with what the mark takes off its end.
  void text_before(size_t mark, char kind, char sign) {
    std::string_view text = in_.substr(at_, mark - at_);
    if (sign == '-') {
      text = strip(text, nullptr, false, true);
    } else if (sign != '+' && kind != '{') {
      const size_t line_begin = text.rfind('\n') + 1;  // 0 when there is none
      if ((line_begin > 0 || line_starting_) && strip(text.substr(line_begin), nullptr, true, false).empty())
        text = text.substr(0, line_begin);
    }
    add(Kind::kText, std::string(text));
    move_to(mark);
  }

  size_t after_space(size_t at) const {
    const std::string_view rest = strip(in_.substr(at), nullptr, true, false);
    return in_.size() - rest.size();
  }

  std::string_view word_at(size_t at) const {
    at = after_space(at);
    size_t end = at;
    while (end < in_.size() && (is_name_start(in_[end]) || is_digit(in_[end]))) ++end;
    return in_.substr(at, end - at);
  }

  // Moves behind an end mark at `at` (which may have a sign in front) and what it takes of the text behind.
  // `closing` is "%}", "}}" or "#}".
  void close(size_t at, std::string_view closing) {
    const char sign = in_[at] == '-' || in_[at] == '+' ? in_[at] : ' ';
    size_t end = at + closing.size() + (sign == ' ' ? 0 : 1);
    if (sign == '-') end = after_space(end);
    else if (sign == ' ' && closing != "}}" && end < in_.size() && in_[end] == '\n') ++end;
    line_starting_ = in_[end - 1] == '\n';
    move_to(end);
  }

  bool closes_at(size_t at, std::string_view closing) const {
    const std::string_view rest = in_.substr(at);
    if (rest.starts_with(closing)) return true;
    if (!rest.empty() && (rest[0] == '-' || (rest[0] == '+' && closing != "}}")))
      return rest.substr(1).starts_with(closing);
    return false;
  }

  void comment() {
    const size_t end = in_.find("#}", at_);
    if (end == std::string_view::npos) fail("a comment {# is not closed");
    const bool sign = end > at_ && (in_[end - 1] == '-' || in_[end - 1] == '+');
    close(sign ? end - 1 : end, "#}");
  }

  void raw() {
    size_t at = after_space(after_space(at_) + 3);
    if (!closes_at(at, "%}")) fail("expected %} after raw");
    const bool trims = in_[at] == '-';
    at += in_[at] == '%' ? 2 : 3;
    move_to(trims ? after_space(at) : at);
    for (size_t mark = in_.find("{%", at_); mark != std::string_view::npos; mark = in_.find("{%", mark + 2)) {
      size_t inside = mark + 2;
      const char sign = inside < in_.size() && (in_[inside] == '-' || in_[inside] == '+') ? in_[inside] : ' ';
      if (sign != ' ') ++inside;
      if (word_at(inside) != "endraw") continue;
      text_before(mark, '%', sign);
      const size_t end = after_space(after_space(inside) + 6);
      if (!closes_at(end, "%}")) fail("expected %} after endraw");
      close(end, "%}");
      return;
    }
    fail("raw is not ended by endraw");
  }

  // What stands between {{ }} or {% %}.
  void mark_content(char kind) {
    const std::string_view closing = kind == '{' ? "}}" : "%}";
    add(kind == '{' ? Kind::kPrintBegin : Kind::kBlockBegin, "");
    std::string open;  // brackets
    for (;;) {
      move_to(after_space(at_));
      if (at_ >= in_.size()) fail("the template ends inside a mark; expected " + std::string(closing));
      if (open.empty() && closes_at(at_, closing)) {
        add(kind == '{' ? Kind::kPrintEnd : Kind::kBlockEnd, "");
        close(at_, closing);
        return;
      }
      const char c = in_[at_];
      if (c == '"' || c == '\'') {
        string();
      } else if (is_digit(c)) {
        number();
      } else if (is_name_start(c)) {
        const std::string_view name = word_at(at_);
        add(Kind::kName, std::string(name));
        move_to(at_ + name.size());
      } else {
        const auto* found = std::find_if(std::begin(kOperators), std::end(kOperators), [&](std::string_view spelled) {
          return in_.substr(at_).starts_with(spelled);
        });
        if (found == std::end(kOperators)) fail(std::string("unexpected character '") + c + "'");
        if (c == '(' || c == '[' || c == '{') open += c == '(' ? ')' : c == '[' ? ']' : '}';
        if (c == ')' || c == ']' || c == '}') {
          if (open.empty() || open.back() != c) fail(std::string("unexpected '") + c + "'");
          open.pop_back();
        }
        add(Kind::kOperator, std::string(*found));
        move_to(at_ + found->size());
      }
    }
  }

  void string() {
    const char quote = in_[at_];
    std::string value;
    size_t i = at_ + 1;
    const auto code = [&](size_t digits) {
      char32_t c = 0;
      for (size_t d = 0; d < digits; ++d, ++i) {
        const char h = i < in_.size() ? in_[i] : '\0';
        if (!is_digit(h) && !(h >= 'a' && h <= 'f') && !(h >= 'A' && h <= 'F'))
          fail("a \\x or \\u escape is cut short");
        c = c * 16 + static_cast<char32_t>(is_digit(h) ? h - '0' : (h | 0x20) - 'a' + 10);
      }
      if (c > 0x10FFFF || (c >= 0xD800 && c < 0xE000)) fail("an escape that names no character");
      append_utf8(value, c);
    };
    while (i < in_.size() && in_[i] != quote) {
      if (in_[i] != '\\') {
        value += in_[i++];
        continue;
      }
      if (++i >= in_.size()) break;
      const char c = in_[i++];
      switch (c) {
        case '\n': break;
        case '\\':
        case '\'':
        case '"': value += c; break;
        case 'n': value += '\n'; break;
        case 't': value += '\t'; break;
        case 'r': value += '\r'; break;
        case 'a': value += '\a'; break;
        case 'b': value += '\b'; break;
        case 'f': value += '\f'; break;
        case 'v': value += '\v'; break;
        case 'x': code(2); break;
        case 'u': code(4); break;
        case 'U': code(8); break;
        case 'N': fail("the escape \\N{..} is not supported");
        default:
          if (c >= '0' && c <= '7') {
            char32_t octal = static_cast<char32_t>(c - '0');
            for (int d = 0; d < 2 && i < in_.size() && in_[i] >= '0' && in_[i] <= '7'; ++d)
              octal = octal * 8 + static_cast<char32_t>(in_[i++] - '0');
            append_utf8(value, octal);
          } else {
            value += '\\';
            value += c;
          }
      }
    }
    if (i >= in_.size()) fail("a string is not closed");
    add(Kind::kString, std::move(value));
    move_to(i + 1);
  }

  void number() {
    size_t i = at_;
    const auto run = [&](auto&& belongs) {
      while (i < in_.size() && (belongs(in_[i]) || (in_[i] == '_' && i + 1 < in_.size() && belongs(in_[i + 1])))) ++i;
    };
    if (in_[i] == '0' && i + 1 < in_.size() && std::string_view("xXoObB").find(in_[i + 1]) != std::string_view::npos)
      fail("numbers with 0x, 0o or 0b are not supported");
    run(is_digit);
    bool real = false;
    if (i + 1 < in_.size() && in_[i] == '.' && is_digit(in_[i + 1])) {
      real = true;
      ++i;
      run(is_digit);
    }
    size_t exponent = i + 1;
    if (i < in_.size() && (in_[i] == 'e' || in_[i] == 'E')) {
      if (exponent < in_.size() && (in_[exponent] == '+' || in_[exponent] == '-')) ++exponent;
      if (exponent < in_.size() && is_digit(in_[exponent])) {
        real = true;
        i = exponent;
        run(is_digit);
      }
    }
    std::string digits(in_.substr(at_, i - at_));
    std::erase(digits, '_');
    add(real ? Kind::kFloat : Kind::kInteger, std::move(digits));
    move_to(i);
  }

  std::string storage_;
  std::string_view in_;
  size_t at_ = 0;
  int line_ = 1;
  bool line_starting_ = true;  // the last mark ended a line, or nothing was yet
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokens_of_template(std::string_view source) { return Lexer(source).run(); }

}  // namespace fare::chat
