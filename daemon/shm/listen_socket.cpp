// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/shm/listen_socket.h"

#include <grp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>

namespace netchan::session {
namespace {

// All of a burst of clients at start-up; the kernel caps it at net.core.somaxconn.
constexpr int kBacklog = 512;

[[noreturn]] void fail(const std::string& what) { throw std::runtime_error(what + ": " + std::strerror(errno)); }

sockaddr_un address(const std::string& path) {
  sockaddr_un a{};
  a.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof a.sun_path)
    throw std::runtime_error("client socket " + path + ": a socket's path has 1 to " +
                             std::to_string(sizeof a.sun_path - 1) + " letters");
  std::memcpy(a.sun_path, path.data(), path.size());
  return a;
}

UniqueFd make_socket() {
  UniqueFd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) fail("client socket");
  return fd;
}

void refuse_if_taken(const std::string& path) {
  struct stat st {};
  if (::lstat(path.c_str(), &st) != 0) {
    if (errno == ENOENT) return;
    fail("client socket " + path);
  }
  if (!S_ISSOCK(st.st_mode))
    throw std::runtime_error("client socket " + path + ": something that is not a socket is there");
  const UniqueFd probe = make_socket();
  const sockaddr_un a = address(path);
  // EAGAIN: alive with a full backlog. ECONNREFUSED (or EPROTOTYPE, a socket of another kind): nobody of ours.
  if (::connect(probe.get(), reinterpret_cast<const sockaddr*>(&a), sizeof a) == 0 || errno == EAGAIN)
    throw std::runtime_error("client socket " + path + ": another netchand answers there");
  if (errno != ECONNREFUSED) fail("client socket " + path + " is in use");
}

gid_t group_id(const std::string& name) {
  errno = 0;
  if (const group* g = ::getgrnam(name.c_str())) return g->gr_gid;
  throw std::runtime_error("client socket: there is no group " + name + "; create it (sysusers) or name another");
}

}  // namespace

ListenSocket::ListenSocket(const std::string& path, const std::string& group) : path_(path) {
  const gid_t gid = group.empty() ? static_cast<gid_t>(-1) : group_id(group);  // -1: left as it is
  refuse_if_taken(path);
  const std::string fresh = path + "." + std::to_string(::getpid());
  fd_ = make_socket();
  const sockaddr_un a = address(fresh);
  ::unlink(fresh.c_str());
  const mode_t before = ::umask(0177);  // nobody connects before mode and owner are right
  const int bound = ::bind(fd_.get(), reinterpret_cast<const sockaddr*>(&a), sizeof a);
  ::umask(before);
  if (bound != 0) fail("client socket " + path);
  struct stat st {};
  const bool ready = ::chown(fresh.c_str(), static_cast<uid_t>(-1), gid) == 0 &&
                     ::chmod(fresh.c_str(), group.empty() ? 0666 : 0660) == 0 && ::listen(fd_.get(), kBacklog) == 0 &&
                     ::stat(fresh.c_str(), &st) == 0 && ::rename(fresh.c_str(), path.c_str()) == 0;
  if (!ready) {
    const int error = errno;
    ::unlink(fresh.c_str());
    errno = error;
    fail("client socket " + path);
  }
  device_ = st.st_dev;
  inode_ = st.st_ino;
}

ListenSocket::~ListenSocket() {
  struct stat st {};
  if (::lstat(path_.c_str(), &st) == 0 && st.st_dev == device_ && st.st_ino == inode_) ::unlink(path_.c_str());
}

}  // namespace netchan::session
