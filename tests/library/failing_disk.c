/* Loaded before libc: the n-th write, sync, rename or cut of a watched file fails, as a full or dying disk fails. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static long countdown = -1, calls = 0;
static int error_number = 0;
static char watched[512] = "";

/* From now on the n-th call fails (0 is the next one; below 0 none does), and all after it if `error` is ENOSPC. */
void failing_disk_set(const char *name, long n, int error) {
    strncpy(watched, name, sizeof watched - 1);
    countdown = n; error_number = error; calls = 0;
}
long failing_disk_calls(void) { return calls; }

static int fails(int fd) {
    char link[64], name[4096];
    if (!watched[0]) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, name, sizeof name - 1);
    if (length < 0) return 0;
    name[length] = 0;
    if (!strstr(name, watched)) return 0;
    long number = calls++;
    if (countdown < 0 || number < countdown) return 0;
    if (number > countdown && error_number != ENOSPC) return 0;
    errno = error_number;
    return 1;
}

#define REAL(name) static typeof(&name) real; if (!real) real = (typeof(&name))dlsym(RTLD_NEXT, #name)
ssize_t write(int fd, const void *b, size_t n) { REAL(write); return fails(fd) ? -1 : real(fd, b, n); }
ssize_t pwrite(int fd, const void *b, size_t n, off_t o) { REAL(pwrite); return fails(fd) ? -1 : real(fd, b, n, o); }
ssize_t pwrite64(int fd, const void *b, size_t n, off64_t o) { REAL(pwrite64); return fails(fd) ? -1 : real(fd, b, n, o); }
int fsync(int fd) { REAL(fsync); return fails(fd) ? -1 : real(fd); }
int fdatasync(int fd) { REAL(fdatasync); return fails(fd) ? -1 : real(fd); }
int ftruncate(int fd, off_t n) { REAL(ftruncate); return fails(fd) ? -1 : real(fd, n); }
int ftruncate64(int fd, off64_t n) { REAL(ftruncate64); return fails(fd) ? -1 : real(fd, n); }
int fallocate(int fd, int m, off_t o, off_t n) { REAL(fallocate); return fails(fd) ? -1 : real(fd, m, o, n); }
int posix_fallocate(int fd, off_t o, off_t n) { REAL(posix_fallocate); return fails(fd) ? error_number : real(fd, o, n); }
