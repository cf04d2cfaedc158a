#include "fare/tokenizer/sentencepiece_model.h"

#include <algorithm>
#include <limits>
#include <queue>
#include <unordered_map>
#include <utility>

#include "fare/tokenizer/byte_pieces.h"
#include "fare/tokenizer/byte_trie.h"
#include "fare/tokenizer/unicode.h"

namespace fare {
namespace {

using Kind = SentencePieceFile::Kind;

bool may_be_text(Kind kind) { return kind == Kind::kNormal || kind == Kind::kUserDefined || kind == Kind::kUnused; }

// A piece that was found: bytes [begin, end) of the text; id -1 where no piece is.
struct Found {
  uint32_t begin = 0;
  uint32_t end = 0;
  int32_t id = -1;
};

class SentencePieceModel : public TokenModel {
 public:
  explicit SentencePieceModel(const SentencePieceFile& file)
      : pieces_(file.pieces), byte_fallback_(file.byte_fallback), unk_id_(file.unk_id) {
    vocabulary_.reserve(pieces_.size());
    for (size_t id = 0; id < pieces_.size(); ++id) vocabulary_.add(pieces_[id].text, static_cast<int32_t>(id));
    byte_ids_.emplace(vocabulary_);
  }

  void tokenize(std::string_view text, std::vector<PieceToken>& out) const override {
    std::vector<Found> found;
    segment(text, found);
    bool after_unknown = false;
    for (const Found& part : found) {
      const bool unknown = part.id < 0;
      if (!unknown) {
        out.push_back({part.id, part.begin, part.end});
      } else if (byte_fallback_) {
        // All bytes of a character have the whole of it.
        for (const char byte : text.substr(part.begin, part.end - part.begin))
          out.push_back({byte_ids_->of(byte), part.begin, part.end});
      } else if (after_unknown) {
        out.back().end = part.end;
      } else {
        out.push_back({unk_id_, part.begin, part.end});
      }
      after_unknown = unknown;
    }
  }

  const Vocabulary& vocabulary() const override { return vocabulary_; }
  std::optional<int32_t> unk_id() const override { return unk_id_; }
  bool is_special(int32_t id) const override {
    if (id < 0 || static_cast<size_t>(id) >= pieces_.size()) return false;
    return kind(id) == Kind::kControl || kind(id) == Kind::kUnknown;
  }

 protected:
  virtual void segment(std::string_view text, std::vector<Found>& out) const = 0;

  Kind kind(int32_t id) const { return pieces_[static_cast<size_t>(id)].kind; }
  const std::vector<SentencePieceFile::Piece>& pieces() const { return pieces_; }
  // The piece a text spells, where text may become it; -1 else.
  int32_t find(std::string_view text) const {
    const int32_t id = vocabulary_.find(text).value_or(-1);
    return id >= 0 && may_be_text(kind(id)) ? id : -1;
  }

 private:
  std::vector<SentencePieceFile::Piece> pieces_;
  Vocabulary vocabulary_;
  std::optional<ByteIds> byte_ids_;
  bool byte_fallback_;
  int32_t unk_id_;
};

// Merges the neighbours whose joint text is the piece of highest score, leftmost on ties, until none is left.
class BpeModel : public SentencePieceModel {
 public:
  explicit BpeModel(const SentencePieceFile& file) : SentencePieceModel(file) {
    for (size_t id = 0; id < file.pieces.size(); ++id) {
      const auto& piece = file.pieces[id];
      if (piece.kind == Kind::kUserDefined) user_defined_.add(piece.text, static_cast<int32_t>(id));
      if (may_be_text(piece.kind)) longest_ = std::max(longest_, piece.text.size());
    }
  }

 private:
  struct Symbol {
    uint32_t begin = 0;
    uint32_t size = 0;  // 0: merged into the one before
    int32_t previous = -1;
    int32_t next = -1;
    bool frozen = false;  // user-defined
  };
  struct Pair {
    float score;
    int32_t left;
    int32_t right;
    uint32_t size;
    bool operator<(const Pair& other) const { return score != other.score ? score < other.score : left > other.left; }
  };
  // How an unused piece was put together: the sizes of its halves.
  using Halves = std::unordered_map<std::string_view, std::pair<uint32_t, uint32_t>>;

