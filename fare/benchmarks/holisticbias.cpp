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

// The noun of the descriptors: of no gender, so that only the descriptor varies.
constexpr char kNoun[] = "person", kPlural[] = "people";

struct Phrase {
  std::string descriptor, axis, bucket, preference;
  std::string noun_phrase, plural_noun_phrase;  // the plural may be ""
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
        phrases.push_back({descriptor, axis, bucket, entry.is_object() ? entry.value("preference", "") : "",
                           article + " " + descriptor + " " + kNoun, descriptor + " " + kPlural});
      });
  check_num_records(task.files.back(), kDescriptors, num_descriptors, options.accept_changed_data);
  const OrderedJson standalone = read_json(kPhrases, options, task);
  const std::string phrase_path = task.files.back().path;
  const int64_t num_phrases = for_each_entry(
      standalone, phrase_path, [&](const OrderedJson& entry, const std::string& axis, const std::string& bucket) {
        const std::string where = axis + "." + bucket;
        const auto filled = [&](const std::string& phrase, bool plural) {
          const std::string noun = plural ? kPlural : kNoun;
          const std::string out = replaced(phrase, "{noun}", noun);
          return plural ? replaced(out, "{article} ", "") : replaced(out, "{article}", indefinite_article(noun));
        };
        Phrase phrase{"", axis, bucket, entry.is_object() ? entry.value("preference", "") : "", "", ""};
        phrase.noun_phrase = filled(
            entry.is_string() ? entry.get<std::string>() : text_field(entry, "noun_phrase", phrase_path, where), false);
        if (entry.is_object() && entry.contains("plural_noun_phrase"))
          phrase.plural_noun_phrase = filled(text_field(entry, "plural_noun_phrase", phrase_path, where), true);
        phrase.descriptor = phrase.noun_phrase;
        phrases.push_back(std::move(phrase));
      });
  check_num_records(task.files.back(), kPhrases, num_phrases, options.accept_changed_data);
  return phrases;
}

LoadedTask load(const LoadOptions& options) {
  LoadedTask task;
  const auto phrases = read_phrases(options, task);
  const OrderedJson templates = read_json(kTemplates, options, task);
  check_num_records(task.files.back(), kTemplates, static_cast<int64_t>(templates.size()), options.accept_changed_data);
  for (const Phrase& phrase : phrases) {
    size_t number = 0;
    for (const auto& [pattern, ignored] : templates.items()) {
      (void)ignored;
      const size_t place = number++;
      const bool plural = pattern.find("{plural_noun_phrase}") != std::string::npos;
      if (plural && phrase.plural_noun_phrase.empty()) continue;
      const std::string sentence = replaced(replaced(pattern, "{plural_noun_phrase}", phrase.plural_noun_phrase),
                                            "{noun_phrase}", phrase.noun_phrase);
      Document document;
      document.doc_id = static_cast<int64_t>(task.documents.size());
      document.item = phrase.axis + "/" + phrase.bucket + "/" + phrase.descriptor + "/" + std::to_string(place);
      document.doc = {{"text", sentence},
                      {"axis", phrase.axis},
                      {"bucket", phrase.bucket},
                      {"descriptor", phrase.descriptor},
                      {"template", pattern}};
      document.cluster = phrase.axis + "/" + phrase.descriptor;
      document.axis = phrase.axis;
      document.flags = {
          {"preference", phrase.preference.empty() ? OrderedJson(nullptr) : OrderedJson(phrase.preference)}};
      document.requests = {{"", sentence}};
      task.documents.push_back(std::move(document));
    }
  }
  task.notes.push_back(std::string("descriptors are combined with the noun '") + kNoun +
                       "' only, not with all 32 nouns");
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

// How much descriptors of an axis differ: each sentence against the mean of its template, so that templates do not
// count.
OrderedJson tables(std::span<const Document> documents, std::span<const std::vector<RequestResult>> results) {
  FARE_CHECK(documents.size() == results.size(), "one list of results per document");
  struct Mean {
    double sum = 0;
    int64_t n = 0;
    double value() const { return sum / static_cast<double>(n); }
    void add(double x) { sum += x, ++n; }
  };
  std::map<std::string, Mean> of_template;
  std::map<std::string, std::map<std::string, Mean>> of_descriptor;  // axis -> descriptor
  std::vector<std::optional<double>> values;
  for (size_t d = 0; d < documents.size(); ++d) {
    values.push_back(nats_per_token(results[d].at(0)));
    if (values.back()) of_template[documents[d].doc.at("template")].add(*values.back());
  }
  for (size_t d = 0; d < documents.size(); ++d)
    if (values[d])
      of_descriptor[documents[d].axis][documents[d].doc.at("descriptor")].add(
          *values[d] - of_template.at(documents[d].doc.at("template")).value());
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

}  // namespace

std::string indefinite_article(const std::string& word) {
  const std::string first = lower_text(word.substr(0, 1));
  return first.find_first_of("aeiou") == 0 ? "an" : "a";
}

Task fare_holisticbias() {
  Task task;
  TaskInfo& info = task.info;
  info.name = "fare_holisticbias";
  info.title = "HolisticBias v1.1, likelihood of sentences with 775 descriptors of people";
  info.licence = "CC BY-SA 4.0";
  info.source = "Smith et al. 2022; as in i-gallegos/Fair-LLM-Benchmark, commit b21f3912c472";
  info.files = {kDescriptors, kPhrases, kTemplates};
  info.metrics = {{"fare_nats_per_token", Profile::kFair, std::nullopt,
                   "mean negative log-likelihood per token of the sentences, nats"}};
  info.config = harness_config(info, {"facebookresearch/ResponsibleNLP holistic_bias", "v1.1", "test", "", "",
                                      "{{text}}", "", "multiple_choice"});
  task.load = load;
  task.score = score;
  task.summarise = tables;
  return task;
}

}  // namespace fare
