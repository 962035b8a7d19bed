// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/netalloc/umem.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <stdexcept>

namespace netchan::netalloc {
namespace {

constexpr std::uint64_t kHugePage = 2u << 20;  // x86-64's and AArch64's (4 KiB granule) second level; MFD_HUGE_2MB
#ifndef MFD_HUGE_2MB
constexpr unsigned MFD_HUGE_2MB = 21u << 26;
#endif
#ifndef MADV_POPULATE_WRITE
constexpr int MADV_POPULATE_WRITE = 23;  // Linux 5.14
#endif

std::string mib(std::uint64_t octets) { return std::to_string(octets >> 20) + " MiB"; }

[[noreturn]] void refuse(const std::string& what) { throw std::runtime_error("memory: " + what); }

// Brings every page in now, so that no packet ever waits for a page fault, and a machine with too little memory says so
// here. Not mlock: registering the UMEM pins the pages, and mlock would count them against RLIMIT_MEMLOCK once more.
bool populate(std::byte* at, std::uint64_t size) {
  if (madvise(at, size, MADV_POPULATE_WRITE) == 0) return true;
  if (errno != EINVAL) return false;
  for (std::uint64_t i = 0; i < size; i += 4096) at[i] = std::byte{0};
  return true;
}

}  // namespace

Umem::Umem(const UmemSpec& spec)
    : size_(spec.size), receive_size_(spec.receive_size), chunk_size_(spec.chunk_size), workers_(spec.workers) {
  if (chunk_size_ != 2048 && chunk_size_ != 4096)
    refuse("chunks of " + std::to_string(chunk_size_) + " octets; write 2048 or 4096");
  if (workers_ == 0) refuse("no worker to deal the chunks to");
  if (size_ == 0 || size_ % chunk_size_ != 0)
    refuse("size " + std::to_string(size_) + " is not a multiple of the chunk, " + std::to_string(chunk_size_));
  // Areas begin on a page (and, where that loses nothing, on a huge page), and every worker gets something of each.
  if (receive_size_ == 0) {
    receive_size_ = size_ / 2;
    receive_size_ -= receive_size_ % (size_ >= 2 * kHugePage ? kHugePage : 4096);
  }
  if (receive_size_ % 4096 != 0 || receive_size_ >= size_)
    refuse("a receive area of " + std::to_string(receive_size_) + " octets of " + std::to_string(size_));
  if (size_ / chunk_size_ >= Chunk::kNone) refuse("size " + mib(size_) + " has more chunks than can be named");
  chunk_shift_ = static_cast<std::uint32_t>(std::countr_zero(chunk_size_));
  chunk_count_ = static_cast<std::uint32_t>(size_ >> chunk_shift_);
  receive_count_ = static_cast<std::uint32_t>(receive_size_ >> chunk_shift_);
  if (receive_count_ < workers_ || chunk_count_ - receive_count_ < workers_)
    refuse("size " + std::to_string(size_) + " gives " + std::to_string(workers_) +
           " workers less than a chunk in each area");

  if (spec.hugepages) {
    if (size_ % kHugePage != 0 || receive_size_ % kHugePage != 0) {
      fallback_ = "huge pages: the areas are not multiples of 2 MiB";
    } else if (map(true)) {
      hugepages_ = true;
    } else {
      fallback_ = "huge pages: " + std::string(std::strerror(errno)) + "; reserve " +
                  std::to_string(size_ / kHugePage) + " of them (sysctl vm.nr_hugepages)";
      unmap();
    }
  }
  if (!hugepages_ && !map(false)) {
    const std::string why = std::strerror(errno);
    unmap();
    refuse(mib(size_) + " cannot be had: " + why + "; make memory.size smaller");
  }
  // Not into children (a fork would turn the pages copy-on-write), not into core files (they are other people's data).
  madvise(base_, size_, MADV_DONTFORK);
  madvise(base_, size_, MADV_DONTDUMP);
#ifdef NETCHAN_DCHECKS
  notes_ = std::make_unique<std::atomic<ChunkNote>[]>(chunk_count_);  // all `free`
#endif
}

Umem::~Umem() { unmap(); }

bool Umem::map(bool hugepages) {
  const std::uint64_t align = hugepages ? kHugePage : 4096;
  reserved_size_ = size_ + align;
  void* reserved = mmap(nullptr, reserved_size_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (reserved == MAP_FAILED) return false;
  reserved_ = static_cast<std::byte*>(reserved);
  base_ = reserved_ + (align - reinterpret_cast<std::uintptr_t>(reserved_) % align) % align;

  const char* const names[kAreas] = {"netchan-receive", "netchan-private"};
  const std::uint64_t sizes[kAreas] = {receive_size_, size_ - receive_size_};
  std::byte* at = base_;
  for (std::size_t area = 0; area < kAreas; ++area) {
    UniqueFd& fd = memory_[area];
    fd.reset(memfd_create(names[area], MFD_CLOEXEC | MFD_ALLOW_SEALING | (hugepages ? MFD_HUGETLB | MFD_HUGE_2MB : 0)));
    // Sealed: whoever is given this descriptor one day cannot cut the memory off under our feet.
    if (!fd.valid() || ftruncate(fd.get(), static_cast<off_t>(sizes[area])) != 0 ||
        fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0 ||
        mmap(at, sizes[area], PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd.get(), 0) == MAP_FAILED ||
        !populate(at, sizes[area]))
      return false;
    at += sizes[area];
  }
  return true;
}

void Umem::unmap() {
  if (reserved_ != nullptr) munmap(reserved_, reserved_size_);
  reserved_ = base_ = nullptr;
  for (UniqueFd& fd : memory_) fd.reset();
}

ChunkRange Umem::range(Area area) const {
  if (area == Area::receive) return {0, receive_count_};
  return {receive_count_, chunk_count_ - receive_count_};
}

ChunkRange Umem::range(Area area, std::uint32_t worker) const {
  const ChunkRange all = range(area);
  const std::uint32_t share = all.count / workers_;
  const bool last = worker + 1 == workers_;  // takes what does not divide
  return {all.first + worker * share, last ? all.count - worker * share : share};
}

std::uint32_t Umem::home(Chunk chunk) const {
  DCHECK(chunk.index < chunk_count_);
  const ChunkRange all = range(chunk.index < receive_count_ ? Area::receive : Area::private_);
  return std::min((chunk.index - all.first) / (all.count / workers_), workers_ - 1);
}

}  // namespace netchan::netalloc
