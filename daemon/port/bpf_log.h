// SPDX-License-Identifier: BSD-2-Clause
//
// libbpf prints to stderr unless told otherwise. BpfLog sends its lines to the daemon's log at debug level, and keeps its
// warnings while it lives, because they say what an errno does not: the text of the exception that follows.
// Thread: main; one at a time.
#pragma once

#include <cstdarg>
#include <string>

namespace netchan::port {

class BpfLog {
 public:
  BpfLog();
  ~BpfLog();
  BpfLog(const BpfLog&) = delete;
  BpfLog& operator=(const BpfLog&) = delete;

  const std::string& warnings() const { return warnings_; }  // one line each; of a long verifier log, its end

 private:
  static int take(int level, const char* format, std::va_list);  // libbpf_print_fn_t
  std::string warnings_;
};

}  // namespace netchan::port
