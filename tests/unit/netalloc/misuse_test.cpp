// SPDX-License-Identifier: BSD-2-Clause
//
// Mistakes with chunks that a build with DCHECK must stop at: each is made in a child, which must die of SIGABRT.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <functional>
#include <vector>

#include "daemon/netalloc/chunk_cache.h"

namespace netchan::netalloc {
namespace {

bool dies(const std::function<void()>& mistake) {
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    signal(SIGABRT, SIG_DFL);  // doctest's handler would report it
    close(STDERR_FILENO);
    mistake();
    _exit(0);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

// Everything is made in the child: packet memory is not inherited.
struct Lab {
  Umem umem{{64 * 4096, 4096, false, 2, 0}};
  HomeRings rings{umem};
  ChunkCache first{umem, rings, 0, 0};
  ChunkCache second{umem, rings, 1, 0};
};

TEST_CASE("freeing more chunks than there are stops every build") {
  CHECK(dies([] {
    Lab lab;
    lab.first.put(Chunk{0});
  }));
  CHECK_FALSE(dies([] {
    Lab lab;
    lab.first.put(lab.first.get());
  }));
}

#ifdef NETCHAN_DCHECKS
TEST_CASE("a chunk that is freed twice stops the process, also when another worker did it") {
  CHECK(dies([] {
    Lab lab;
    const Chunk a = lab.first.get(), b = lab.first.get();
    lab.first.put(a);
    lab.first.put(a);
    lab.first.put(b);
  }));
  CHECK(dies([] {
    Lab lab;
    const Chunk a = lab.first.get();
    lab.second.put(a);
    lab.first.put(a);
  }));
}

TEST_CASE("a chunk that is with the kernel cannot be freed, nor given to it twice") {
  CHECK(dies([] {
    Lab lab;
    const Chunk a = lab.first.get();
    lab.umem.note(a, ChunkNote::held, ChunkNote::kernel);
    lab.first.put(a);
  }));
  CHECK(dies([] {
    Lab lab;
    const Chunk a = lab.first.get();
    lab.umem.note(a, ChunkNote::held, ChunkNote::kernel);
    lab.umem.note(a, ChunkNote::held, ChunkNote::kernel);
  }));
  CHECK(dies([] {
    Lab lab;
    lab.umem.note(Chunk{5}, ChunkNote::held, ChunkNote::kernel);  // free: nobody took it
  }));
  CHECK_FALSE(dies([] {
    Lab lab;
    const Chunk a = lab.first.get();
    lab.umem.note(a, ChunkNote::held, ChunkNote::kernel);
    lab.umem.note(a, ChunkNote::kernel, ChunkNote::held);
    lab.first.put(a);
  }));
}
#endif

}  // namespace
}  // namespace netchan::netalloc
