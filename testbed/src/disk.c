/*
 * A disk that is slow, full or broken, for one process: preloaded, it stands before the calls that write and flush.
 *
 * TESTBED_DISK names a file that holds `struct control`. The test writes the first fields, this library the counts.
 * Only files of a log are hit (Redis's *.aof, WiredTiger's journal): a full disk must not hide the server's own words.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

struct control {
    uint32_t sync_delay_ms; /* each flush takes this much longer */
    int32_t sync_errno;     /* each flush fails with this, unless 0 */
    int32_t write_errno;    /* each write fails with this, unless 0 */
    uint32_t unused;
    uint64_t syncs;
    uint64_t delayed;
    uint64_t failed;
};

static struct control *control;

__attribute__((constructor)) static void map_control(void) {
    const char *path = getenv("TESTBED_DISK");
    if (!path) return;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) return;
    void *at = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (at != MAP_FAILED) control = at;
}

static void *next(const char *name, void **kept) {
    if (!*kept) *kept = dlsym(RTLD_NEXT, name);
    return *kept;
}

static int is_log(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, path, sizeof path - 1);
    if (len <= 0) return 0;
    path[len] = 0;
    return strstr(path, ".aof") || strstr(path, "/journal/");
}

/* Delays, and answers the error that a flush of fd must fail with, or 0. */
static int sync_fault(int fd) {
    if (!control) return 0;
    __atomic_add_fetch(&control->syncs, 1, __ATOMIC_RELAXED);
    uint32_t delay_ms = __atomic_load_n(&control->sync_delay_ms, __ATOMIC_RELAXED);
    int fault = __atomic_load_n(&control->sync_errno, __ATOMIC_RELAXED);
    if ((!delay_ms && !fault) || !is_log(fd)) return 0;
    if (delay_ms) {
        /* Counted first: the process may be killed meanwhile. */
        __atomic_add_fetch(&control->delayed, 1, __ATOMIC_RELAXED);
        struct timespec left = { delay_ms / 1000, (long)(delay_ms % 1000) * 1000000 };
        while (nanosleep(&left, &left) && errno == EINTR) {}
    }
    if (fault) __atomic_add_fetch(&control->failed, 1, __ATOMIC_RELAXED);
    return fault;
}

static int write_fault(int fd) {
    if (!control) return 0;
    int fault = __atomic_load_n(&control->write_errno, __ATOMIC_RELAXED);
    if (!fault || !is_log(fd)) return 0;
    __atomic_add_fetch(&control->failed, 1, __ATOMIC_RELAXED);
    return fault;
}

#define FAIL_IF(fault) do { int found = (fault); if (found) { errno = found; return -1; } } while (0)

int fsync(int fd) {
    static void *real;
    FAIL_IF(sync_fault(fd));
    return ((int (*)(int))next("fsync", &real))(fd);
}

int fdatasync(int fd) {
    static void *real;
    FAIL_IF(sync_fault(fd));
    return ((int (*)(int))next("fdatasync", &real))(fd);
}

ssize_t write(int fd, const void *bytes, size_t len) {
    static void *real;
    FAIL_IF(write_fault(fd));
    return ((ssize_t (*)(int, const void *, size_t))next("write", &real))(fd, bytes, len);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    static void *real;
    FAIL_IF(write_fault(fd));
    return ((ssize_t (*)(int, const struct iovec *, int))next("writev", &real))(fd, parts, count);
}

ssize_t pwrite(int fd, const void *bytes, size_t len, off_t at) {
    static void *real;
    FAIL_IF(write_fault(fd));
    return ((ssize_t (*)(int, const void *, size_t, off_t))next("pwrite", &real))(fd, bytes, len, at);
}

ssize_t pwrite64(int fd, const void *bytes, size_t len, off64_t at) {
    static void *real;
    FAIL_IF(write_fault(fd));
    return ((ssize_t (*)(int, const void *, size_t, off64_t))next("pwrite64", &real))(fd, bytes, len, at);
}
