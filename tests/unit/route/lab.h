// SPDX-License-Identifier: BSD-2-Clause
//
// Two network namespaces joined by a veth pair, without names: the test process has left for one of its own, a child
// holds the other. Everything vanishes with the two processes, however they end.
//
//   this process: va 10.7.0.1/24, 2001:db8:7::1/64 ---- vb 10.7.0.2/24, 2001:db8:7::2/64: the child
#pragma once

#include <sys/types.h>

#include <string>

namespace netchan::test {

class Lab {
 public:
  Lab();
  ~Lab();
  Lab(const Lab&) = delete;
  Lab& operator=(const Lab&) = delete;

  void here(const std::string& command) const;   // a shell command that must succeed
  void there(const std::string& command) const;  // the same in the child's namespace
  std::string output(const std::string& command) const;

 private:
  pid_t child_ = -1;
};

}  // namespace netchan::test
