#include "fare/tokenizer/pre_tokenizer.h"

#include <algorithm>

#include "fare/tokenizer/byte_alphabet.h"
#include "fare/tokenizer/text_pattern.h"
#include "fare/tokenizer/unicode.h"

namespace fare {
namespace {

// What becomes of the text that a pattern found, the delimiter.
enum class Behavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };

Behavior read_behavior(const JsonNode& node) {
  const std::string name = node.text();
  if (name == "Removed") return Behavior::kRemoved;
  if (name == "Isolated") return Behavior::kIsolated;
  if (name == "MergedWithPrevious") return Behavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return Behavior::kMergedWithNext;
  if (name == "Contiguous") return Behavior::kContiguous;
  fail_unknown_component(node, "behavior", name,
                         {"Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"});
}

// Part of a piece, found by the pattern or lying between what it found. Parts cover the piece without gap.
struct Part {
  uint32_t begin = 0;
  uint32_t end = 0;
  bool found = false;
};

void join_parts(const std::vector<Part>& parts, Behavior behavior, std::vector<ByteRange>& out) {
  const auto add = [&](const Part& part) {
    if (part.begin < part.end) out.push_back({part.begin, part.end});
  };
  std::vector<Part> joined;
  bool previous = false;
  switch (behavior) {
    case Behavior::kRemoved:
      for (const auto& part : parts)
        if (!part.found) add(part);
      return;
    case Behavior::kIsolated:
      for (const auto& part : parts) add(part);
      return;
    case Behavior::kContiguous:
      for (const auto& part : parts) {
        if (part.found == previous && !joined.empty()) joined.back().end = part.end;
        else joined.push_back(part);
        previous = part.found;
      }
      break;
    case Behavior::kMergedWithPrevious:
      for (const auto& part : parts) {
        if (part.found && !previous && !joined.empty()) joined.back().end = part.end;
        else joined.push_back(part);
        previous = part.found;
      }
      break;
    case Behavior::kMergedWithNext:
      for (auto part = parts.rbegin(); part != parts.rend(); ++part) {
        if (part->found && !previous && !joined.empty()) joined.back().begin = part->begin;
        else joined.push_back(*part);
        previous = part->found;
      }
      std::reverse(joined.begin(), joined.end());
      break;
  }
  for (const auto& part : joined) add(part);
}

// Splits every piece. `find(piece, report)` calls report(begin, end) for what it finds in the piece, in order.
template <typename Find>
void split_pieces(PreTokens& tokens, Behavior behavior, bool invert, Find&& find) {
  std::vector<ByteRange> out;
  out.reserve(tokens.pieces.size() + tokens.text.text.size() / 4);
  std::vector<Part> parts;
  for (const ByteRange& piece : tokens.pieces) {
    uint32_t at = piece.begin;
    parts.clear();
    const auto add = [&](uint32_t begin, uint32_t end, bool found) { parts.push_back({begin, end, found != invert}); };
    find(tokens.piece(piece), [&](size_t begin, size_t end) {
      const uint32_t from = piece.begin + static_cast<uint32_t>(begin);
      const uint32_t to = piece.begin + static_cast<uint32_t>(end);
      if (at < from) add(at, from, false);
      add(from, to, true);
      at = to;
    });
    if (at < piece.end) add(at, piece.end, false);
    join_parts(parts, behavior, out);
  }
  tokens.pieces = std::move(out);
}

// Reports every character for which `holds`, one by one.
template <typename Holds>
auto each_character(Holds holds) {
  return [holds](std::string_view piece, auto&& report) {
    for (size_t i = 0; i < piece.size();) {
      const size_t begin = i;
      if (holds(next_code_point(piece, i))) report(begin, i);
    }
  };
}

void split_by(PreTokens& tokens, const TextPattern& pattern, Behavior behavior, bool invert) {
  TextPattern::Matcher matcher(pattern);
  split_pieces(tokens, behavior, invert,
               [&](std::string_view piece, auto&& report) { matcher.for_each_match(piece, report); });
}

// Respells every piece into a new text: `write(out, piece range)` appends to it.
template <typename Write>
void respell_pieces(PreTokens& tokens, Write&& write) {
  AlignedText out;
  out.tracked = tokens.text.tracked;
  out.origin = tokens.text.origin;
  out.text.reserve(tokens.text.text.size() + tokens.text.text.size() / 2);
  if (out.tracked) out.source.reserve(out.text.capacity());
  for (ByteRange& piece : tokens.pieces) {
    const auto begin = static_cast<uint32_t>(out.text.size());
    write(out, piece);
    piece = {begin, static_cast<uint32_t>(out.text.size())};
  }
  tokens.text = std::move(out);
}

class Split : public PreTokenizer {
 public:
  explicit Split(const JsonNode& node)
      : pattern_(node.at("pattern")),
        behavior_(read_behavior(node.at("behavior"))),
        invert_(node.boolean_or("invert", false)) {
    node.note_other_fields({"type", "pattern", "behavior", "invert"});
  }
  void apply(PreTokens& tokens) const override { split_by(tokens, pattern_, behavior_, invert_); }

