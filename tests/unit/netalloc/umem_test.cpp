// SPDX-License-Identifier: BSD-2-Clause
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "daemon/netalloc/umem.h"

namespace netchan::netalloc {
namespace {

UmemSpec spec(std::uint64_t size, std::uint32_t chunk, std::uint32_t workers) {
  UmemSpec s;
  s.size = size;
  s.chunk_size = chunk;
  s.workers = workers;
  return s;
}

std::string refusal(const UmemSpec& s) {
  try {
    Umem umem(s);
  } catch (const std::runtime_error& e) {
    return e.what();
  }
  return "accepted";
}

TEST_CASE("a chunk's address and index are each other's inverse, and its octets are its own") {
  for (const std::uint32_t chunk_size : {2048u, 4096u}) {
    Umem umem(spec(1u << 20, chunk_size, 1));
    CHECK(umem.chunk_count() == (1u << 20) / chunk_size);
    for (std::uint32_t i = 0; i < umem.chunk_count(); ++i) {
      const Chunk c{i};
      CHECK(umem.chunk_at(umem.address(c)) == c);
      CHECK(umem.chunk_at(umem.address(c) + chunk_size - 1) == c);
      CHECK(umem.octets(c).size() == chunk_size);
      std::memset(umem.octets(c).data(), static_cast<int>(i & 0xff), chunk_size);
    }
    for (std::uint32_t i = 0; i < umem.chunk_count(); ++i) {
      CHECK(umem.base()[umem.address({i})] == std::byte(i & 0xff));
      CHECK(umem.base()[umem.address({i}) + chunk_size - 1] == std::byte(i & 0xff));
    }
    const Frame frame{Chunk{3}, 256, 60};
    CHECK(umem.octets(frame).data() == umem.base() + 3 * chunk_size + 256);
    CHECK(umem.octets(frame).size() == 60);
  }
}

TEST_CASE("the areas lie side by side, each behind its own memfd, and the workers' slices cover them without overlap") {
  for (const std::uint32_t workers : {1u, 2u, 3u, 7u}) {
    Umem umem(spec(600 * 4096, 4096, workers));
    const ChunkRange receive = umem.range(Area::receive), priv = umem.range(Area::private_);
    CHECK(receive.first == 0);
    CHECK(priv.first == receive.count);
    CHECK(receive.count + priv.count == umem.chunk_count());
    std::vector<int> owners(umem.chunk_count());
    for (const Area area : {Area::receive, Area::private_})
      for (std::uint32_t w = 0; w < workers; ++w) {
        const ChunkRange slice = umem.range(area, w);
        CHECK(slice.count > 0);
        for (std::uint32_t i = slice.first; i < slice.first + slice.count; ++i) {
          ++owners[i];
          CHECK(umem.home({i}) == w);
          CHECK(slice.contains({i}));
        }
        CHECK_FALSE(slice.contains({slice.first + slice.count}));
        CHECK_FALSE(slice.contains({slice.first - 1}));
      }
    for (const int n : owners) CHECK(n == 1);

    // What is written through the range is seen through the area's own descriptor.
    struct stat st {};
    REQUIRE(fstat(umem.memory_fd(Area::private_), &st) == 0);
    CHECK(static_cast<std::uint64_t>(st.st_size) == std::uint64_t{priv.count} * 4096);
    umem.octets(Chunk{priv.first})[5] = std::byte{0x5a};
    std::byte read{};
    REQUIRE(pread(umem.memory_fd(Area::private_), &read, 1, 5) == 1);
    CHECK(read == std::byte{0x5a});
  }
}

TEST_CASE("whoever holds an area's descriptor cannot change its size") {
  Umem umem(spec(1u << 20, 4096, 1));
  for (const Area area : {Area::receive, Area::private_}) {
    CHECK(ftruncate(umem.memory_fd(area), 4096) != 0);
    CHECK(ftruncate(umem.memory_fd(area), 64 << 20) != 0);
    CHECK(fcntl(umem.memory_fd(area), F_ADD_SEALS, F_SEAL_WRITE) != 0);
  }
}

TEST_CASE("huge pages are used, or their absence is told with a reason") {
  UmemSpec s = spec(8u << 20, 4096, 2);
  s.hugepages = true;
  Umem umem(s);
  if (umem.hugepages()) {
    CHECK(umem.fallback().empty());
    CHECK(reinterpret_cast<std::uintptr_t>(umem.base()) % (2u << 20) == 0);
  } else {
    CHECK(umem.fallback().find("huge pages") != std::string::npos);
  }
  umem.octets(Chunk{umem.chunk_count() - 1})[4095] = std::byte{1};  // usable either way

  s.size = 5 * 4096;
  Umem odd(s);
  CHECK_FALSE(odd.hugepages());
  CHECK(odd.fallback().find("2 MiB") != std::string::npos);

  s.hugepages = false;
  CHECK(Umem(s).fallback().empty());  // not asked for: nothing to tell
}

TEST_CASE("a receive area of its own size") {
  UmemSpec s = spec(64 * 4096, 4096, 2);
  s.receive_size = 48 * 4096;
  Umem umem(s);
  CHECK(umem.range(Area::receive).count == 48);
  CHECK(umem.range(Area::private_).count == 16);
}

TEST_CASE("what cannot be is refused with the figure") {
  CHECK(refusal(spec(1u << 20, 1024, 1)).find("1024") != std::string::npos);
  CHECK(refusal(spec(4097, 4096, 1)).find("4097") != std::string::npos);
  CHECK(refusal(spec(0, 4096, 1)).find("multiple") != std::string::npos);
  CHECK(refusal(spec(1u << 20, 4096, 0)).find("worker") != std::string::npos);
  CHECK(refusal(spec(8 * 4096, 4096, 5)).find("5 workers") != std::string::npos);
  CHECK(refusal(spec(8 * 4096, 4096, 4)) == "accepted");
  UmemSpec s = spec(1u << 20, 4096, 1);
  s.receive_size = 1u << 20;
  CHECK(refusal(s).find("receive area") != std::string::npos);
}

}  // namespace
}  // namespace netchan::netalloc
