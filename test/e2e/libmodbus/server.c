/* A Modbus device by libmodbus, for tests: one that nobody here wrote.
 *
 * Without an argument it serves Modbus TCP on 127.0.0.1, on a port of the
 * system's choice, and prints that port. With the path of a serial line it is
 * station 1 on it, RTU at 19200 8E1, and prints the path. It starts with holding
 * register n and input register n holding n, discrete input n set where n is a
 * multiple of 3, all coils clear. It ends when its standard input does. */
#include <modbus.h>
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

static int fail(void) {
	perror("libmodbus device");
	return 1;
}

static int line(modbus_t *ctx, modbus_mapping_t *map, const char *path) {
	if (modbus_set_slave(ctx, 1) < 0 || modbus_connect(ctx) < 0)
		return fail();
	printf("%s\n", path);
	fflush(stdout);
	for (;;) {
		struct pollfd p[2] = {{0, POLLIN, 0}, {modbus_get_socket(ctx), POLLIN, 0}};
		uint8_t query[MODBUS_RTU_MAX_ADU_LENGTH];
		int n;
		if (poll(p, 2, -1) < 0 || p[0].revents)
			return 0;
		if ((n = modbus_receive(ctx, query)) > 0)
			modbus_reply(ctx, query, n, map);
	}
}

int main(int argc, char **argv) {
	modbus_t *ctx = argc > 1 ? modbus_new_rtu(argv[1], 19200, 'E', 8, 1) : modbus_new_tcp("127.0.0.1", 0);
	modbus_mapping_t *map = modbus_mapping_new(500, 500, 500, 500);
	struct sockaddr_in at;
	socklen_t size = sizeof at;
	int listener, conn = -1, i;

	if (ctx == NULL || map == NULL)
		return fail();
	for (i = 0; i < 500; i++) {
		map->tab_registers[i] = map->tab_input_registers[i] = i;
		map->tab_input_bits[i] = i % 3 == 0;
	}
	if (argc > 1)
		return line(ctx, map, argv[1]);
	if ((listener = modbus_tcp_listen(ctx, 1)) < 0 || getsockname(listener, (struct sockaddr *)&at, &size) < 0)
		return fail();
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
