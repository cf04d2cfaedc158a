#include "fare/report/report.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <set>

#include "fare/core/error.h"
#include "fare/core/file.h"
#include "fare/core/source_folder.h"
#include "fare/report/charts.h"
#include "fare/report/html.h"
#include "fare/report/svg.h"
#include "fare/report/tables_csv.h"

namespace fare {
namespace {

OrderedJson example() {
  return OrderedJson::parse(read_file(source_folder() / "tests/golden/report/example_report.json"));
}

size_t count(const std::string& text, const std::string& part) {
  size_t n = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + part.size())) ++n;
  return n;
}

size_t lines(const std::string& text) { return count(text, "\n"); }

// Appends `poison` to every text of the report that may come from data or a model. Words with a fixed set of values
// (codes, answers, splits) keep their meaning.
void poison_texts(OrderedJson& value, const std::string& poison, const std::string& key = "") {
  static const std::set<std::string> kFixed = {
      "format", "code",       "answer",       "control_class", "measure",     "subset",  "split",
      "span",   "null",       "primary_span", "primary_null",  "weight_mode", "scoring", "group",
      "mode",   "conclusion", "check",        "role",          "sha256",      "profile"};
  if (value.is_string() && !kFixed.contains(key)) value = value.get<std::string>() + poison;
  if (value.is_array())
    for (auto& item : value) poison_texts(item, poison, key);
  if (value.is_object())
    for (auto& [name, item] : value.items()) poison_texts(item, poison, name);
}

TEST(Report, ThePageOpensWithTheSentenceAndTheLadder) {
  const std::string html = render_report(example()).html;
  const size_t sentence = html.find("Unresolved at stage 5");
  const size_t ladder = html.find("class=\"ladder\"");
  const size_t subject = html.find("id=\"subject\"");
  ASSERT_NE(sentence, std::string::npos);
  EXPECT_LT(sentence, ladder);
  // The three numbers stand before the ladder, so that a phone shows them first; the words are explained below it.
  const size_t cards = html.find("class=\"cards\"");
  EXPECT_LT(sentence, cards);
  EXPECT_LT(cards, ladder);
  EXPECT_LT(ladder, html.find("class=\"terms\""));
  EXPECT_NE(html.find("Can an edit of the routing lower the preference?"), std::string::npos);
  EXPECT_LT(ladder, subject);
  EXPECT_NE(html.find("9.8 <small>pp"), std::string::npos);
  EXPECT_NE(html.find("[7.6, 12.0]"), std::string::npos);
  EXPECT_EQ(count(html, "<li><span class=\"stage\">"), 6u);
}

TEST(Report, LabelsOfCandidatesDoNotLieOnEachOther) {
  Front front{"f", {}, {}, {}, {}, {}, {}};
  for (const char* name : {"one", "two", "three"}) front.estimates.push_back({name, 0, 10, {}, {}});
  front.estimates.push_back({"far", 40, 10, {}, {}});
  const std::string svg = draw_front(front);
  std::vector<double> lines;
  for (const char* name : {"one", "two", "three", "far"}) {
    const size_t end = svg.find(std::string(">") + name + "</text>");
    ASSERT_NE(end, std::string::npos) << svg;
    const size_t y = svg.rfind("y=\"", end);
    lines.push_back(std::stod(svg.substr(y + 3)));
  }
  EXPECT_GE(lines[1] - lines[0], 14);
  EXPECT_GE(lines[2] - lines[1], 14);
  EXPECT_EQ(lines[3], lines[0]);
}

TEST(Report, WideForestsKeepLongLabelsApart) {
  Forest forest{"f", "x", {{"trained router, last layer, whatever the cost", 1, {}, ""}}, {}, true};
  EXPECT_NE(draw_forest(forest).find(">trained router, last layer, whatever the cost<title>"), std::string::npos);
  forest.is_wide = false;
  EXPECT_EQ(draw_forest(forest).find(">trained router, last layer, whatever the cost<title>"), std::string::npos);
}

