#include "fare/benchmarks/study_data.h"

#include <algorithm>
#include <map>
#include <set>

#include "fare/benchmarks/unicode_text.h"
#include "fare/core/error.h"
#include "fare/core/json.h"

namespace fare {
namespace {

// One line of the file: typed access to its fields with errors that name the place.
class Line {
 public:
  Line(const Json& object, const std::string& path, size_t number, std::set<std::string>& seen)
      : object_(object), path_(path), where_("line " + std::to_string(number)), seen_(seen) {}

  [[noreturn]] void fail(const std::string& what) const { throw FormatError(path_, where_, what); }

  // A text that holds more than white space.
  std::string text(const std::string& field) {
    seen_.insert(field);
    std::string value = require<std::string>(object_, field, path_, where_);
    if (strip(value).empty()) fail("field '" + field + "' is empty");
    return value;
  }
  std::string text_or(const std::string& field, const std::string& otherwise) {
    seen_.insert(field);
    const auto found = object_.find(field);
    if (found == object_.end() || found->is_null()) return otherwise;
    return require<std::string>(object_, field, path_, where_);
  }
  std::vector<std::string> texts(const std::string& field, size_t at_least) {
    seen_.insert(field);
    const auto found = object_.find(field);
    if (found == object_.end()) fail("field '" + field + "' is missing");
    if (!found->is_array()) fail("field '" + field + "' must be a list of texts");
    std::vector<std::string> values;
    for (size_t i = 0; i < found->size(); ++i) {
      const Json& entry = (*found)[i];
      if (!entry.is_string())
        fail("field '" + field + "': entry " + std::to_string(i) + " is not a text: " + entry.dump());
      values.push_back(entry.get<std::string>());
      if (strip(values.back()).empty()) fail("field '" + field + "': entry " + std::to_string(i) + " is empty");
    }
    if (values.size() < at_least)
      fail("field '" + field + "' has " + std::to_string(values.size()) + " entries; at least " +
           std::to_string(at_least) + " are needed");
    return values;
  }
  // An index or a list of indices below `limit`.
  std::vector<int64_t> indices(const std::string& field, size_t limit) {
    seen_.insert(field);
    const auto found = object_.find(field);
    if (found == object_.end()) fail("field '" + field + "' is missing");
    std::vector<int64_t> values;
    for (const Json& entry : found->is_array() ? *found : Json::array({*found})) {
      if (!entry.is_number_integer())
        fail("field '" + field + "' must be an index or a list of indices: " + found->dump());
      const bool too_large = entry.is_number_unsigned() && entry.get<uint64_t>() >= limit;
      const int64_t index = too_large ? -1 : entry.get<int64_t>();
      if (index < 0)
        fail("field '" + field + "': " + entry.dump() + " is not the index of one of " + std::to_string(limit) +
             " choices");
      values.push_back(index);
    }
    if (values.empty()) fail("field '" + field + "' names no choice");
    std::sort(values.begin(), values.end());
    if (std::adjacent_find(values.begin(), values.end()) != values.end())
      fail("field '" + field + "' names a choice twice");
    return values;
  }

 private:
  const Json& object_;
  const std::string& path_;
  std::string where_;
  std::set<std::string>& seen_;
};

// Reads every line; `make` turns one into an item. Ids (where the items have one) must be unique.
template <typename Item, typename Make>
StudyFile<Item> read_lines(const std::filesystem::path& path, const char* what, const Make& make) {
  StudyFile<Item> file;
  const std::string name = path.string();
  std::set<std::string> known;
  std::set<std::string> given;
  for_each_json_line(path, [&](const Json& object, size_t number) {
    Line line(object, name, number, known);
    file.items.push_back(make(line, number));
    for (const auto& [field, value] : object.items()) given.insert(field);
  });
  if (file.items.empty()) throw FormatError(name, "", std::string("holds no ") + what);
  std::set_difference(given.begin(), given.end(), known.begin(), known.end(), std::back_inserter(file.ignored_fields));
  return file;
}

// Remembers on which line an id was used.
class IdBook {
 public:
  std::string take(Line& line, size_t number) {
    const std::string id = line.text("id");
    const auto [place, is_new] = lines_.emplace(id, number);
    if (!is_new) line.fail("id '" + id + "' was used before, on line " + std::to_string(place->second));
    return id;
  }

