#include "cli/flags.h"

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <climits>
#include <cstdlib>

#include "fare/core/error.h"
#include "fare/core/parallel.h"

namespace fare::cli {
namespace {

// True when the processor multiplies bfloat16 natively.
bool fast_bfloat16() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512bf16");
#else
  return false;
#endif
}

bool stored_as_bfloat16(const std::filesystem::path& folder) {
  const auto checkpoint = Checkpoint::open(folder);
  for (const std::string& name : checkpoint->names()) {
    const TensorView tensor = checkpoint->raw_tensor(name);
    if (tensor.dtype != Dtype::kBF16 && tensor.dtype != Dtype::kU8 && tensor.shape.size() > 1)
      return false;  // U8: MXFP4
  }
  return true;
}

// The machine and the processors this process may use: ranks that say the same share them.
std::string place() {
  char host[HOST_NAME_MAX + 1] = {};
  ::gethostname(host, HOST_NAME_MAX);
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  ::sched_getaffinity(0, sizeof allowed, &allowed);
  std::string text = host;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
    if (CPU_ISSET(cpu, &allowed)) text += fmt::format(" {}", cpu);
  return text;
}

// Threads of each rank: equal everywhere, since results are equal at equal thread counts.
int threads_of_rank(Ranks& ranks) {
  const std::string own = place();
  const std::vector<std::string> places = ranks.exchange(own);
  const int share = physical_cores() / static_cast<int>(std::count(places.begin(), places.end(), own));
  int least = INT_MAX;
  for (const std::string& other : ranks.exchange(std::to_string(std::max(1, share))))
    least = std::min(least, std::stoi(other));
  return least;
}

}  // namespace

CLI::Validator at_least(int64_t lowest) {
  return {[lowest](const std::string& text) {
            int64_t value = 0;
            const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
            const bool decimal =
                error == std::errc() && end == text.data() + text.size() && (text == "0" || !text.starts_with("0"));
            return decimal && value >= lowest
                       ? ""
                       : fmt::format("must be a whole number of at least {}, found '{}'", lowest, text);
          },
          ""};
}

void add_model_flags(CLI::App& command, CommonFlags& flags) {
  command.add_option("--model", flags.model, "Checkpoint folder (config.json, safetensors)")->required();
  command
      .add_option("--device", flags.device, "cpu, cuda (a GPU), cuda:N, or cuda:N,M,.. (layers divided over several)")
      ->check([](const std::string& text) {
        parse_devices(text, num_cuda_devices());  // throws
        return std::string();
      })
      ->capture_default_str();
  command
      .add_option("--dtype", flags.dtype,
                  "Working type; auto = bf16 only where the checkpoint is bf16 and the "
                  "device is fast at it, else f32")
      ->check(CLI::IsMember({"f32", "bf16", "auto"}))
      ->capture_default_str();
  command
      .add_option("--matmul", flags.matmul, "Library for float32 products; auto = measure at start, take the faster")
      ->check(CLI::IsMember({"mkl", "onednn", "auto"}))
      ->capture_default_str();
  command
      .add_option("--head", flags.head,
                  "Where tie_word_embeddings is true but a different lm_head.weight is stored: "
                  "stored or tied; ask = refuse such a checkpoint")
      ->check(CLI::IsMember({"ask", "stored", "tied"}))
      ->capture_default_str();
  command.add_flag(
      "--ignore-correction-bias", flags.ignore_correction_bias,
      "Choose experts by their scores alone, without a stored correction bias (ERNIE-4.5), as some readers do");
  command.add_flag("--ignore-scale-factor", flags.ignore_scale_factor,
                   "Leave the factor of mscale_all_dim out of the softmax scale (DeepSeek-V2), as transformers did "
                   "before July 2026");
  command.add_option("--max-length", flags.max_length, "Context length in tokens; 0 = the model's own")
      ->check(at_least(0))
      ->capture_default_str();
  command
      .add_option("--threads", flags.threads,
                  "Of each process; 0 = all physical cores it may use, divided by the ranks that "
                  "share them")
      ->check(at_least(0))
      ->capture_default_str();
}

void add_output_flag(CLI::App& command, CommonFlags& flags, bool required) {
  auto* option = command.add_option("--out", flags.out, "Where results go");
  if (required) option->required();
}

