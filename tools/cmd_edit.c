#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/command.h"
#include "tools/document.h"
#include "tools/json_layout.h"
#include "tools/report.h"

#define INDENT 2
#define SUFFIX ".json"

enum { OPTION_RAW = OPTION_FIRST_OWN };

static const struct option options[] = {
	{"pretty", no_argument, NULL, 'p'},
	{"raw", no_argument, NULL, OPTION_RAW},
	COMMON_OPTIONS,
};

struct edit {
	const char *target_name, *name; /* of the document */
	struct common_options common;
	bool pretty, raw;
	struct pfs_key key;
	struct document before; /* as the store has it */
	struct document shown;	/* as the editor gets it */
	struct document after;	/* as it comes from the editor, then as it is to be stored */
	char *path;		/* of the temporary file */
};

/* ---- the temporary file ---- */

static int write_file(int fd, const struct document *d)
{
	for (size_t done = 0; done < d->len;) {
		ssize_t n = write(fd, d->data + done, d->len - done);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0)
			done += (size_t)n;
	}
	return 0;
}

static int make_file(struct edit *e)
{
	const char *dir = getenv("TMPDIR");
	int fd, err;

	/* The name of a scratch file may hold anything. */
	if (asprintf(&e->path, "%s/payloadctl-%s.XXXXXX" SUFFIX, dir && *dir ? dir : "/tmp",
		     pfs_key_is_point(&e->key) ? e->name : "scratch") < 0) {
		e->path = NULL;
		return -ENOMEM;
	}
	fd = mkostemps(e->path, (int)strlen(SUFFIX), O_CLOEXEC);
	if (fd < 0) {
		err = -errno;
		complain("%s: %s", e->path, strerror(errno));
		free(e->path);
		e->path = NULL;
		return err;
	}
	err = write_file(fd, &e->shown);
	if (close(fd) != 0 && !err)
		err = -errno;
	if (err) {
		complain("%s: %s", e->path, strerror(-err));
		unlink(e->path);
	}
	return err;
}

/* Editors may have put another file under the name. */
static int read_file(struct edit *e)
{
	int fd = open(e->path, O_RDONLY | O_CLOEXEC), err = 0;
	uint8_t piece[64 * PFS_KIB];
	ssize_t n;

	if (fd < 0)
		return -errno;
	document_free(&e->after);
	while (!err && (n = read(fd, piece, sizeof(piece))) != 0) {
		if (n < 0)
			err = errno == EINTR ? 0 : -errno;
		else
			err = e->after.len + (size_t)n > PFS_PAYLOAD_MAX
				      ? -EFBIG
				      : document_add(&e->after, piece, (size_t)n);
	}
	close(fd);
	return err;
}

/* ---- the editor ---- */

static const char *editor(void)
{
	const char *visual = getenv("VISUAL"), *plain = getenv("EDITOR");

	if (visual && *visual)
		return visual;
	return plain && *plain ? plain : "vi";
}

/* The editor's command line is the shell's: it may hold options. */
static void become_editor(const char *path)
{
	char *script;

	signal(SIGPIPE, SIG_DFL);
	if (asprintf(&script, "%s \"$@\"", editor()) >= 0)
		execl("/bin/sh", "sh", "-c", script, editor(), path, (char *)NULL);
	_exit(127);
}

/* Keys that interrupt are the editor's, not ours, meanwhile. Returns whether it has ended well. */
static bool run_editor(const char *path)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN}, old_int, old_quit;
	int status = -1;
	pid_t child = fork(), got;

	if (child == 0)
		become_editor(path);
	sigaction(SIGINT, &ignore, &old_int);
	sigaction(SIGQUIT, &ignore, &old_quit);
	if (child > 0) {
		do {
			got = waitpid(child, &status, 0);
		} while (got < 0 && errno == EINTR);
	}
	sigaction(SIGINT, &old_int, NULL);
	sigaction(SIGQUIT, &old_quit, NULL);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return true;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		complain("the editor (%s) was not found: set EDITOR to one that is there",
			 editor());
	else
		complain("the editor (%s) did not end well", editor());
	return false;
}

/* On a terminal only. */
static bool wants_again(void)
{
	char *line = NULL;
	size_t cap = 0;
	bool again;

	if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO))
		return false;
	fprintf(stderr, "Edit again? [Y/n] ");
	again = getline(&line, &cap, stdin) > 0 && *line != 'n' && *line != 'N';
	free(line);
	return again;
}

/* Names the place as editors count: lines and bytes in them. */
static void complain_of_place(const struct edit *e, const struct pfs_json_scan *scan)
{
	size_t line = 1, column = 1;

	for (const uint8_t *p = e->after.data; p < scan->at; p++) {
		column = *p == '\n' ? 1 : column + 1;
		line += *p == '\n';
	}
	complain("%s: not JSON: %s at line %zu, column %zu", e->name, scan->why, line, column);
}

/* What the editor has left is made what is to be stored: without the newline that it has added, and
 * in one line again if we have indented it. */
static int restore_layout(struct edit *e)
{
	struct document line = {0};
	int err;

	if (e->pretty && !e->raw) {
		err = json_layout(e->after.data, e->after.len, 0, document_add, &line);
		if (!err && e->before.len && e->before.data[e->before.len - 1] == '\n')
			err = document_add(&line, "\n", 1);
		document_free(&e->after);
		e->after = line;
		return err;
	}
	if (e->after.len && e->after.data[e->after.len - 1] == '\n' &&
	    (!e->before.len || e->before.data[e->before.len - 1] != '\n'))
		e->after.len--;
	return 0;
}

