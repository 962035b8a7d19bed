// SPDX-License-Identifier: BSD-2-Clause
//
// LaneMemory: the four memfds of a lane, mapped, and its two doorbells (proto/shm/layout.h). Everything is made,
// allocated and sealed here; the client gets descriptors that were reopened, read-only where it may only read.
//
//              daemon maps   client's descriptor   seals at once          seals after READY
//   daemon pages     rw      read-only             SHRINK GROW FUTURE_WRITE SEAL
//   receive arena    rw      read-only             SHRINK GROW FUTURE_WRITE SEAL
//   client pages     ro      read-write            SHRINK GROW            FUTURE_WRITE SEAL
//   send arena       rw*     read-write            SHRINK GROW            FUTURE_WRITE SEAL
//
// * The daemon writes there only what a stream had committed in an earlier session and is not acknowledged yet, before the
//   client knows of the stream (take_over); a mapping made for it only then would meet the seals.
//
// FUTURE_WRITE refuses writable mappings to come, write() and hole punching, for every holder of a descriptor. Holes
// that a client punched before READY are filled again when it is sealed. After that the daemon keeps mappings only, no
// memfds.
#pragma once

#include <array>
#include <memory>
#include <string>

#include "daemon/base/unique_fd.h"
#include "proto/base/bytes.h"
#include "proto/shm/control.h"
#include "proto/shm/layout.h"

namespace netchan::session {

// One shared mapping, unmapped at the end.
class Mapping {
 public:
  Mapping() = default;
  Mapping(std::byte* at, std::size_t size) : at_(at), size_(size) {}
  ~Mapping();
  Mapping(Mapping&& other) noexcept : at_(std::exchange(other.at_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  Mapping& operator=(Mapping&& other) noexcept {
    std::swap(at_, other.at_);
    std::swap(size_, other.size_);
    return *this;
  }
  std::byte* at() const { return at_; }
  std::size_t size() const { return size_; }

 private:
  std::byte* at_ = nullptr;
  std::size_t size_ = 0;
};

class LaneMemory {
 public:
  // `bell` is this lane's own descriptor of the write end of the client's pipe (non-blocking). nullptr: `error` says
  // why.
  static std::unique_ptr<LaneMemory> make(const shm::Geometry&, std::uint32_t worker, std::uint32_t generation,
                                          UniqueFd bell, std::string& error);

  // In the order of the LANE message.
  using ClientDescriptors = std::array<UniqueFd, shm::kLaneDescriptors>;
  bool descriptors_for_client(ClientDescriptors& out, std::string& error) const;
  // The client has mapped what it writes: the last seals, then the memfds are closed here.
  bool seal(std::string& error);

  const shm::Geometry& geometry() const { return geometry_; }
  shm::DaemonHeader& daemon_header() const;
  shm::DaemonStream* daemon_streams() const;
  shm::NewsSlot* news() const;
  const shm::ClientHeader& client_header() const;
  const shm::ClientStream* client_streams() const;
  const shm::TouchWord* touches() const;
  Bytes send_arena() const { return {send_arena_.at(), send_arena_.size()}; }
  MutableBytes send_arena_for_take_over() const { return {send_arena_.at(), send_arena_.size()}; }
  MutableBytes receive_arena() const { return {receive_arena_.at(), receive_arena_.size()}; }
  int doorbell() const { return doorbell_.get(); }
  int bell() const { return bell_.get(); }

 private:
  shm::Geometry geometry_;
  UniqueFd daemon_pages_fd_, client_pages_fd_, send_arena_fd_, receive_arena_fd_;
  UniqueFd doorbell_, bell_;
  Mapping daemon_pages_, client_pages_, send_arena_, receive_arena_;
};

}  // namespace netchan::session
