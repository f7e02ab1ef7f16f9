/*
 * For programs under valgrind, which runs one thread at a time and does not let
 * the others on while one waits for a lock of an open file description: as the
 * lock may be held by one of them (libkrb5's replay cache), it is asked for
 * again and again instead.
 */

#define _GNU_SOURCE

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

typedef int (*control_t)(int fd, int command, ...);

static int
lock(int fd, void *region)
{
    struct timespec pause = { .tv_nsec = 1000000 };

    while (syscall(SYS_fcntl, fd, F_OFD_SETLK, region) < 0) {
        if (errno != EAGAIN && errno != EACCES) {
            return -1;
        }
        nanosleep(&pause, NULL);
    }

    return 0;
}

static int
control(const char *name, int fd, int command, void *argument)
{
    control_t next;

    if (command == F_OFD_SETLKW) {
        return lock(fd, argument);
    }

    next = (control_t) dlsym(RTLD_NEXT, name);

    return next(fd, command, argument);
}

#define CONTROL(name)                                                         \
    int                                                                       \
    name(int fd, int command, ...)                                            \
    {                                                                         \
        va_list  arguments;                                                   \
        void    *argument;                                                    \
                                                                              \
        va_start(arguments, command);                                         \
        argument = va_arg(arguments, void *);                                 \
        va_end(arguments);                                                    \
                                                                              \
        return control(#name, fd, command, argument);                         \
    }

CONTROL(fcntl)
CONTROL(fcntl64)