  void segment(std::string_view text, std::vector<Found>& out) const override {
    std::vector<Symbol> symbols;
    symbols.reserve(text.size());
    for (size_t at = 0; at < text.size();) {
      size_t length = 0;
      if (user_defined_.may_start_with(text[at]))
        user_defined_.for_each_prefix(text.substr(at), [&](size_t found, int32_t) { length = found; });
      const bool frozen = length > 0;
      if (!frozen) length = utf8_length(text[at]);
      const auto index = static_cast<int32_t>(symbols.size());
      symbols.push_back({static_cast<uint32_t>(at), static_cast<uint32_t>(length), index - 1, index + 1, frozen});
      at += length;
    }
    if (symbols.empty()) return;
    symbols.back().next = -1;

    Halves halves;
    std::vector<Pair> initial;
    initial.reserve(symbols.size());
    const auto consider = [&](int32_t left, int32_t right, auto&& use) {
      if (left < 0 || right < 0) return;
      const Symbol& a = symbols[static_cast<size_t>(left)];
      const Symbol& b = symbols[static_cast<size_t>(right)];
      if (a.frozen || b.frozen || a.size + b.size > longest_) return;
      const std::string_view joined = text.substr(a.begin, a.size + b.size);
      const int32_t id = find(joined);
      if (id < 0) return;
      use(Pair{pieces()[static_cast<size_t>(id)].score, left, right, a.size + b.size});
      if (kind(id) == Kind::kUnused) halves[joined] = {a.size, b.size};
    };
    for (size_t i = 1; i < symbols.size(); ++i)
      consider(static_cast<int32_t>(i) - 1, static_cast<int32_t>(i),
               [&](const Pair& pair) { initial.push_back(pair); });
    std::priority_queue<Pair> queue(std::less<Pair>(), std::move(initial));
    const auto push = [&](const Pair& pair) { queue.push(pair); };
    while (!queue.empty()) {
      const Pair top = queue.top();
      queue.pop();
      Symbol& left = symbols[static_cast<size_t>(top.left)];
      Symbol& right = symbols[static_cast<size_t>(top.right)];
      if (left.size == 0 || right.size == 0 || left.size + right.size != top.size) continue;  // changed since
      left.size = top.size;
      left.next = right.next;
      right.size = 0;
      if (left.next >= 0) symbols[static_cast<size_t>(left.next)].previous = top.left;
      consider(left.previous, top.left, push);
      consider(top.left, left.next, push);
    }
    for (int32_t i = 0; i >= 0; i = symbols[static_cast<size_t>(i)].next) {
      const Symbol& symbol = symbols[static_cast<size_t>(i)];
      emit(text, symbol.begin, symbol.size, halves, out);
    }
  }

  // Unused pieces are taken apart again, the way they came together.
  void emit(std::string_view text, uint32_t begin, uint32_t size, const Halves& halves, std::vector<Found>& out) const {
    const int32_t id = find(text.substr(begin, size));
    if (id >= 0 && kind(id) == Kind::kUnused) {
      const auto found = halves.find(text.substr(begin, size));
      if (found != halves.end()) {
        emit(text, begin, found->second.first, halves, out);
        emit(text, begin + found->second.first, found->second.second, halves, out);
        return;
      }
    }
    out.push_back({begin, begin + size, id});
  }

  ByteTrie user_defined_;
  size_t longest_ = 0;
};

// The segmentation with the largest sum of scores. Sums are kept in 32 bits, as the reference library keeps them:
// near-ties are decided alike.
class UnigramModel : public SentencePieceModel {
 public:
  explicit UnigramModel(const SentencePieceFile& file) : SentencePieceModel(file) {
    float lowest = std::numeric_limits<float>::max();
    for (size_t id = 0; id < file.pieces.size(); ++id) {
      const auto& piece = file.pieces[id];
      if (may_be_text(piece.kind)) trie_.add(piece.text, static_cast<int32_t>(id));
      if (piece.kind != Kind::kNormal) continue;
      lowest = std::min(lowest, piece.score);
    }
    unknown_score_ = lowest - 10.0f;
    for (const auto& piece : file.pieces) {
      const auto num_characters =
          std::count_if(piece.text.begin(), piece.text.end(), [](char byte) { return !is_continuation_byte(byte); });
      // A user-defined piece beats whatever could stand in its place (scores are logarithms), and a longer one a
      // shorter one. Its own score does not count.
      score_.push_back(piece.kind == Kind::kUserDefined ? 0.1f * static_cast<float>(num_characters - 1) : piece.score);
    }
  }

