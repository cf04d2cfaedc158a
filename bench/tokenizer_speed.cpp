// Seconds that the texts of a file take on one thread: tokenizer_speed TOKENIZER TEXTS.json PASSES
// TEXTS.json is a list of strings. Prints {"ids": [seconds of each pass], "encode": [..], "tokens": n}; reading is not
// counted.
#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "fare/core/error.h"
#include "fare/core/json.h"
#include "fare/tokenizer/tokenizer.h"

namespace {

template <typename Work>
double seconds_of(Work&& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: tokenizer_speed TOKENIZER TEXTS.json PASSES\n");
    return 2;
  }
  try {
    const auto tokenizer = fare::Tokenizer::open(argv[1]);
    const auto texts = fare::read_json_file(argv[2]).get<std::vector<std::string>>();
    fare::Json result = {{"ids", fare::Json::array()}, {"encode", fare::Json::array()}};
    size_t tokens = 0;
    for (int pass = 0; pass < std::atoi(argv[3]); ++pass) {
      tokens = 0;
      result["ids"].push_back(seconds_of([&] {
        for (const auto& text : texts) tokens += tokenizer->ids(text).size();
      }));
      result["encode"].push_back(seconds_of([&] {
        for (const auto& text : texts) tokens += tokenizer->encode(text).ids.size();
      }));
    }
    result["tokens"] = tokens / 2;
    std::printf("%s\n", result.dump().c_str());
  } catch (const fare::Error& error) {
    std::fprintf(stderr, "tokenizer_speed: %s\n", error.what());
    return 1;
  }
  return 0;
}