/* Has it edited until it may be stored. PFS_EXIT_OK with *changed, or the exit code. */
static int edit_file(struct edit *e, bool *changed)
{
	struct pfs_json_scan scan;
	bool ended_well;
	int err;

	*changed = false;
	do {
		ended_well = run_editor(e->path);
		err = read_file(e);
		if (err) {
			complain("%s: %s", e->path, explain(err));
			*changed = true; /* who knows */
			return err == -EFBIG ? PFS_EXIT_SOME : PFS_EXIT_IO;
		}
		*changed = !document_equal(&e->after, &e->shown);
		if (!ended_well)
			return PFS_EXIT_SOME;
		if (!*changed)
			return PFS_EXIT_OK;
		if (e->raw || json_is_document(&scan, e->after.data, e->after.len)) {
			err = restore_layout(e);
			*changed = err || !document_equal(&e->after, &e->before);
			if (err)
				complain("%s", explain(err));
			return err ? PFS_EXIT_IO : PFS_EXIT_OK;
		}
		complain_of_place(e, &scan);
	} while (wants_again());
	return PFS_EXIT_SOME;
}

/* ---- the store ---- */

/* The store is free for others while the document is edited. */
static int fetch(struct edit *e)
{
	struct target *target;
	int err, result = open_target(&target, e->target_name, 0, &e->common);

	if (result)
		return result;
	err = document_get(&e->before, target, &e->key);
	if (err) {
		target_complain(target, e->name, err);
		result = target_document_exit(target, err);
	}
	return close_target(target, result);
}

static int replace(struct edit *e, struct target *target)
{
	struct document now;
	int err = document_get(&now, target, &e->key);
	bool same = !err && document_equal(&now, &e->before);

	if (err == -ENOENT || (!err && !same)) {
		complain("%s: %s: it was %s meanwhile", e->target_name, e->name,
			 err ? "removed" : "changed");
		document_free(&now);
		return PFS_EXIT_SOME;
	}
	document_free(&now);
	if (!err)
		err = target_put_begin(target);
	if (!err) {
		err = target_put_write(target, e->after.data, e->after.len);
		if (err)
			target_put_abort(target);
		else
			err = target_put_commit(target, &e->key);
	}
	if (err)
		target_complain(target, e->name, err);
	return target_document_exit(target, err);
}

static int store(struct edit *e)
{
	struct target *target;
	int result = open_target(&target, e->target_name, TARGET_WRITE, &e->common);

	if (result)
		return result;
	result = replace(e, target);
	return close_target(target, result);
}

static int prepare(struct edit *e)
{
	struct pfs_json_scan scan;
	int err;

	if (e->pretty && json_is_document(&scan, e->before.data, e->before.len)) {
		err = json_layout(e->before.data, e->before.len, INDENT, document_add, &e->shown);
		if (!err)
			err = document_add(&e->shown, "\n", 1);
	} else {
		e->pretty = false;
		err = document_add(&e->shown, e->before.data, e->before.len);
	}
	if (err) {
		complain("%s", explain(err));
		return PFS_EXIT_IO;
	}
	return make_file(e) ? PFS_EXIT_IO : PFS_EXIT_OK;
}

static int edit(struct edit *e)
{
	bool changed;
	int result = fetch(e);

	if (!result)
		result = prepare(e);
	if (result)
		return result;
	result = edit_file(e, &changed);
	if (!result && changed)
		result = store(e);
	else if (!result && !e->common.quiet)
		complain("%s: not changed", e->name);
	if (result && changed)
		complain("%s: nothing was changed in the store; what was edited is in %s", e->name,
			 e->path);
	else
		unlink(e->path);
	return result;
}

static int run(const struct command *command, int argc, char **argv)
{
	struct edit e = {.common = {.wait_ms = WAIT_MS_DEFAULT}};
	struct pfs_key *key;
	int c, result;

	while ((c = getopt_long(argc, argv, ":hqp", options, NULL)) != -1) {
		if (c == 'p') {
			e.pretty = true;
		} else if (c == OPTION_RAW) {
			e.raw = true;
		} else {
			result = common_option(command, c, argv, &e.common);
			if (result >= 0)
				return result;
		}
	}
	if (argc - optind != 2)
		return usage_error(command, "a TARGET and one ID are expected");
	if (e.pretty && e.raw)
		return usage_error(command, "--pretty and --raw exclude each other");
	key = parse_keys(argv + optind + 1, 1, &result);
	if (!key)
		return result;
	e.target_name = argv[optind];
	e.name = argv[optind + 1];
	e.key = *key;
	result = edit(&e);
	document_free(&e.before);
	document_free(&e.shown);
	document_free(&e.after);
	free(e.path);
	free(key);
	return result;
}

const struct command command_edit = {
	.name = "edit",
	.summary = "change one document in an editor",
	.usage = "[options] TARGET ID",
	.help = "Opens the document in $VISUAL, $EDITOR or vi, and replaces it as a whole when the "
		"editor has ended\n"
		"and what it has left is valid JSON; mode and owner stay. What is not JSON is to "
		"be "
		"edited again (asked\n"
		"for on a terminal). A document that was changed by others meanwhile is not "
		"replaced. What could not\n"
		"be stored is kept in its temporary file, which is named, and makes exit code 1 or "
		"that of the fault.\n"
		"A newline that the editor adds at the end is left out when there was none.\n\n"
		"Options:\n"
		"  -p, --pretty        indented in the editor, in one line again in the store\n"
		"      --raw           store what the editor has left, JSON or not\n",
	.run = run,
};
