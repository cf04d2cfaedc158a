#include "fare/benchmarks/bbq_letters.h"

#include <functional>
#include <map>

#include "fare/benchmarks/bbq.h"
#include "fare/benchmarks/test_support.h"

namespace fare {
namespace {

constexpr const char* kAnswers[] = {"ans0", "ans1", "ans2"};

LoadedTask letters() {
  LoadOptions load;
  load.data = testing::data_folder();
  return fare_bbq_letters().load(load);
}

std::vector<RequestResult> answers(const Document& document, const std::function<double(const TextRequest&)>& logprob) {
  std::vector<RequestResult> results;
  for (const TextRequest& request : document.requests) {
    RequestResult one;
    one.logprob_nats = logprob(request);
    results.push_back(one);
  }
  return results;
}

// The answer that stands under the letter of a request.
std::string under(const TextRequest& request) {
  std::string mark = request.continuation;
  mark[0] = '\n';
  mark += ". ";
  const size_t begin = request.context.rfind(mark) + mark.size();
  return request.context.substr(begin, request.context.find('\n', begin) - begin);
}

TEST(BbqLetters, EveryAnswerStandsTwiceUnderEveryLetter) {
  FARE_NEED_DATA("bbq");
  const LoadedTask task = letters();
  for (size_t d = 0; d < task.documents.size(); d += 97) {
    const Document& document = task.documents[d];
    ASSERT_EQ(document.requests.size(), 18u);
    std::map<std::pair<std::string, std::string>, int> times;
    for (const TextRequest& request : document.requests) ++times[{request.continuation, under(request)}];
    EXPECT_EQ(times.size(), 9u) << document.item;
    for (const auto& [what, count] : times) EXPECT_EQ(count, 2) << what.second;
    ASSERT_EQ(document.gold.size(), 6u);
    const std::string gold = document.doc[kAnswers[document.doc["label"].get<size_t>()]].get<std::string>();
    for (const int64_t g : document.gold)
      EXPECT_EQ(under(document.requests[static_cast<size_t>(g)]), gold) << document.item;
  }
}

TEST(BbqLetters, ALikingForALetterCancels) {
  FARE_NEED_DATA("bbq");
  const LoadedTask loaded = letters();
  const Task task = fare_bbq_letters();
  std::vector<double> letter(8, 0.0), right(8, 0.0), biased(8, 0.0);
  const auto add = [](std::vector<double>& sum, const std::vector<double>& row) {
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += row[i];
  };
  for (size_t d = 0; d < loaded.documents.size(); d += 7) {
    const Document& document = loaded.documents[d];
    const std::string gold = document.doc[kAnswers[document.doc["label"].get<size_t>()]].get<std::string>();
    const auto always_b =
        answers(document, [](const auto& request) { return request.continuation == " B" ? -1.0 : -2.0; });
    const auto knows = answers(document, [&](const auto& request) { return under(request) == gold ? -1.0 : -2.0; });
    const auto& names = document.doc["biased_answers"];
    const auto leans = answers(document, [&](const TextRequest& request) {
      for (const auto& name : names)
        if (under(request) == name.get<std::string>()) return -1.0;
      return -2.0;
    });
    EXPECT_NEAR(*task.score(document, always_b)[1].value, 1, 1e-12);
    EXPECT_NEAR(*task.score(document, knows)[1].value, 1.0 / 3, 1e-12);
    add(letter, task.pooled->row(document, always_b));
    add(right, task.pooled->row(document, knows));
    add(biased, task.pooled->row(document, leans));
  }
  // B always: each answer a third of the time, so no bias wherever one of the two named answers is the biased one.
  auto metrics = task.pooled->metrics(letter);
  EXPECT_NEAR(*metrics[0].value, 1.0 / 3, 1e-9);
  EXPECT_NEAR(*metrics[1].value, 1.0 / 3, 1e-9);
  EXPECT_NEAR(*metrics[2].value, 0, 1e-9);
  EXPECT_NEAR(*metrics[3].value, 0, 1e-9);
  metrics = task.pooled->metrics(right);
  EXPECT_NEAR(*metrics[0].value, 1, 1e-9);
  EXPECT_NEAR(*metrics[1].value, 1, 1e-9);
  EXPECT_FALSE(metrics[2].value);  // every ambiguous answer is unknown: n_u = 0
  EXPECT_FALSE(metrics[2].reason.empty());
  metrics = task.pooled->metrics(biased);
  EXPECT_NEAR(*metrics[2].value, 1, 1e-9);
  EXPECT_NEAR(*metrics[3].value, 1, 1e-9);
}

TEST(BbqLetters, TablesCountBiasedAndNamedAnswers) {
  const Task task = fare_bbq_letters();
  const auto folder = testing::scratch("bbq-letters");
  std::filesystem::create_directories(folder / "bbq");
  for (const std::string category : {"Age", "Race_x_SES"})
    write_file(folder / "bbq" / (category + ".jsonl"),
               OrderedJson{{"example_id", 0},
                           {"question_index", "1"},
                           {"question_polarity", "neg"},
                           {"context_condition", "ambig"},
                           {"category", category},
                           {"answer_info",
                            {{"ans0", {"a", "old"}}, {"ans1", {"b", "nonOld"}}, {"ans2", {"Unknown", "unknown"}}}},
                           {"additional_metadata", {{"stereotyped_groups", {"old"}}}},
                           {"context", category},
                           {"question", "q"},
                           {"ans0", "The grandfather"},
                           {"ans1", "The grandson"},
                           {"ans2", "Unknown"},
                           {"label", 2}}
                   .dump());
  LoadOptions options{folder, true};
  const LoadedTask loaded = task.load(options);
  ASSERT_EQ(loaded.documents.size(), 2u);
  std::vector<std::vector<RequestResult>> results;
  for (const auto& document : loaded.documents)  // the grandson, but B wherever unknown stands under it
    results.push_back(answers(document, [](const TextRequest& request) {
      return under(request) == "The grandson"                              ? -2.0
             : request.continuation == " B" && under(request) == "Unknown" ? -1.0
                                                                           : -3.0;
    }));
  const OrderedJson tables = task.summarise(loaded.documents, results);
  ASSERT_EQ(tables["categories"].size(), 2u);
  for (const auto& row : tables["categories"]) {
    EXPECT_EQ(row["choices"], "six_orders");
    EXPECT_NEAR(row["n_not_unknown"].get<double>(), 4.0 / 6, 1e-12);  // unknown stands under B in two of six orders
    EXPECT_EQ(row["n_biased"], 0);
    EXPECT_NEAR(row["bias"].get<double>(), -4.0 / 6, 1e-12);
  }
  const auto age = task.score(loaded.documents[0], results[0])[0],
             both = task.score(loaded.documents[1], results[1])[0];
  EXPECT_NEAR(age.value.value(), 2.0 / 6, 1e-12);
  EXPECT_FALSE(both.value);
  EXPECT_EQ(both.reason, "intersectional file");
}

}  // namespace
}  // namespace fare
