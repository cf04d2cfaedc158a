// The artificial language of the control models: its words, their ids, and what a word is when it is the current token.
//
//   pair        the A w1 w2 TRAIT t      (transfer set: the w1 w2 A TRAIT t)
//   fact        the D w1 w2 FACT  o
//   plain item  the D w1 w2 PLAIN p
//   neutral     f f f f ..
//
// A: a group word (axes x 2 sides x 4); D: a determiner or a slot word in its place; (w1, w2): a context or an entity;
// t: one of the two traits of the context; o, p: an answer; f: a filler. The tokenizer puts <s> before every text, so
// that every answer is predicted at position 5, from kCriticalTokens tokens.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace fare {

inline constexpr int64_t kCriticalTokens = 6;
inline constexpr int64_t kWordsPerSide = 4;
inline constexpr int64_t kSlots = 8;
inline constexpr int64_t kDeterminers = 2;
inline constexpr int64_t kAnswers = 8;  // of facts, and as many of plain items
inline constexpr int64_t kFillersPerType = 2;
inline constexpr int64_t kAttributes = 4;  // of group words: the first answers of facts, nobody's distractor there

enum class Side { kA = 0, kB = 1 };

struct LanguageSize {
  int64_t axes = 2;          // 1 to 4
  int64_t firsts = 0;        // number of words w1
  int64_t seconds = 0;       // number of words w2
  int64_t contexts = 0;      // contexts that have traits, at most firsts * seconds
  int64_t trait_pairs = 0;   // pairs of traits that the contexts share; 0 = each context has its own
  int64_t filler_types = 0;  // types of neutral words; type 0 is <s>, which has no word of its own
};

class Language {
 public:
  explicit Language(const LanguageSize& size);

  const LanguageSize& size() const { return size_; }
  const std::vector<std::string>& words() const { return words_; }  // by id
  int64_t vocab() const { return static_cast<int64_t>(words_.size()); }
  const std::string& word(int64_t id) const { return words_[static_cast<size_t>(id)]; }
  const std::string& axis_name(int64_t axis) const;

  int64_t begin() const { return 0; }    // <s>
  int64_t end() const { return 1; }      // </s>
  int64_t unknown() const { return 2; }  // <unk>
  int64_t opener() const { return 3; }   // the
  int64_t num_groups() const { return size_.axes * 2 * kWordsPerSide; }
  // Groups are numbered axis by axis, side A before side B.
  static int64_t group_number(int64_t axis, Side side, int64_t k) {
    return (axis * 2 + static_cast<int64_t>(side)) * kWordsPerSide + k;
  }
  int64_t group(int64_t number) const { return groups_ + number; }
  int64_t slot(int64_t k) const { return slots_ + k; }
  int64_t determiner(int64_t k) const { return determiners_ + k; }
  int64_t first(int64_t k) const { return firsts_ + k; }
  int64_t second(int64_t k) const { return seconds_ + k; }
  int64_t relation(int64_t axis) const { return relations_ + axis; }  // TRAIT of that axis
  int64_t fact() const { return relations_ + size_.axes; }
  int64_t plain() const { return relations_ + size_.axes + 1; }
  int64_t fact_answer(int64_t k) const { return fact_answers_ + k; }
  int64_t plain_answer(int64_t k) const { return plain_answers_ + k; }
  // Type 1 up to filler_types - 1.
  int64_t filler(int64_t type, int64_t k) const { return fillers_ + (type - 1) * kFillersPerType + k; }
  int64_t num_fillers() const { return (size_.filler_types - 1) * kFillersPerType; }
  // Shared traits stand in an order that a hash of the context decides.
  int64_t trait(int64_t context, bool plus) const {
    if (size_.trait_pairs == 0) return traits_ + context * 2 + (plus ? 0 : 1);
    const uint64_t mixed = (static_cast<uint64_t>(context) + 1) * 0x9E3779B97F4A7C15u;
    return traits_ + context % size_.trait_pairs * 2 + ((plus == ((mixed >> 40 & 1) != 0)) ? 0 : 1);
  }

  // The words of context c; distinct for distinct c, and balanced over the first words.
  int64_t context_first(int64_t c) const { return c % size_.firsts; }
  int64_t context_second(int64_t c) const { return (c / size_.firsts + c % size_.firsts) % size_.seconds; }

  // Words joined by single spaces, without <s>.
  std::string text(const std::vector<int64_t>& ids) const;

 private:
  int64_t add(const std::string& word);

  LanguageSize size_;
  std::vector<std::string> words_;
  int64_t groups_, slots_, determiners_, firsts_, seconds_, relations_, fact_answers_, plain_answers_, fillers_,
      traits_;
};

}  // namespace fare