 private:
  void segment(std::string_view text, std::vector<Found>& out) const override {
    struct Best {  // of all segmentations that end here
      float score = 0;
      int64_t begin = -1;  // of the last piece; -1: nothing ends here
      int32_t id = -1;
    };
    std::vector<Best> best(text.size() + 1);
    for (size_t begin = 0; begin < text.size();) {
      const float here = best[begin].score;
      const size_t character = utf8_length(text[begin]);
      bool covered = false;
      const auto offer = [&](size_t end, float sum, int32_t id) {
        Best& known = best[end];
        if (known.begin < 0 || sum > known.score) known = {sum, static_cast<int64_t>(begin), id};
      };
      trie_.for_each_prefix(text.substr(begin), [&](size_t length, int32_t id) {
        if (kind(id) == Kind::kUnused) return;
        offer(begin + length, here + score_[static_cast<size_t>(id)], id);
        covered = covered || length == character;
      });
      if (!covered) offer(begin + character, here + unknown_score_, -1);
      begin += character;
    }
    const size_t first = out.size();
    for (size_t end = text.size(); end > 0; end = static_cast<size_t>(best[end].begin))
      out.push_back({static_cast<uint32_t>(best[end].begin), static_cast<uint32_t>(end), best[end].id});
    std::reverse(out.begin() + static_cast<std::ptrdiff_t>(first), out.end());
  }

  ByteTrie trie_;
  std::vector<float> score_;
  float unknown_score_ = 0;
};

class SentencePieceDecoder : public TokenDecoder {
 public:
  explicit SentencePieceDecoder(const SentencePieceFile& file)
      : has_bytes_(file.byte_fallback),
        strips_(file.add_dummy_prefix || file.remove_extra_spaces),
        strips_all_(file.remove_extra_spaces) {}

  void apply(std::vector<std::string>& tokens) const override {
    constexpr std::string_view kMark = "\xE2\x96\x81";  // ▁
    std::string text, bytes;
    bool stripped = false;
    const auto flush = [&] {
      for (std::string_view rest = bytes; !rest.empty();) {
        const size_t sound = first_invalid_utf8(rest).value_or(rest.size());
        text += rest.substr(0, sound);
        if (sound == rest.size()) break;
        text += "\xEF\xBF\xBD";
        rest.remove_prefix(sound + 1);
      }
      bytes.clear();
    };
    for (const auto& token : tokens) {
      if (const auto byte = named_byte(token); has_bytes_ && byte && token == byte_piece(*byte)) {
        bytes += *byte;
        continue;
      }
      flush();
      std::string_view rest = token;
      if (strips_ && !stripped && text.empty() && rest.starts_with(kMark)) {
        rest.remove_prefix(kMark.size());
        stripped = !strips_all_;
      }
      size_t at = 0;
      for (size_t mark = rest.find(kMark); mark != std::string_view::npos; mark = rest.find(kMark, at)) {
        text += rest.substr(at, mark - at);
        text += ' ';
        at = mark + kMark.size();
      }
      text += rest.substr(at);
    }
    flush();
    tokens = {std::move(text)};
  }

 private:
  bool has_bytes_;
  bool strips_;
  bool strips_all_;  // one mark of every piece until there is text
};

}  // namespace

std::unique_ptr<TokenModel> make_sentencepiece_model(const SentencePieceFile& file) {
  if (file.is_unigram) return std::make_unique<UnigramModel>(file);
  return std::make_unique<BpeModel>(file);
}

std::unique_ptr<TokenDecoder> make_sentencepiece_decoder(const SentencePieceFile& file) {
  return std::make_unique<SentencePieceDecoder>(file);
}

}  // namespace fare
