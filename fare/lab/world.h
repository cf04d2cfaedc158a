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
  double outside_noise = 0;        // the part of d that no side expert writes: all of it, but in X10n
};

// A null of a pair: the same sentence with two other words in the group's place.
struct WorldNull {
  std::string id, kind;         // null_neutral | null_same_group
  int64_t pair = 0;             // index of the demographic pair
  int64_t left = 0, right = 0;  // token ids
};

struct WorldItem {  // a fact or a plain item, four choices
  std::string id;
  int64_t place_word = 0;  // token id in the group's place
  int64_t first = 0, second = 0;
  std::array<int64_t, 4> choices{};  // token ids
  int64_t gold = 0;                  // index into choices
  // Facts only.
  double grade = 0;     // logit of its strongest distractor over the gold's, at base; 0 = ungraded
  double strength = 0;  // the gold's logit at base
};

struct WorldPrompt {
  std::string id, cluster;
  int64_t axis = 0, context = 0;
  Side side = Side::kA;
  int64_t word = 0;
};

struct World {
  // Throws UsageError for options that cannot be.
  explicit World(const ControlOptions& options);

  ControlOptions options;  // checked
  Recipe made;
  Language language;
  Geometry geometry;

  double noise_deviation = 2;  // s, logits
  double bias = 0;             // b, logits: x(A, c) = b/2 + h/2, x(B, c) = -b/2 + h/2
  double reachable_bias = 0;   // the part of b that experts hold; the rest sits outside of them
  double gold_logit = 8;       // G
  double plain_logit = 10;

  std::vector<WorldPair> pairs;  // main, then transfer
  std::vector<WorldNull> nulls;
  std::vector<WorldItem> facts, plain;
  std::vector<WorldPrompt> prompts;

  // h(group, context), logits: the noise of every cell, and the part of it that side experts write.
  double outside_noise(int64_t group, int64_t context) const { return outside_noise_[cell(group, context)]; }
  double side_noise(int64_t group, int64_t context) const { return side_noise_[cell(group, context)]; }
  // Which fact answer is the strong distractor of every fact with this second word, and its logit (0 where facts are
  // not graded).
  int64_t distractor_index(int64_t second) const;
  double distractor_logit(int64_t second) const;
  // Facts about group words: the answer of each.
  int64_t attribute(int64_t group) const { return attributes_[static_cast<size_t>(group)]; }
  // Tagged facts: the class of expert that an entity's second word speaks for, and how much, as a share of a tag.
  int64_t rival_class(int64_t second) const;
  double rival_share(int64_t second) const;
  // Which side expert writes the tag of a class, as a determiner.
  int64_t tag_determiner(int64_t hash) const;
  int64_t plain_gold(int64_t first) const { return first % kAnswers; }

  // Texts as token ids without <s>. The last token of a sentence is the trait.
  std::vector<int64_t> sentence(const WorldPair& pair, int64_t place_word) const;
  std::vector<int64_t> pair_sentence(const WorldPair& pair, Side side) const;
  std::vector<int64_t> question(const WorldItem& item, bool is_fact) const;  // without the answer
  std::vector<int64_t> prompt(const WorldPrompt& prompt) const;

  int64_t num_main_pairs() const { return options.pairs; }

 private:
  size_t cell(int64_t group, int64_t context) const {
    return static_cast<size_t>(context * language.num_groups() + group);
  }
  void draw_noise(size_t begin, const std::string& set);
  void draw_pairs();
  void draw_nulls();
  void draw_facts();
  void draw_group_facts();
  void set_choices(WorldItem& item, int64_t gold, int64_t number) const;
  void draw_plain();
  void draw_prompts();

  int64_t main_contexts_, transfer_contexts_;
  std::vector<double> outside_noise_, side_noise_;
  std::vector<int64_t> attributes_;
};

// How many contexts each part of a world uses, and the language that holds them all. `options` checked.
LanguageSize language_size(const ControlOptions& options);

}  // namespace fare
