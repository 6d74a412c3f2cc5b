/* A Modbus TCP device by libmodbus, for tests: one that nobody here wrote.
 *
 * Serves 127.0.0.1 on a port of the system's choice and prints that port. It
 * starts with holding register n and input register n holding n, discrete
 * input n set where n is a multiple of 3, all coils clear. It ends when its
 * standard input does. */
#include <modbus.h>
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

int main(void) {
	modbus_t *ctx = modbus_new_tcp("127.0.0.1", 0);
	modbus_mapping_t *map = modbus_mapping_new(500, 500, 500, 500);
	struct sockaddr_in at;
	socklen_t size = sizeof at;
	int listener, conn = -1, i;

	if (ctx == NULL || map == NULL || (listener = modbus_tcp_listen(ctx, 1)) < 0 ||
	    getsockname(listener, (struct sockaddr *)&at, &size) < 0) {
		perror("libmodbus device");
		return 1;
	}
	for (i = 0; i < 500; i++) {
		map->tab_registers[i] = map->tab_input_registers[i] = i;
		map->tab_input_bits[i] = i % 3 == 0;
	}
	printf("%d\n", ntohs(at.sin_port));
	fflush(stdout);
	for (;;) {
		struct pollfd p[2] = {{0, POLLIN, 0}, {conn < 0 ? listener : conn, POLLIN, 0}};
		uint8_t query[MODBUS_TCP_MAX_ADU_LENGTH];
		int n;
		if (poll(p, 2, -1) < 0 || p[0].revents)
			return 0;
		if (conn < 0) {
			conn = modbus_tcp_accept(ctx, &listener);
			continue;
		}
		if ((n = modbus_receive(ctx, query)) > 0)
			n = modbus_reply(ctx, query, n, map);
		if (n < 0) { /* the client went away */
			close(conn);
			conn = -1;
		}
	}
}
