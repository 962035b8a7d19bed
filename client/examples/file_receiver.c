/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * File receiver: writes what the first peer of a listening flow sends to a file.   file-receiver-c FLOW FILE
 *
 * Blocking style: no event loop. nc_peek shows the octets where the daemon put them, and write() takes them from there.
 */
#include <errno.h>
#include <fcntl.h>
#include <netchan/netchan.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int fail(const char *what, int status, const nc_channel *channel)
{
	fprintf(stderr, "%s: %s: %s\n", what, nc_strerror(status), nc_channel_error(channel));
	return 1;
}

int main(int argc, char **argv)
{
	nc_channel *channel;
	nc_flow *flow;
	nc_stream *stream;
	nc_span spans[2];
	unsigned long long total = 0;
	int status, file;

	if (argc != 3)
		return fprintf(stderr, "usage: %s FLOW FILE\n", argv[0]), 2;
	if ((file = open(argv[2], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)) < 0)
		return fprintf(stderr, "%s: %s\n", argv[2], strerror(errno)), 1;
	if ((status = nc_channel_open(NULL, &channel)) < 0)
		return fail("netchand", status, NULL);
	if ((status = nc_attach(channel, argv[1], &flow)) < 0)
		return fail(argv[1], status, channel);
	if ((status = nc_accept_wait(flow, &stream, NULL, -1)) < 0)
		return fail("accept", status, channel);

	for (;;) {
		nc_event events[16];
		ssize_t written;

		status = nc_peek(stream, spans);
		if (status == NC_AGAIN) { /* nothing there: sleep until something happens */
			if ((status = nc_channel_poll(channel, events, 16, -1)) < 0)
				return fail("poll", status, channel);
			continue;
		}
		if (status < 0)
			break;
		if ((written = write(file, spans[0].octets, spans[0].size)) < 0)
			return fprintf(stderr, "%s: %s\n", argv[2], strerror(errno)), 1;
		nc_consume(stream, (size_t)written);
		total += (unsigned long long)written;
	}
	if (status != NC_END)
		return fail("receive", status, channel);
	nc_close(stream);
	nc_channel_close(channel);
	if (close(file) != 0)
		return fprintf(stderr, "%s: %s\n", argv[2], strerror(errno)), 1;
	printf("%llu octets\n", total);
	return 0;
}
