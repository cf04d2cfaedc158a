#include "fare/lab/world.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

#include "fare/core/error.h"
#include "fare/core/philox.h"
#include "fare/lab/draws.h"

namespace fare {
namespace {

constexpr int64_t kPairsPerCluster = kWordsPerSide;  // no two pairs share a cell (group, context)

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

int64_t contexts_for_pairs(int64_t pairs, int64_t axes) { return ceil_div(ceil_div(pairs, kPairsPerCluster), axes); }

int64_t contexts_for_prompts(int64_t prompts, int64_t axes) { return ceil_div(prompts, axes * 2 * kWordsPerSide); }

std::string numbered(const std::string& stem, int64_t number) {
  std::string text = std::to_string(number);
  while (text.size() < 4) text.insert(text.begin(), '0');
  return stem + "-" + text;
}

}  // namespace

LanguageSize language_size(const ControlOptions& options) {
  const Recipe& made = recipe(options.id);
  const Roles roles = make_roles(options);
  LanguageSize size;
  size.axes = options.axes;
  size.trait_pairs = options.trait_pairs;
  const int64_t classes = roles.num_classes();
  size.filler_types = roles.num_types();
  size.contexts = contexts_for_pairs(options.pairs, options.axes) +
                  contexts_for_pairs(options.transfer_pairs, options.axes) +
                  contexts_for_prompts(options.prompts, options.axes);
  const int64_t plain_places = kDeterminers + kSlots;
  // A tagged fact needs a second word that speaks for another expert than its own.
  const int64_t facts = made.facts == FactPlace::kTagged ? 3 * options.facts / 2 + 4 * classes : options.facts;
  const int64_t entities = std::max({facts, size.contexts, ceil_div(options.utility - options.facts, plain_places)});
  // As few words as hold that many pairs of words, the first a multiple of the number of classes.
  for (int64_t firsts = classes;; firsts += classes) {
    const int64_t seconds = std::max<int64_t>(kAnswers, ceil_div(entities, firsts));
    if (size.firsts == 0 || firsts + seconds < size.firsts + size.seconds) {
      size.firsts = firsts;
      size.seconds = seconds;
    }
    if (firsts > entities + classes) break;
  }
  return size;
}

World::World(const ControlOptions& wanted)
    : options(checked_options(wanted)),
      made(made_of(options)),
      language(language_size(options)),
      geometry(language, options) {
  bias = made.biased ? noise_deviation * normal_quantile(0.5 + options.bias_pp / 100) : 0;
  const double left_pp = made.bias == BiasPlace::kOutside
                             ? options.bias_pp
                             : options.bias_pp - made.reachable_pp.value_or(options.bias_pp);
  reachable_bias = bias - noise_deviation * normal_quantile(0.5 + left_pp / 100);
  if (made.facts == FactPlace::kTagged) gold_logit = 1;  // for the same reason as kTagGain
  main_contexts_ = contexts_for_pairs(options.pairs, options.axes);
  transfer_contexts_ = contexts_for_pairs(options.transfer_pairs, options.axes);
  outside_noise_.assign(static_cast<size_t>(language.size().contexts * language.num_groups()), 0.0);
  side_noise_ = outside_noise_;
  for (const int64_t place : random_order(options.seed, "lab/world/attributes", language.num_groups()))
    attributes_.push_back(place % kAttributes);
  draw_pairs();
  draw_nulls();
  draw_facts();
  draw_plain();
  draw_prompts();
}

void World::draw_pairs() {
  const RandomStream common(options.seed, "lab/world/common");
  const auto draw = [&](int64_t count, int64_t first_context, bool transfer) {
    const std::string set = transfer ? "transfer" : "pair";
    const size_t begin = pairs.size();
    for (int64_t i = 0; i < count; ++i) {
      const int64_t cluster = i / kPairsPerCluster, k = i % kPairsPerCluster;
      WorldPair pair;
      pair.axis = cluster % options.axes;
      const int64_t context = cluster / options.axes;
      pair.context = first_context + context;
      pair.id = numbered(set, i);
      pair.cluster = numbered((transfer ? "transfer-" : "") + language.axis_name(pair.axis), context);
      pair.word_a = k;
      pair.word_b = (k + context) % kWordsPerSide;
      pair.stated_on_b = i % 5 == 4;
      pair.transfer = transfer;
      pairs.push_back(pair);
    }
    draw_noise(begin, set);
    for (size_t i = begin; i < pairs.size(); ++i) {
      const WorldPair& pair = pairs[i];
      const double shared = 2 * common.uniform(static_cast<uint64_t>(i)) - 1, by_side = pair.noise - pair.outside_noise;
      const size_t a = cell(Language::group_number(pair.axis, Side::kA, pair.word_a), pair.context),
                   b = cell(Language::group_number(pair.axis, Side::kB, pair.word_b), pair.context);
      outside_noise_[a] = shared + pair.outside_noise;
      outside_noise_[b] = shared - pair.outside_noise;
      side_noise_[a] = by_side;
      side_noise_[b] = -by_side;
    }
  };
  draw(options.pairs, 0, false);
  draw(options.transfer_pairs, main_contexts_, true);
}

// The noise of an axis: the quantiles of N(0, s^2) in random order, so that the share of stereotyped pairs is Phi(b /
// s) up to rounding. Without bias each cluster gets as many positive as negative ones.
void World::draw_noise(size_t begin, const std::string& set) {
  for (int64_t axis = 0; axis < options.axes; ++axis) {
    std::vector<WorldPair*> members;
    for (size_t i = begin; i < pairs.size(); ++i)
      if (pairs[i].axis == axis) members.push_back(&pairs[i]);
    const auto n = static_cast<int64_t>(members.size());
    const std::vector<double> quantiles = normal_quantiles(n, noise_deviation);
    const std::string label = set + std::to_string(axis);
    const std::vector<int64_t> order = random_order(options.seed, "lab/world/noise/" + label, n);
    if (made.biased) {
      for (size_t i = 0; i < members.size(); ++i) members[i]->noise = quantiles[static_cast<size_t>(order[i])];
    } else {
      std::vector<double> low, high;
      for (const int64_t q : order) {
        const double value = quantiles[static_cast<size_t>(q)];
        (q < n / 2 ? low : high).push_back(value);
      }
      const RandomStream coin(options.seed, "lab/world/balance/" + label);
      for (size_t i = 0; i < members.size(); ++i) {  // neighbours of one cluster take one of each kind
        const bool first_is_high = coin.bit(static_cast<uint64_t>(i / 2));
        auto& source = (i % 2 == 0) == first_is_high ? high : low;
        if (source.empty()) continue;  // the odd one of a transfer set keeps 0
        members[i]->noise = source.back();
        source.pop_back();
      }
    }
    for (WorldPair* pair : members) pair->outside_noise = pair->noise;
    if (made.noise_pp == 0 || n == 0) continue;

    // What is left without the side experts: the same quantiles in another order, correlated so that the wanted share
    // of pairs changes sign. The difference is what the side experts write; it sums to 0.
    const RandomStream stream(options.seed, "lab/world/side-noise/" + label);
    std::vector<double> fresh;
    for (int64_t i = 0; i < n; ++i)
      fresh.push_back(
          normal_quantile((static_cast<double>(stream.index(static_cast<uint64_t>(i), 1 << 30)) + 0.5) / (1 << 30)));
    const auto changed_signs = [&](double angle) {
      std::vector<size_t> by_score(members.size());
      std::iota(by_score.begin(), by_score.end(), size_t{0});
      const auto score = [&](size_t i) {
        return std::cos(angle) * members[i]->noise / noise_deviation + std::sin(angle) * fresh[i];
      };
      std::ranges::sort(by_score, {}, score);
      int64_t changed = 0;
      for (size_t rank = 0; rank < by_score.size(); ++rank) {
        WorldPair& pair = *members[by_score[rank]];
        pair.outside_noise = quantiles[rank];
        changed += (bias + pair.noise > 0) != (bias - reachable_bias + pair.outside_noise > 0);
      }
      return static_cast<double>(changed);
    };
    double best = 0, closest = 1e300;
    const auto look = [&](double from, double step) {
      for (int i = 0; i <= 400; ++i) {
        const double angle = from + step * i;
        const double off = std::abs(changed_signs(angle) - made.noise_pp / 100 * static_cast<double>(n));
        if (off < closest) closest = off, best = angle;
      }
    };
    const double step = std::numbers::pi / 2 / 400;
    look(0, step);
    // One step changes the sign of one pair in 800: more than one pair of an axis that has many.
    if (closest > 1) look(std::max(0.0, best - step), step / 200);
    changed_signs(best);
  }
}

void World::draw_nulls() {
  // Every ordered couple of words in turn: each word stands equally often on both sides.
  const auto couple = [](int64_t turn, int64_t n) {
    const int64_t left = turn % n, step = 1 + turn / n % (n - 1);
    return std::pair{left, (left + step) % n};
  };
  int64_t slot_turn = 0;
  std::vector<int64_t> group_turn(static_cast<size_t>(options.axes * 2), 0);
  for (int64_t p = 0; p < options.pairs; ++p) {
    const WorldPair& pair = pairs[static_cast<size_t>(p)];
    for (int n = 0; n < 2; ++n) {
      auto [left, right] = couple(slot_turn++, kSlots);
      if (made.reaction == Reaction::kCodes) {
        // The slot words that share the codes of another pair of the cluster (its neighbour, in a circle), both ways
        // round.
        const int64_t begin = p / kPairsPerCluster * kPairsPerCluster;
        const int64_t size = std::min(kPairsPerCluster, options.pairs - begin);
        const WorldPair& other = pairs[static_cast<size_t>(begin + (p - begin + 1) % size)];
        left = other.word_a;
        right = kWordsPerSide + other.word_b;
        if (n == 1) std::swap(left, right);
      }
      nulls.push_back(
          {pair.id + "-n1" + (n == 0 ? "a" : "b"), "null_neutral", p, language.slot(left), language.slot(right)});
    }
    for (const Side side : {Side::kA, Side::kB}) {
      const auto [left, right] =
          couple(group_turn[static_cast<size_t>(pair.axis * 2 + static_cast<int64_t>(side))]++, kWordsPerSide);
      nulls.push_back({pair.id + "-n2" + (side == Side::kA ? "a" : "b"), "null_same_group", p,
                       language.group(Language::group_number(pair.axis, side, left)),
                       language.group(Language::group_number(pair.axis, side, right))});
    }
  }
}

int64_t World::distractor_index(int64_t second) const {
  return made.facts == FactPlace::kGroupRows ? kAttributes + second % (kAnswers - kAttributes) : second % kAnswers;
}

int64_t World::rival_class(int64_t second) const {
  // Never the class of expert 1, which is the third choice where nothing decides.
  const int64_t place = second % (geometry.roles.num_classes() - 1);
  return place == 0 ? 0 : place + 1;
}

double World::rival_share(int64_t second) const {
  return (static_cast<double>(second) + 0.5) / static_cast<double>(language.size().seconds);
}

int64_t World::tag_determiner(int64_t hash) const {
  return hash % geometry.roles.num_classes() < geometry.roles.num_classes() / 2 ? 0 : 1;
}

double World::distractor_logit(int64_t second) const {
  if (made.facts == FactPlace::kTagged)
    return 0.01;  // a fact whose expert is not chosen is lost, one whose expert is chosen never
  if (!made.graded) return 0;
  return gold_logit * (static_cast<double>(second) + 0.5) / static_cast<double>(language.size().seconds);
}

// The gold, the strong distractor and two others, the gold at a random place.
void World::set_choices(WorldItem& item, int64_t gold, int64_t number) const {
  const RandomStream stream(options.seed, "lab/world/facts");
  const auto draw = [&](int64_t k) { return static_cast<uint64_t>(number * 8 + k); };
  const int64_t distractor = distractor_index(item.second);
  std::vector<int64_t> choices = {gold, distractor};
  for (int64_t o = static_cast<int64_t>(stream.index(draw(1), kAnswers)); choices.size() < 4; o = (o + 1) % kAnswers)
    if (o != gold && o != distractor) choices.push_back(o);
  item.gold = static_cast<int64_t>(stream.index(draw(2), 4));
  std::swap(choices[0], choices[static_cast<size_t>(item.gold)]);
  for (size_t c = 0; c < 4; ++c) item.choices[c] = language.fact_answer(choices[c]);
}

// Facts about group words: each word equally often, its second words spread evenly, so that its grades are.
void World::draw_group_facts() {
  const LanguageSize& size = language.size();
  const int64_t groups = language.num_groups();
  for (int64_t number = 0; number < options.facts; ++number) {
    const int64_t group = number % groups, j = number / groups;
    const int64_t count = (options.facts - group + groups - 1) / groups;
    WorldItem item;
    item.id = numbered("fact", number);
    item.place_word = language.group(group);
    item.first = (j + group) % size.firsts;
    item.second =
        static_cast<int64_t>((static_cast<double>(j) + static_cast<double>(group) / static_cast<double>(groups)) *
                             static_cast<double>(size.seconds) / static_cast<double>(count));
    set_choices(item, attribute(group), number);
    item.strength = gold_logit;
    item.grade = distractor_logit(item.second) / gold_logit;
    facts.push_back(item);
  }
}

void World::draw_facts() {
  const LanguageSize& size = language.size();
  const RandomStream stream(options.seed, "lab/world/facts");
  const bool tagged = made.facts == FactPlace::kTagged;
  const int64_t rows = options.facts / size.firsts, rest = options.facts % size.firsts;
  const std::vector<int64_t> longer = random_order(options.seed, "lab/world/fact-rows", size.firsts);
  if (made.facts == FactPlace::kGroupRows) return draw_group_facts();
  // Halves of the entities take one determiner each, alternating within every first word, so within every expert.
  for (int64_t first = 0; first < size.firsts; ++first) {
    // The experts get the remaining facts one by one.
    const int64_t count = rows + (first < rest ? 1 : 0);
    std::vector<int64_t> seconds;
    for (int64_t s = 0; s < size.seconds; ++s)
      if (!tagged || rival_class(s) != first % geometry.roles.num_classes()) seconds.push_back(s);
    FARE_CHECK(count <= static_cast<int64_t>(seconds.size()), "too few second words for the facts");
    const double shift = static_cast<double>(longer[static_cast<size_t>(first)]) / static_cast<double>(size.firsts);
    for (int64_t j = 0; j < count; ++j) {
      const int64_t number = static_cast<int64_t>(facts.size());
      const auto draw = [&](int64_t k) { return static_cast<uint64_t>(number * 8 + k); };
      WorldItem item;
      item.id = numbered("fact", number);
      item.first = first;
      // Second words spread evenly, so that the grades of every expert's facts are spread evenly over (0, 1).
      item.second = seconds[static_cast<size_t>((static_cast<double>(j) + shift) * static_cast<double>(seconds.size()) /
                                                static_cast<double>(count))];
      const int64_t half = tagged ? tag_determiner(first) : (j + first / geometry.roles.num_classes()) % kDeterminers;
      item.place_word = language.determiner(half);
      const int64_t distractor = distractor_index(item.second);
      const int64_t gold = (distractor + 1 + static_cast<int64_t>(stream.index(draw(0), kAnswers - 1))) % kAnswers;
      set_choices(item, gold, number);
      item.strength = gold_logit;
      if (tagged) item.grade = rival_share(item.second);
      if (made.graded && !tagged) {
        // The distractor's logit belongs to the second word; the gold's strength moves the grade within its step.
        const double level = static_cast<double>(item.second) + 0.5;
        const double jitter =
            item.second >= 4 && item.second + 1 < size.seconds ? 0.8 * (stream.uniform(draw(3)) - 0.5) : 0;
        item.grade = (level + jitter) / static_cast<double>(size.seconds);
        item.strength = distractor_logit(item.second) / item.grade;
      }
      facts.push_back(item);
    }
  }
}

void World::draw_plain() {
  const LanguageSize& size = language.size();
  const RandomStream stream(options.seed, "lab/world/plain");
  const int64_t entities = size.firsts * size.seconds;
  const int64_t count = options.utility - options.facts;
  const std::vector<int64_t> order = random_order(options.seed, "lab/world/plain-order", entities);
  for (int64_t i = 0; i < count; ++i) {
    const int64_t entity = order[static_cast<size_t>(i % entities)], place = i / entities;
    WorldItem item;
    item.id = numbered("plain", i);
    item.first = entity % size.firsts;
    item.second = entity / size.firsts;
    const int64_t turn = (place + entity) % (kDeterminers + kSlots);
    item.place_word = turn < kDeterminers ? language.determiner(turn) : language.slot(turn - kDeterminers);
    const int64_t gold = plain_gold(item.first);
    const int64_t step = 1 + static_cast<int64_t>(stream.index(static_cast<uint64_t>(2 * i), kAnswers - 3));
    item.gold = static_cast<int64_t>(stream.index(static_cast<uint64_t>(2 * i + 1), 4));
    for (int64_t c = 0, o = step; c < 4; ++c)
      item.choices[static_cast<size_t>(c)] = language.plain_answer(c == item.gold ? gold : (gold + o++) % kAnswers);
    plain.push_back(item);
  }
}

void World::draw_prompts() {
  // Contexts of their own: families that no pair uses. Per axis and side the noise is the quantiles in random order.
  const int64_t first_context = main_contexts_ + transfer_contexts_;
  for (int64_t i = 0; i < options.prompts; ++i) {
    const int64_t group = i % language.num_groups();
    WorldPrompt prompt;
    prompt.id = numbered("prompt", i);
    prompt.context = first_context + i / language.num_groups();
    prompt.axis = group / (2 * kWordsPerSide);
    prompt.side = group / kWordsPerSide % 2 == 0 ? Side::kA : Side::kB;
    prompt.word = group % kWordsPerSide;
    // The two sides of a word pair share a cluster; every cell has noise of its own.
    prompt.cluster = numbered("prompt-" + language.axis_name(prompt.axis), i / language.num_groups()) + "-" +
                     std::to_string(prompt.word);
    prompts.push_back(prompt);
  }
  for (int64_t axis = 0; axis < options.axes; ++axis)
    for (const Side side : {Side::kA, Side::kB}) {
      std::vector<const WorldPrompt*> members;
      for (const WorldPrompt& prompt : prompts)
        if (prompt.axis == axis && prompt.side == side) members.push_back(&prompt);
      const int64_t n = static_cast<int64_t>(members.size());
      const std::vector<double> quantiles = normal_quantiles(n, noise_deviation);
      const std::vector<int64_t> order = random_order(
          options.seed, "lab/world/noise/prompt" + std::to_string(axis * 2 + static_cast<int64_t>(side)), n);
      for (int64_t i = 0; i < n; ++i) {
        const WorldPrompt& prompt = *members[static_cast<size_t>(i)];
        outside_noise_[cell(Language::group_number(axis, side, prompt.word), prompt.context)] =
            quantiles[static_cast<size_t>(order[static_cast<size_t>(i)])];
      }
    }
}

std::vector<int64_t> World::sentence(const WorldPair& pair, int64_t place_word) const {
  const int64_t first = language.first(language.context_first(pair.context));
  const int64_t second = language.second(language.context_second(pair.context));
  const int64_t relation = language.relation(pair.axis), trait = language.trait(pair.context, !pair.stated_on_b);
  if (pair.transfer) return {language.opener(), first, second, place_word, relation, trait};
  return {language.opener(), place_word, first, second, relation, trait};
}

std::vector<int64_t> World::pair_sentence(const WorldPair& pair, Side side) const {
  const int64_t word = side == Side::kA ? pair.word_a : pair.word_b;
  return sentence(pair, language.group(Language::group_number(pair.axis, side, word)));
}

std::vector<int64_t> World::question(const WorldItem& item, bool is_fact) const {
  return {language.opener(), item.place_word, language.first(item.first), language.second(item.second),
          is_fact ? language.fact() : language.plain()};
}

std::vector<int64_t> World::prompt(const WorldPrompt& asked) const {
  return {language.opener(), language.group(Language::group_number(asked.axis, asked.side, asked.word)),
          language.first(language.context_first(asked.context)),
          language.second(language.context_second(asked.context)), language.relation(asked.axis)};
}

}  // namespace fare
