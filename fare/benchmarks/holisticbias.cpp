#include "fare/benchmarks/holisticbias.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "fare/benchmarks/python_json.h"
#include "fare/benchmarks/record.h"
#include "fare/benchmarks/unicode_case.h"
#include "fare/benchmarks/unicode_text.h"
#include "fare/core/error.h"

namespace fare {
namespace {

const DataFile kDescriptors{"holisticbias/v1.1/descriptors.json",
                            {"dataset/v1.1/descriptors.json"},
                            "c1328f0edfdeefb76302d360a01878df3db55f18026f4ea1956b4a0f52daf943",
                            583,
                            "CC BY-SA 4.0"};
const DataFile kPhrases{"holisticbias/v1.1/standalone_noun_phrases.json",
                        {"dataset/v1.1/standalone_noun_phrases.json"},
                        "bac592574f81df55e8c8d8e3919a866d43cbd8df5ae9376a68d95e7b83dbebac",
                        192,
                        "CC BY-SA 4.0"};
const DataFile kTemplates{"holisticbias/v1.1/sentence_templates.json",
                          {"dataset/v1.1/sentence_templates.json"},
                          "8b1cf8fc3c9a10b12cf77902e8c2ff3d80e3fcfff2f177a00256925acb4f53a5",
                          26,
                          "CC BY-SA 4.0"};

const DataFile kNouns{"holisticbias/v1.1/nouns.json",
                      {"dataset/v1.1/nouns.json"},
                      "9bbe15bf01ea8827fd5d68a81ee2b05e04bd5f79478d9027efec0b4dbd232ee6",
                      32,
                      "CC BY-SA 4.0"};

struct Noun {
  std::string gender, singular, plural;
};

// Of no gender, so that only the descriptor varies.
const Noun kPerson{"neutral", "person", "people"};

// A descriptor or a phrase, about a noun that is still open: "{article} {noun} who uses a wheelchair".
struct Phrase {
  std::string descriptor, axis, bucket, preference;
  std::string pattern, plural_pattern;  // the plural may be ""

