#include "fare/models/rope_config.h"

#include <map>

namespace fare {
namespace {

RopeSpec::Type type_of(const ConfigReader& config, const std::string& key, const std::string& name) {
  static const std::map<std::string, RopeSpec::Type> kTypes = {
      {"default", RopeSpec::Type::kDefault}, {"linear", RopeSpec::Type::kLinear},
      {"dynamic", RopeSpec::Type::kDynamic}, {"yarn", RopeSpec::Type::kYarn},
      {"llama3", RopeSpec::Type::kLlama3},   {"longrope", RopeSpec::Type::kLongrope},
      {"su", RopeSpec::Type::kLongrope}};
  const auto found = kTypes.find(name);
  if (found == kTypes.end())
    throw config.error(key, "rope type '" + name +
                                "' is not supported; accepted: default, linear, dynamic, yarn, llama3, "
                                "longrope");
  return found->second;
}

// Absent, null and 0 count as missing.
double number_or_default(const ConfigReader& object, const char* key, double fallback) {
  const double value = object.optional_number(key).value_or(0);
  return value == 0 ? fallback : value;
}

void read_scaling(const ConfigReader& config, const ConfigReader& object, const std::string& key, RopeSpec& rope) {
  const ConfigKey type_key{"rope_type", "type"};
  rope.type = type_of(config, key, object.string_or(type_key, "default"));
  if (const auto theta = object.optional_number("rope_theta")) rope.theta = *theta;
  if (object.optional_number("partial_rotary_factor").value_or(1.0) != 1.0)
    throw config.error(key, "partial_rotary_factor other than 1 is not supported");
  for (const char* nested : {"full_attention", "sliding_attention"})
    if (object.has(nested))
      throw config.error(key, std::string("settings per kind of layer ('") + nested + "') are not supported");
  rope.original_max_positions = object.optional_int("original_max_position_embeddings", {}, kPositive);
  if (rope.type == RopeSpec::Type::kYarn || rope.type == RopeSpec::Type::kLongrope ||
      rope.type == RopeSpec::Type::kLlama3) {
    // Some checkpoints keep the length at the top level; published implementations disagree on which of two wins.
    const auto outer = config.optional_int("original_max_position_embeddings", {}, kPositive);
    if (outer && rope.original_max_positions && *outer != *rope.original_max_positions)
      throw config.error(
          "original_max_position_embeddings",
          std::to_string(*outer) + " contradicts " + std::to_string(*rope.original_max_positions) + " in " + key);
    if (outer) rope.original_max_positions = outer;
  }
  const double l0 = static_cast<double>(rope.original_max_positions.value_or(rope.max_positions));
  const auto positive_factor = [&](double factor) {
    if (!(factor > 0)) throw config.error(key, "factor must be a positive number, found " + std::to_string(factor));
    return factor;
  };
  switch (rope.type) {
    case RopeSpec::Type::kDefault: break;
    case RopeSpec::Type::kLinear:
    case RopeSpec::Type::kDynamic:
      rope.factor = positive_factor(object.required_number("factor"));
      if (rope.type == RopeSpec::Type::kDynamic && rope.dim == 2)
        throw config.error(key, "dynamic rope needs a rotary dimension above 2");
      break;
    case RopeSpec::Type::kYarn: {
      if (!object.has("factor")) throw config.error(key, "yarn needs a factor");
      const auto factor = object.optional_number("factor");
      rope.factor = factor ? positive_factor(*factor) : static_cast<double>(rope.max_positions) / l0;
      rope.beta_fast = number_or_default(object, "beta_fast", 32);
      rope.beta_slow = number_or_default(object, "beta_slow", 1);
      rope.truncate = object.bool_or("truncate", true);
      rope.attention_factor = object.optional_number("attention_factor");
      rope.mscale = object.optional_number("mscale");
      rope.mscale_all_dim = object.optional_number("mscale_all_dim");
      break;
    }
    case RopeSpec::Type::kLlama3:
      rope.factor = positive_factor(object.required_number("factor"));
      rope.low_freq_factor = object.required_number("low_freq_factor");
      rope.high_freq_factor = object.required_number("high_freq_factor");
      if (!rope.original_max_positions) throw config.error(key, "llama3 needs original_max_position_embeddings");
      if (!(rope.low_freq_factor > 0 && rope.low_freq_factor < rope.high_freq_factor))
        throw config.error(key, "llama3 needs 0 < low_freq_factor < high_freq_factor");
      break;
    case RopeSpec::Type::kLongrope: {
      const double original = static_cast<double>(rope.original_max_positions.value_or(rope.max_positions));
      rope.factor = object.optional_number("factor").value_or(static_cast<double>(rope.max_positions) / original);
      rope.attention_factor = object.optional_number("attention_factor");
      positive_factor(rope.factor);
      if (original < 2 && !rope.attention_factor) throw config.error(key, "longrope needs an original length above 1");
      for (auto [name, list] :
           {std::pair{"short_factor", &rope.short_factor}, std::pair{"long_factor", &rope.long_factor}}) {
        *list = object.optional_numbers(name).value_or(std::vector<double>{});
        if (static_cast<int64_t>(list->size()) != rope.dim / 2)
          throw config.error(key, std::string(name) + " must be a list of " + std::to_string(rope.dim / 2) +
                                      " numbers, found " + std::to_string(list->size()));
        for (const double factor : *list)
          if (!(factor > 0)) throw config.error(key, std::string(name) + " must hold positive numbers only");
      }
      break;
    }
  }
}

}  // namespace

RopeSpec read_rope(const ConfigReader& config, int64_t dim, double default_theta, int64_t max_positions) {
  RopeSpec rope;
  rope.dim = dim;
  rope.max_positions = max_positions;
  rope.theta = config.optional_number("rope_theta").value_or(default_theta);
  if (config.optional_number("partial_rotary_factor").value_or(1.0) != 1.0)
    throw config.error("partial_rotary_factor", "only 1 (or absent) is supported");
  const auto old_style = config.optional_object("rope_scaling");
  if (const auto new_style = config.optional_object("rope_parameters")) {
    read_scaling(config, *new_style, "rope_parameters", rope);
  } else if (old_style) {
    read_scaling(config, *old_style, "rope_scaling", rope);
  }
  if (!(rope.theta > 0) || (rope.theta == 1 && rope.type == RopeSpec::Type::kYarn))
    throw config.error("rope_theta", "must be a positive number" + std::string(rope.theta == 1 ? " other than 1" : ""));
  if (dim % 2 != 0)
    throw config.error("head_dim", "rotary embedding needs an even dimension, found " + std::to_string(dim));
  return rope;
}

}  // namespace fare