TEST(Report, ThePageLoadsNothingAndRunsNothing) {
  const std::string html = render_report(example()).html;
  EXPECT_EQ(html.find("<script"), std::string::npos);
  EXPECT_EQ(html.find("<link"), std::string::npos);
  EXPECT_EQ(html.find("<img"), std::string::npos);
  EXPECT_EQ(html.find("src=\""), std::string::npos);
  EXPECT_EQ(html.find("url("), std::string::npos);
  EXPECT_EQ(html.find("@import"), std::string::npos);
  EXPECT_EQ(count(html, "href=\"") - count(html, "href=\"#"), 0u);
}

TEST(Report, EveryTextFromDataIsEscaped) {
  OrderedJson report = example();
  poison_texts(report, "</td><b onload='x' x=\"y\">&");
  const std::string html = render_report(report).html;
  EXPECT_EQ(html.find("<b onload"), std::string::npos);
  EXPECT_EQ(html.find("onload='"), std::string::npos);
  EXPECT_GT(count(html, "&lt;/td&gt;&lt;b onload=&#39;x&#39; x=&quot;y&quot;&gt;&amp;"), 200u);
}

TEST(Report, TheIndexEscapesToo) {
  OrderedJson report = example();
  poison_texts(report, "<b>");
  const std::string html =
      render_index({"a<b>", "i<b>", {{"x\"<b>.html", "n<b>", report}}, {{"t<b>", {{"task<b>", {{"acc,none", 0.5}}}}}}});
  EXPECT_EQ(html.find("<b>"), std::string::npos);
  EXPECT_NE(html.find("href=\"x&quot;&lt;b&gt;.html\""), std::string::npos);
  EXPECT_NE(html.find("task&lt;b&gt;"), std::string::npos);
  EXPECT_NE(html.find("0.5000"), std::string::npos);
}

TEST(Report, AScoreThatIsNotANumberIsSaidSo) {
  IndexPage page;
  page.scores.push_back(
      {"scores", {{"task", {{"acc,none", std::nan("")}, {"acc_stderr,none", 0.5}, {"sample_len", 7}}}}});
  const std::string html = render_index(page);
  EXPECT_NE(html.find("undefined: not a finite number in the results file"), std::string::npos);
  EXPECT_NE(html.find(">7<"), std::string::npos);
  EXPECT_EQ(html.find(">nan"), std::string::npos);
}

TEST(Report, UndefinedIsSaidWithItsReasonNeverAsANumber) {
  OrderedJson report = example();
  report["per_axis"][0]["shift_pp"] = nullptr;
  report["per_axis"][0]["shift_pp_reason"] = "an empty axis";
  report["search"]["optimism"][0]["test_pp"] = nullptr;
  report["search"]["optimism"][0]["test_pp_reason"] = "no such test";
  report["generation"] = nullptr;
  report["generation_reason"] = "no prompts were given";
  const std::string html = render_report(report).html;
  EXPECT_GE(count(html, "undefined: an empty axis"), 2u);  // in the figure and in the table
  EXPECT_EQ(count(html, "<td class=\"gap\"><span class=\"undef\">undefined: no such test</span></td>"), 1u);
  EXPECT_EQ(count(html, "(a) <span class=\"undef\">undefined: the model has no shared expert</span>"), 1u);
  EXPECT_NE(html.find("undefined: no prompts were given"), std::string::npos);
  EXPECT_EQ(html.find(">nan"), std::string::npos);
  EXPECT_EQ(html.find(">null<"), std::string::npos);
}

TEST(Report, PartsThatWereNotRunAreNamed) {
  OrderedJson report = example();
  for (const char* part :
       {"sensitivity", "router_profile", "experts", "expert_scores", "search", "reach", "masking", "dose_control"}) {
    report[part] = nullptr;
    report[std::string(part) + "_reason"] = std::string("no ") + part + " today";
  }
  const std::string html = render_report(report).html;
  for (const char* part : {"sensitivity", "router_profile", "experts", "search", "reach", "masking", "dose_control"})
    EXPECT_NE(html.find(std::string("undefined: no ") + part + " today"), std::string::npos) << part;
}

