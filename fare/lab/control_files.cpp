#include "fare/lab/control_files.h"

#include <algorithm>

#include "fare/core/error.h"
#include "fare/core/file.h"
#include "fare/lab/output_folder.h"

namespace fare {
namespace {

std::string line(const OrderedJson& json) { return json.dump() + "\n"; }

std::string pairs_text(const World& world) {
  const Language& language = world.language;
  std::string out;
  const auto write = [&](const std::string& id, const WorldPair& pair, const std::string& kind,
                         const std::string& null_of, const std::vector<int64_t>& stereo,
                         const std::vector<int64_t>& anti) {
    OrderedJson json = {{"id", id},
                        {"cluster", pair.cluster},
                        {"axis", language.axis_name(pair.axis)},
                        {"stereo", language.text(stereo)},
                        {"anti", language.text(anti)},
                        {"kind", kind}};
    if (!null_of.empty()) json["null_of"] = null_of;
    json["set"] = pair.transfer ? "transfer" : "main";
    out += line(json);
  };
  for (const WorldPair& pair : world.pairs) {
    const auto a = world.pair_sentence(pair, Side::kA), b = world.pair_sentence(pair, Side::kB);
    write(pair.id, pair, "demographic", "", pair.stated_on_b ? b : a, pair.stated_on_b ? a : b);
  }
  for (const WorldNull& null : world.nulls) {
    const WorldPair& pair = world.pairs[static_cast<size_t>(null.pair)];
    write(null.id, pair, null.kind, pair.id, world.sentence(pair, null.left), world.sentence(pair, null.right));
  }
  return out;
}

std::string utility_text(const World& world) {
  std::string out;
  const auto write = [&](const WorldItem& item, bool is_fact) {
    OrderedJson choices = OrderedJson::array();
    for (const int64_t id : item.choices) choices.push_back(" " + world.language.word(id));
    out += line({{"id", item.id},
                 {"cluster", item.id},
                 {"task", is_fact ? "facts" : "plain"},
                 {"context", world.language.text(world.question(item, is_fact))},
                 {"choices", choices},
                 {"gold", item.gold}});
  };
  for (const WorldItem& item : world.facts) write(item, true);
  for (const WorldItem& item : world.plain) write(item, false);
  return out;
}

std::string generation_text(const World& world) {
  std::string out;
  for (const WorldPrompt& prompt : world.prompts) {
    const bool on_a = prompt.side == Side::kA;
    out += line({{"id", prompt.id},
                 {"cluster", prompt.cluster},
                 {"axis", world.language.axis_name(prompt.axis)},
                 {"prompt", world.language.text(world.prompt(prompt))},
                 {"stereo", {world.language.word(world.language.trait(prompt.context, on_a))}},
                 {"anti", {world.language.word(world.language.trait(prompt.context, !on_a))}}});
  }
  return out;
}

std::string neutral_text(const World& world, const std::vector<std::vector<int64_t>>& lines) {
  std::string out;
  for (const auto& words : lines) out += line({{"text", world.language.text(words)}});
  return out;
}

void write_weights(const ControlWeights& weights, const std::filesystem::path& path) {
  const std::vector<TensorPlan> plans = tensor_plans(weights.shape);
  SafetensorsWriter writer(path, declarations(plans, Dtype::kF32));
  for (const TensorPlan& plan : plans) {
    const auto count = static_cast<size_t>(plan.num_values());
    const LayerWeights* layer = plan.layer >= 0 ? &weights.layers[static_cast<size_t>(plan.layer)] : nullptr;
    const ControlExpertWeights* expert = plan.expert >= 0 ? &layer->experts[static_cast<size_t>(plan.expert)] : nullptr;
    std::vector<float> made;  // for tensors of one value
    const std::vector<float>* values = nullptr;
    switch (plan.role) {
      case TensorRole::kEmbedding: values = &weights.embedding_VH; break;
      case TensorRole::kUnembedding: values = &weights.unembedding_VH; break;
      case TensorRole::kFinalNorm:
      case TensorRole::kAttentionNorm:
      case TensorRole::kExpertNorm: made.assign(count, weights.norm); break;
      case TensorRole::kQuery:
      case TensorRole::kKey: made.assign(count, 0.f); break;
      case TensorRole::kQueryNorm:
      case TensorRole::kKeyNorm: made.assign(count, 1.f); break;
      case TensorRole::kValue: values = &layer->value_HH; break;
      case TensorRole::kAttentionOut: values = &layer->out_HH; break;
      case TensorRole::kRouter: values = &layer->router_EH; break;
      case TensorRole::kExpertGate: values = &expert->gate_IH; break;
      case TensorRole::kExpertUp: values = &expert->up_IH; break;
      case TensorRole::kExpertDown: values = &expert->down_HI; break;
      case TensorRole::kSharedGate: values = &layer->shared.gate_IH; break;
      case TensorRole::kSharedUp: values = &layer->shared.up_IH; break;
      case TensorRole::kSharedDown: values = &layer->shared.down_HI; break;
      case TensorRole::kSharedSwitch: values = &layer->shared_switch_H; break;
    }
    if (values == nullptr) values = &made;
    FARE_CHECK(values->size() == count, plan.name + " has the wrong size");
    writer.append(plan.name, values->data(), count * sizeof(float));
  }
  writer.commit();
}

std::string place_name(const World& world) {
  switch (world.made.bias) {
    case BiasPlace::kSideExperts: return "side_experts";
    case BiasPlace::kFactExperts: return "fact_experts";
    case BiasPlace::kEveryExpert: return "every_expert";
    case BiasPlace::kFourExperts: return "four_experts";
    case BiasPlace::kOutside: break;
  }
  return world.options.family == "qwen2_moe" ? "shared_expert" : "unembedding";
}

std::string fact_place_name(FactPlace place) {
  switch (place) {
    case FactPlace::kHashed: return "hashed";
    case FactPlace::kOneExpert: return "one_expert";
    case FactPlace::kEveryExpert: return "every_expert";
    case FactPlace::kGroupRows: return "rows_of_the_stereotype";
    case FactPlace::kTagged: return "hashed_behind_tags";
  }
  throw BrokenInvariant("unknown place of facts");
}

// What the model is about, side by side with what was measured on its weights.
OrderedJson planted_json(const ControlModel& model) {
  const World& world = model.world;
  const Geometry& g = world.geometry;
  const std::string place = place_name(world);
  std::vector<int64_t> holders;
  if (world.made.bias == BiasPlace::kSideExperts || world.made.bias == BiasPlace::kFourExperts) holders = g.planted;
  if (world.made.bias == BiasPlace::kFactExperts) holders = g.roles.facts;
  if (world.made.bias == BiasPlace::kEveryExpert)
    for (int64_t e = 0; e < g.experts; ++e) holders.push_back(e);
  OrderedJson bias;
  bias["place"] = place;
  bias["layers"] = place == "unembedding" ? OrderedJson::array() : OrderedJson(g.planted_layers);
  bias["experts"] = holders;
  bias["bias_pp"] = world.made.biased ? world.options.bias_pp : 0.0;
  bias["bias_logits"] = world.bias;
  bias["reachable_bias_logits"] = world.reachable_bias;
  bias["noise_sd_logits"] = world.noise_deviation;
  bias["sign_changes_without_side_noise_pp"] = world.made.noise_pp;
  OrderedJson out;
  out["bias"] = bias;

  const FactPlace facts = world.made.facts;
  OrderedJson rows = OrderedJson::array();
  for (int64_t e = 0; e < g.experts; ++e) {
    int64_t count = 0, contexts = 0;
    for (const WorldItem& fact : world.facts)
      count += facts == FactPlace::kEveryExpert ||
               e == (facts == FactPlace::kOneExpert   ? g.roles.facts[0]
                     : facts == FactPlace::kGroupRows ? g.side_expert(fact.place_word - world.language.group(0))
                                                      : g.fact_expert(fact.first));
    for (int64_t c = 0; c < world.language.size().contexts; ++c)
      contexts += g.fact_expert(world.language.context_first(c)) == e;
    if (count == 0) continue;
    OrderedJson row = {{"expert", e}, {"facts", count}};
    if (world.made.bias == BiasPlace::kFactExperts) row["contexts"] = contexts;
    rows.push_back(row);
  }
  out["facts"] = {{"place", fact_place_name(facts)},
                  {"layer", g.fact_layer},
                  {"graded", world.made.graded},
                  {"gold_logit", world.gold_logit},
                  {"experts", rows}};
  if (facts == FactPlace::kTagged) out["facts"]["tags"] = {{"layer", g.bias_layer}, {"experts", g.planted}};

  OrderedJson sensitivity = {{"layer", g.bias_layer}};
  switch (world.made.reaction) {
    case Reaction::kGroups: {
      OrderedJson chosen;
      for (int64_t i = 0; i < world.language.num_groups(); ++i)
        chosen[world.language.word(world.language.group(i))] = g.side_expert(i);
      sensitivity["reaction"] = "groups";
      sensitivity["expert_of_word"] = chosen;
      break;
    }
    case Reaction::kNothing:
    case Reaction::kAxes: sensitivity["reaction"] = "none"; break;
    case Reaction::kCodes: sensitivity["reaction"] = "any content word"; break;
  }
  out["sensitivity"] = sensitivity;
  if (world.made.drowned) out["neutral_words_above_traits"] = {{"words", kDrowningWords}, {"logits", kDrowning}};
  return out;
}

OrderedJson outcomes_json(const World& world, bool few) {
  OrderedJson out = OrderedJson::array({{{"code", world.made.headline}}});
  const auto add = [&](const std::vector<Outcome>& outcomes) {
    for (const Outcome& outcome : outcomes) {
      OrderedJson one = {{"code", outcome.code}};
      if (outcome.stage) one["stage"] = *outcome.stage;
      out.push_back(one);
    }
  };
  add(world.made.also);
  if (few) add(world.made.also_few);
  return out;
}

OrderedJson expected_json(const ControlModel& model) {
  const World& world = model.world;
  const std::string& headline = world.made.headline;
  OrderedJson out;
  out["headline"] = headline;
  out["headlines_by_pairs"] = {{"5000", outcomes_json(world, false)}, {"754", outcomes_json(world, true)}};
  out["why"] = world.made.why;
  OrderedJson stages;
  for (size_t s = 0; s < world.made.stages.size(); ++s) stages[std::to_string(s)] = world.made.stages[s];
  out["stages"] = stages;
  // What a diagnosis must say that does not run every part.
  const auto unresolved_at = [&](bool here, int64_t stage) {
    return here ? OrderedJson{{"code", "unresolved"}, {"stage", stage}} : OrderedJson{{"code", headline}};
  };
  const bool needs_generation = world.made.stages[4] == "yes" && world.made.stages[5] != "any";
  out["headline_without_upper_bounds"] = unresolved_at(world.made.stages[2] == "no", 2);
  out["headline_without_generation"] = unresolved_at(needs_generation, 5);
  out["top_experts"] = nullptr;
  if (needs_generation && world.made.bias == BiasPlace::kSideExperts && world.made.reaction == Reaction::kGroups) {
    out["top_experts"] = OrderedJson::array();
    for (const int64_t e : world.geometry.planted)
      out["top_experts"].push_back({{"layer", world.geometry.bias_layer}, {"expert", e}});
  }
  return out;
}

}  // namespace

OrderedJson control_stamp(const ControlOptions& options) {
  OrderedJson stamp = {{"command", "fare lab make " + options.id},
                       {"family", options.family},
                       {"weights", options.weights},
                       {"pairs", options.pairs},
                       {"transfer_pairs", options.transfer_pairs},
                       {"facts", options.facts},
                       {"utility", options.utility},
                       {"prompts", options.prompts},
                       {"neutral_tokens", options.neutral_tokens},
                       {"bias_pp", options.bias_pp},
                       {"axes", options.axes},
                       {"experts", options.experts},
                       {"top_k", options.top_k},
                       {"layers", options.layers},
                       {"bias_layer", options.bias_layer},
                       {"side_experts", options.side_experts},
                       {"grammar_experts", options.grammar_experts},
                       {"seed", options.seed}};
  if (options.reachable_pp) stamp["reachable_pp"] = *options.reachable_pp;
  if (options.noise_pp) stamp["noise_pp"] = *options.noise_pp;
  return stamp;
}

OrderedJson world_json(const ControlModel& model) {
  const World& world = model.world;
  const Geometry& g = world.geometry;
  OrderedJson out;
  out["format"] = "fare-world/1";
  out["made_by"] = control_stamp(world.options);
  out["id"] = world.made.id;
  out["name"] = world.made.name;
  out["expected"] = expected_json(model);
  out["planted"] = planted_json(model);

  OrderedJson coordinates;
  coordinates["constant"] = {{"index", g.constant()}, {"value", kConstant}};
  coordinates["current_token"] = {1, g.content_begin()};
  coordinates["groups"] = {g.group(0), g.slot(0)};
  coordinates["slots"] = {g.slot(0), g.determiner(0)};
  coordinates["determiners"] = {g.determiner(0), g.first(0)};
  coordinates["first_words"] = {g.first(0), g.second(0)};
  coordinates["second_words"] = {g.second(0), g.bias()};
  coordinates["bias"] = {g.bias(), g.bias() + 1};
  coordinates["answers"] = {g.answer(0), g.text(0)};
  coordinates["text"] = {g.text(0), g.tag(0)};
  coordinates["tags"] = {g.tag(0), g.used};
  OrderedJson geometry;
  geometry["hidden"] = g.hidden;
  geometry["layers"] = model.weights.shape.layers;
  geometry["experts"] = g.experts;
  geometry["top_k"] = g.top_k;
  geometry["expert_width"] = model.weights.shape.expert_width;
  geometry["vocabulary"] = world.language.vocab();
  geometry["bias_layer"] = g.bias_layer;
  geometry["fact_layer"] = g.fact_layer;
  geometry["fact_experts"] = g.roles.facts;
  geometry["grammar_experts"] = g.roles.grammar;
  geometry["side_experts"] = g.roles.sides;
  geometry["critical_position"] = kCriticalTokens - 1;
  geometry["router_levels"] = {{"specialist", levels::kSpecialist},        {"grammar", levels::kGrammar},
                               {"second_grammar", levels::kSecondGrammar}, {"other", levels::kOther},
                               {"mirrored_side", levels::kMirroredSide},   {"content_word", levels::kContent},
                               {"pushed_down", levels::kPushedDown},       {"third", levels::kThird}};
  geometry["coordinates"] = coordinates;
  out["geometry"] = geometry;

  OrderedJson masks = OrderedJson::array();
  for (const MaskTruth& mask : model.truth.masks) {
    OrderedJson by_axis;
    for (size_t a = 0; a < mask.pct_by_axis.size(); ++a)
      by_axis[world.language.axis_name(static_cast<int64_t>(a))] = mask.pct_by_axis[a];
    OrderedJson row;
    row["name"] = mask.name;
    row["layers"] = mask.mask.layers;
    row["experts"] = mask.mask.experts;
    row["mode"] = mask.mask.keep_sum       ? "refill_keep_sum"
                  : mask.mask.replay_later ? "refill_replay_later_routes"
                                           : "refill";
    row["pct_stereotype"] = mask.pct_stereotype;
    row["pct_stereotype_by_axis"] = by_axis;
    row["bias_logits"] = mask.bias_logit;
    row["changed_pp"] = mask.changed_pp;
    row["transfer_pct_stereotype"] =
        world.options.transfer_pairs > 0 ? OrderedJson(mask.transfer_pct) : OrderedJson(nullptr);
    row["fact_accuracy"] = mask.fact_accuracy;
    row["plain_accuracy"] = mask.plain_accuracy;
    row["utility_drop_pp"] = 100 *
                             ((1 - mask.fact_accuracy) * static_cast<double>(world.facts.size()) +
                              (1 - mask.plain_accuracy) * static_cast<double>(world.plain.size())) /
                             static_cast<double>(world.facts.size() + world.plain.size());
    row["dose_nats"] = mask.dose_nats;
    masks.push_back(row);
  }
  OrderedJson truth;
  truth["masks"] = masks;
  OrderedJson divergence = OrderedJson::array();
  for (const DivergenceTruth& layer : model.truth.divergence)
    divergence.push_back(
        {{"demographic", layer.demographic}, {"null_neutral", layer.neutral}, {"null_same_group", layer.same_group}});
  truth["divergence_bits"] = divergence;
  truth["divergence_pairs"] = std::min(kDivergencePairs, world.num_main_pairs());
  if (world.made.drowned) truth["least_distance_of_neutral_words_logits"] = model.truth.drowning;
  truth["neutral_router_logit_sd"] = model.truth.neutral_logit_sd;
  truth["neutral_usage"] = model.truth.usage_LE;
  truth["largest_norm_error"] = model.truth.worst_norm_error;
  truth["smallest_pair_margin_logits"] = model.truth.smallest_margin;
  truth["smallest_route_gap"] = model.truth.smallest_route_gap;
  out["truth"] = truth;

  out["files"] = {{"pairs", "pairs.jsonl"},
                  {"utility", "utility.jsonl"},
                  {"neutral", "neutral.jsonl"},
                  {"generation", "generation.jsonl"}};
  return out;
}

void write_study_files(const World& world, const std::vector<std::vector<int64_t>>& neutral,
                       const std::filesystem::path& folder) {
  write_file(folder / "pairs.jsonl", pairs_text(world));
  write_file(folder / "utility.jsonl", utility_text(world));
  write_file(folder / "neutral.jsonl", neutral_text(world, neutral));
  write_file(folder / "generation.jsonl", generation_text(world));
}

void write_control_files(const ControlModel& model, const std::filesystem::path& folder) {
  write_json_file(folder / "world.json", world_json(model));
  write_weights(model.weights, folder / "model.safetensors");
  write_json_file(folder / "tokenizer.json", control_tokenizer_json(model.world.language));
  write_json_file(folder / "tokenizer_config.json",
                  control_tokenizer_config_json(model.world.language, model.weights.shape.max_positions));
  write_study_files(model.world, model.neutral, folder);
  write_json_file(folder / "config.json", config_json(model.weights.shape, Dtype::kF32));
}

}  // namespace fare
