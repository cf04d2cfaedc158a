// Precompiled for every target that uses LibTorch.
#pragma once
#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/csrc/autograd/autograd.h>

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>
