// Chat templates: what they render, and what is refused by name and line. Compared with transformers in
// tests/chat_template_live.py.
#include "fare/tokenizer/chat/chat_template.h"
#include "fare/core/test_folder.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "fare/core/error.h"
#include "fare/core/file.h"

namespace fare {
namespace {

const OrderedJson kNothing = OrderedJson::object();

std::string rendered(const std::string& source, const OrderedJson& variables = kNothing) {
  return ChatTemplate::parse(source, "t.jinja")->render(variables);
}

std::string refusal(const std::string& source, const OrderedJson& variables = kNothing) {
  try {
    return "accepted: " + rendered(source, variables);
  } catch (const FormatError& error) {
    return error.what();
  }
}

TEST(ChatTemplate, WhiteSpaceAroundBlocksGoesAsInJinja) {
  EXPECT_EQ(rendered("a\n  {% if true %}\n b\n  {% endif %}\nc\n"), "a\n b\nc");
  EXPECT_EQ(rendered("a \n {%- if true -%} \n b {%- endif %} c"), "ab c");
  EXPECT_EQ(rendered("a {%+ if true %}b{% endif +%}\nc"), "a b\nc");
  EXPECT_EQ(rendered("a {# x #}\n  {{ 1 }}\n\n"), "a   1\n");
  EXPECT_EQ(rendered("{% raw %}{{ x }}{% endraw %}"), "{{ x }}");
}

TEST(ChatTemplate, LoopsScopesAndMacros) {
  EXPECT_EQ(
      rendered("{% set n = namespace(a=0) %}{% for i in range(4) if i != 2 %}{% set n.a = n.a + i %}{% set b = 1 %}"
               "{{ loop.index }}{{ ',' if not loop.last }}{% endfor %}={{ n.a }}{{ b is defined }}"),
      "1,2,3=4False");
  EXPECT_EQ(rendered("{% macro m(a, b='x') %}[{{ a }}{{ b }}]{% endmacro %}{{ m(1) }}{{ m(b=2, a=3) }}"), "[1x][32]");
  EXPECT_EQ(rendered("{% for k, v in {'a': 1}.items() %}{{ k }}{{ v }}{% else %}none{% endfor %}"), "a1");
}

TEST(ChatTemplate, ValuesPrintAsInPython) {
  EXPECT_EQ(rendered("{{ [1, 2.0, none, true, 'it\\'s', (1,)] }}"), "[1, 2.0, None, True, \"it's\", (1,)]");
  EXPECT_EQ(rendered("{{ 7 // -2 }} {{ 7 % -2 }} {{ 1 / 2 }} {{ 2 ** 3 }} {{ -7 // 2 }}"), "-4 -1 0.5 8 -4");
  EXPECT_EQ(rendered("{{ x | tojson }}", OrderedJson::parse(R"({"x": {"b": [1, 2.5, null], "a": "é\"<"}})")),
            R"({"b": [1, 2.5, null], "a": "é\"<"})");
  EXPECT_EQ(rendered("{{ 'aé日b'[1:3] }}{{ 'abc'[::-1] }}{{ 'abc'[-1] }}"), "é日cbac");
}

TEST(ChatTemplate, WhatIsNotSupportedIsRefusedByNameAndLine) {
  EXPECT_HAS(refusal("\n\n{% include 'x' %}"), "t.jinja: line 3: the statement 'include' is not supported");
  EXPECT_HAS(refusal("{{ x | urlize }}"), "line 1: the filter 'urlize' is not supported");
  EXPECT_HAS(refusal("{% if x %}\n{{ x is escaped }}{% endif %}"), "line 2: the test 'escaped' is not supported");
  EXPECT_HAS(refusal("{{ lipsum() }}"), "the function 'lipsum' is not supported");
  EXPECT_HAS(refusal("{{ 'a'.zfill(3) }}"), "the method 'zfill' of a text is not supported");
  EXPECT_HAS(refusal("{% for x in y recursive %}{% endfor %}"), "'recursive' loops are not supported");
  EXPECT_HAS(refusal("{{ '%c' % 1 }}"), "the conversion '%c' is not supported");
  EXPECT_HAS(refusal("{{ [1].append(2) }}"), "'append' would change a list");
}

