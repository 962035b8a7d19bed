// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/shm/lane_memory.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>

#include "proto/base/check.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U  // Linux 6.3
#endif

namespace netchan::session {
namespace {

enum class Writer { daemon, client };

bool fail(std::string& error, const char* what) {
  error = std::string(what) + ": " + std::strerror(errno);
  return false;
}

UniqueFd make_memfd(const char* name) {
  constexpr unsigned kFlags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  UniqueFd fd(::memfd_create(name, kFlags | MFD_NOEXEC_SEAL));
  if (!fd.valid() && errno == EINVAL) fd.reset(::memfd_create(name, kFlags));
  return fd;
}

// Makes, allocates, maps and seals one memfd; all pages are present, so nothing faults or fails later.
bool make_region(const char* name, Writer writer, std::uint64_t size, UniqueFd& fd, Mapping& mapping,
                 std::string& error, bool daemon_writes = false) {
  const auto length = static_cast<off_t>(size);
  fd = make_memfd(name);
  if (!fd.valid()) return fail(error, "memfd_create");
  if (::fchmod(fd.get(), 0600) != 0) return fail(error, "fchmod of a memfd");  // others cannot reopen it through /proc
  if (::ftruncate(fd.get(), length) != 0) return fail(error, "ftruncate of a memfd");
  if (::fallocate(fd.get(), 0, 0, length) != 0) return fail(error, "fallocate of a memfd");
  const int protection = writer == Writer::daemon || daemon_writes ? PROT_READ | PROT_WRITE : PROT_READ;
  void* at = ::mmap(nullptr, size, protection, MAP_SHARED | MAP_POPULATE, fd.get(), 0);
  if (at == MAP_FAILED) return fail(error, "mmap of a memfd");
  mapping = Mapping(static_cast<std::byte*>(at), size);
  (void)::madvise(at, size, MADV_DONTDUMP);  // a client's payload is not for the daemon's core dumps
  const int seals = F_SEAL_SHRINK | F_SEAL_GROW | (writer == Writer::daemon ? F_SEAL_FUTURE_WRITE | F_SEAL_SEAL : 0);
  if (::fcntl(fd.get(), F_ADD_SEALS, seals) != 0) return fail(error, "sealing a memfd");
  return true;
}

// A new open file description: the daemon's own is never shared, and a read-only one cannot be made writable.
UniqueFd reopen(int fd, int flags) {
  const std::string path = "/proc/self/fd/" + std::to_string(fd);
  return UniqueFd(::open(path.c_str(), flags | O_CLOEXEC));
}

bool last_seals(const UniqueFd& fd, std::size_t size, std::string& error) {
  if (::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) != 0) return fail(error, "sealing a memfd");
  if (::fallocate(fd.get(), 0, 0, static_cast<off_t>(size)) != 0) return fail(error, "fallocate of a sealed memfd");
  return true;
}

}  // namespace

Mapping::~Mapping() {
  if (at_ != nullptr) ::munmap(at_, size_);
}

std::unique_ptr<LaneMemory> LaneMemory::make(const shm::Geometry& geometry, std::uint32_t worker,
                                             std::uint32_t generation, UniqueFd bell, std::string& error) {
  CHECK(geometry.valid() && geometry.send_arena != 0 && geometry.receive_arena != 0);
  auto memory = std::make_unique<LaneMemory>();
  LaneMemory& m = *memory;
  m.geometry_ = geometry;
  m.bell_ = std::move(bell);
  m.doorbell_.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!m.doorbell_.valid()) {
    fail(error, "eventfd");
    return nullptr;
  }
  if (!make_region("netchan-daemon-pages", Writer::daemon, geometry.daemon_pages(), m.daemon_pages_fd_, m.daemon_pages_,
                   error) ||
      !make_region("netchan-client-pages", Writer::client, geometry.client_pages(), m.client_pages_fd_, m.client_pages_,
                   error) ||
      !make_region("netchan-send", Writer::client, geometry.send_arena, m.send_arena_fd_, m.send_arena_, error, true) ||
      !make_region("netchan-receive", Writer::daemon, geometry.receive_arena, m.receive_arena_fd_, m.receive_arena_,
                   error))
    return nullptr;
  shm::DaemonHeader& header = m.daemon_header();
  header.magic = shm::kMagic;
  header.abi = shm::kAbiMax;
  header.generation = generation;
  header.streams = geometry.streams;
  header.news_ring_log2 = geometry.news_ring_log2;
  header.touch_ring_log2 = geometry.touch_ring_log2;
  header.worker = worker;
  header.send_arena_size = geometry.send_arena;
  header.receive_arena_size = geometry.receive_arena;
  header.state.store(static_cast<std::uint32_t>(shm::DaemonState::running), std::memory_order_release);
  return memory;
}

bool LaneMemory::descriptors_for_client(ClientDescriptors& out, std::string& error) const {
  out[0] = reopen(daemon_pages_fd_.get(), O_RDONLY);
  out[1] = reopen(client_pages_fd_.get(), O_RDWR);
  out[2] = reopen(send_arena_fd_.get(), O_RDWR);
  out[3] = reopen(receive_arena_fd_.get(), O_RDONLY);
  out[4] = UniqueFd(::fcntl(doorbell_.get(), F_DUPFD_CLOEXEC, 0));
  for (const UniqueFd& fd : out)
    if (!fd.valid()) return fail(error, "reopening a lane's descriptors");
  return true;
}

bool LaneMemory::seal(std::string& error) {
  if (!last_seals(client_pages_fd_, geometry_.client_pages(), error) ||
      !last_seals(send_arena_fd_, geometry_.send_arena, error))
    return false;
  daemon_pages_fd_.reset();
  client_pages_fd_.reset();
  send_arena_fd_.reset();
  receive_arena_fd_.reset();
  return true;
}

// The structs are trivially laid out, the memory zero: all of them begin their lives as mapped.
shm::DaemonHeader& LaneMemory::daemon_header() const {
  return *reinterpret_cast<shm::DaemonHeader*>(daemon_pages_.at());
}
shm::DaemonStream* LaneMemory::daemon_streams() const {
  return reinterpret_cast<shm::DaemonStream*>(daemon_pages_.at() + geometry_.daemon_streams_at());
}
shm::NewsSlot* LaneMemory::news() const {
  return reinterpret_cast<shm::NewsSlot*>(daemon_pages_.at() + geometry_.news_at());
}
const shm::ClientHeader& LaneMemory::client_header() const {
  return *reinterpret_cast<const shm::ClientHeader*>(client_pages_.at());
}
const shm::ClientStream* LaneMemory::client_streams() const {
  return reinterpret_cast<const shm::ClientStream*>(client_pages_.at() + geometry_.client_streams_at());
}
const shm::TouchWord* LaneMemory::touches() const {
  return reinterpret_cast<const shm::TouchWord*>(client_pages_.at() + geometry_.touch_at());
}

}  // namespace netchan::session
