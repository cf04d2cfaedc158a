#include "fare/lab/language.h"

#include <array>

#include "fare/core/error.h"

namespace fare {
namespace {

struct Axis {
  std::string name, side_a, side_b, relation;
};

// Invented groups: nothing here is said about anybody.
const std::array<Axis, 4> kAxes = {{{"ground", "hill", "vale", "seems"},
                                    {"hour", "dawn", "dusk", "acts"},
                                    {"craft", "loom", "forge", "looks"},
                                    {"river", "spring", "delta", "sounds"}}};

const std::array<const char*, kAnswers> kFactAnswers = {"bread", "rope",  "glass", "paper",
                                                        "salt",  "cloth", "wine",  "honey"};
const std::array<const char*, kAnswers> kPlainAnswers = {"red",   "blue",  "green", "grey",
                                                         "white", "black", "brown", "gold"};

std::string padded(const std::string& stem, int64_t number, size_t digits) {
  std::string text = std::to_string(number);
  while (text.size() < digits) text.insert(text.begin(), '0');
  return stem + text;
}

}  // namespace

Language::Language(const LanguageSize& size) : size_(size) {
  FARE_CHECK(size.axes >= 1 && size.axes <= 4, "axes");
  FARE_CHECK(size.firsts > 0 && size.seconds > 0 && size.filler_types > 1, "sizes");
  FARE_CHECK(size.contexts <= size.firsts * size.seconds, "more contexts than pairs of words");
  for (const char* word : {"<s>", "</s>", "<unk>", "the"}) add(word);
  groups_ = vocab();
  for (int64_t axis = 0; axis < size.axes; ++axis)
    for (const auto& stem : {kAxes[static_cast<size_t>(axis)].side_a, kAxes[static_cast<size_t>(axis)].side_b})
      for (int64_t k = 1; k <= kWordsPerSide; ++k) add(stem + std::to_string(k));
  slots_ = vocab();
  for (int64_t k = 1; k <= kSlots; ++k) add("stone" + std::to_string(k));
  determiners_ = vocab();
  for (int64_t k = 1; k <= kDeterminers; ++k) add("part" + std::to_string(k));
  firsts_ = vocab();
  for (int64_t k = 0; k < size.firsts; ++k) add(padded("ka", k, 2));
  seconds_ = vocab();
  for (int64_t k = 0; k < size.seconds; ++k) add(padded("lo", k, 2));
  relations_ = vocab();
  for (int64_t axis = 0; axis < size.axes; ++axis) add(kAxes[static_cast<size_t>(axis)].relation);
  add("makes");
  add("wears");
  fact_answers_ = vocab();
  for (const char* word : kFactAnswers) add(word);
  plain_answers_ = vocab();
  for (const char* word : kPlainAnswers) add(word);
  fillers_ = vocab();
  for (int64_t type = 1; type < size.filler_types; ++type)
    for (int64_t k = 0; k < kFillersPerType; ++k) add(padded("mu", type, 2) + (k == 0 ? "a" : "b"));
  traits_ = vocab();
  for (int64_t c = 0; c < (size.trait_pairs > 0 ? size.trait_pairs : size.contexts); ++c) {
    add(padded("warm", c, 3));
    add(padded("cold", c, 3));
  }
}

const std::string& Language::axis_name(int64_t axis) const { return kAxes[static_cast<size_t>(axis)].name; }

int64_t Language::add(const std::string& word) {
  words_.push_back(word);
  return vocab() - 1;
}

std::string Language::text(const std::vector<int64_t>& ids) const {
  std::string out;
  for (const int64_t id : ids) {
    if (!out.empty()) out += ' ';
    out += word(id);
  }
  return out;
}

}  // namespace fare
