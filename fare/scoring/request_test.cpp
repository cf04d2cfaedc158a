#include "fare/scoring/request.h"

#include <gtest/gtest.h>

#include <numeric>

#include "fare/checkpoint/test_safetensors.h"
#include "fare/core/error.h"
#include "fare/core/file.h"
#include "fare/core/json.h"
#include "fare/core/source_folder.h"
#include "fare/scoring/generated_file.h"
#include "fare/scoring/prompt_file.h"
#include "fare/scoring/request_file.h"
#include "fare/scoring/score_file.h"

namespace fare {
namespace {

// Context ids 0.., continuation ids 100..
Request request_of(int num_context, int num_continuation) {
  Request request;
  request.id = "r";
  request.context.resize(static_cast<size_t>(num_context));
  request.continuation.resize(static_cast<size_t>(num_continuation));
  std::iota(request.context.begin(), request.context.end(), 0);
  std::iota(request.continuation.begin(), request.continuation.end(), 100);
  return request;
}

TEST(FedPart, IsContextAndContinuationWithoutTheLastToken) {
  const FedRequest fed = fed_part(request_of(3, 2), 10, 200);
  EXPECT_EQ(fed.ids, (std::vector<int32_t>{0, 1, 2, 100}));
  EXPECT_EQ(fed.num_context, 3);
  EXPECT_EQ(fed.truncated, 0);
}

TEST(FedPart, CutsFromTheLeftToLengthPlusOneTokens) {
  // By hand: 5 + 3 tokens, L = 6: the last 7 are kept, 6 of them are fed.
  const FedRequest fed = fed_part(request_of(5, 3), 6, 200);
  EXPECT_EQ(fed.ids, (std::vector<int32_t>{1, 2, 3, 4, 100, 101}));
  EXPECT_EQ(fed.truncated, 1);
  EXPECT_EQ(fed.num_context, 4);
  EXPECT_EQ(fed_part(request_of(5, 3), 7, 200).truncated, 0);
  // The longest continuation leaves one token of context.
  const FedRequest tight = fed_part(request_of(5, 3), 3, 200);
  EXPECT_EQ(tight.ids, (std::vector<int32_t>{4, 100, 101}));
  EXPECT_EQ(tight.num_context, 1);
}

std::string refusal_of(const Request& request, int64_t length, int64_t vocab_size) {
  try {
    fed_part(request, length, vocab_size);
  } catch (const UsageError& error) {
    return error.what();
  }
  return "";
}

TEST(FedPart, RefusesWithTheName) {
  EXPECT_NE(refusal_of(request_of(1, 4), 3, 200).find("'r': the continuation has 4"), std::string::npos);
  EXPECT_NE(refusal_of(request_of(0, 1), 3, 200).find("--prefix-token"), std::string::npos);
  EXPECT_NE(refusal_of(request_of(1, 0), 3, 200).find("no tokens"), std::string::npos);
  EXPECT_NE(refusal_of(request_of(1, 2), 3, 101).find("101"), std::string::npos);
  EXPECT_EQ(refusal_of(request_of(1, 2), 3, 102), "");
}

class RequestFile : public ::testing::Test {
 protected:
  template <typename Read>
  std::string refusal(const std::string& content, Read&& read) {
    write_file(path_, content);
    try {
      read(path_);
    } catch (const FormatError& error) {
      return error.what();
    }
    return "accepted";
  }
  std::string refusal(const std::string& content) {
    return refusal(content, [](const auto& path) { read_requests(path); });
  }
  TestFolder folder_;
  std::filesystem::path path_ = folder_ / "requests.jsonl";
};

TEST_F(RequestFile, ReadsBothKinds) {
  write_file(
      path_,
      R"({"id": "a", "context": "x", "continuation": "äb", "spans": {"s": [[0, 2], [2, 3]]}, "cluster": "c"})"
      "\n\n"
      R"({"id": "b", "context_ids": [], "continuation_ids": [7], "spans": {"t": [[0, 1]]}, "cluster": null, "more": 1})"
      "\n");
  const auto lines = read_requests(path_);
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[0].continuation, "äb");
  EXPECT_EQ(lines[0].spans.at("s").size(), 2u);
  EXPECT_EQ(lines[0].cluster, "c");
  EXPECT_TRUE(lines[1].has_ids);
  EXPECT_EQ(lines[1].line, 3u);
  EXPECT_EQ(lines[1].continuation_ids, std::vector<int32_t>{7});
}

TEST_F(RequestFile, EveryRefusalNamesTheLine) {
  const std::string good = R"({"id": "a", "context_ids": [1], "continuation_ids": [2]})"
                           "\n";
  const auto second = [&](const std::string& line, const std::string& reason) {
    const std::string message = refusal(good + line + "\n");
    EXPECT_NE(message.find("requests.jsonl"), std::string::npos) << line << message;
    EXPECT_NE(message.find("line 2"), std::string::npos) << line << message;
    EXPECT_NE(message.find(reason), std::string::npos) << line << message;
  };
  second("{broken", "");
  second("[1]", "");
  second(R"({"id": "a", "context_ids": [1], "continuation_ids": [2]})", "twice");
  second(R"({"context_ids": [1], "continuation_ids": [2]})", "'id' is missing");
  second(R"({"id": 3, "context_ids": [1], "continuation_ids": [2]})", "wrong type");
  second(R"({"id": "b"})", "either");
  second(R"({"id": "b", "context": "x", "continuation_ids": [2]})", "either");
  second(R"({"id": "b", "context": "x"})", "'continuation' is missing");
  second(R"({"id": "b", "context_ids": [1]})", "'continuation_ids' is missing");
  second(R"({"id": "b", "context": 1, "continuation": "x"})", "wrong type");
  second(R"({"id": "b", "context": "x", "continuation": ""})", "empty");
  second(R"({"id": "b", "context_ids": [1], "continuation_ids": []})", "empty");
  second(R"({"id": "b", "context_ids": 1, "continuation_ids": [2]})", "list of token ids");
  second(R"({"id": "b", "context_ids": [-1], "continuation_ids": [2]})", "-1");
  second(R"({"id": "b", "context_ids": [1.0], "continuation_ids": [2]})", "1.0");
  second(R"({"id": "b", "context_ids": [3000000000], "continuation_ids": [2]})", "3000000000");
  second(R"({"id": "b", "context_ids": [1], "continuation_ids": [true]})", "true");
  second(R"({"id": "b", "context": "x", "continuation": "y", "cluster": 1})", "cluster");
  const auto span = [&](const std::string& value, const std::string& reason) {
    second(R"({"id": "b", "context": "x", "continuation": "é!", "spans": )" + value + "}", reason);
  };
  span("[]", "must map names");
  span(R"({"s": 1})", "'s'");
  span(R"({"s": [1]})", "'s'");
  span(R"({"s": [[0, 4]]})", "3 bytes");
  span(R"({"s": [[1, 1]]})", "is empty");
  span(R"({"s": [[-1, 1]]})", "out of range");
  span(R"({"s": [[0, 1.5]]})", "1.5");
  span(R"({"s": [[0, 18446744073709551615]]})", "out of range");
  EXPECT_NE(refusal("").find("no requests"), std::string::npos);
  EXPECT_NE(refusal("\n\n").find("no requests"), std::string::npos);
  EXPECT_THROW(read_requests(folder_ / "absent.jsonl"), IoError);
}

TEST_F(RequestFile, PromptsAreReadAndRefusedAlike) {
  write_file(path_, R"({"id": "a", "prompt": ""})"
                    "\n"
                    R"({"id": "b", "prompt_ids": [4, 5], "axis": "x"})"
                    "\n");
  const auto prompts = read_prompts(path_);
  ASSERT_EQ(prompts.size(), 2u);
  EXPECT_FALSE(prompts[0].has_ids);
  EXPECT_EQ(prompts[1].prompt_ids, (std::vector<int32_t>{4, 5}));
  const auto refused = [&](const std::string& line, const std::string& reason) {
    const std::string message = refusal(R"({"id": "a", "prompt": "x"})"
                                        "\n" +
                                            line + "\n",
                                        [](const auto& path) { read_prompts(path); });
    EXPECT_NE(message.find("line 2"), std::string::npos) << line << message;
    EXPECT_NE(message.find(reason), std::string::npos) << line << message;
  };
  refused(R"({"id": "a", "prompt": "x"})", "twice");
  refused(R"({"id": "b"})", "either");
  refused(R"({"id": "b", "prompt": "x", "prompt_ids": [1]})", "either");
  refused(R"({"prompt": "x"})", "'id' is missing");
  refused(R"({"id": "b", "prompt": 1})", "wrong type");
  refused(R"({"id": "b", "prompt_ids": ["1"]})", "not a token id");
}

std::vector<std::string> keys_of(const OrderedJson& object) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : object.items()) keys.push_back(key);
  return keys;
}