TEST(ChatTemplate, FaultsAreNamedWithTheirLine) {
  EXPECT_HAS(refusal("a\n{{ x.y }}"), "line 2: 'x' is undefined");
  EXPECT_HAS(refusal("{{ 1 + 'a' }}"), "'+' does not go with int and str");
  EXPECT_HAS(refusal("{% if a %}\n\nb"), "line 1: the block that begins here is not ended; expected 'endif'");
  EXPECT_HAS(refusal("{{ a"), "the template ends inside a mark");
  EXPECT_HAS(refusal("{{ 'a }}"), "a string is not closed");
  EXPECT_HAS(refusal("{# a"), "a comment {# is not closed");
  EXPECT_HAS(refusal("{{ (1 }}"), "unexpected '}'");
  EXPECT_HAS(refusal("{{ (1 2) }}"), "expected ')', found '2'");
  EXPECT_HAS(refusal("{% endif %}"), "'endif' is no statement that is expected here");
  EXPECT_HAS(refusal("{{ raise_exception('no ' ~ x) }}", {{"x", "tools"}}), "the template refuses: no tools");
  EXPECT_HAS(refusal("{{ 9223372036854775807 + 1 }}"), "beyond 64 bits");
  EXPECT_HAS(refusal("{{ 99999999999999999999 }}"), "beyond 64 bits");
  EXPECT_HAS(refusal("{{ 1 / 0 }}"), "division by zero");
  EXPECT_HAS(refusal("\xFF"), "not UTF-8");
}

TEST(ChatTemplate, HostileTemplatesEnd) {
  EXPECT_HAS(refusal("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"), "100 deep");
  EXPECT_HAS(refusal("{{ " + std::string(5000, '(') + "1" + std::string(5000, ')') + " }}"), "nested too deeply");
  EXPECT_HAS(refusal("{{ range(1000000) }}"), "more than 100000");
  EXPECT_HAS(refusal("{{ 'abcdefgh' * 100000000 }}"), "too large");
  EXPECT_HAS(refusal("{% for a in range(99999) %}{% for b in range(99999) %}{% set c = 1 %}{% endfor %}{% endfor %}"),
             "too long");
}

TEST(ChatTemplate, IsFoundInTheFolder) {
  const TestFolder folder;
  EXPECT_EQ(ChatTemplate::of_folder(folder.path()), nullptr);
  write_file(folder / "tokenizer_config.json",
             R"({"chat_template": [{"name": "rag", "template": "r"}, {"name": "default", "template": "d"}]})");
  EXPECT_EQ(ChatTemplate::of_folder(folder.path())->render(kNothing), "d");
  write_file(folder / "tokenizer_config.json", R"({"chat_template": "one"})");
  EXPECT_EQ(ChatTemplate::of_folder(folder.path())->render(kNothing), "one");
  write_file(folder / "chat_template.jinja", "two\n");
  EXPECT_EQ(ChatTemplate::of_folder(folder.path())->render(kNothing), "two");
}

TEST(Chat, LinesAreCheckedAndRendered) {
  const auto read = [](const char* json) { return read_chat(OrderedJson::parse(json), "c.jsonl", "line 1"); };
  const auto chat_template = ChatTemplate::parse(
      "{{ bos_token }}{% for m in messages %}{{ m.role }}:{{ m.content }};{% endfor %}"
      "{{ tools is none }}{{ add_generation_prompt }}{{ x }}",
      "t");
  const Chat chat = read(R"({"messages": [{"role": "user", "content": "hi"}], "template_variables": {"x": 5}})");
  EXPECT_EQ(render_chat(*chat_template, chat, "<s>", std::nullopt), "<s>user:hi;TrueTrue5");
  EXPECT_THROW(read(R"({"text": "x"})"), FormatError);
  EXPECT_THROW(read(R"({"messages": []})"), FormatError);
  EXPECT_THROW(read(R"({"messages": [{"content": "x"}]})"), FormatError);
  EXPECT_THROW(read(R"({"messages": [{"role": "user"}], "tools": {}})"), FormatError);
  EXPECT_THROW(read(R"({"messages": [{"role": "user"}], "add_generation_prompt": 1})"), FormatError);
}

}  // namespace
}  // namespace fare
