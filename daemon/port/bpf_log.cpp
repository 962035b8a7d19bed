// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/port/bpf_log.h"

#include <bpf/libbpf.h>

#include <cstdio>

#include "daemon/base/log.h"
#include "proto/base/check.h"

namespace netchan::port {

namespace {
BpfLog* listening = nullptr;
constexpr std::size_t kKept = 2'000;  // octets: a screen; a verifier's log runs to megabytes, and its end tells
}  // namespace

int BpfLog::take(int level, const char* format, std::va_list arguments) {
  std::va_list again;
  va_copy(again, arguments);
  const int n = std::vsnprintf(nullptr, 0, format, again);
  va_end(again);
  if (n <= 0) return n;
  std::string text(static_cast<std::size_t>(n), '\0');  // a verifier's log comes in one call
  std::vsnprintf(text.data(), text.size() + 1, format, arguments);
  while (!text.empty() && text.back() == '\n') text.pop_back();
  log::debug(text);
  if (level == LIBBPF_WARN && listening != nullptr) {
    std::string& kept = listening->warnings_;
    kept += (kept.empty() ? "" : "\n") + text;
    if (kept.size() > kKept) kept.erase(0, kept.size() - kKept);
  }
  return n;
}

BpfLog::BpfLog() {
  CHECK(listening == nullptr);
  listening = this;
  libbpf_set_print([](libbpf_print_level level, const char* format, std::va_list arguments) {
    return take(level, format, arguments);
  });
}
BpfLog::~BpfLog() { listening = nullptr; }

}  // namespace netchan::port
