/*
 * Gives a server that cannot choose it a source address for the connections that it makes: preloaded, it stands before
 * connect(). TESTBED_SOURCE holds the address, such as 127.0.0.3. A connection that is bound already is left alone.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static struct in_addr source;

__attribute__((constructor)) static void read_source(void) {
    const char *text = getenv("TESTBED_SOURCE");
    if (!text || inet_pton(AF_INET, text, &source) != 1) source.s_addr = INADDR_ANY;
}

static int is_unbound(int fd) {
    struct sockaddr_in own;
    socklen_t len = sizeof own;
    return getsockname(fd, (struct sockaddr *)&own, &len) == 0 && own.sin_addr.s_addr == INADDR_ANY && own.sin_port == 0;
}

int connect(int fd, const struct sockaddr *address, socklen_t len) {
    static int (*real)(int, const struct sockaddr *, socklen_t);
    if (!real) real = (int (*)(int, const struct sockaddr *, socklen_t))dlsym(RTLD_NEXT, "connect");
    if (source.s_addr != INADDR_ANY && address && address->sa_family == AF_INET && is_unbound(fd)) {
        struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr = source};
        int late = 1;
        /* The port is chosen with the connection, so that the same one may serve two destinations. */
        setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &late, sizeof late);
        bind(fd, (struct sockaddr *)&from, sizeof from);
    }
    return real(fd, address, len);
}
