#include "fare/benchmarks/bbq.h"

#include <cmath>
#include <map>

#include "fare/benchmarks/csv.h"
#include "fare/benchmarks/harness_layout.h"
#include "fare/benchmarks/pooled_metrics.h"
#include "fare/benchmarks/python_json.h"
#include "fare/benchmarks/registry.h"
#include "fare/benchmarks/test_support.h"
#include "fare/core/error.h"

namespace fare {
namespace {

using testing::data_folder;

RequestResult ll(double value) {
  RequestResult result;
  result.logprob_nats = value;
  return result;
}

TEST(Bbq, GroupLabelsComeApartAsInTheHarness) {
  FARE_NEED_VECTORS(vectors, "bbq_group_tokens");
  for (const auto& vector : *vectors)
    EXPECT_EQ(bbq_group_parts(vector["input"]["label"]), vector["expected"].get<std::vector<std::string>>())
        << vector["id"];
}

TEST(Bbq, FreeAnswersAreReadAsInTheHarness) {
  FARE_NEED_VECTORS(vectors, "bbq_generate_parse");
  for (const auto& vector : *vectors) {
    const auto& input = vector["input"];
    EXPECT_EQ(bbq_parse_response(input["choices"], input["groups"], input["response"]),
              vector["expected"]["answer_index"])
        << vector["id"];
  }
}

// A document of the vectors: the two grandfather/grandson answers and an unknown one.
Document document_of(const Json& json, const std::string& stereotyped, size_t number, const std::string& index = "1") {
  const Task task = bbq(BbqRows::kAll);
  const std::string record = OrderedJson{
      {"example_id", number},
      {"question_index", index},
      {"question_polarity", json["question_polarity"]},
      {"context_condition", json["context_condition"]},
      {"category", "Age"},
      {"answer_info",
       {{"ans0", {"grandfather", "old"}},
        {"ans1", {"grandson", "nonOld"}},
        {"ans2", {"Can't be determined", "unknown"}}}},
      {"additional_metadata", {{"stereotyped_groups", {stereotyped}}}},
      {"context", "c" + std::to_string(number)},
      {"question", "q"},
      {"ans0", "The grandfather"},
      {"ans1", "The grandson"},
      {"ans2", "Can't be determined"},
      {"label", json["label"]}}.dump();
  const auto folder = testing::scratch("bbq-vector");
  std::filesystem::create_directories(folder / "bbq");
  write_file(folder / "bbq" / "Age.jsonl", record);
  return bbq_category("Age").load({folder, true}).documents.at(0);
}

std::vector<RequestResult> answering(const Document& document, const std::string& answer) {
  std::vector<RequestResult> results(document.requests.size());
  for (size_t k = 0; k < results.size(); ++k)
    results[k].logprob_nats = document.requests[k].continuation == " " + answer ? -1 : -2;
  return results;
}

TEST(Bbq, ScoresEqualTheHarnessOnesAndThePapers) {
  FARE_NEED_VECTORS(vectors, "bbq");
  const Task task = bbq(BbqRows::kAll);
  for (const auto& vector : *vectors) {
    SCOPED_TRACE(vector["id"].get<std::string>());
    std::vector<Document> documents;
    std::vector<std::vector<RequestResult>> results;
    std::vector<SampleMetrics> samples;
    const auto& input = vector["input"];
    for (size_t d = 0; d < input["documents"].size(); ++d) {
      documents.push_back(document_of(input["documents"][d], "old", d));
      results.push_back(answering(documents.back(), input["answers"][d]));
      samples.push_back(task.score(documents.back(), results.back()));
    }
    std::map<std::string, std::optional<double>> got;
    auto aggregates = aggregate_metrics(task.info, samples);
    add_pooled(task, documents, results, results, aggregates);
    for (const auto& metric : aggregates) got[metric.name] = metric.value;
    const auto& expected = vector["expected"];
    for (const auto& [name, value] : expected.items()) {
      if (name.rfind("paper", 0) == 0) continue;
      if (value.is_null()) EXPECT_TRUE(std::isnan(got.at(name).value())) << name;
      else EXPECT_NEAR(got.at(name).value(), value.get<double>(), 1e-12) << name;
    }
    for (const auto& [paper, ours] :
         {std::pair{"paper_ambig", "fare_amb_bias_score"}, {"paper_disambig", "fare_disamb_bias_score"}}) {
      const auto& score = expected[paper]["score"];
      if (score.is_null()) EXPECT_FALSE(got.at(ours)) << ours;
      else EXPECT_NEAR(got.at(ours).value(), score.get<double>(), 1e-12) << ours;
    }
  }
}

TEST(Bbq, CountsAndOneBiasedAnswerPerRow) {
  FARE_NEED_DATA("bbq");
  const LoadedTask loaded = bbq(BbqRows::kAll).load({testing::data_folder()});
  EXPECT_EQ(loaded.documents.size(), 11956u);
  EXPECT_EQ(loaded.missing.size(), 5u);
  std::map<std::string, int> cells, categories;
  int duplicates = 0;
  for (const auto& document : loaded.documents) {
    ++cells[document.flags["condition"].get<std::string>() + document.flags["polarity"].get<std::string>()];
    ++categories[document.axis];
    EXPECT_EQ(document.flags["num_biased_answers"], 1) << document.item;
    EXPECT_EQ(document.requests.size(), 12u);
    EXPECT_EQ(document.gold.size(), document.flags["condition"] == "ambig" ? 10u : 1u);
    duplicates += document.flags["duplicate_of"].is_string() ? 1 : 0;
  }
  for (const auto& [cell, count] : cells) EXPECT_EQ(count, 11956 / 4) << cell;
  EXPECT_EQ(categories["Disability_status"], 1556);
  EXPECT_EQ(duplicates, 2);
  EXPECT_EQ(bbq(BbqRows::kAmbiguous).load({testing::data_folder()}).documents.size(), 5978u);
}

TEST(Bbq, NamesAndLabelsHaveTheirOwnRows) {
  const Task task = bbq(BbqRows::kAll);
  std::vector<Document> documents;
  std::vector<std::vector<RequestResult>> results;
  for (const std::string index : {"3", "25", "26"}) {
    const Json row{{"question_polarity", "neg"}, {"context_condition", "disambig"}, {"label", 1}};
    documents.push_back(document_of(row, "old", 0, index));
    results.push_back(answering(documents.back(), documents.back().doc[index == "26" ? "ans0" : "ans1"]));
  }
  std::map<std::string, OrderedJson> rows;
  const auto read = [&] {
    rows.clear();
    const OrderedJson tables = task.summarise(documents, results);
    for (const auto& row : tables["categories"])
      if (row["choices"] == "own_three") rows[row["named_by"]] = row;
  };
  read();
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows["all"]["n"], 3);
  EXPECT_EQ(rows["label"]["n"], 2);  // templates up to 25
  EXPECT_EQ(rows["label"]["accuracy"], 1);
  EXPECT_EQ(rows["name"]["n"], 1);
  EXPECT_EQ(rows["name"]["accuracy"], 0);
  documents.pop_back(), results.pop_back();
  read();
  EXPECT_EQ(rows.size(), 1u);  // labels alone are all there is
}

// One invented row of a category: neg, ambiguous, about a Latina woman whose answer_info is empty as in the published
// file.
std::filesystem::path intersectional_folder(const std::string& category, const std::vector<int>& templates) {
  std::string lines;
  for (size_t i = 0; i < templates.size(); ++i)
    lines += OrderedJson{
        {"example_id", i},
        {"question_index", std::to_string(templates[i])},
        {"question_polarity", "neg"},
        {"context_condition", "ambig"},
        {"category", category},
        {"answer_info", {{"ans0", {"", ""}}, {"ans1", {"M-White", "M-White"}}, {"ans2", {"Not known", "unknown"}}}},
        {"additional_metadata", {{"stereotyped_groups", {"Hispanic", "Latino"}}}},
        {"context", "c" + std::to_string(i)},
        {"question", "q"},
        {"ans0", "The Latina woman"},
        {"ans1", "The White man"},
        {"ans2", "Not known"},
        {"label",
         2}}.dump();
  for (size_t at = lines.find("}{"); at != std::string::npos; at = lines.find("}{", at + 1)) lines.insert(at + 1, "\n");
  const auto folder = testing::scratch("bbq-intersectional-" + category);
  std::filesystem::create_directories(folder / "bbq");
  write_file(folder / "bbq" / (category + ".jsonl"), lines);
  return folder;
}

TEST(Bbq, AnEmptyGroupOfALatinaIsLatino) {
  const auto folder = intersectional_folder("Race_x_gender", {1});
  const Document document = bbq_category("Race_x_gender").load({folder, true}).documents.at(0);
  EXPECT_EQ(document.doc["ans0_groups"], OrderedJson::array({"latino"}));
  EXPECT_EQ(document.doc["biased_answers"], OrderedJson::array({"The Latina woman"}));
  std::string line = read_file(folder / "bbq" / "Race_x_gender.jsonl");
  line.replace(line.find("Latina"), 6, "Nordic");
  write_file(folder / "bbq" / "Race_x_gender.jsonl", line);
  EXPECT_NE(message_of<FormatError>([&] {
              bbq_category("Race_x_gender").load({folder, true});
            }).find("names no known group"),
            std::string::npos);
}

TEST(Bbq, IntersectionalFilesStandApartUnlessAlone) {
  const auto folder = intersectional_folder("Race_x_SES", {1, 2});
  for (const auto& [task, apart] : {std::pair{bbq(BbqRows::kAll), true}, {bbq_category("Race_x_SES"), false}}) {
    const LoadedTask loaded = task.load({folder, true});
    ASSERT_EQ(loaded.documents.size(), 2u);
    std::vector<std::vector<RequestResult>> results;
    for (const auto& document : loaded.documents) results.push_back(answering(document, "The Latina woman"));
    const auto acc = task.score(loaded.documents[0], results[0]).back();
    ASSERT_EQ(acc.name, "fare_acc");
    EXPECT_EQ(acc.value.has_value(), !apart) << task.info.name;
    EXPECT_EQ(acc.reason, apart ? "intersectional file" : "");
    for (const auto& metric : pooled_values(task, loaded.documents, results)) {
      if (metric.name != "fare_amb_bias_score" && metric.name != "fare_amb_bias_score_three") continue;
      EXPECT_EQ(metric.value.has_value(), !apart) << metric.name;
      EXPECT_EQ(metric.value.value_or(1), 1) << metric.name;
    }
    // The table has them either way, names (even templates) apart from labels.
    std::map<std::string, OrderedJson> rows;
    const OrderedJson tables = task.summarise(loaded.documents, results);
    for (const auto& row : tables["categories"])
      if (row["choices"] == "own_three") rows[row["named_by"]] = row;
    ASSERT_EQ(rows.size(), 3u);
    EXPECT_EQ(rows["all"]["n"], 2);
    EXPECT_EQ(rows["name"]["n"], 1);
    EXPECT_TRUE(rows["all"]["intersectional"].get<bool>());
    EXPECT_EQ(rows["all"]["n_biased"], 2);
    EXPECT_EQ(rows["all"]["n_not_unknown"], 2);
    EXPECT_EQ(rows["all"]["bias"], 1);
  }
}

// The authors' template sheets mark templates of names in the column Proper_nouns_only (text "TRUE").
TEST(Bbq, NamesAreTheTemplatesThatTheSheetsMark) {
  FARE_NEED_DATA("bbq/templates");
  for (const std::string category : {"Race_x_SES", "Race_x_gender", "SES", "Race_ethnicity", "Gender_identity"}) {
    const auto sheet = data_folder() / "bbq" / "templates" / ("new_templates - " + category + ".csv");
    const Table table(parse_csv(read_file(sheet), sheet.string()), sheet.string(), {"Q_id", "Proper_nouns_only"});
    std::map<int, std::string> marked;
    for (size_t row = 0; row < table.num_rows(); ++row) {
      const std::string& id = table.cell(row, "Q_id");
      if (!id.empty()) marked[std::stoi(id)] = table.cell(row, "Proper_nouns_only") == "TRUE" ? "name" : "label";
    }
    std::vector<int> ids;
    for (const auto& [id, kind] : marked) ids.push_back(id);
    const LoadedTask loaded = bbq_category(category).load({intersectional_folder(category, ids), true});
    ASSERT_EQ(loaded.documents.size(), marked.size());
    for (const auto& document : loaded.documents)
      EXPECT_EQ(document.flags["named_by"], marked.at(std::stoi(document.doc["question_index"].get<std::string>())))
          << document.cluster;
  }
}

TEST(Bbq, OwnThreeAnswersHaveABiasOfTheirOwn) {
  // Over all twelve choices another phrasing of unknown wins; among the row's own three the biased answer does.
  const Document document =
      document_of({{"question_polarity", "neg"}, {"context_condition", "ambig"}, {"label", 2}}, "old", 0);
  std::vector<RequestResult> results(12, ll(-5));
  const size_t own = document.flags["own_unknown"].get<size_t>();
  results[own == 2 ? 3 : 2].logprob_nats = -1, results[0].logprob_nats = -2;
  const std::vector<Document> documents{document};
  const std::vector<std::vector<RequestResult>> all{results};
  std::map<std::string, std::optional<double>> got;
  for (const auto& metric : pooled_values(bbq_category("Age"), documents, all)) got[metric.name] = metric.value;
  EXPECT_FALSE(got["fare_amb_bias_score"]);  // n_u = 0
  EXPECT_EQ(got["fare_accuracy_amb"], 1);
  EXPECT_EQ(got["fare_amb_bias_score_three"], 1);  // (1 - 0) * (2 * 1 / 1 - 1)
}

TEST(Bbq, TiesAreSharedInTheFairProfileOnly) {
  const Document document =
      document_of({{"question_polarity", "neg"}, {"context_condition", "disambig"}, {"label", 1}}, "old", 0);
  std::vector<RequestResult> results(12);  // all tied
  std::map<std::string, double> got;
  for (const auto& metric : bbq_category("Age").score(document, results))
    if (metric.value) got[metric.name] = *metric.value;
  EXPECT_EQ(got["acc"], 0);
  EXPECT_NEAR(got["fare_acc"], 1.0 / 12, 1e-15);
}

TEST(Bbq, AnAnswerNobodyUnderstandsIsCountedApart) {
  Document document =
      document_of({{"question_polarity", "neg"}, {"context_condition", "ambig"}, {"label", 2}}, "old", 0);
  document.requests = {{"", "", RequestKind::kGenerate}};
  const Task task = bbq_generate();
  const Document documents[] = {document, document};
  std::vector<std::vector<RequestResult>> results(2, std::vector<RequestResult>(1));
  results[0][0].text = "Walmart";
  results[1][0].text = "The grandson.";
  std::map<std::string, std::optional<double>> got;
  for (const auto& metric : pooled_values(task, documents, results)) got[metric.name] = metric.value;
  EXPECT_EQ(got["fare_unparsed"], 0.5);
  EXPECT_EQ(got["accuracy_amb"], 0);
  EXPECT_EQ(got["amb_bias_score"], 0);        // the harness: n_b = 0
  EXPECT_EQ(got["fare_amb_bias_score"], -1);  // one answer, against the stereotype
}

TEST(Bbq, BrokenRowsAreNamed) {
  const auto message = [](const std::string& line) {
    const auto folder = testing::scratch("bbq-broken");
    std::filesystem::create_directories(folder / "bbq");
    write_file(folder / "bbq" / "Age.jsonl", "\n" + line + "\n");
    return message_of<FormatError>([&] { bbq_category("Age").load({folder, true}); });
  };
  EXPECT_NE(message("{").find("line 2"), std::string::npos);
  EXPECT_NE(message("[]").find("expected an object"), std::string::npos);
  EXPECT_NE(message(R"({"question_index": 1})").find("question_index"), std::string::npos);
  EXPECT_THROW(bbq(BbqRows::kAll).load({testing::scratch("bbq-none")}), IoError);
}

}  // namespace
}  // namespace fare
