/* What the kill -9 test (kill.c) shares with its clients (kill_client.c): a model of every name
 * that a client has, in memory that outlives the client. All of it lies in one shared mapping, made
 * before the first fork, so that pointers into it mean the same everywhere.
 *
 * A client says what it is about to do (op, with every state that may be found if that is cut off),
 * does it, and makes it the model's state once it has returned and nobody had decided the daemon's
 * end by then: only such an operation was acknowledged by a daemon that was alive. */
#ifndef KILL_H
#define KILL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#define CLIENTS 4  /* that work with files; one more works with payloadctl */
#define NAMES 24   /* of a client */
#define SCRATCH 20 /* from here on they are scratch files */
#define LARGE 19   /* the one that may be over 1 MiB */
#define WORLDS 3   /* states that an operation may lead to */
#define DOC_MAX (3u << 20)
#define SHARED_IDS 6
#define CTL_IDS 48
#define CTL_FIRST 9000
#define CTL_DOC_MAX (5u << 20)
#define SHARED_OPS 4096 /* of a client in a round */
#define HISTORY 64
/* A truncation that was held so long may have become durable as one (two commit ticks). */
#define HELD_NS_MAX INT64_C(2000000000)
#define NO_VERSION UINT32_MAX

struct doc {
	bool exists, mtime_known;
	uint32_t len, mode;
	struct timespec mtime;
	uint8_t *bytes; /* DOC_MAX */
};

struct entry {
	char name[48];
	struct doc now;
	/* Emptied or created empty, and nothing since that makes that durable: `before` may come
	 * back. */
	bool held;
	struct doc before;
};

struct op {
	const char *what; /* NULL: none is under way */
	int a, b;	  /* entries it is about, -1: none */
	bool data;	  /* the kernel may change the time before the bytes */
	bool truncates;
	bool in_pieces; /* more than one request: mixes of old and new, MiB by MiB */
	int64_t began_ns;
	unsigned worlds;
	struct doc world[WORLDS][2];
};

struct client {
	unsigned number;
	uint64_t random;
	uint32_t version;
	struct entry entries[NAMES];
	struct op op;
	uint64_t acknowledged;
	char history[HISTORY][120];
	uint64_t said;
};

/* A change of an id that several clients change, each time as a whole. */
struct shared_op {
	uint32_t id, version; /* version 0: removed */
	uint64_t begin, end;  /* tickets; end 0: not acknowledged */
};

struct ctl {
	uint32_t now[CTL_IDS], next[CTL_IDS]; /* versions; 0: absent; next NO_VERSION: none */
};

struct world {
	atomic_bool dead; /* the daemon's end is decided */
	atomic_bool stop; /* clients end by themselves, the daemon stays */
	atomic_uint_least64_t ticket;
	/* Of the latest `payloadctl sync` or `import`, which makes an emptied document durable as
	 * such, also one that is about to be written. */
	atomic_int_least64_t sync_end_ns;
	atomic_bool syncing;
	bool bulk; /* this round writes much, so that checkpoints run */
	char mnt[256], dir[256], payloadctl[256];
	struct client clients[CLIENTS + 1]; /* the last one: payloadctl */
	struct ctl ctl;
	struct shared_op shared_ops[CLIENTS + 1][SHARED_OPS];
	size_t shared_count[CLIENTS + 1];
};

/* What comparing has found, in all rounds. */
struct judge {
	uint64_t round;
	int64_t killed_ns; /* when the daemon of this round was killed */
	uint64_t acknowledged, old, new, mixed, names;
	unsigned bad;
};

/* Says what is wrong, and counts it. */
void wrong(struct judge *judge, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Compares everything on the mount with the model, and makes what is there the model. */
void compare(struct world *world, struct judge *judge);

int64_t now_ns(void);
uint64_t roll(struct client *c, uint64_t n);
/* The document of (id, version): *len bytes of buf, at most max. */
void make_doc(uint8_t *buf, uint32_t *len, uint64_t id, uint32_t version, uint32_t max);
void say(struct client *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
bool write_all(int fd, const void *bytes, size_t len);
uint64_t mix(uint64_t x);

/* An operation that changes no name of one's own is about to begin; a: what it is about, or -1. */
void begin_other(struct client *c, const char *what, int a);
/* The operation has returned. Ends the process unless it was acknowledged: err while the daemon
 * lives is a failure of the test. */
void check_alive(const struct world *world, struct client *c, int err);
/* A change of a shared id begins; not without room for it. */
bool shared_room(const struct world *world, const struct client *c);
struct shared_op *shared_begin(struct world *world, const struct client *c, uint32_t id,
			       uint32_t version);

/* What a client does until the daemon's end, in a process of its own. Exit status 0, or 1:
 * something failed while the daemon was alive. */
int run_client(struct world *w, struct client *c);
int run_ctl(struct world *w, struct client *c);

#endif
