/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * netchan.h - libnetchan's C interface.
 *
 * A *channel* is one connection to netchand, with shared memory. A *flow* is one entry of the daemon's configuration that
 * the channel has attached. A *stream* is one TCP connection of a flow. Nothing blocks unless a timeout is given; the
 * channel's descriptor works in poll and epoll.
 *
 * Memory is shared with the daemon: a channel does not survive fork() (the child must not use it; its mappings are not
 * there), and payload is not in core dumps.
 *
 * Threads: a channel and everything that belongs to it is used by one thread at a time; different channels are independent.
 * Errors: functions return 0 (or a count) or a negative nc_status; nc_strerror explains each.
 * Option and information structs begin with `size` = sizeof(struct), so that they can grow.
 */
#ifndef NETCHAN_NETCHAN_H
#define NETCHAN_NETCHAN_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#ifdef __cplusplus
extern "C" {
#endif

#define NC_API __attribute__((visibility("default")))

typedef struct nc_channel nc_channel;
typedef struct nc_flow nc_flow;
typedef struct nc_stream nc_stream;

typedef enum nc_status {
	NC_OK = 0,
	NC_AGAIN = -1,          /* nothing now: wait for the channel's descriptor */
	NC_FULL = -2,           /* sending: the log is full until the peer acknowledges more */
	NC_NOT_CONNECTED = -3,  /* the stream is still opening */
	NC_END = -4,            /* the peer's stream has ended and everything was read */
	NC_CLOSED = -5,         /* the stream was closed or shut down from this side */
	NC_RESET = -6,          /* the connection is gone; nc_stream_info has the reason */
	NC_DAEMON_GONE = -7,    /* netchand has ended: close the channel and open a new one */
	NC_INVALID = -8,        /* an argument that cannot be */
	NC_DENIED = -9,         /* not allowed to this user, or no destination of the flow (nc_channel_error says which) */
	NC_NO_FLOW = -10,       /* no flow of that name */
	NC_NO_MEMORY = -11,     /* a limit or quota of this client is reached */
	NC_VERSION = -12,       /* library and daemon have no ABI in common */
	NC_TIMEOUT = -13,
	NC_VIOLATION = -14,     /* the daemon ended the session: this side broke the contract */
	NC_SYSTEM = -15,        /* a system call failed: errno */
	NC_BUSY = -16,          /* the flow cannot serve now (nc_channel_error has the words) */
	NC_NO_SESSION = -17,    /* nothing is held for that token */
} nc_status;
NC_API const char *nc_strerror(int status);
NC_API const char *nc_version(void);

/* ---- channel ---------------------------------------------------------------------------------------------------------- */

#define NC_DEFAULT_SOCKET "/run/netchan/netchan.sock"

typedef struct nc_channel_options {
	size_t size;
	const char *socket_path; /* NULL: $NETCHAN_SOCKET or NC_DEFAULT_SOCKET */
	const char *name;        /* shown by the daemon's status; NULL: the program's name */
	int timeout_ms;          /* for connecting and the handshake; 0: 5000 */
} nc_channel_options;

NC_API int nc_channel_open(const nc_channel_options *options, nc_channel **channel);
/* Streams that were closed with nc_close still deliver what is committed; others go the way that their flow's
 * `on_client_exit` says, as when the program is killed. */
NC_API void nc_channel_close(nc_channel *);
/* Readable when nc_channel_poll has something. Use it level-triggered, and call nc_channel_flush (or nc_channel_poll) before
 * you sleep on it. A program that never asks for it spares the daemon the doorbell while it spins in nc_channel_poll. */
NC_API int nc_channel_fd(const nc_channel *);
/* What the daemon said last, for people; never NULL. With NULL: why the last nc_channel_open of this thread failed. */
NC_API const char *nc_channel_error(const nc_channel *);

typedef enum nc_event_kind {
	NC_EVENT_READABLE = 1, /* stream: octets have come, or the end; told once, so read until NC_AGAIN or remember */
	NC_EVENT_WRITABLE,     /* stream: space after NC_FULL */
	NC_EVENT_CONNECTED,    /* stream: a dial succeeded */
	NC_EVENT_ACCEPTABLE,   /* flow: nc_accept has a stream */
	NC_EVENT_CLOSED,       /* stream: it is over, see nc_stream_info's reason; what was delivered can still be read */
	NC_EVENT_DRAIN,        /* channel: the daemon is about to stop */
	NC_EVENT_DAEMON_GONE,  /* channel */
	NC_EVENT_RESUMED,      /* stream: nc_resume got it; its first event */
} nc_event_kind;

typedef struct nc_event {
	nc_event_kind kind;
	nc_stream *stream; /* or NULL */
	nc_flow *flow;     /* or NULL */
	void *user;        /* the stream's, else the flow's user pointer */
} nc_event;

/* Takes up to `capacity` events. timeout_ms: 0 looks once, -1 waits for ever. Returns their number (0: the time is over,
 * or a signal came) or a status: once NC_EVENT_DAEMON_GONE was taken, NC_DAEMON_GONE. Everything committed so far is
 * flushed first. Events of one stream stand together; after nc_close skip the rest of them. */
NC_API int nc_channel_poll(nc_channel *, nc_event *events, int capacity, int timeout_ms);
/* Tells the daemon about commits and consumed octets; nc_channel_poll does it too. One fence, at most one system call. */
NC_API int nc_channel_flush(nc_channel *);

/* ---- flows ------------------------------------------------------------------------------------------------------------ */

/* Waits for the daemon's answer. A listening flow starts to accept for this channel. */
NC_API int nc_attach(nc_channel *, const char *flow_name, nc_flow **flow);
NC_API void nc_detach(nc_flow *);
NC_API void nc_flow_set_user(nc_flow *, void *user);
NC_API int nc_flow_is_listener(const nc_flow *);

/* NC_AGAIN when no stream waits. `peer` (may be NULL) gets the peer's address. */
NC_API int nc_accept(nc_flow *, nc_stream **stream, struct sockaddr_storage *peer);
/* Opens a connection of a `tcp: connect` flow. Returns at once; NC_EVENT_CONNECTED or NC_EVENT_CLOSED follows. NC_AGAIN: the
 * daemon has not taken the commands before it yet (it takes some 1000 a second from each user). */
NC_API int nc_dial(nc_flow *, nc_stream **stream);

/* As nc_dial, to `remote` (AF_INET or AF_INET6): the flow's own server or one of its `destinations:`; any other is refused
 * with NC_DENIED, which comes with NC_EVENT_CLOSED, as all that the daemon says of a dial; nc_channel_error has the words. */
NC_API int nc_dial_to(nc_flow *, const struct sockaddr *remote, socklen_t remote_size, nc_stream **stream);

/* Blocking helpers. timeout_ms: -1 waits for ever. What happens meanwhile stays for nc_channel_poll; nothing is lost. A
 * signal ends them with NC_SYSTEM, errno EINTR. */
NC_API int nc_accept_wait(nc_flow *, nc_stream **stream, struct sockaddr_storage *peer, int timeout_ms);
NC_API int nc_dial_wait(nc_flow *, nc_stream **stream, int timeout_ms);
NC_API int nc_dial_to_wait(nc_flow *, const struct sockaddr *remote, socklen_t remote_size, nc_stream **stream, int timeout_ms);

/* ---- surviving a restart of the program ------------------------------------------------------------------------------- */

/* Streams of a flow with `on_client_exit: hold` outlive the channel: when the program dies, or closes the channel and not
 * them, the daemon holds them for `hold_for`. It goes on sending what was committed, and takes what comes as long as there is
 * room. Whoever has the same user and the channel's token gets them back:
 *
 *   open a channel, save its token (beside the old one), attach the flows, nc_resume with the old token, forget the old one
 *
 * Positions go on: nc_stream_info's `committed` says how much of the program's output is the stream's already, `consumed` what
 * it has taken; what was delivered and not consumed is read again from there. So consume what has been dealt with, not before,
 * and every octet counts once in both directions. */
#define NC_TOKEN_SIZE 16
/* The channel's own token: 128 random bits, as good as the streams themselves, so keep it where only you can read it. */
NC_API int nc_channel_token(const nc_channel *, unsigned char token[NC_TOKEN_SIZE]);
/* Takes what is held of the session that had `token`, as far as its flows are attached here and the channel has memory.
 * Waits for the daemon. Returns the number of streams, each of which comes as NC_EVENT_RESUMED by nc_channel_poll; if some
 * stay held, nc_channel_error says why, and the token is good for them. Else NC_NO_SESSION (unknown, all taken, or the time is
 * over), NC_DENIED (another user's), NC_BUSY (that session has not ended), NC_NO_MEMORY or NC_INVALID (all stay held). */
NC_API int nc_resume(nc_channel *, const unsigned char token[NC_TOKEN_SIZE]);

/* ---- streams: sending ------------------------------------------------------------------------------------------------- */

/* A writable span of the stream's log, at least `least` octets (contiguous), as much as there is. The span stays valid until
 * the commit. NC_FULL: ask again after NC_EVENT_WRITABLE. */
NC_API int nc_reserve(nc_stream *, size_t least, void **span, size_t *size);
#define NC_FLUSH 1u /* nc_channel_flush at once */
/* The first `size` octets of the reserved span are sent. Without NC_FLUSH a daemon that rests hears of it at the next
 * nc_channel_flush or nc_channel_poll, so that many small commits cost one notice. nc_send in between ends a reservation. */
NC_API int nc_commit(nc_stream *, size_t size, unsigned flags);
/* Copies; returns how many octets were taken (may be fewer than `size`), or NC_FULL. */
NC_API int64_t nc_send(nc_stream *, const void *octets, size_t size, unsigned flags);
/* Blocking: all of it, or a status. Signals do not end it: part of the octets is on its way by then. */
NC_API int nc_send_all(nc_stream *, const void *octets, size_t size, int timeout_ms);

/* ---- streams: receiving ----------------------------------------------------------------------------------------------- */

typedef struct nc_span {
	const void *octets;
	size_t size;
} nc_span;

/* Up to two spans (the log may wrap) of octets that are there and not consumed, in place; valid until they are consumed or
 * nc_peek is called again.
 * Returns the number of spans, NC_AGAIN, NC_END or NC_RESET. */
NC_API int nc_peek(nc_stream *, nc_span spans[2]);
/* Frees the first `size` octets: the peer's window opens by so much. */
NC_API int nc_consume(nc_stream *, size_t size);
/* Copies and consumes; returns the number of octets, 0 at the end of the peer's stream, or a status. */
NC_API int64_t nc_recv(nc_stream *, void *octets, size_t size, unsigned flags);
/* Blocking. Returns as nc_recv does, or NC_TIMEOUT. */
NC_API int64_t nc_recv_wait(nc_stream *, void *octets, size_t size, int timeout_ms);

/* ---- streams: ending and looking -------------------------------------------------------------------------------------- */

NC_API int nc_shutdown(nc_stream *); /* FIN behind what is committed; receiving goes on */
NC_API void nc_close(nc_stream *);   /* what is committed is still sent; the handle is gone */
NC_API void nc_abort(nc_stream *);   /* reset; the handle is gone */

NC_API void nc_stream_set_user(nc_stream *, void *user);
NC_API void *nc_stream_user(const nc_stream *);

typedef struct nc_stream_info {
	size_t size;
	int state;  /* enum nc_stream_state */
	int reason; /* enum nc_close_reason, once closed */
	struct sockaddr_storage local, remote;
	uint64_t committed, released; /* send log: given by us, acknowledged by the peer */
	uint64_t delivered, consumed; /* receive log: in order, taken by us */
	uint64_t octets_sent, octets_acknowledged, octets_received, retransmits;
	uint32_t srtt_us, rttvar_us, min_rtt_us, rto_us, cwnd, ssthresh, mss, send_window, in_flight, receive_window;
	uint64_t full_count; /* how often NC_FULL was returned */
} nc_stream_info;

enum nc_stream_state { NC_STREAM_OPENING = 1, NC_STREAM_OPEN, NC_STREAM_PEER_FINISHED, NC_STREAM_CLOSED };
enum nc_close_reason {
	NC_CLOSE_NONE = 0, NC_CLOSE_GRACEFUL, NC_CLOSE_RESET_BY_PEER, NC_CLOSE_RESET_BY_US, NC_CLOSE_TIMED_OUT, NC_CLOSE_REFUSED,
	NC_CLOSE_UNREACHABLE, NC_CLOSE_NO_MEMORY, NC_CLOSE_NOT_READY,
};
NC_API const char *nc_close_reason_text(int reason);
/* Reads shared memory only; no call to the daemon. */
NC_API int nc_stream_get_info(const nc_stream *, nc_stream_info *info);

#ifdef __cplusplus
}
#endif
#endif
