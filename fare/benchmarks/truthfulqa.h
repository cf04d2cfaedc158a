// TruthfulQA multiple choice, the 817-question edition: tasks `truthfulqa_mc1` and `truthfulqa_mc2` of the harness.
// Paper: Lin et al. 2022. Data Apache-2.0. Prompt, metrics and known flaws: README.md beside this file.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "fare/benchmarks/task.h"

namespace fare {

Task truthfulqa_mc1();
Task truthfulqa_mc2();
// The same with the question taken out, the primer kept: tasks `fare_truthfulqa_mc1_no_question` and
// `.._mc2_no_question`. What the form of the answers alone gives away (negations, hedges), the level to compare with
// beside chance.
Task fare_truthfulqa_mc1_no_question();
Task fare_truthfulqa_mc2_no_question();
// Answers written out (greedy, up to 64 tokens), beside the reference answers in the samples file: what is true is for
// others to judge.
Task fare_truthfulqa_generate();

// Probability mass of the true answers among all: sum over labels 1 of e^ll / sum of e^ll. `labels`: 1 true, 0 false.
// Throws BrokenInvariant when the lists differ in length or are empty.
double truthfulqa_mass(std::span<const double> loglikelihoods, std::span<const int> labels);
// The same as the harness computes it, without subtracting the largest: NaN when every ll lies below about -745.
double truthfulqa_mass_direct(std::span<const double> loglikelihoods, std::span<const int> labels);

// The authors' own scores of one question.
struct TruthfulQaOriginal {
  double mc1 = 0;  // 1 if the best true answer scores strictly above every false one
  double mc2 = 0;  // mass of the true answers
  double mc3 = 0;  // share of true answers strictly above every false one
};
// Throws BrokenInvariant when there is no true or no false answer or `best_index` is out of range.
TruthfulQaOriginal truthfulqa_original(std::span<const double> true_lls, std::span<const double> false_lls,
                                       size_t best_index);

}  // namespace fare
