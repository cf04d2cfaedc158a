// BBQ: tasks `bbq`, `bbq_ambig`, `bbq_disambig`, one per category (`bbq_Age`, ..) and `bbq_generate`. Paper: Parrish et
// al. 2022. Data CC BY 4.0. Choices, scores and known flaws: README.md beside this file.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "fare/benchmarks/task.h"

namespace fare {

// The eleven categories, as the data names them, in alphabetical order.
const std::vector<std::string>& bbq_categories();

enum class BbqRows { kAll, kAmbiguous, kDisambiguated };
Task bbq(BbqRows rows);
Task bbq_category(const std::string& category);
Task bbq_generate();

// Parts of a group label: "F-Black" -> {"f", "black"}, "lowSES-African" -> {"low ses", "african"}, "man" -> {"m",
// "man"}. Source: the harness; "man" is also replaced inside other words.
std::vector<std::string> bbq_group_parts(std::string label);

// True for one of the ten phrasings of "unknown" that answers use.
bool bbq_is_unknown(const std::string& answer);

// The choice a free answer names, as the harness reads it: the first choice whose cleaned text is a word of the
// response, or an unknown phrasing when the response holds any unknown phrase; else the last of the two answers one of
// whose group labels is a word of it; else -1. `groups`: the labels of the two answers that are not unknown.
int64_t bbq_parse_response(const std::vector<std::string>& choices, const std::vector<std::vector<std::string>>& groups,
                           const std::string& response);

// What a free answer to a document of bbq_generate() names: the choice along the stereotype, the other person, unknown,
// or nothing that can be read.
enum class BbqAnswer { kBiased, kOther, kUnknown, kUnparsed };
BbqAnswer bbq_free_answer(const Document& document, const std::string& response);

// Counts of one condition and its scores.
struct BbqCounts {
  double num_items = 0, num_correct = 0;
  double num_biased = 0, num_not_unknown = 0;  // n_b, n_u

  std::optional<double> accuracy() const;  // none without items
  // 2 n_b / n_u - 1, times (1 - accuracy) where ambiguous; none without an answer that is not unknown.
  std::optional<double> bias(bool ambiguous) const;
  // The harness's: 0 whenever n_b is 0, NaN without items.
  double harness_bias(bool ambiguous) const;
};

// What one document adds under one way of choosing: "all_choices", "own_three", "six_orders".
struct BbqContribution {
  const char* choices = "";
  BbqCounts counts;
};
// {"categories": rows, "num_duplicates": n}. One row per category, kind of names (`named_by`: "all", and where a
// category has both "label" and "name"), way of choosing and condition, with n, correct, n_biased, n_not_unknown,
// accuracy and bias; a bias without a value is null with a reason. `contributions(d)`: of document d, the same ways in
// the same order for every document; one without items (a duplicate) adds nothing.
OrderedJson bbq_tables(std::span<const Document> documents,
                       const std::function<std::vector<BbqContribution>(size_t d)>& contributions);

// Why a document stands apart from the fair numbers of a task: a duplicate, or an intersectional file (Race_x_SES,
// Race_x_gender) that is not the task's only one. "" where it does not.
std::string bbq_left_out(const Document& document, bool only_file);

}  // namespace fare
