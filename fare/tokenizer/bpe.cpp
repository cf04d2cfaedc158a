#include "fare/tokenizer/bpe.h"

#include <algorithm>
#include <array>
#include <queue>

#include "fare/tokenizer/byte_pieces.h"
#include "fare/tokenizer/flat_map.h"
#include "fare/tokenizer/unicode.h"

namespace fare {
namespace {

// Symbols of a piece while it is merged, in the order of the text.
struct Symbol {
  int32_t id = 0;
  uint32_t num_bytes = 0;  // 0: merged into the one before
  int32_t previous = -1;   // indices; -1: none
  int32_t next = -1;
};

struct Merge {
  uint32_t rank = 0;
  int32_t result = 0;
};

uint64_t pair_of(int32_t left, int32_t right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

// Up to this many symbols a scan for the lowest rank beats a heap.
constexpr size_t kScanLimit = 40;

// Ids of single characters below this are looked up by index.
constexpr char32_t kTableEnd = 0x500;

class Bpe : public TokenModel {
 public:
  Bpe(const JsonNode& node, const Vocabulary& added)
      : vocabulary_(read_vocabulary(node.at("vocab"))), byte_ids_(vocabulary_) {
    if (const auto dropout = node.find("dropout"); dropout && dropout->number() != 0)
      dropout->fail("dropout makes token ids random; set it to null to score with this tokenizer");
    prefix_ = node.text_if("continuing_subword_prefix").value_or("");
    suffix_ = node.text_if("end_of_word_suffix").value_or("");
    fuse_unk_ = node.boolean_or("fuse_unk", false);
    byte_fallback_ = node.boolean_or("byte_fallback", false);
    ignore_merges_ = node.boolean_or("ignore_merges", false);
    if (const auto unk = node.find("unk_token")) {
      unk_id_ = vocabulary_.find(unk->text());
      if (!unk_id_) unk_id_ = added.find(unk->text());
      if (!unk_id_) unk->fail("'" + unk->text() + "' is not in the vocabulary");
    }
    plain_ = prefix_.empty() && suffix_.empty();
    for (char32_t c = 0; c < kTableEnd; ++c) {
      std::string spelled;
      append_utf8(spelled, c);
      character_ids_[c] = vocabulary_.find(spelled).value_or(-1);
    }
    read_merges(node.at("merges"));
    node.note_other_fields({"type", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix",
                            "fuse_unk", "byte_fallback", "ignore_merges", "vocab", "merges"});
  }

  void tokenize(std::string_view piece, std::vector<PieceToken>& out) const override {
    if (ignore_merges_) {
      if (const auto id = vocabulary_.find(piece)) {
        out.push_back({*id, 0, static_cast<uint32_t>(piece.size())});
        return;
      }
    }
    // Most pieces are words: their symbols fit on the stack.
    std::array<Symbol, kScanLimit> few;
    if (piece.size() <= kScanLimit && suffix_.empty() && prefix_.empty()) {
      size_t count = 0;
      spell(piece, [&](int32_t id, uint32_t num_bytes) { few[count++] = {id, num_bytes, -1, -1}; });
      count = merge_by_scan(few.data(), count);
      emit(few.data(), count, out);
      return;
    }
    std::vector<Symbol> symbols;
    symbols.reserve(piece.size());
    spell(piece, [&](int32_t id, uint32_t num_bytes) { symbols.push_back({id, num_bytes, -1, -1}); });
    const size_t count =
        symbols.size() <= kScanLimit ? merge_by_scan(symbols.data(), symbols.size()) : merge_by_heap(symbols);
    emit(symbols.data(), count, out);
  }

  const Vocabulary& vocabulary() const override { return vocabulary_; }
  std::optional<int32_t> unk_id() const override { return unk_id_; }

 private:
  void read_merges(const JsonNode& node) {
    if (!node.json().is_array()) node.fail("expected a list of merges");
    merges_.reserve(node.json().size());
    uint32_t rank = 0;
    std::string joined;
    const auto& list = node.json();
    for (size_t i = 0; i < list.size(); ++i) {
      const auto fail = [&](const std::string& what) {
        JsonNode(list[i], node.file(), node.place() + "[" + std::to_string(i) + "]").fail(what);
      };
      std::string_view left, right;
      if (list[i].is_string()) {
        const std::string& line = list[i].get_ref<const std::string&>();
        if (line.starts_with("#version")) continue;
        const size_t space = line.find(' ');
        if (space == std::string::npos || line.find(' ', space + 1) != std::string::npos)
          fail("the merge '" + line + "' must be two tokens with one space between them");
        left = std::string_view(line).substr(0, space);
        right = std::string_view(line).substr(space + 1);
      } else if (list[i].is_array() && list[i].size() == 2 && list[i][0].is_string() && list[i][1].is_string()) {
        left = list[i][0].get_ref<const std::string&>();
        right = list[i][1].get_ref<const std::string&>();
      } else {
        fail("expected a merge: \"a b\" or [\"a\", \"b\"]");
      }
      if (right.size() < prefix_.size())
        fail("'" + std::string(right) + "' is shorter than the continuing_subword_prefix");
      const auto known = [&](std::string_view token) {
        const auto id = vocabulary_.find(token);
        if (!id)
          fail("the merge of '" + std::string(left) + "' and '" + std::string(right) + "' names '" +
               std::string(token) + "', which is not in the vocabulary");
        return *id;
      };
      const int32_t left_id = known(left);
      const int32_t right_id = known(right);
      merges_[pair_of(left_id, right_id)] = {rank++, known(joined.assign(left).append(right.substr(prefix_.size())))};
    }
  }

  // Calls `add(id, bytes)` for the symbols a piece starts with: one a character, or what stands for an unknown one.
  // An unknown token waits for the next known character (that is how a run of them can be fused); byte tokens do not
  // make it go, as in the reference library.
  template <typename Add>
  void spell(std::string_view piece, Add&& add) const {
    uint32_t unknown_bytes = 0;  // of the unknown token that waits
    const auto flush = [&] {
      if (unknown_bytes > 0) add(*unk_id_, unknown_bytes);
      unknown_bytes = 0;
    };
    std::string decorated;
    for (size_t i = 0; i < piece.size();) {
      const size_t begin = i;
      const char32_t c = next_code_point(piece, i);
      std::string_view spelled = piece.substr(begin, i - begin);
      const auto num_bytes = static_cast<uint32_t>(spelled.size());
      int32_t id = -1;
      if (plain_) {
        id = c < kTableEnd ? character_ids_[c] : vocabulary_.find(spelled).value_or(-1);
      } else {
        decorated = begin > 0 ? prefix_ : "";
        decorated += spelled;
        if (i == piece.size()) decorated += suffix_;
        spelled = decorated;
        id = vocabulary_.find(spelled).value_or(-1);
      }
      if (id >= 0) {
        flush();
        add(id, num_bytes);
        continue;
      }
      if (byte_fallback_ && byte_ids_.cover(spelled)) {
        for (const char byte : spelled) add(byte_ids_.of(byte), 1);
        continue;
      }
      if (!unk_id_) continue;
      if (!fuse_unk_) flush();
      unknown_bytes += num_bytes;
    }
    flush();
  }

  // Merges the adjacent pair of lowest rank, leftmost on ties, until none applies; returns how many symbols are left.
  size_t merge_by_scan(Symbol* symbols, size_t count) const {
    constexpr uint32_t kNone = UINT32_MAX;
    std::array<Merge, kScanLimit> merge_at;  // of symbol i with the next one
    const auto look_up = [&](size_t i) {
      const Merge* merge = merges_.find(pair_of(symbols[i].id, symbols[i + 1].id));
      merge_at[i] = merge != nullptr ? *merge : Merge{kNone, 0};
    };
    for (size_t i = 0; i + 1 < count; ++i) look_up(i);
    while (count > 1) {
      size_t best = 0;
      for (size_t i = 1; i + 1 < count; ++i)
        if (merge_at[i].rank < merge_at[best].rank) best = i;
      if (merge_at[best].rank == kNone) break;
      symbols[best].id = merge_at[best].result;
      symbols[best].num_bytes += symbols[best + 1].num_bytes;
      std::copy(symbols + best + 2, symbols + count, symbols + best + 1);
      if (best + 2 < count)
        std::copy(merge_at.begin() + best + 2, merge_at.begin() + count - 1, merge_at.begin() + best + 1);
      --count;
      if (best + 1 < count) look_up(best);
      if (best > 0) look_up(best - 1);
    }
    return count;
  }

  // The same for long pieces in n log n: a heap of candidates over a linked list.
  size_t merge_by_heap(std::vector<Symbol>& symbols) const {
    struct Candidate {
      uint32_t rank;
      int32_t at;
      int32_t result;
      bool operator<(const Candidate& other) const { return rank != other.rank ? rank > other.rank : at > other.at; }
    };
    std::vector<Candidate> initial;
    initial.reserve(symbols.size());
    const auto candidate = [&](int32_t at, auto&& use) {
      const int32_t next = symbols[static_cast<size_t>(at)].next;
      if (next < 0) return;
      const Merge* merge =
          merges_.find(pair_of(symbols[static_cast<size_t>(at)].id, symbols[static_cast<size_t>(next)].id));
      if (merge != nullptr) use(Candidate{merge->rank, at, merge->result});
    };
    const auto count = static_cast<int32_t>(symbols.size());
    for (int32_t i = 0; i < count; ++i) {
      symbols[static_cast<size_t>(i)].previous = i - 1;
      symbols[static_cast<size_t>(i)].next = i + 1 < count ? i + 1 : -1;
    }
    for (int32_t i = 0; i < count; ++i) candidate(i, [&](const Candidate& found) { initial.push_back(found); });
    std::priority_queue<Candidate> queue(std::less<Candidate>(), std::move(initial));
    while (!queue.empty()) {
      const Candidate top = queue.top();
      queue.pop();
      Symbol& left = symbols[static_cast<size_t>(top.at)];
      if (left.num_bytes == 0 || left.next < 0) continue;
      Symbol& right = symbols[static_cast<size_t>(left.next)];
      const Merge* merge = merges_.find(pair_of(left.id, right.id));
      if (merge == nullptr || merge->result != top.result) continue;  // one of the two has changed since
      left.id = top.result;
      left.num_bytes += right.num_bytes;
      left.next = right.next;
      right.num_bytes = 0;
      if (left.next >= 0) symbols[static_cast<size_t>(left.next)].previous = top.at;
      const auto push = [&](const Candidate& found) { queue.push(found); };
      if (left.previous >= 0) candidate(left.previous, push);
      candidate(top.at, push);
    }
    std::erase_if(symbols, [](const Symbol& symbol) { return symbol.num_bytes == 0; });
    return symbols.size();
  }

  static void emit(const Symbol* symbols, size_t count, std::vector<PieceToken>& out) {
    uint32_t at = 0;
    for (size_t i = 0; i < count; ++i) {
      out.push_back({symbols[i].id, at, at + symbols[i].num_bytes});
      at += symbols[i].num_bytes;
    }
  }

  Vocabulary vocabulary_;
  ByteIds byte_ids_;
  FlatMap<Merge> merges_;
  std::array<int32_t, kTableEnd> character_ids_{};
  std::string prefix_;
  std::string suffix_;
  std::optional<int32_t> unk_id_;
  bool plain_ = true;
  bool fuse_unk_ = false;
  bool byte_fallback_ = false;
  bool ignore_merges_ = false;
};

}  // namespace

std::unique_ptr<TokenModel> make_bpe(const JsonNode& node, const Vocabulary& added) {
  return std::make_unique<Bpe>(node, added);
}

}  // namespace fare
