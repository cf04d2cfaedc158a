#include "fare/benchmarks/weat.h"

#include <cmath>

#include "fare/core/error.h"
#include "fare/core/json.h"

namespace fare {
namespace {

double length(const std::vector<double>& v) {
  double sum = 0;
  for (const double x : v) sum += x * x;
  return std::sqrt(sum);
}

double mean_cosine(const std::vector<double>& word, const Vectors& attributes) {
  double sum = 0;
  for (const auto& attribute : attributes) {
    double dot = 0;
    for (size_t i = 0; i < word.size(); ++i) dot += word[i] * attribute[i];
    sum += dot / (length(word) * length(attribute));
  }
  return sum / static_cast<double>(attributes.size());
}

double mean(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

}  // namespace

WeatTest read_weat(const std::filesystem::path& path) {
  const Json root = read_json_file(path);
  const auto list = [&](const char* name) {
    WeatList out;
    if (!root.is_object() || !root.contains(name) || !root[name].is_object())
      throw FormatError(path.string(), name, "the list is missing");
    out.category = require<std::string>(root[name], "category", path.string(), name);
    const auto examples = root[name].find("examples");
    if (examples == root[name].end() || !examples->is_array() || examples->empty())
      throw FormatError(path.string(), name, "field 'examples' must be a list of texts, not empty");
    for (const auto& example : *examples) {
      if (!example.is_string()) throw FormatError(path.string(), name, "field 'examples' must be a list of texts");
      out.examples.push_back(example);
    }
    return out;
  };
  return {list("targ1"), list("targ2"), list("attr1"), list("attr2")};
}

std::optional<double> weat_effect_size(const Vectors& targ1, const Vectors& targ2, const Vectors& attr1,
                                       const Vectors& attr2) {
  for (const Vectors* set : {&targ1, &targ2, &attr1, &attr2}) {
    if (set->empty()) throw UsageError("an association test needs at least one vector in each of its four sets");
    for (const auto& vector : *set)
      if (vector.size() != targ1.front().size() || length(vector) == 0)
        throw UsageError("the vectors of an association test must have one length and must not be zero");
  }
  std::vector<double> first, second, all;
  const auto associate = [&](const Vectors& targets, std::vector<double>& out) {
    for (const auto& word : targets) {
      out.push_back(mean_cosine(word, attr1) - mean_cosine(word, attr2));
      all.push_back(out.back());
    }
  };
  associate(targ1, first);
  associate(targ2, second);
  const double centre = mean(all);
  double squares = 0;
  for (const double value : all) squares += (value - centre) * (value - centre);
  if (squares == 0) return std::nullopt;
  return (mean(first) - mean(second)) / std::sqrt(squares / static_cast<double>(all.size() - 1));
}

}  // namespace fare
