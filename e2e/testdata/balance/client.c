/* Opens new connections by name as C programs do, and prints whom each one
 * reached: client HOST PORT COUNT. */
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int reach(const char *host, const char *port)
{
	/* Both kinds of addresses are asked for, as in most programs. */
	struct addrinfo want = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *found, *a;
	struct sockaddr_in peer;
	socklen_t size = sizeof(peer);
	int fd = -1, err = getaddrinfo(host, port, &want, &found);

	if (err) {
		fprintf(stderr, "%s: %s\n", host, gai_strerror(err));
		return 1;
	}
	for (a = found; a; a = a->ai_next) {
		fd = socket(a->ai_family, a->ai_socktype, a->ai_protocol);
		if (fd >= 0 && connect(fd, a->ai_addr, a->ai_addrlen) == 0)
			break;
		close(fd);
		fd = -1;
	}
	freeaddrinfo(found);
	if (fd < 0 || getpeername(fd, (struct sockaddr *)&peer, &size)) {
		perror(host);
		return 1;
	}
	puts(inet_ntoa(peer.sin_addr));
	close(fd);
	return 0;
}

int main(int argc, char **argv)
{
	int count, err = 0;

	if (argc != 4)
		return 2;
	for (count = atoi(argv[3]); count > 0 && !err; count--)
		err = reach(argv[1], argv[2]);
	return err;
}
