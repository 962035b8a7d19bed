// SPDX-License-Identifier: BSD-2-Clause
//
// Sends raw frames on one chosen queue: `queue_sender INTERFACE QUEUE`, frames as lines of hex on stdin, a dot on stdout for
// each that the kernel has taken. An AF_XDP socket bound to a queue transmits on just that queue, and what leaves queue n
// of one end of a veth arrives on queue n of the other: so a test says where RSS would have put a packet.
#include <linux/if_xdp.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <xdp/xsk.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <string>

namespace {

constexpr std::uint32_t kChunks = 64, kChunkSize = 4096;

[[noreturn]] void fail(const char* what, int error) {
  std::fprintf(stderr, "%s: %s\n", what, std::strerror(error));
  std::exit(1);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) fail("usage: queue_sender INTERFACE QUEUE", EINVAL);
  void* memory = mmap(nullptr, kChunks * kChunkSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) fail("mmap", errno);

  xsk_umem* umem;
  xsk_ring_prod fill, tx;
  xsk_ring_cons completion;
  xsk_umem_config umem_config{};
  umem_config.fill_size = umem_config.comp_size = kChunks;
  umem_config.frame_size = kChunkSize;
  if (const int e = xsk_umem__create(&umem, memory, kChunks * kChunkSize, &fill, &completion, &umem_config)) fail("xsk_umem__create", -e);
  xsk_socket* socket;
  xsk_socket_config config{};
  config.tx_size = kChunks;
  config.libbpf_flags = XSK_LIBBPF_FLAGS__INHIBIT_PROG_LOAD;
  config.bind_flags = XDP_COPY;
  if (const int e = xsk_socket__create(&socket, argv[1], static_cast<std::uint32_t>(std::atoi(argv[2])), umem, nullptr, &tx, &config))
    fail("xsk_socket__create", -e);

  std::string line;
  for (std::uint32_t n = 0; std::getline(std::cin, line); n = (n + 1) % kChunks) {
    auto* frame = static_cast<unsigned char*>(memory) + n * kChunkSize;
    const std::size_t length = line.size() / 2;
    if (length > kChunkSize) fail("frame", EMSGSIZE);
    for (std::size_t i = 0; i < length; ++i) frame[i] = static_cast<unsigned char>(std::strtoul(line.substr(2 * i, 2).c_str(), nullptr, 16));
    std::uint32_t at;
    if (xsk_ring_prod__reserve(&tx, 1, &at) != 1) fail("tx ring", ENOBUFS);
    *xsk_ring_prod__tx_desc(&tx, at) = {n * kChunkSize, static_cast<std::uint32_t>(length), 0};
    xsk_ring_prod__submit(&tx, 1);
    // One frame at a time: its completion says that it is on the wire.
    for (;;) {
      if (sendto(xsk_socket__fd(socket), nullptr, 0, MSG_DONTWAIT, nullptr, 0) < 0 && errno != EAGAIN && errno != EBUSY && errno != ENOBUFS)
        fail("sendto", errno);
      if (xsk_ring_cons__peek(&completion, 1, &at) == 1) break;
      usleep(100);
    }
    xsk_ring_cons__release(&completion, 1);
    std::cout << "." << std::flush;
  }
  xsk_socket__delete(socket);
  xsk_umem__delete(umem);
}
