#include "fare/tokenizer/text_pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <stdexcept>

#include "fare/core/error.h"
#include "fare/tokenizer/oniguruma.h"
#include "fare/tokenizer/unicode.h"

namespace fare {

struct TextPattern::Compiled {
  pcre2_code* code = nullptr;
  bool jit = false;
  std::string path;  // for errors
  std::string place;

  Compiled() = default;
  Compiled(const Compiled&) = delete;
  Compiled& operator=(const Compiled&) = delete;
  ~Compiled() { pcre2_code_free(code); }

  void compile(std::string_view expression, uint32_t options) {
    std::unique_ptr<pcre2_compile_context, decltype(&pcre2_compile_context_free)> context(
        pcre2_compile_context_create(nullptr), &pcre2_compile_context_free);
    FARE_CHECK(context != nullptr, "out of memory");
    pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
    pcre2_set_bsr(context.get(), PCRE2_BSR_UNICODE);
    int error = 0;
    size_t offset = 0;
    code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(expression.data()), expression.size(), options, &error, &offset,
                         context.get());
    if (code == nullptr) {
      PCRE2_UCHAR message[256];
      pcre2_get_error_message(error, message, sizeof message);
      throw std::invalid_argument(reinterpret_cast<const char*>(message));
    }
    jit = pcre2_jit_compile(code, PCRE2_JIT_COMPLETE) == 0;
  }

  void compile_regex(std::string_view expression) {
    try {
      compile(pcre2_from_oniguruma(expression), PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C);
    } catch (const std::invalid_argument& error) {
      throw FormatError(path, place,
                        "the regular expression '" + std::string(expression) + "' does not compile: " + error.what());
    }
  }
};

TextPattern::TextPattern(std::unique_ptr<Compiled> compiled) : compiled_(std::move(compiled)) {}
TextPattern::~TextPattern() = default;
TextPattern::TextPattern(TextPattern&&) noexcept = default;
TextPattern& TextPattern::operator=(TextPattern&&) noexcept = default;

TextPattern::TextPattern(const JsonNode& node) : compiled_(std::make_unique<Compiled>()) {
  compiled_->path = node.path();
  compiled_->place = node.place();
  if (const auto literal = node.find("String")) {
    compiled_->compile(literal->text(), PCRE2_UTF | PCRE2_LITERAL);
  } else if (const auto expression = node.find("Regex")) {
    compiled_->place = expression->place();
    compiled_->compile_regex(expression->text());
  } else {
    node.fail("expected {\"String\": ..} or {\"Regex\": ..}");
  }
}

TextPattern TextPattern::regex(std::string_view expression, const std::string& name) {
  auto compiled = std::make_unique<Compiled>();
  compiled->path = name;
  compiled->compile_regex(expression);
  return TextPattern(std::move(compiled));
}

struct TextPattern::Matcher::State {
  pcre2_match_data* data = nullptr;
  pcre2_match_context* context = nullptr;
  pcre2_jit_stack* stack = nullptr;  // made only when the matcher's own 32 KiB do not suffice
  State() : data(pcre2_match_data_create(1, nullptr)), context(pcre2_match_context_create(nullptr)) {
    FARE_CHECK(data != nullptr && context != nullptr, "out of memory");
    pcre2_set_match_limit(context, UINT32_MAX);
    pcre2_set_depth_limit(context, UINT32_MAX);
    pcre2_set_heap_limit(context, 1u << 20);  // KiB
  }
  ~State() {
    pcre2_match_data_free(data);
    pcre2_match_context_free(context);
    pcre2_jit_stack_free(stack);
  }
};

TextPattern::Matcher::Matcher(const TextPattern& pattern) : pattern_(pattern), state_(std::make_unique<State>()) {}

TextPattern::Matcher::~Matcher() = default;

void TextPattern::Matcher::start(std::string_view text) {
  text_ = text;
  at_ = 0;
  last_end_ = static_cast<size_t>(-1);
  done_ = text.empty();
}

bool TextPattern::Matcher::match_from(size_t start) {
  const Compiled& compiled = *pattern_.compiled_;
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text_.data());
  const auto attempt = [&] {
    // The text was checked once, where it came in; checking it at each match would be quadratic.
    return compiled.jit ? pcre2_jit_match(compiled.code, subject, text_.size(), start, PCRE2_NO_UTF_CHECK, state_->data,
                                          state_->context)
                        : pcre2_match(compiled.code, subject, text_.size(), start, PCRE2_NO_UTF_CHECK, state_->data,
                                      state_->context);
  };
  int result = attempt();
  if (result == PCRE2_ERROR_JIT_STACKLIMIT && state_->stack == nullptr) {
    state_->stack = pcre2_jit_stack_create(1u << 20, 1u << 30, nullptr);
    if (state_->stack != nullptr) {
      pcre2_jit_stack_assign(state_->context, nullptr, state_->stack);
      result = attempt();
    }
  }
  if (result == PCRE2_ERROR_NOMATCH) return false;
  if (result < 0) {
    PCRE2_UCHAR message[256];
    pcre2_get_error_message(result, message, sizeof message);
    throw FormatError(compiled.path, compiled.place,
                      "the regular expression gave up at byte " + std::to_string(start) + " of a text of " +
                          std::to_string(text_.size()) + " bytes: " + reinterpret_cast<const char*>(message));
  }
  return true;
}

bool TextPattern::Matcher::next(size_t& begin, size_t& end) {
  while (!done_) {
    if (at_ > text_.size() || !match_from(at_)) break;
    const size_t* found = pcre2_get_ovector_pointer(state_->data);
    begin = found[0];
    end = found[1];
    if (begin < end || end != last_end_) {
      at_ = last_end_ = end;
      return true;
    }
    at_ += at_ < text_.size() ? utf8_length(text_[at_]) : 1;
  }
  done_ = true;
  return false;
}

}  // namespace fare