void add_console_flags(CLI::App& command, CommonFlags& flags) {
  command.add_flag("--quiet", flags.quiet, "No progress on stderr");
  command.add_option("--log-level", flags.log_level, "debug, info, warning or error")
      ->check(CLI::IsMember({"debug", "info", "warning", "error"}))
      ->capture_default_str();
}

void add_data_flag(CLI::App& command, CommonFlags& flags) {
  command.add_option("--data", flags.data, "Folder of benchmark data; default $FARE_DATA, else ./data");
}

void add_interval_flag(CLI::App& command, stats::IntervalKind& interval) {
  command
      .add_option_function<std::string>(
          "--interval",
          [&interval](const std::string& name) {
            interval = name == "bca" ? stats::IntervalKind::kBca : stats::IntervalKind::kPercentile;
          },
          "Bootstrap intervals that decide: percentile (default), or bca, corrected for skew, which keeps its level "
          "better where few "
          "pairs change")
      ->check(CLI::IsMember({"percentile", "bca"}));
}

std::vector<std::pair<std::string, std::string>> reading_choices(const CommonFlags& flags) {
  std::vector<std::pair<std::string, std::string>> choices;
  if (flags.head != "ask") choices.emplace_back("head", flags.head);
  if (flags.ignore_correction_bias) choices.emplace_back("ignore-correction-bias", "true");
  if (flags.ignore_scale_factor) choices.emplace_back("ignore-scale-factor", "true");
  return choices;
}

std::filesystem::path data_folder(const CommonFlags& flags) {
  if (!flags.data.empty()) return flags.data;
  const char* from_environment = std::getenv("FARE_DATA");
  return from_environment != nullptr && *from_environment != '\0' ? from_environment : "data";
}

std::unique_ptr<Model> open_model(const CommonFlags& flags, const Progress& progress) {
  OneRank alone;
  Ranks& ranks = flags.ranks != nullptr ? *flags.ranks : alone;
  const int threads = flags.threads > 0 ? flags.threads : threads_of_rank(ranks);
  at::set_num_threads(threads);
  const Devices devices = parse_devices(flags.device, num_cuda_devices());
  const bool on_cpu = devices.front().is_cpu();
  Execution execution;
  std::string dtype = flags.dtype, matmul = flags.matmul;
  if (ranks.rank() == 0) {
    if (dtype == "auto") dtype = (!on_cpu || fast_bfloat16()) && stored_as_bfloat16(flags.model) ? "bf16" : "f32";
    if (matmul == "auto") matmul = backend_name(on_cpu ? faster_backend() : MatmulBackend::kMkl);
  }
  dtype = from_first(ranks, dtype);
  matmul = from_first(ranks, matmul);
  const bool bf16 = dtype == "bf16";
  execution.dtype = bf16 ? at::kBFloat16 : at::kFloat;
  execution.backend = matmul == "mkl" ? MatmulBackend::kMkl : MatmulBackend::kOneDnn;
  execution.head = flags.head == "stored" ? Execution::Head::kStored
                   : flags.head == "tied" ? Execution::Head::kTied
                                          : Execution::Head::kAsk;
  execution.correction_bias = !flags.ignore_correction_bias;
  execution.scale_factor = !flags.ignore_scale_factor;
  execution.devices = devices;
  auto model = Model::open(flags.model, execution);
  progress.say(fmt::format("{}: {}, {} layers, {} experts, top {}; {} on {}, products by {}", flags.model.string(),
                           model->spec().model_type, model->spec().num_layers, model->spec().router.num_experts,
                           model->spec().router.top_k, bf16 ? "bf16" : "f32",
                           on_cpu ? fmt::format("{} threads", at::get_num_threads()) : devices_text(devices),
                           !on_cpu ? "LibTorch"
                           : bf16  ? "onednn"
                                   : matmul));
  if (ranks.size() > 1) progress.say(fmt::format("{} ranks divide the work", ranks.size()));
  if (!execution.scale_factor && model->spec().attention_scale_factor == 1)
    progress.say("--ignore-scale-factor changes nothing: this model's softmax scale has no such factor");
  return model;
}

}  // namespace fare::cli
