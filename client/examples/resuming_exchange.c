/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * resuming_exchange FLOW TOKENS OUT IN: one connection of FLOW; sends the file OUT, writes what comes to the file IN, and survives
 * its own restart, kill -9 included: started again with the same arguments it goes on where it was. The flow has to say
 * `on_client_exit: hold`. Neither direction loses or repeats an octet, since the stream itself knows how far both are:
 *
 *   out  `committed` of nc_stream_info is the place in OUT to read on from
 *   in   octets are in the file before they are consumed, at the place that `consumed` says; a kill in between writes them again
 *
 * TOKENS keeps the token of this run, and until it has resumed also those of the runs before it.
 */
#include <fcntl.h>
#include <netchan/netchan.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOST_TOKENS 8

static void die(const char *what, int status, const nc_channel *channel)
{
	fprintf(stderr, "resuming_exchange: %s: %s: %s\n", what, nc_strerror(status), nc_channel_error(channel));
	exit(1);
}

static void die_errno(const char *what)
{
	perror(what);
	exit(1);
}

/* The old file or the new one is there at each moment. Only for its owner: a token is as good as the streams. */
static void save_tokens(const char *path, unsigned char (*tokens)[NC_TOKEN_SIZE], int count)
{
	char fresh[4096];
	snprintf(fresh, sizeof fresh, "%s.new", path);
	const int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	const ssize_t size = (ssize_t)count * NC_TOKEN_SIZE;
	if (fd < 0 || write(fd, tokens, (size_t)size) != size || close(fd) != 0 || rename(fresh, path) != 0)
		die_errno(fresh);
}

static int load_tokens(const char *path, unsigned char (*tokens)[NC_TOKEN_SIZE], int most)
{
	const int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	const ssize_t size = read(fd, tokens, (size_t)most * NC_TOKEN_SIZE);
	close(fd);
	return size < 0 ? 0 : (int)(size / NC_TOKEN_SIZE);
}

/* The stream of an earlier run, or NULL. */
static nc_stream *resume(nc_channel *channel, unsigned char (*tokens)[NC_TOKEN_SIZE], int count)
{
	for (int i = 0; i < count; ++i) {
		const int streams = nc_resume(channel, tokens[i]);
		if (streams < 0 && streams != NC_NO_SESSION)
			die("resume", streams, channel);
		while (streams > 0) {
			nc_event event;
			const int n = nc_channel_poll(channel, &event, 1, -1);
			if (n < 0)
				die("poll", n, channel);
			if (n == 1 && event.kind == NC_EVENT_RESUMED)
				return event.stream;
		}
	}
	return NULL;
}

/* Returns 1 when all of OUT is committed and the end said. */
static int send_some(nc_stream *stream, int out, const nc_channel *channel)
{
	for (;;) {
		nc_stream_info info = {.size = sizeof info};
		void *span;
		size_t size;
		const int status = nc_reserve(stream, 1, &span, &size);
		if (status == NC_FULL)
			return 0;
		if (status == NC_CLOSED)
			return 1; /* said before the restart */
		if (status != 0)
			die("send", status, channel);
		nc_stream_get_info(stream, &info);
		const ssize_t n = pread(out, span, size, (off_t)info.committed);
		if (n < 0)
			die_errno("read");
		if (n == 0)
			return nc_shutdown(stream), 1;
		nc_commit(stream, (size_t)n, 0);
	}
}

/* Returns 1 at the end of the peer's stream. */
static int receive_some(nc_stream *stream, int in, const nc_channel *channel)
{
	for (;;) {
		nc_stream_info info = {.size = sizeof info};
		nc_span spans[2];
		const int n = nc_peek(stream, spans);
		if (n == NC_AGAIN)
			return 0;
		if (n == NC_END)
			return 1;
		if (n < 0)
			die("receive", n, channel);
		nc_stream_get_info(stream, &info);
		const ssize_t written = pwrite(in, spans[0].octets, spans[0].size, (off_t)info.consumed);
		if (written < 0)
			die_errno("write");
		nc_consume(stream, (size_t)written);
	}
}

int main(int argc, char **argv)
{
	if (argc != 5) {
		fprintf(stderr, "usage: resuming_exchange FLOW TOKENS OUT IN\n");
		return 2;
	}
	unsigned char tokens[MOST_TOKENS][NC_TOKEN_SIZE];
	nc_channel *channel = NULL;
	nc_flow *flow = NULL;
	int status = nc_channel_open(NULL, &channel);
	if (status != 0)
		die("open", status, NULL);
	/* Ours first: from here on whatever this run holds can be found by the next one. */
	nc_channel_token(channel, tokens[0]);
	const int old = load_tokens(argv[2], tokens + 1, MOST_TOKENS - 1);
	save_tokens(argv[2], tokens, 1 + old);
	if ((status = nc_attach(channel, argv[1], &flow)) != 0)
		die(argv[1], status, channel);
	nc_stream *stream = resume(channel, tokens + 1, old);
	const int out = open(argv[3], O_RDONLY | O_CLOEXEC);
	const int in = open(argv[4], O_WRONLY | O_CREAT | O_CLOEXEC | (stream != NULL ? 0 : O_TRUNC), 0644);
	if (out < 0 || in < 0)
		die_errno("file");
	fprintf(stderr, "resuming_exchange: %s\n", stream != NULL ? "resumed" : "begins");
	if (stream == NULL)
		status = nc_flow_is_listener(flow) ? nc_accept_wait(flow, &stream, NULL, -1) : nc_dial_wait(flow, &stream, -1);
	if (status != 0)
		die("connection", status, channel);
	save_tokens(argv[2], tokens, 1);

	for (int sent = 0, received = 0;;) {
		nc_event events[16];
		if (!sent)
			sent = send_some(stream, out, channel);
		if (!received)
			received = receive_some(stream, in, channel);
		if (sent && received)
			break;
		if ((status = nc_channel_poll(channel, events, 16, -1)) < 0)
			die("poll", status, channel);
	}
	nc_close(stream);
	unlink(argv[2]);
	nc_channel_close(channel);
	return 0;
}