 private:
  std::map<std::string, size_t> lines_;
};

template <typename Enum>
Enum one_of(Line& line, const std::string& field, std::initializer_list<Enum> values) {
  const std::string given = line.text_or(field, std::string(name_of(*values.begin())));
  std::vector<std::string> names;
  for (const Enum value : values) {
    if (given == name_of(value)) return value;
    names.emplace_back(name_of(value));
  }
  std::string accepted;
  for (const auto& name : names) accepted += (accepted.empty() ? "" : ", ") + name;
  line.fail("field '" + field + "' is '" + given + "', but must be one of " + accepted);
}

}  // namespace

std::string_view name_of(PairKind kind) {
  switch (kind) {
    case PairKind::kDemographic: return "demographic";
    case PairKind::kNullNeutral: return "null_neutral";
    case PairKind::kNullSameGroup: return "null_same_group";
    case PairKind::kNullParaphrase: return "null_paraphrase";
  }
  return "";
}

std::string_view name_of(PairSet set) { return set == PairSet::kMain ? "main" : "transfer"; }

StudyFile<StudyPair> read_pairs(const std::filesystem::path& path) {
  IdBook ids;
  std::vector<size_t> lines;
  auto file = read_lines<StudyPair>(path, "pair", [&](Line& line, size_t number) {
    StudyPair pair;
    pair.id = ids.take(line, number);
    pair.cluster = line.text("cluster");
    pair.axis = line.text("axis");
    pair.stereo = line.text("stereo");
    pair.anti = line.text("anti");
    pair.context = line.text_or("context", "");
    pair.kind =
        one_of(line, "kind",
               {PairKind::kDemographic, PairKind::kNullNeutral, PairKind::kNullSameGroup, PairKind::kNullParaphrase});
    pair.set = one_of(line, "set", {PairSet::kMain, PairSet::kTransfer});
    const std::string null_of = line.text_or("null_of", "");
    if (!null_of.empty()) pair.null_of = null_of;
    if (pair.stereo == pair.anti) line.fail("'stereo' and 'anti' are the same text");
    if (pair.null_of && pair.kind == PairKind::kDemographic)
      line.fail("'null_of' belongs to pairs of a null kind; this one is demographic");
    lines.push_back(number);
    return pair;
  });
  std::set<std::string> demographic;
  for (const auto& pair : file.items)
    if (pair.kind == PairKind::kDemographic) demographic.insert(pair.id);
  for (size_t i = 0; i < file.items.size(); ++i) {
    const auto& null_of = file.items[i].null_of;
    if (null_of && !demographic.count(*null_of))
      throw FormatError(path.string(), "line " + std::to_string(lines[i]),
                        "'null_of' is '" + *null_of + "', which is not the id of a demographic pair of this file" +
                            did_you_mean(*null_of, {demographic.begin(), demographic.end()}));
  }
  if (demographic.empty()) throw FormatError(path.string(), "", "holds no demographic pair, only null kinds");
  return file;
}

StudyFile<UtilityItem> read_utility(const std::filesystem::path& path) {
  IdBook ids;
  return read_lines<UtilityItem>(path, "utility item", [&](Line& line, size_t number) {
    UtilityItem item;
    item.id = ids.take(line, number);
    item.cluster = line.text("cluster");
    item.task = line.text("task");
    item.context = line.text("context");
    item.choices = line.texts("choices", 2);
    item.gold = line.indices("gold", item.choices.size());
    if (item.gold.size() == item.choices.size()) line.fail("every choice is gold: the item measures nothing");
    return item;
  });
}

StudyFile<std::string> read_neutral(const std::filesystem::path& path) {
  return read_lines<std::string>(path, "neutral text", [](Line& line, size_t) { return line.text("text"); });
}

StudyFile<GenerationItem> read_generation(const std::filesystem::path& path) {
  IdBook ids;
  return read_lines<GenerationItem>(path, "generation item", [&](Line& line, size_t number) {
    GenerationItem item;
    item.id = ids.take(line, number);
    item.cluster = line.text("cluster");
    item.axis = line.text("axis");
    item.prompt = line.text("prompt");
    item.stereo = line.texts("stereo", 1);
    item.anti = line.texts("anti", 1);
    for (const auto& entry : item.stereo)
      if (std::find(item.anti.begin(), item.anti.end(), entry) != item.anti.end())
        line.fail("'" + entry + "' stands in both 'stereo' and 'anti'");
    return item;
  });
}

}  // namespace fare
