#include "fare/checkpoint/config_reader.h"

#include <gtest/gtest.h>

#include "fare/checkpoint/test_safetensors.h"

namespace fare {
namespace {

const Json kConfig = Json::parse(R"({
  "hidden_size": 64, "eps": 1e-5, "theta": 10000, "tie": false, "act": "silu", "clip_qkv": null, "window": null,
  "num_local_experts": 8, "num_experts": 8, "a": 1, "b": 2, "eos_token_id": [1, 2], "bos_token_id": 3, "empty": [],
  "float_int": 8.0, "huge": 18446744073709551615, "minus": -1, "mixed": [1, "x"], "names": ["x", "y"],
  "rope_scaling": {"type": "yarn", "factor": "forty", "inner": {"deep": 1}, "odd": 1}, "never_asked": 1
})");

ConfigReader reader() { return ConfigReader(kConfig, "m/config.json"); }

template <typename Act>
std::string refusal(Act act) {
  const std::string message = message_of<FormatError>([&] { act(reader()); });
  EXPECT_TRUE(message.starts_with("m/config.json: ")) << message;
  return message;
}

TEST(ConfigReader, reads_each_kind) {
  const auto config = reader();
  EXPECT_EQ(config.required_int("hidden_size"), 64);
  EXPECT_EQ(config.required_number("eps"), 1e-5);
  EXPECT_EQ(config.required_number("theta"), 10000.0);
  EXPECT_EQ(config.required_string("act"), "silu");
  EXPECT_FALSE(config.bool_or("tie", true));
  EXPECT_EQ(config.int_or_list("eos_token_id"), (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(config.int_or_list("bos_token_id"), (std::vector<int64_t>{3}));
  EXPECT_TRUE(config.int_or_list("pad_token_id").empty());
  EXPECT_EQ(config.optional_strings("names"), (std::vector<std::string>{"x", "y"}));
  EXPECT_EQ(config.optional_ints("empty"), std::vector<int64_t>{});
  EXPECT_EQ(config.optional_numbers("eos_token_id"), (std::vector<double>{1, 2}));
}

TEST(ConfigReader, absent_and_null_differ) {
  const auto config = reader();
  EXPECT_EQ(config.optional_number("clip_qkv", 8.0), std::nullopt);
  EXPECT_EQ(config.optional_number("absent", 8.0), 8.0);
  EXPECT_EQ(config.optional_int("window", 4096), std::nullopt);
  EXPECT_EQ(config.optional_int("absent", 4096), 4096);
  EXPECT_EQ(config.optional_int("absent"), std::nullopt);
  EXPECT_EQ(config.int_or("absent", 7), 7);
  EXPECT_TRUE(config.has("window"));
  EXPECT_TRUE(config.is_null("window"));
  EXPECT_FALSE(config.has("absent"));
  EXPECT_FALSE(config.is_null("absent"));
  EXPECT_HAS(refusal([](const auto& c) { c.int_or("window", 7); }), "window: is null");
  EXPECT_HAS(refusal([](const auto& c) { c.required_int("window"); }), "window: is null");
  EXPECT_HAS(refusal([](const auto& c) { c.required_int("absent"); }), "absent: the key is missing");
  EXPECT_HAS(refusal([](const auto& c) { c.required_string({"x", "y", "z"}); }), "(or 'y', 'z')");
  EXPECT_EQ(config.optional_ints("absent", std::vector<int64_t>{4}), (std::vector<int64_t>{4}));
  EXPECT_EQ(config.optional_ints("window", std::vector<int64_t>{4}), std::nullopt);
}

TEST(ConfigReader, wrong_types_name_key_value_and_what_is_accepted) {
  const std::string as_float = refusal([](const auto& c) { c.required_int("float_int"); });
  EXPECT_HAS(as_float, "float_int: is 8.0, expected an integer of at least 1");
  EXPECT_HAS(refusal([](const auto& c) { c.required_int("huge"); }), "18446744073709551615");
  EXPECT_HAS(refusal([](const auto& c) { c.required_int("minus"); }), "minus: is -1");
  EXPECT_EQ(reader().required_int("minus", kAnyInt), -1);
  EXPECT_HAS(refusal([](const auto& c) { c.required_int("hidden_size", {1, 32}); }), "from 1 to 32");
  EXPECT_HAS(refusal([](const auto& c) { c.required_int("act"); }), "\"silu\"");
  EXPECT_HAS(refusal([](const auto& c) { c.required_int("tie"); }), "false");
  EXPECT_HAS(refusal([](const auto& c) { c.bool_or("a", false); }), "true or false");
  EXPECT_HAS(refusal([](const auto& c) { c.required_number("act"); }), "number");
  EXPECT_HAS(refusal([](const auto& c) { c.required_string("a"); }), "text");
  EXPECT_HAS(refusal([](const auto& c) { c.optional_ints("a"); }), "list");
  EXPECT_HAS(refusal([](const auto& c) { c.optional_ints("mixed"); }), "\"x\"");
  EXPECT_HAS(refusal([](const auto& c) { c.int_or_list("mixed"); }), "mixed");
  EXPECT_HAS(refusal([](const auto& c) { c.optional_object("a"); }), "object");
}

TEST(ConfigReader, aliases_are_one_setting) {
  EXPECT_EQ(reader().required_int({"num_experts", "num_local_experts"}), 8);
  EXPECT_EQ(reader().required_int({"absent", "num_local_experts"}), 8);
  const std::string message = refusal([](const auto& c) { c.required_int({"a", "b"}); });
  EXPECT_HAS(message, "a is 1 but b is 2");
  EXPECT_HAS(refusal([](const auto& c) { c.required_int({"absent", "float_int"}); }), "float_int: is 8.0");
}

TEST(ConfigReader, nested_objects_are_named_with_their_path) {
  const std::string message =
      refusal([](const auto& c) { c.optional_object("rope_scaling")->required_number("factor"); });
  EXPECT_HAS(message, "rope_scaling.factor: is \"forty\"");
  EXPECT_FALSE(reader().optional_object("window"));
  EXPECT_FALSE(reader().optional_object("absent"));
  EXPECT_HAS(reader().optional_object({"rope_parameters", "rope_scaling"})->error("type", "is odd").what(),
             "rope_scaling.type: is odd");
}

TEST(ConfigReader, keys_nobody_read_are_listed) {
  const Json json = Json::parse(R"({"a":1,"b":2,"c":{"x":1,"y":2},"d":{"z":1},"e":null})");
  const ConfigReader config(json, "c");
  config.required_int("a");
  config.optional_object("c")->required_int("x");
  config.ignore({"e"});
  EXPECT_EQ(config.unread(), (std::vector<std::string>{"b", "c.y", "d"}));
}

}  // namespace
}  // namespace fare