 private:
  TextPattern pattern_;
  Behavior behavior_;
  bool invert_;
};

class ByteLevel : public PreTokenizer {
 public:
  explicit ByteLevel(const JsonNode& node)
      : add_prefix_space_(node.boolean("add_prefix_space")),
        use_regex_(node.boolean_or("use_regex", true)),
        words_(words()) {
    node.boolean_or("trim_offsets", true);  // checked; it only matters in the post-processor
    node.note_other_fields({"type", "add_prefix_space", "trim_offsets", "use_regex"});
  }

  void apply(PreTokens& tokens) const override {
    if (add_prefix_space_) {
      respell_pieces(tokens, [&](AlignedText& out, const ByteRange& piece) {
        if (tokens.text.text[piece.begin] != ' ') out.append(" ", tokens.text.source_of(piece.begin));
        out.append(tokens.text, piece.begin, piece.end);
      });
    }
    if (use_regex_) split_by(tokens, words_, Behavior::kIsolated, false);
    respell_pieces(tokens, [&](AlignedText& out, const ByteRange& piece) {
      for (uint32_t i = piece.begin; i < piece.end; ++i) {
        const std::string_view letter = kByteAlphabet.spelled(static_cast<unsigned char>(tokens.text.text[i]));
        out.text.append(letter);
        if (out.tracked) out.source.insert(out.source.end(), letter.size(), tokens.text.source[i]);
      }
    });
  }

 private:
  static TextPattern words() {
    return TextPattern::regex(R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)",
                              "ByteLevel");
  }

  bool add_prefix_space_;
  bool use_regex_;
  TextPattern words_;
};

class Digits : public PreTokenizer {
 public:
  explicit Digits(const JsonNode& node) : individual_(node.boolean("individual_digits")) {
    node.note_other_fields({"type", "individual_digits"});
  }
  void apply(PreTokens& tokens) const override {
    split_pieces(tokens, individual_ ? Behavior::kIsolated : Behavior::kContiguous, false, each_character(&is_numeric));
  }

 private:
  bool individual_;
};

class Metaspace : public PreTokenizer {
 public:
  explicit Metaspace(const JsonNode& node) : options_(read_metaspace(node)) {}

  bool needs_sources() const override { return options_.prepend == MetaspaceOptions::Prepend::kFirst; }

  void apply(PreTokens& tokens) const override {
    const std::string& mark = options_.replacement;
    respell_pieces(tokens, [&](AlignedText& out, const ByteRange& piece) {
      const std::string_view text = tokens.piece(piece);
      const ByteRange first = tokens.text.source_of(piece.begin);
      const bool marked = text[0] == ' ' || text.starts_with(mark);
      if (!marked && (options_.prepend == MetaspaceOptions::Prepend::kAlways ||
                      (options_.prepend == MetaspaceOptions::Prepend::kFirst && first.begin == 0)))
        out.append(mark, first);
      uint32_t copied = piece.begin;
      for (uint32_t i = piece.begin; i < piece.end; ++i) {
        if (tokens.text.text[i] != ' ') continue;
        out.append(tokens.text, copied, i);
        out.append(mark, tokens.text.source_of(i));
        copied = i + 1;
      }
      out.append(tokens.text, copied, piece.end);
    });
    if (!options_.split) return;
    split_pieces(tokens, Behavior::kMergedWithNext, false, [&](std::string_view piece, auto&& report) {
      for (size_t at = piece.find(mark); at != std::string_view::npos; at = piece.find(mark, at + mark.size()))
        report(at, at + mark.size());
    });
  }

