// What a Split or Replace looks for: literal text, or a regular expression as tokenizer.json writes them.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "fare/tokenizer/json_node.h"

namespace fare {

class TextPattern {
 public:
  // `node` is the JSON value {"String": ..} or {"Regex": ..}; FormatError with its place where it does not compile.
  explicit TextPattern(const JsonNode& node);
  // The same from an expression; `name` is how errors call it.
  static TextPattern regex(std::string_view expression, const std::string& name);

  ~TextPattern();
  TextPattern(TextPattern&&) noexcept;
  TextPattern& operator=(TextPattern&&) noexcept;

  // Finds matches; made once and used for many texts by one thread. The pattern must outlive it.
  class Matcher {
   public:
    explicit Matcher(const TextPattern& pattern);
    ~Matcher();
    Matcher(const Matcher&) = delete;
    Matcher& operator=(const Matcher&) = delete;

    // Calls `use(begin, end)` for each match in `text` (valid UTF-8), left to right. Look-around sees `text` and
    // nothing else. An empty match right behind another match is not reported; an empty text has no match.
    // Throws FormatError when the expression needs more than the matcher gives (1 GiB of stack).
    template <typename Use>
    void for_each_match(std::string_view text, Use&& use) {
      start(text);
      size_t begin = 0;
      size_t end = 0;
      while (next(begin, end)) use(begin, end);
    }

   private:
    struct State;
    void start(std::string_view text);
    bool next(size_t& begin, size_t& end);
    bool match_from(size_t start);

    const TextPattern& pattern_;
    std::unique_ptr<State> state_;
    std::string_view text_;
    size_t at_ = 0;
    size_t last_end_ = 0;
    bool done_ = true;
  };

 private:
  struct Compiled;
  explicit TextPattern(std::unique_ptr<Compiled> compiled);
  std::unique_ptr<Compiled> compiled_;
};

}  // namespace fare
