#include "fare/tokenizer/unigram.h"

#include <algorithm>
#include <limits>

#include "fare/tokenizer/byte_pieces.h"
#include "fare/tokenizer/byte_trie.h"
#include "fare/tokenizer/unicode.h"

namespace fare {
namespace {

constexpr double kUnknownPenalty = 10.0;

class Unigram : public TokenModel {
 public:
  explicit Unigram(const JsonNode& node) : path_(node.path()), place_(node.place()) {
    const auto entries = node.at("vocab").items();
    if (entries.empty()) node.at("vocab").fail("the vocabulary is empty");
    double lowest = std::numeric_limits<double>::infinity();
    for (const auto& entry : entries) {
      if (!entry.json().is_array() || entry.json().size() != 2) entry.fail("expected [piece, score]");
      const auto parts = entry.items();
      const auto id = static_cast<int32_t>(scores_.size());
      const std::string piece = parts[0].text();
      if (!vocabulary_.add(piece, id)) entry.fail("the piece '" + piece + "' is there twice");
      trie_.add(piece, id);
      scores_.push_back(parts[1].number());
      lowest = std::min(lowest, scores_.back());
    }
    unknown_score_ = lowest - kUnknownPenalty;
    if (const auto unk = node.find("unk_id"))
      unk_id_ = static_cast<int32_t>(unk->integer(0, static_cast<int64_t>(scores_.size()) - 1));
    byte_fallback_ = node.boolean_or("byte_fallback", false);
    byte_ids_.emplace(vocabulary_);
    node.note_other_fields({"type", "vocab", "unk_id", "byte_fallback"});
  }

  void tokenize(std::string_view piece, std::vector<PieceToken>& out) const override {
    struct Best {  // of all segmentations that end here
      double score = 0;
      int64_t begin = -1;  // of the last piece; -1: nothing ends here
      int32_t id = 0;
    };
    std::vector<Best> best(piece.size() + 1);
    for (size_t begin = 0; begin < piece.size();) {
      const size_t character = utf8_length(piece[begin]);
      bool covered = false;
      const double here = best[begin].score;
      const auto offer = [&](size_t end, double score, int32_t id) {
        Best& known = best[end];
        if (known.begin < 0 || score > known.score) known = {score, static_cast<int64_t>(begin), id};
      };
      trie_.for_each_prefix(piece.substr(begin), [&](size_t length, int32_t id) {
        offer(begin + length, scores_[static_cast<size_t>(id)] + here, id);
        covered = covered || length == character;
      });
      if (!covered) {
        if (!unk_id_)
          throw FormatError(
              path_, place_,
              "no piece covers '" + std::string(piece.substr(begin, character)) + "' and there is no unk_id");
        offer(begin + character, unknown_score_ + here, *unk_id_);
      }
      begin += character;
    }
    // Back from the end; neighbouring unknown characters become one range.
    std::vector<std::pair<size_t, size_t>> ranges;
    bool last_unknown = false;
    for (size_t end = piece.size(); end > 0;) {
      const auto begin = static_cast<size_t>(best[end].begin);
      const bool unknown = unk_id_ && best[end].id == *unk_id_;
      if (unknown && last_unknown) ranges.back().first = begin;
      else ranges.emplace_back(begin, end);
      last_unknown = unknown;
      end = begin;
    }
    std::reverse(ranges.begin(), ranges.end());
    for (const auto& [begin, end] : ranges) add_range(piece, begin, end, out);
  }

  const Vocabulary& vocabulary() const override { return vocabulary_; }
  std::optional<int32_t> unk_id() const override { return unk_id_; }

 private:
  void add_range(std::string_view piece, size_t begin, size_t end, std::vector<PieceToken>& out) const {
    const auto from = static_cast<uint32_t>(begin);
    const auto to = static_cast<uint32_t>(end);
    const std::string_view text = piece.substr(begin, end - begin);
    if (const auto id = vocabulary_.find(text)) {
      out.push_back({*id, from, to});
      return;
    }
    if (byte_fallback_ && byte_ids_->cover(text)) {
      for (const char byte : text) out.push_back({byte_ids_->of(byte), from, to});
      return;
    }
    out.push_back({*unk_id_, from, to});
  }

  std::string path_;
  std::string place_;
  Vocabulary vocabulary_;
  ByteTrie trie_;
  std::vector<double> scores_;
  std::optional<ByteIds> byte_ids_;
  double unknown_score_ = 0;
  std::optional<int32_t> unk_id_;
  bool byte_fallback_ = false;
};

}  // namespace

std::unique_ptr<TokenModel> make_unigram(const JsonNode& node) { return std::make_unique<Unigram>(node); }

}  // namespace fare