 private:
  MetaspaceOptions options_;
};

// Words (\w+) and runs of what is neither word nor white space.
class Whitespace : public PreTokenizer {
 public:
  void apply(PreTokens& tokens) const override {
    split_pieces(tokens, Behavior::kIsolated, false, [](std::string_view piece, auto&& report) {
      const auto kind = [](char32_t c) { return is_word_character(c) ? 1 : is_white_space(c) ? 0 : 2; };
      size_t begin = 0;
      int run = -1;
      for (size_t i = 0; i < piece.size();) {
        const size_t at = i;
        const int here = kind(next_code_point(piece, i));
        if (here != run && run >= 0) report(begin, at);
        if (here != run) begin = at;
        run = here;
      }
      report(begin, piece.size());
    });
    std::erase_if(tokens.pieces, [&](const ByteRange& piece) {
      size_t i = 0;
      return is_white_space(next_code_point(tokens.piece(piece), i));
    });
  }
};

class WhitespaceSplit : public PreTokenizer {
 public:
  void apply(PreTokens& tokens) const override {
    split_pieces(tokens, Behavior::kRemoved, false, each_character(&is_white_space));
  }
};

class Sequence : public PreTokenizer {
 public:
  explicit Sequence(const JsonNode& node) {
    for (const auto& item : node.at("pretokenizers").items()) parts_.push_back(make_pre_tokenizer(item));
    node.note_other_fields({"type", "pretokenizers"});
  }
  bool needs_sources() const override {
    return std::any_of(parts_.begin(), parts_.end(), [](const auto& part) { return part->needs_sources(); });
  }
  void apply(PreTokens& tokens) const override {
    for (const auto& part : parts_) part->apply(tokens);
  }

 private:
  std::vector<std::unique_ptr<PreTokenizer>> parts_;
};

}  // namespace

MetaspaceOptions read_metaspace(const JsonNode& node) {
  MetaspaceOptions options;
  options.replacement = node.text("replacement");
  if (options.replacement.empty() || utf8_length(options.replacement[0]) != options.replacement.size())
    node.at("replacement").fail("expected one character, found '" + options.replacement + "'");
  using Prepend = MetaspaceOptions::Prepend;
  if (const auto scheme = node.find("prepend_scheme")) {
    const std::string name = scheme->text();
    if (name == "first") options.prepend = Prepend::kFirst;
    else if (name == "never") options.prepend = Prepend::kNever;
    else if (name == "always") options.prepend = Prepend::kAlways;
    else fail_unknown_component(*scheme, "prepend_scheme", name, {"first", "never", "always"});
  } else {
    options.prepend = Prepend::kAlways;
  }
  if (!node.boolean_or("add_prefix_space", true)) {
    if (node.find("prepend_scheme") && options.prepend != Prepend::kNever)
      node.at("add_prefix_space").fail("false does not go with prepend_scheme '" + node.text("prepend_scheme") + "'");
    options.prepend = Prepend::kNever;
  }
  options.split = node.boolean_or("split", true);
  node.note_other_fields({"type", "replacement", "prepend_scheme", "add_prefix_space", "split", "str_rep"});
  return options;
}

std::unique_ptr<PreTokenizer> make_pre_tokenizer(const JsonNode& node) {
  const std::string type = node.text("type");
  if (type == "Split") return std::make_unique<Split>(node);
  if (type == "ByteLevel") return std::make_unique<ByteLevel>(node);
  if (type == "Digits") return std::make_unique<Digits>(node);
  if (type == "Metaspace") return std::make_unique<Metaspace>(node);
  if (type == "Whitespace") return std::make_unique<Whitespace>();
  if (type == "WhitespaceSplit") return std::make_unique<WhitespaceSplit>();
  if (type == "Sequence") return std::make_unique<Sequence>(node);
  fail_unknown_component(node, "pre-tokenizer", type,
                         {"Split", "ByteLevel", "Digits", "Metaspace", "Whitespace", "WhitespaceSplit", "Sequence"});
}

}  // namespace fare
