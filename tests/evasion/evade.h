// Techniques that try to get round a policy. Each runs in a process of its own, first without a
// policy, to show that it has its effect here, and then as an agent.
#pragma once
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

// How the effect is seen, always by a process that is no agent.
enum effect {
    HARMED,  // the victim, or the directory beside it, is not as it was made
    LEAKED,  // what the technique got is the secret
    ADDED,   // something stands in the directory that did not, or the victim changed
    RAN,     // the forbidden program left its mark
    MANY,    // more files stand there than the limit allows
    HEARD,   // the server on the technique's port heard of it
    TOUCHED, // the technique's target died, stopped or found its memory changed
    CLAIMED, // the technique says so itself: nobody else could see it
};

struct technique {
    const char *name;
    void (*run)(void);
    enum effect effect;
    int sentinel; // among the few that run on every kernel
};

struct family {
    const char *name;
    const struct technique *techniques;
};

extern const struct technique delete_techniques[], read_techniques[], create_techniques[],
    exec_techniques[], net_techniques[], leave_techniques[], guard_techniques[], kernel_techniques[],
    others_techniques[], way_techniques[], written_techniques[], numbers_techniques[];

// Of the technique that runs.
extern const char *protected_dir; // holds `victim`, `sub/`, in families exec and written `tool` and `script`
extern const char *scratch_dir;   // the technique's own, unprotected, on the same filesystem
extern int port;                  // for TCP, UDP and vsock; `unix_path` for AF_UNIX
extern pid_t target;              // a process of the same user that is no agent

const char *in(const char *name);      // a path in the protected directory
const char *scratch(const char *name); // a path in the unprotected one
const char *unix_path(void);
const char *low(const char *text); // a copy that a 32-bit pointer reaches

// What a technique got hold of.
void got(const void *bytes, size_t size);
void got_from(int fd);
void claim(int holds);

// Ends the technique when a step that prepares it fails.
#define NEED(step) (((step) < 0) ? (fprintf(stderr, "%s: %s\n", #step, strerror(errno)), exit(3)) : 0)

int make_file(const char *path, const char *text);
void in_thread(void (*run)(void));
void in_child(void (*run)(void));
void private_mounts(void);      // a mount namespace, for whoever may make one
void private_user_mounts(void); // the same by way of a user namespace
void bind_dir(const char *from, const char *to);
void own_cgroup(char *path, size_t size, const char *file); // the path of a file in one's own cgroup
long gate32(long number, long a, long b, long c, long d);

// A descriptor that a process which is no agent opens (`r` or `w`) and hands over; -1 where none arrives.
int handed_over(char how, const char *path);
int receive(int from);

// One operation of io_uring: its result, or -errno.
int ring(int op, int fd, const void *addr, uint32_t len, uint64_t off, uint32_t flags);
int ring_polled(int op, int fd, const void *addr, uint32_t len, uint64_t off, uint32_t flags);

// Of the processes that are no agents.
extern uid_t user;
void listen_for(const struct family *family, const struct technique *technique);
void make_target(const struct family *family, const struct technique *technique);
void serve(void);
void listen_as_brokers(void);
void listen_as_giver(void);
socklen_t broker_name(struct sockaddr_un *name, const char *text); // `@` for a name in no filesystem

// A directory is swapped under a path that is being used.
int race(int argc, char **argv);