TEST(Report, AMissingFieldIsNamedWithItsPlace) {
  OrderedJson report = example();
  report["stages"][7].erase("answer");
  try {
    render_report(report);
    FAIL() << "a report without stages[7].answer was drawn";
  } catch (const FormatError& error) {
    EXPECT_NE(std::string(error.what()).find("stages[7]"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("'answer' is missing"), std::string::npos) << error.what();
  }
}

TEST(Report, AFieldOfTheWrongTypeIsNamed) {
  OrderedJson report = example();
  report["headline"]["numbers"]["shift"]["value"] = "much";
  try {
    render_report(report);
    FAIL() << "a text was drawn as a number";
  } catch (const FormatError& error) {
    EXPECT_NE(std::string(error.what()).find("headline.numbers.shift.value"), std::string::npos) << error.what();
  }
}

TEST(Report, AnotherFormatIsRefused) {
  OrderedJson report = example();
  report["format"] = "fare-report/9";
  EXPECT_THROW(render_report(report), FormatError);
}

TEST(Report, EveryConfigurationAndEveryRandomControlIsDrawn) {
  const OrderedJson report = example();
  const std::string html = render_report(report).html;
  const size_t random = report["search"]["num_random_controls"], grid = report["search"]["num_configurations"];
  EXPECT_EQ(count(html, "class=\"random\">"), random + 1);  // and one in the legend
  EXPECT_EQ(count(html, "class=\"point l"), grid + 2);
}

TEST(Report, TablesHoldEveryRow) {
  const OrderedJson report = example();
  const auto csv = render_report(report).csv;
  EXPECT_EQ(lines(csv.at("experts.csv")), report["experts"].size() + 1);
  EXPECT_EQ(lines(csv.at("search.csv")), report["search"]["configurations"].size() + 1);
  EXPECT_EQ(lines(csv.at("sensitivity.csv")), report["sensitivity"]["rows"].size() + 1);
  EXPECT_EQ(lines(csv.at("stages.csv")), report["stages"].size() + 1);
  EXPECT_EQ(lines(csv.at("dose_control_draws.csv")), 81u);
  EXPECT_EQ(lines(csv.at("generation.csv")), report["generation"]["metrics"].size() + 1);
  EXPECT_EQ(lines(csv.at("decodability.csv")), 4u);
  EXPECT_FALSE(csv.contains("conditions.csv"));
  EXPECT_EQ(csv.at("optimism.csv"),
            "candidate,validation_pp,test_pp,difference_pp\npure,10.7,9.8,0.9\nreach,12.3,10.9,1.4\n");
  EXPECT_EQ(csv.at("bias_axes.csv").substr(0, csv.at("bias_axes.csv").find('\n')),
            "axis,n,clusters,pct_stereo,interval_low,interval_high,sign,bias_pp,bias_interval_low,bias_interval_high");
}

// Every list of records, however deep, is a table: none is only on the page.
TEST(Report, EveryListOfTheReportIsATable) {
  const OrderedJson report = example();
  std::set<std::string> tables;
  for (const auto& [name, bytes] : render_report(report).csv) tables.insert(bytes);
  int lists = 0;
  const std::function<void(const OrderedJson&, const std::string&)> visit = [&](const OrderedJson& value,
                                                                                const std::string& place) {
    if (value.is_object())
      for (const auto& [key, item] : value.items()) visit(item, place + "/" + key);
    if (!value.is_array() || value.empty() || !value.front().is_object()) return;
    ++lists;
    EXPECT_TRUE(tables.contains(csv_of_rows(value))) << place;
  };
  visit(report, "");
  EXPECT_GT(lists, 60);
}

TEST(Report, RoutesOfSinglePairsStandTokenByToken) {
  const std::string html = render_report(example()).html;
  const size_t at = html.find("id=\"routes\"");
  ASSERT_NE(at, std::string::npos);
  EXPECT_NE(
      html.find(
          "14&#160;<small>0.61</small>, 3&#160;<small>0.39</small><br/><strong>→&#160;3&#160;<small>0.55</small>, "
          "7&#160;<small>0.45</small></strong>",
          at),
      std::string::npos);
  EXPECT_NE(html.find("<strong><code> she</code></strong> (differs)", at), std::string::npos);
  OrderedJson old = example();
  old.erase("route_examples");  // a report of an earlier version
  EXPECT_EQ(render_report(old).html.find("id=\"routes\""), std::string::npos);
}

TEST(Report, TablesQuoteAndKeepReasons) {
  OrderedJson report = example();
  report["data"]["axes"][0]["axis"] = "age, \"old\"\nand new";
  report["search"]["optimism"][0]["test_pp"] = nullptr;
  report["search"]["optimism"][0]["test_pp_reason"] = "no test";
  const auto csv = render_report(report).csv;
  EXPECT_NE(csv.at("data_axes.csv").find("\"age, \"\"old\"\"\nand new\",754"), std::string::npos);
  EXPECT_EQ(
      csv.at("optimism.csv"),
      "candidate,validation_pp,test_pp,difference_pp,test_pp_reason\npure,10.7,,0.9,no test\nreach,12.3,10.9,1.4,\n");
}

TEST(Report, TheSameReportGivesTheSameBytes) {
  EXPECT_EQ(render_report(example()).html, render_report(example()).html);
}

TEST(Html, NumbersHaveATrueMinusAndNoNegativeZero) {
  EXPECT_EQ(fixed_text(-0.04, 1), "0.0");
  EXPECT_EQ(fixed_text(-1.25, 1), "\u22121.2");
  EXPECT_EQ(compact_text(0.00031249), "0.000312");
  EXPECT_EQ(compact_text(18874368), "18\u202F874\u202F368");
  EXPECT_EQ(compact_text(754), "754");
  EXPECT_EQ(compact_text(1482.4), "1482");
  EXPECT_EQ(compact_text(-18234.6), "\u221218\u202F235");
}

TEST(Html, ControlCharactersBecomeVisible) {
  EXPECT_EQ(escape_html(std::string_view("a\0b\x1b", 4)),
            "a\uFFFD"
            "b\uFFFD");
}

TEST(Svg, AnAxisOfZerosAloneHasRoom) {
  double low = 0, high = 0;
  widen(low, high);
  EXPECT_EQ(low, -1);
  EXPECT_EQ(high, 1);
  low = high = 1e-7;
  widen(low, high);
  EXPECT_DOUBLE_EQ(low, 5e-8);
}

TEST(Svg, TicksAreRoundAndInside) {
  EXPECT_EQ(round_ticks(-1, 11, 6), (std::vector<double>{0, 2, 4, 6, 8, 10}));
  EXPECT_EQ(round_ticks(0, 0.9, 5).size(), 5u);
  double low = 0, high = 0;
  widen(low, high);
  EXPECT_LT(low, high);
}

// Writes the pages into $FARE_REPORT_OUT, for the render test and for looking at them; else into a folder of its own.
TEST(Report, IsWrittenWhereAsked) {
  const char* asked = std::getenv("FARE_REPORT_OUT");
  const std::string folder = asked ? asked : testing::TempDir() + "/fare-report-pages";
  std::filesystem::create_directories(folder);
  const ReportFiles files = render_report(example());
  write_file(folder + "/report.html", files.html);
  OrderedJson hostile = example();
  poison_texts(hostile, "<i>&" + std::string(150, 'W'));
  write_file(folder + "/long-texts.html", render_report(hostile).html);
  for (const auto& [name, bytes] : files.csv) write_file(folder + "/" + name, bytes);
  IndexPage page{"FARE demo", "Control models with a planted answer, and what the diagnosis said.", {}, {}};
  for (int i = 0; i < 4; ++i)
    page.reports.push_back({"report.html", "the answer planted: stereotype rows in two experts", example()});
  page.scores.push_back(
      {"random OLMoE-shaped model",
       {{"crows_pairs_english", {{"pct_stereotype,none", 0.5012}, {"pct_stereotype_stderr,none", 0.0122}}}}});
  write_file(folder + "/index.html", render_index(page));
  for (const char* name : {"report.html", "long-texts.html", "index.html"})
    EXPECT_TRUE(read_file(folder + "/" + name).ends_with("</html>\n")) << name;
  if (!asked) std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace fare
