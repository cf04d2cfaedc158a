#include "fare/benchmarks/csv.h"

#include "fare/benchmarks/test_support.h"
#include "fare/core/error.h"

namespace fare {
namespace {

using Cells = std::vector<std::string>;

TEST(Csv, ReadsQuotesLineBreaksMarkAndCrlf) {
  const auto records = parse_csv("\xEF\xBB\xBF,a,b\r\n0,\"x, \"\"y\"\"\",\"two\nlines\"\r\n\r\n1,,\"\"", "t.csv");
  ASSERT_EQ(records.size(), 3u);
  EXPECT_EQ(records[0].cells, (Cells{"", "a", "b"}));
  EXPECT_EQ(records[1].cells, (Cells{"0", "x, \"y\"", "two\nlines"}));
  EXPECT_EQ(records[1].line, 2u);
  EXPECT_EQ(records[2].cells, (Cells{"1", "", ""}));
  EXPECT_EQ(records[2].line, 5u);
}

TEST(Csv, KeepsCrlfInsideQuotesAndQuotesInsidePlainCells) {
  const auto records = parse_csv("a\"b,\"c\r\nd\"\n", "t.csv");
  ASSERT_EQ(records.size(), 1u);
  EXPECT_EQ(records[0].cells, (Cells{"a\"b", "c\r\nd"}));
}

TEST(Csv, EndsWithAnEmptyCellAfterASeparator) {
  EXPECT_EQ(parse_csv("a,b,", "t").at(0).cells, (Cells{"a", "b", ""}));
  EXPECT_EQ(parse_csv("a,b,\n", "t").at(0).cells, (Cells{"a", "b", ""}));
}

TEST(Csv, RefusesAnOpenQuoteTextAfterAQuoteAndBadUtf8WithTheLine) {
  EXPECT_NE(message_of<FormatError>([] {
              parse_csv("a\n\"open\nnever", "t.csv");
            }).find("t.csv: line 2: a quoted cell is never closed"),
            std::string::npos);
  EXPECT_NE(
      message_of<FormatError>([] { parse_csv("a\nb\n\"c\"d", "t.csv"); }).find("line 3: text follows a closing quote"),
      std::string::npos);
  EXPECT_NE(message_of<FormatError>([] { parse_csv("a\n\xff", "t.csv"); }).find("line 2: not valid UTF-8"),
            std::string::npos);
  EXPECT_NE(message_of<FormatError>([] { parse_tsv("a\n\xff", "t.tsv"); }).find("line 2: not valid UTF-8"),
            std::string::npos);
}

TEST(Tsv, HasNoQuoting) {
  const auto records = parse_tsv(
      "\xEF\xBB\xBF"
      "a\t\"b\"\"\r\n\tc\n",
      "t.tsv");
  ASSERT_EQ(records.size(), 2u);
  EXPECT_EQ(records[0].cells, (Cells{"a", "\"b\"\""}));
  EXPECT_EQ(records[1].cells, (Cells{"", "c"}));
}

TEST(Table, ChecksHeaderAndWidth) {
  const auto table = [](const char* text) { return Table(parse_csv(text, "t.csv"), "t.csv", {"name"}); };
  EXPECT_EQ(table("id,name\n1,x\n").cell(0, "name"), "x");
  EXPECT_NE(message_of<FormatError>([&] {
              table("id,nane\n1,x\n");
            }).find("the column 'name' is missing; did you mean 'nane'"),
            std::string::npos);
  EXPECT_NE(message_of<FormatError>([&] { table("id,name\n1,x\n2\n"); }).find("line 3: 1 cells, but the header has 2"),
            std::string::npos);
  EXPECT_NE(message_of<FormatError>([&] { table("name,name\n"); }).find("named twice"), std::string::npos);
  EXPECT_NE(message_of<FormatError>([&] { table(""); }).find("the file is empty"), std::string::npos);
}

}  // namespace
}  // namespace fare
