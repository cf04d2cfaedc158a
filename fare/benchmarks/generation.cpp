#include "fare/benchmarks/generation.h"

#include <cmath>

#include "fare/core/error.h"

namespace fare {

GenerationSettings generation_settings(const OrderedJson& settings) {
  GenerationSettings out;
  const auto fail = [](const std::string& name, const OrderedJson& value, const char* accepted) {
    throw UsageError("generation setting " + name + " = " + value.dump() + ": must be " + accepted);
  };
  bool greedy = false;
  for (const auto& [name, value] : settings.items()) {
    if (name == "until") {
      const OrderedJson list = value.is_string() ? OrderedJson::array({value}) : value;
      if (!list.is_array()) fail(name, value, "a text or a list of texts");
      for (const auto& text : list) {
        if (!text.is_string() || text.get<std::string>().empty())
          fail(name, value, "a text or a list of texts, none empty");
        out.until.push_back(text);
      }
    } else if (name == "max_gen_toks") {
      if (!value.is_number_integer() || value.get<int64_t>() < 1) fail(name, value, "a whole number from 1 on");
      out.max_new_tokens = value;
    } else if (name == "do_sample") {
      if (!value.is_boolean()) fail(name, value, "true or false");
      greedy = !value.get<bool>();
    } else if (name == "temperature") {
      if (!value.is_number() || !(value.get<double>() >= 0) || !std::isfinite(value.get<double>()))
        fail(name, value, "a number from 0 on");
      out.temperature = value;
    } else if (name == "top_p") {
      if (!value.is_number() || !(value.get<double>() > 0 && value.get<double>() <= 1))
        fail(name, value, "above 0, at most 1");
      out.top_p = value;
    } else {
      throw UsageError("generation setting '" + name +
                       "' is unknown; known are until, max_gen_toks, do_sample, temperature, top_p");
    }
  }
  if (greedy) out.temperature = 0;
  return out;
}

}  // namespace fare
