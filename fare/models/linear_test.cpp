#include "fare/models/linear.h"

#include <gtest/gtest.h>

#include "fare/models/test_models.h"

namespace fare {
namespace {

using namespace testing;

// Of narrow weights rows go through in blocks: every number of rows around the sizes of blocks, and what one row more
// would leave.
constexpr int64_t kRows[] = {1,  2,   3,   4,   5,   6,   7,   8,   9,   10,  17,  33,  63, 64,
                             65, 127, 129, 255, 256, 257, 258, 259, 260, 511, 512, 513, 515};

TEST(Linear, OfAnyNumberOfRowsIsThatOfTheReference) {
  at::manual_seed(3);
  const at::Tensor x = at::randn({515, 80});
  for (const auto& [out, type] :
       {std::pair{128, at::kFloat}, {1, at::kFloat}, {128, at::kBFloat16}, {1024, at::kFloat}})
    for (const bool with_bias : {false, true}) {
      const at::Tensor weight = at::randn({out, 80}) * 0.1, bias = with_bias ? at::randn({out}) : at::Tensor();
      for (const int64_t rows : kRows) {
        const at::Tensor some = x.narrow(0, 0, rows).to(type);
        const at::Tensor y = linear(some, weight.to(type), with_bias ? bias.to(type) : bias, MatmulBackend::kOneDnn);
        ASSERT_EQ(y.sizes(), (at::IntArrayRef{rows, out}));
        const at::Tensor want = at::linear(some.to(at::kDouble), weight.to(type).to(at::kDouble),
                                           with_bias ? bias.to(type).to(at::kDouble) : at::Tensor());
        EXPECT_TRUE(near(y.to(at::kFloat), want.to(at::kFloat), type == at::kFloat ? 2e-6 : 1e-2))
            << rows << " rows, " << out << " outputs";
      }
    }
}

// No row is left alone at the end of others: it would take another path, whose sums differ in the last bit.
TEST(Linear, OfARowIsTheSameWhateverRowsStandBesideIt) {
  at::manual_seed(4);
  const at::Tensor x = at::randn({515, 80}), weight = at::randn({128, 80});
  const at::Tensor all = linear(x, weight, {}, MatmulBackend::kOneDnn);
  for (const int64_t rows : kRows) {
    if (rows == 1) continue;
    EXPECT_TRUE(at::equal(linear(x.narrow(0, 0, rows), weight, {}, MatmulBackend::kOneDnn), all.narrow(0, 0, rows)))
        << rows << " rows";
  }
}

}  // namespace
}  // namespace fare
