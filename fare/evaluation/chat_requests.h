// Benchmarks for chat models: requests as a conversation.
#pragma once

#include "fare/evaluation/benchmark_set.h"
#include "fare/tokenizer/chat/chat_template.h"
#include "fare/tokenizer/tokenizer.h"

namespace fare {

// Rewrites every context as lm-evaluation-harness 0.4.13 does with a chat template: the description is the system
// message, examples are turns, the question is the last user message, and the text ends where the answer begins.
// Choices lose the task's target delimiter. Where a template refuses a system message, the conversation goes without
// it. Left as they are: texts scored whole, and contexts that are empty where those of the document's other requests
// are not (a choice by itself). Throws FormatError naming task and document when the template refuses a conversation.
// Tasks that write texts get a note that names the template and says whether a system message was put in.
void apply_chat_template(const ChatTemplate& chat_template, const Tokenizer& tokenizer, BenchmarkSet& set);

// The note of those tasks where no template is applied.
void note_plain_prompts(BenchmarkSet& set);

}  // namespace fare
