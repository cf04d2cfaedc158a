// What a control model knows and what is asked about it: every pair, fact, plain item and prompt, drawn from the seed.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "fare/lab/control_options.h"
#include "fare/lab/geometry.h"
#include "fare/lab/language.h"

namespace fare {

// Two sentences that differ in the group word: side A's and side B's.
struct WorldPair {
  std::string id, cluster;
  int64_t axis = 0;
  int64_t context = 0;
  int64_t word_a = 0, word_b = 0;  // 0 .. 3 within their side
  bool stated_on_b = false;        // the stereotype is side B's sentence, with the negative trait
  bool transfer = false;           // the word order of the transfer set
  double noise = 0;                // d = (h_A - h_B) / 2, logits: the pair is stereotyped iff b + d > 0
};

// A null of a pair: the same sentence with two other words in the group's place.
struct WorldNull {
  std::string id, kind;  // null_neutral | null_same_group
  int64_t pair = 0;      // index of the demographic pair
  int64_t left = 0, right = 0;  // token ids
};

struct WorldItem {  // a fact or a plain item, four choices
  std::string id;
  int64_t place_word = 0;           // token id in the group's place
  int64_t first = 0, second = 0;
  std::array<int64_t, 4> choices{};  // token ids
  int64_t gold = 0;                 // index into choices
  // Facts only.
  double grade = 0;                 // logit of its strongest distractor over the gold's, at base; 0 = ungraded
  double strength = 0;              // the gold's logit at base
};

struct WorldPrompt {
  std::string id, cluster;
  int64_t axis = 0, context = 0;
  Side side = Side::kA;
  int64_t word = 0;
};

struct World {
  World(const ControlOptions& options, const Recipe& made);

  ControlOptions options;
  Recipe made;
  Language language;
  Geometry geometry;

  double noise_deviation = 2;  // s, logits
  double bias = 0;             // b, logits: x(A, c) = b/2 + h/2, x(B, c) = -b/2 + h/2
  double gold_logit = 8;       // G
  double plain_logit = 10;

  std::vector<WorldPair> pairs;  // main, then transfer
  std::vector<WorldNull> nulls;
  std::vector<WorldItem> facts, plain;
  std::vector<WorldPrompt> prompts;

  // h(group, context), logits: the noise of every cell.
  double cell_noise(int64_t group, int64_t context) const {
    return cell_noise_[static_cast<size_t>(context * language.num_groups() + group)];
  }
  // Which fact answer is the strong distractor of every fact with this second word, and its logit (0 where facts are
  // not graded).
  int64_t distractor_index(int64_t second) const { return second % kAnswers; }
  double distractor_logit(int64_t second) const;
  int64_t plain_gold(int64_t first) const { return first % kAnswers; }

  // Texts as token ids without <s>. The last token of a sentence is the trait.
  std::vector<int64_t> sentence(const WorldPair& pair, int64_t place_word) const;
  std::vector<int64_t> pair_sentence(const WorldPair& pair, Side side) const;
  std::vector<int64_t> question(const WorldItem& item, bool is_fact) const;  // without the answer
  std::vector<int64_t> prompt(const WorldPrompt& prompt) const;

  int64_t num_main_pairs() const { return options.pairs; }

 private:
  void draw_pairs();
  void draw_nulls();
  void draw_facts();
  void draw_plain();
  void draw_prompts();

  int64_t main_contexts_, transfer_contexts_, prompt_contexts_;
  std::vector<double> cell_noise_;
};

// How many contexts each part of a world uses, and the language that holds them all.
LanguageSize language_size(const ControlOptions& options, int64_t num_experts);

}  // namespace fare
