/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Echo server: sends back whatever the peers of a listening flow send.   echo-server-c FLOW
 *
 * One thread, any number of streams, one event loop. Octets are read in place and copied once, into the send log. When the
 * send log is full the rest simply stays in the receive log (which closes the peer's window) until NC_EVENT_WRITABLE.
 */
#include <netchan/netchan.h>
#include <stdio.h>

/* Moves what it can. 0: more will come; 1: the stream is over. */
static int echo(nc_stream *stream)
{
	nc_span spans[2];
	int n;

	while ((n = nc_peek(stream, spans)) > 0) {
		int64_t sent = nc_send(stream, spans[0].octets, spans[0].size, 0);
		if (sent == NC_FULL)
			return 0;
		if (sent < 0)
			return 1;
		nc_consume(stream, (size_t)sent);
	}
	return n != NC_AGAIN && n != NC_NOT_CONNECTED; /* NC_END: closing sends the rest, then FIN */
}

int main(int argc, char **argv)
{
	nc_channel *channel;
	nc_flow *flow;
	nc_event events[64];
	int n, i;

	if (argc != 2)
		return fprintf(stderr, "usage: %s FLOW\n", argv[0]), 2;
	if ((n = nc_channel_open(NULL, &channel)) < 0)
		return fprintf(stderr, "%s: %s\n", nc_strerror(n), nc_channel_error(NULL)), 1;
	if ((n = nc_attach(channel, argv[1], &flow)) < 0)
		return fprintf(stderr, "%s: %s\n", nc_strerror(n), nc_channel_error(channel)), 1;

	while ((n = nc_channel_poll(channel, events, 64, -1)) >= 0) {
		for (i = 0; i < n; i++) {
			nc_stream *stream = events[i].stream;
			switch (events[i].kind) {
			case NC_EVENT_ACCEPTABLE:
				while (nc_accept(flow, &stream, NULL) == 0) {
				} /* its first octets come as NC_EVENT_READABLE */
				break;
			case NC_EVENT_READABLE:
			case NC_EVENT_WRITABLE:
				if (!echo(stream))
					break;
				/* fall through */
			case NC_EVENT_CLOSED:
				nc_close(stream);
				/* Later events of this batch may still name the stream: take them again without it. */
				while (i + 1 < n && events[i + 1].stream == stream)
					i++;
				break;
			default:
				break;
			}
		}
	}
	fprintf(stderr, "%s: %s\n", nc_strerror(n), nc_channel_error(channel));
	nc_channel_close(channel);
	return 1;
}