// docs/examples and the `required` lists of docs/schemas are what is read and written here.
TEST(Documents, ExamplesAndSchemasAreOfTheLinesWeReadAndWrite) {
  const std::filesystem::path docs = source_folder() / "docs";
  EXPECT_EQ(read_requests(docs / "examples/requests.jsonl").size(), 3u);
  EXPECT_EQ(read_prompts(docs / "examples/prompts.jsonl").size(), 2u);
  Score score;
  score.token_logprobs_nats = {-1};
  GeneratedText text;
  for (const auto& [example, schema, line] : {std::tuple{"scores", "score", score_line(request_of(1, 1), score)},
                                              {"texts", "generated", generated_line("p", text, true)}}) {
    const auto written = keys_of(OrderedJson::parse(line));
    const std::string file = read_file(docs / "examples" / (std::string(example) + ".jsonl"));
    EXPECT_EQ(keys_of(OrderedJson::parse(file)), written);
    EXPECT_EQ(read_json_file(docs / "schemas" / (std::string(schema) + ".schema.json"))
                  .at("required")
                  .get<std::vector<std::string>>(),
              written);
  }
  EXPECT_EQ(OrderedJson::parse(generated_line("p", text, false)).at("text"), nullptr);
}

}  // namespace
}  // namespace fare
