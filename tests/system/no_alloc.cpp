// SPDX-License-Identifier: BSD-2-Clause
//
// LD_PRELOAD into netchand: aborts when a worker allocates while it is armed. The file named by NETCHAN_NO_ALLOC is mapped at
// start; its first octet arms (the test writes it once streams are established and data flows), its second is set to 1 by a
// worker that would have allocated, so that the test can tell that abort from another one.
//
// Interposes malloc and its kin, which operator new ends in, for threads named worker-*.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);
}

namespace {

volatile char* flags = nullptr;

__attribute__((constructor)) void map_flags() {
  const char* path = std::getenv("NETCHAN_NO_ALLOC");
  if (path == nullptr) return;
  const int fd = open(path, O_RDWR | O_CLOEXEC);
  if (fd < 0) return;
  void* at = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (at != MAP_FAILED) flags = static_cast<volatile char*>(at);
}

void check() {
  if (flags == nullptr || flags[0] == 0) return;
  char name[16] = {};
  prctl(PR_GET_NAME, name);
  if (std::strncmp(name, "worker-", 7) != 0) return;
  flags[1] = 1;
  std::abort();
}

}  // namespace

extern "C" {
void* malloc(std::size_t n) { check(); return __libc_malloc(n); }
void* calloc(std::size_t n, std::size_t m) { check(); return __libc_calloc(n, m); }
void* realloc(void* p, std::size_t n) { check(); return __libc_realloc(p, n); }
void* aligned_alloc(std::size_t a, std::size_t n) { check(); return __libc_memalign(a, n); }
int posix_memalign(void** out, std::size_t a, std::size_t n) {
  check();
  *out = __libc_memalign(a, n);
  return *out != nullptr ? 0 : ENOMEM;
}
}
