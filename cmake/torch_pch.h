// Precompiled for every target that uses LibTorch. The headers of autograd would double what it costs each file to have it;
// the few files that need them include them.
#pragma once
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "plain_pch.h"
