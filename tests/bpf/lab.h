// SPDX-License-Identifier: BSD-2-Clause
//
// Lab: two network namespaces of our own, joined by a veth pair. The calling thread lives in `a` until the Lab ends;
// in_b() runs something in `b`. Other namespaces' interfaces are never touched.
//
//   nct-<pid>-a                             nct-<pid>-b
//     nca0 10.77.0.1/24  <--- veth --->  ncb0 10.77.0.2/24
//
// A child waits on a pipe for our end, however it comes, and deletes the namespaces then.
#pragma once

#include <string>
#include <utility>

#include "daemon/base/unique_fd.h"

namespace netchan::test {

inline constexpr int kSkip = 77;  // meson's exit code for a skipped test
bool is_root();

// Runs a shell command in the calling thread's namespace; throws std::runtime_error unless it succeeds.
void run(const std::string& command);
bool succeeds(const std::string& command);

class Lab {
 public:
  explicit Lab(unsigned queues, unsigned mtu = 1500);
  ~Lab();
  Lab(const Lab&) = delete;
  Lab& operator=(const Lab&) = delete;

  static constexpr const char* kA = "nca0";
  static constexpr const char* kB = "ncb0";

  template <class Body>
  auto in_b(Body body) {
    const Stay stay(b_.get(), a_.get());
    return body();
  }

 private:
  struct Stay {  // in one namespace, then in the other
    Stay(int now, int then);
    ~Stay();
    int then_;
  };

  std::string name_a_, name_b_;
  UniqueFd home_, a_, b_;
};

}  // namespace netchan::test