  std::string about(const Noun& noun) const {
    return replaced(replaced(pattern, "{article}", indefinite_article(noun.singular)), "{noun}", noun.singular);
  }
  std::string about_several(const Noun& noun) const {
    return replaced(replaced(plural_pattern, "{article} ", ""), "{noun}", noun.plural);
  }
  bool has_noun() const { return pattern.find("{noun}") != std::string::npos; }
};

OrderedJson read_json(const DataFile& wanted, const LoadOptions& options, LoadedTask& task) {
  LoadedFile file = load_data_file(wanted, options.data, options.accept_changed_data);
  OrderedJson root = python_json_loads(file.content, file.path);
  file.content.clear();
  if (!root.is_object()) throw FormatError(file.path, "", "expected a JSON object");
  task.files.push_back(std::move(file));
  return root;
}

// Calls `use(entry, axis, bucket)` for every entry of {axis: {bucket: [entry]}} or {axis: [entry]}; returns their
// number.
int64_t for_each_entry(
    const OrderedJson& root, const std::string& path,
    const std::function<void(const OrderedJson& entry, const std::string& axis, const std::string& bucket)>& use) {
  int64_t n = 0;
  for (const auto& [axis, buckets] : root.items()) {
    const OrderedJson nested = buckets.is_array() ? OrderedJson{{"", buckets}} : buckets;
    if (!nested.is_object()) throw FormatError(path, axis, "expected lists");
    for (const auto& [bucket, entries] : nested.items()) {
      if (!entries.is_array()) throw FormatError(path, axis + "." + bucket, "expected a list");
      for (const auto& entry : entries) use(entry, axis, bucket), ++n;
    }
  }
  return n;
}

std::vector<Phrase> read_phrases(const LoadOptions& options, LoadedTask& task) {
  std::vector<Phrase> phrases;
  const auto preference_of = [](const OrderedJson& entry) {
    return entry.is_object() ? entry.value("preference", "") : "";
  };
  const OrderedJson descriptors = read_json(kDescriptors, options, task);
  const std::string path = task.files.back().path;
  const int64_t num_descriptors = for_each_entry(
      descriptors, path, [&](const OrderedJson& entry, const std::string& axis, const std::string& bucket) {
        const std::string where = axis + "." + bucket;
        const std::string descriptor =
            entry.is_string() ? entry.get<std::string>() : text_field(entry, "descriptor", path, where);
        if (descriptor.empty()) throw FormatError(path, where, "a descriptor is empty");
        const std::string article =
            entry.is_object() ? entry.value("article", indefinite_article(descriptor)) : indefinite_article(descriptor);
        phrases.push_back({descriptor, axis, bucket, preference_of(entry), article + " " + descriptor + " {noun}",
                           descriptor + " {noun}"});
      });
  check_num_records(task.files.back(), kDescriptors, num_descriptors, options.accept_changed_data);
  const OrderedJson standalone = read_json(kPhrases, options, task);
  const std::string phrase_path = task.files.back().path;
  const int64_t num_phrases = for_each_entry(
      standalone, phrase_path, [&](const OrderedJson& entry, const std::string& axis, const std::string& bucket) {
        const std::string where = axis + "." + bucket;
        Phrase phrase{"", axis, bucket, preference_of(entry), "", ""};
        phrase.pattern =
            entry.is_string() ? entry.get<std::string>() : text_field(entry, "noun_phrase", phrase_path, where);
        if (entry.is_object() && entry.contains("plural_noun_phrase"))
          phrase.plural_pattern = text_field(entry, "plural_noun_phrase", phrase_path, where);
        phrase.descriptor = phrase.about(kPerson);
        phrases.push_back(std::move(phrase));
      });
  check_num_records(task.files.back(), kPhrases, num_phrases, options.accept_changed_data);
  return phrases;
}

std::vector<std::string> read_templates(const LoadOptions& options, LoadedTask& task) {
  const OrderedJson root = read_json(kTemplates, options, task);
  check_num_records(task.files.back(), kTemplates, static_cast<int64_t>(root.size()), options.accept_changed_data);
  std::vector<std::string> templates;
  for (const auto& [pattern, ignored] : root.items()) templates.push_back(pattern);
  return templates;
}

// {gender: [[singular, plural]]}
std::vector<Noun> read_nouns(const LoadOptions& options, LoadedTask& task) {
  const OrderedJson root = read_json(kNouns, options, task);
  const std::string path = task.files.back().path;
  std::vector<Noun> nouns;
  const int64_t num_nouns =
      for_each_entry(root, path, [&](const OrderedJson& entry, const std::string& gender, const std::string&) {
        if (!entry.is_array() || entry.size() != 2 || !entry[0].is_string() || !entry[1].is_string())
          throw FormatError(path, gender, "expected nouns as [singular, plural]");
        nouns.push_back({gender, entry[0], entry[1]});
      });
  check_num_records(task.files.back(), kNouns, num_nouns, options.accept_changed_data);
  return nouns;
}

// The sentence of a template about a phrase; none where the template wants a plural that the phrase lacks.
void add_sentence(LoadedTask& task, const Phrase& phrase, const Noun& noun, const std::string& pattern,
                  const std::string& ending) {
  const bool plural = pattern.find("{plural_noun_phrase}") != std::string::npos;
  if (plural && phrase.plural_pattern.empty()) return;
  const std::string sentence = plural ? replaced(pattern, "{plural_noun_phrase}", phrase.about_several(noun))
                                      : replaced(pattern, "{noun_phrase}", phrase.about(noun));
  Document document;
  document.doc_id = static_cast<int64_t>(task.documents.size());
  document.item = phrase.axis + "/" + phrase.bucket + "/" + phrase.descriptor + "/" + ending;
  document.doc = {{"text", sentence},
                  {"axis", phrase.axis},
                  {"bucket", phrase.bucket},
                  {"descriptor", phrase.descriptor},
                  {"template", pattern}};
  document.cluster = phrase.axis + "/" + phrase.descriptor;
  document.axis = phrase.axis;
  document.flags = {{"preference", phrase.preference.empty() ? OrderedJson(nullptr) : OrderedJson(phrase.preference)}};
  document.requests = {{"", sentence}};
  task.documents.push_back(std::move(document));
}

LoadedTask load(const LoadOptions& options) {
  LoadedTask task;
  const auto phrases = read_phrases(options, task);
  const auto templates = read_templates(options, task);
  for (const Phrase& phrase : phrases)
    for (size_t place = 0; place < templates.size(); ++place)
      add_sentence(task, phrase, kPerson, templates[place], std::to_string(place));
  task.notes.push_back("descriptors are combined with the noun '" + kPerson.singular +
                       "' only; fare_holisticbias_nouns has all 32 nouns");
  return task;
}

// Phrases without a noun of their own ("a wheelchair user") are left out: they would be 32 times the same sentence.
LoadedTask load_nouns(const LoadOptions& options) {
  LoadedTask task;
  const auto phrases = read_phrases(options, task);
  const std::string pattern = read_templates(options, task).at(0);
  int64_t fixed = 0;
  const auto nouns = read_nouns(options, task);
  for (const Phrase& phrase : phrases) {
    if (!phrase.has_noun()) {
      ++fixed;
      continue;
    }
    for (const Noun& noun : nouns) {
      add_sentence(task, phrase, noun, pattern, noun.singular);
      Document& document = task.documents.back();
      document.doc["noun"] = noun.singular;
      document.doc["gender"] = noun.gender;
      // What a noun costs by itself is taken off in the tables, as what a template costs is.
      document.doc["template"] = replaced(pattern, "{noun_phrase}", "{descriptor} " + noun.singular);
    }
  }
  task.notes.push_back("the template '" + pattern + "' only; " + std::to_string(fixed) +
                       " phrases with a fixed noun left out");
  return task;
}

std::optional<double> nats_per_token(const RequestResult& result) {
  if (result.token_ids.empty()) return std::nullopt;
  return -result.logprob_nats / static_cast<double>(result.token_ids.size());
}

std::vector<MetricValue> score(const Document& document, std::span<const RequestResult> results) {
  check_result_count(document, results);
  const auto value = nats_per_token(results[0]);
  return {{"fare_nats_per_token", value, value ? "" : "the scores carry no tokens"}};
}

struct Mean {
  double sum = 0;
  int64_t n = 0;
  double value() const { return sum / static_cast<double>(n); }
  void add(double x) { sum += x, ++n; }
};

// How far each sentence lies from the mean of its template, so that templates do not count; none where it has no value.
std::vector<std::optional<double>> deviations(std::span<const Document> documents,
                                              std::span<const std::vector<RequestResult>> results) {
  FARE_CHECK(documents.size() == results.size(), "one list of results per document");
  std::map<std::string, Mean> of_template;
  std::vector<std::optional<double>> values;
  for (size_t d = 0; d < documents.size(); ++d) {
    values.push_back(nats_per_token(results[d].at(0)));
    if (values.back()) of_template[documents[d].doc.at("template")].add(*values.back());
  }
  for (size_t d = 0; d < documents.size(); ++d)
    if (values[d]) *values[d] -= of_template.at(documents[d].doc.at("template")).value();
  return values;
}

// How much the descriptors of an axis differ.
OrderedJson tables(std::span<const Document> documents, std::span<const std::vector<RequestResult>> results) {
  const auto values = deviations(documents, results);
  std::map<std::string, std::map<std::string, Mean>> of_descriptor;  // axis -> descriptor
  for (size_t d = 0; d < documents.size(); ++d)
    if (values[d]) of_descriptor[documents[d].axis][documents[d].doc.at("descriptor")].add(*values[d]);
  OrderedJson axes = OrderedJson::array();
  for (const auto& [axis, descriptors] : of_descriptor) {
    Mean mean;
    double squares = 0;
    std::string lowest, highest;
    for (const auto& [name, one] : descriptors) {
      mean.add(one.value());
      if (lowest.empty() || one.value() < descriptors.at(lowest).value()) lowest = name;
      if (highest.empty() || one.value() > descriptors.at(highest).value()) highest = name;
    }
    for (const auto& [name, one] : descriptors) squares += (one.value() - mean.value()) * (one.value() - mean.value());
    axes.push_back(
        {{"axis", axis},
         {"descriptors", mean.n},
         {"mean", mean.value()},
         {"sd", mean.n > 1 ? OrderedJson(std::sqrt(squares / static_cast<double>(mean.n - 1))) : OrderedJson(nullptr)},
         {"likeliest", lowest},
         {"least_likely", highest}});
  }
  return {{"axes", axes}};
}

// Beside that, per noun its mean over descriptors, and per axis and gender of the noun how far descriptors lie from
// that mean.
OrderedJson noun_tables(std::span<const Document> documents, std::span<const std::vector<RequestResult>> results) {
  OrderedJson out = tables(documents, results);
  const auto values = deviations(documents, results);
  std::vector<std::pair<std::string, std::string>> order;  // noun, gender, as they first occur
  std::map<std::string, Mean> of_noun;
  std::map<std::pair<std::string, std::string>, Mean> of_gender;  // axis, gender
  for (size_t d = 0; d < documents.size(); ++d) {
    if (!values[d]) continue;
    const std::string noun = documents[d].doc.at("noun"), gender = documents[d].doc.at("gender");
    if (!of_noun.contains(noun)) order.emplace_back(noun, gender);
    of_noun[noun].add(*nats_per_token(results[d].at(0)));
    of_gender[{documents[d].axis, gender}].add(*values[d]);
  }
  out["nouns"] = OrderedJson::array();
  for (const auto& [noun, gender] : order)
    out["nouns"].push_back({{"noun", noun},
                            {"gender", gender},
                            {"sentences", of_noun[noun].n},
                            {"nats_per_token", of_noun[noun].value()}});
  out["axes_by_gender"] = OrderedJson::array();
  for (const auto& [key, mean] : of_gender)
    out["axes_by_gender"].push_back(
        {{"axis", key.first}, {"gender_of_noun", key.second}, {"sentences", mean.n}, {"mean", mean.value()}});
  return out;
}

Task make_task(const char* name, const char* title, std::vector<DataFile> files) {
  Task task;
  TaskInfo& info = task.info;
  info.name = name;
  info.title = title;
  info.licence = "CC BY-SA 4.0";
  info.source = "Smith et al. 2022; as in i-gallegos/Fair-LLM-Benchmark, commit b21f3912c472";
  info.files = std::move(files);
  info.metrics = {{"fare_nats_per_token", Profile::kFair, std::nullopt,
                   "mean negative log-likelihood per token of the sentences, nats"}};
  info.config = harness_config(info, {"facebookresearch/ResponsibleNLP holistic_bias", "v1.1", "test", "", "",
                                      "{{text}}", "", "multiple_choice"});
  task.score = score;
  return task;
}

}  // namespace

std::string indefinite_article(const std::string& word) {
  const std::string first = lower_text(word.substr(0, 1));
  return first.find_first_of("aeiou") == 0 ? "an" : "a";
}

Task fare_holisticbias() {
  Task task =
      make_task("fare_holisticbias", "HolisticBias v1.1, likelihood of sentences with 775 descriptors of people",
                {kDescriptors, kPhrases, kTemplates});
  task.load = load;
  task.summarise = tables;
  return task;
}

Task fare_holisticbias_nouns() {
  Task task =
      make_task("fare_holisticbias_nouns", "HolisticBias v1.1, one sentence per descriptor and each of 32 nouns",
                {kDescriptors, kPhrases, kTemplates, kNouns});
  task.load = load_nouns;
  task.summarise = noun_tables;
  return task;
}

}  // namespace fare
