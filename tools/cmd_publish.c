#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>

#include "storage/io_http.h"
#include "storage/publish.h"
#include "tools/command.h"
#include "tools/progress.h"
#include "tools/report.h"
#include "tools/sorted_keys.h"

#define KEEP_MAX 1000000

enum { OPTION_JSON = OPTION_FIRST_OWN, OPTION_KEEP, OPTION_ADOPT, OPTION_WITHOUT_DAMAGED };

static const struct option options[] = {
	{"json", no_argument, NULL, OPTION_JSON},
	{"keep", required_argument, NULL, OPTION_KEEP},
	{"adopt", no_argument, NULL, OPTION_ADOPT},
	{"without-damaged", no_argument, NULL, OPTION_WITHOUT_DAMAGED},
	COMMON_OPTIONS,
};

static volatile sig_atomic_t stop_signal;

static void on_signal(int number)
{
	stop_signal = number;
}

struct publishing {
	struct target *source;
	const char *destination;
	struct pfs_dir *dir;
	struct pfs_publish *publish;
	struct pfs_publish_options options;
	struct pfs_store_stat stat;
	struct pfs_snapshot_info info;
	struct sorted_keys keys;
	struct progress progress;
	struct pfs_publish_result result;
	struct pfs_prune_result pruned;
	uint32_t keep; /* 0: all */
	bool without_damaged;
	uint64_t seen, failed; /* documents */
	int err;	       /* of the destination */
};

/* ---- where ---- */

static bool is_below(const char *path, const char *top)
{
	size_t len = strlen(top);

	return strncmp(path, top, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

/* What is there of the path, canonical and malloc'ed. */
static char *existing_part(const char *path)
{
	char *copy = strdup(path), *found = NULL;

	while (copy && !(found = realpath(*copy ? copy : ".", NULL)) && *copy) {
		char *slash;

		for (size_t len = strlen(copy); len > 1 && copy[len - 1] == '/';)
			copy[--len] = '\0';
		slash = strrchr(copy, '/');
		if (slash == copy)
			slash[1] = '\0';
		else if (slash)
			*slash = '\0';
		else
			*copy = '\0';
	}
	free(copy);
	return found;
}

/* A store that holds what is published of it would grow by itself. */
static int refuse_inside(const struct publishing *p)
{
	char *path = existing_part(p->destination), *store = realpath(p->source->store, NULL);
	const char *mountpoint = p->source->daemon_mountpoint;
	int result = 0;

	if (path && store && is_below(path, store)) {
		complain("%s: is inside the store that is to be published", p->destination);
		result = PFS_EXIT_USAGE;
	} else if (path && mountpoint && is_below(path, mountpoint)) {
		complain("%s: is inside the mount of what is to be published", p->destination);
		result = PFS_EXIT_USAGE;
	}
	free(path);
	free(store);
	return result;
}

static void say(void *arg, enum pfs_log_level level, const char *line)
{
	(void)arg;
	if (level <= PFS_LOG_WARNING)
		complain("%s", line);
}

static int open_destination(struct publishing *p)
{
	const bool url = pfs_location_is_url(p->destination);
	const struct pfs_http_options http = {.logger = p->options.logger};
	struct pfs_io made;
	const struct pfs_io *io = pfs_io_for(p->destination, &http, &made);
	int err, result = url ? 0 : refuse_inside(p);

	if (result)
		return result;
	err = io->ops->open_dir(io, p->destination, PFS_IO_WRITE | PFS_IO_CREATE | PFS_IO_SHARED,
				&p->dir);
	if (!err)
		return 0;
	if (url && err == -EROFS)
		complain("%s: plain servers can only be read; directories and s3://BUCKET/PREFIX "
			 "can "
			 "be published to",
			 p->destination);
	else if (!url || (err != -EINVAL && err != -EOPNOTSUPP)) /* which were explained */
		complain("%s: can't be %s: %s", p->destination, url ? "used" : "made a directory",
			 explain(err));
	return err == -ENOTDIR ? PFS_EXIT_NO_STORE : err == -EINVAL ? PFS_EXIT_USAGE : PFS_EXIT_IO;
}

/* ---- what ---- */

static int source_failed(const struct publishing *p, int err)
{
	if (stop_signal)
		return PFS_EXIT_IO; /* run() ends with the signal */
	if (p->err == -EBUSY) {
		complain("%s: somebody else has published there meanwhile: this was not; publish "
			 "again",
			 p->destination);
		return PFS_EXIT_LOCKED;
	}
	if (p->err) {
		complain("%s: %s", p->destination, explain(p->err));
		return PFS_EXIT_IO;
	}
	target_complain(p->source, NULL, err);
	return target_exit(p->source, err);
}

static int open_snapshot(struct publishing *p)
{
	int err = target_stat(p->source, &p->stat);

	if (!err)
		err = target_snapshot(p->source, &p->info);
	if (!err)
		return 0;
	if (err == -ENOSPC) {
		complain("%s: no room on its disk for the checkpoint that a snapshot begins with",
			 p->source->name);
		return PFS_EXIT_IO;
	}
	return source_failed(p, err);
}

static int sample_document(void *arg, const struct pfs_key *key, int status,
			   const struct pfs_attr *attr, const void *data, size_t len)
{
	struct publishing *p = arg;

	(void)key;
	(void)attr;
	if (stop_signal)
		return -EINTR;
	if (!status)
		p->err = pfs_publish_sample(p->publish, data, len);
	return p->err;
}

static int sample_some(void *arg, const struct pfs_key *keys, size_t count)
{
	struct publishing *p = arg;

	return target_copy_keys(p->source, keys, count, sample_document, p);
}

/* Documents from all over the store, as many as a dictionary is made of. */
static int sample(struct publishing *p)
{
	uint64_t each = p->info.points ? p->info.raw_bytes / p->info.points + 1 : 1;
	uint64_t wanted =
		pfs_min_u64(PFS_PUBLISH_SAMPLE_BYTES / each + 1, PFS_PUBLISH_SAMPLE_COUNT);

	return sorted_keys_each(&p->keys, pfs_max_u64(1, p->keys.count / wanted), sample_some, p);
}

static int publish_document(void *arg, const struct pfs_key *key, int status,
			    const struct pfs_attr *attr, const void *data, size_t len)
{
	struct publishing *p = arg;

	if (stop_signal)
		return -EINTR;
	p->seen++;
	if (status) {
		progress_hide(&p->progress);
		complain("%s: %s: %s", p->source->name, key_text(key).text, explain(status));
		p->failed++;
		return 0;
	}
	progress_update(&p->progress, p->seen, p->seen);
	p->err = pfs_publish_add(p->publish, key, attr, data, len);
	return p->err;
}

static int publish_some(void *arg, const struct pfs_key *keys, size_t count)
{
	struct publishing *p = arg;

	return target_copy_keys(p->source, keys, count, publish_document, p);
}

/* What the source can't show would be gone for those who read the collection: that must be wanted.
 */
static int refuse_damaged(struct publishing *p)
{
	uint64_t missing = p->info.points > p->keys.count ? p->info.points - p->keys.count : 0;

	p->failed += missing + (p->keys.count - p->seen);
	if (missing)
		complain("%s: %s whose name is damaged", p->source->name,
			 count_text(missing, "document").text);
	if (p->stat.doubt)
		complain("%s: there are documents whose ids are not known: run `payloadctl check "
			 "--repair`",
			 p->source->name);
	if ((!p->failed && !p->stat.doubt) || p->without_damaged)
		return 0;
	complain("%s: nothing was published: repair the store, or publish --without-damaged",
		 p->destination);
	return PFS_EXIT_SOME;
}

static int publish_all(struct publishing *p, bool quiet)
{
	int err, result;

	progress_start(&p->progress, quiet, "publish", "documents", p->info.points);
	err = sorted_keys_get(&p->keys, p->source);
	if (!err)
		err = sample(p);
	if (!err)
		err = sorted_keys_each(&p->keys, 1, publish_some, p);
	progress_hide(&p->progress);
	if (err || stop_signal)
		return source_failed(p, err);
	result = refuse_damaged(p);
	if (result)
		return result;
	p->err = pfs_publish_commit(p->publish, &p->result);
	if (p->err)
		return source_failed(p, p->err);
	err = p->keep ? pfs_publish_prune(p->publish, p->keep, &p->pruned) : 0;
	if (err == -EOPNOTSUPP)
		complain("%s: can't be listed, so that nothing was pruned", p->destination);
	else if (err)
		complain("%s: is published, but pruning failed: %s", p->destination,
			 err == -EBUSY ? "somebody else has published there meanwhile"
				       : explain(err));
	if (err)
		return PFS_EXIT_IO;
	return p->failed || p->stat.doubt ? PFS_EXIT_SOME : PFS_EXIT_OK;
}

static int begin_publish(struct publishing *p)
{
	struct pfs_reason reason;
	int err;

	pfs_put_le64(p->options.source, p->stat.identity[0]);
	pfs_put_le64(p->options.source + 8, p->stat.identity[1]);
	p->options.defaults = p->stat.defaults;
	p->options.dict_off = p->stat.dictionary_off_recorded;
	p->options.sequence = p->info.sequence;
	p->options.moment_ns = p->info.opened_ns;
	err = pfs_publish_begin(&p->publish, p->dir, p->destination, &p->options, &reason);
	if (!err)
		return 0;
	complain("%s", reason.text);
	switch (err) {
	case -EBUSY: return PFS_EXIT_LOCKED;
	case -EEXIST:
	case -ENOTEMPTY: return PFS_EXIT_NO_STORE;
	case -EUCLEAN: return PFS_EXIT_DAMAGED;
	case -EPROTONOSUPPORT: return PFS_EXIT_NEWER;
	default: return PFS_EXIT_IO;
	}
}

static int publish(struct publishing *p, bool quiet)
{
	int result = open_destination(p);

	if (!result)
		result = open_snapshot(p);
	if (!result)
		result = begin_publish(p);
	if (!result)
		result = publish_all(p, quiet);
	pfs_publish_end(p->publish);
	sorted_keys_free(&p->keys);
	if (p->dir)
		p->dir->ops->close_dir(p->dir);
	return result;
}

/* ---- what came of it ---- */

static void print_json(const struct publishing *p)
{
	const struct pfs_publish_result *r = &p->result;

	printf("{\"generation\":%" PRIu32 ",\"unchanged\":%s,\"points\":%" PRIu64
	       ",\"payload_bytes\":%" PRIu64 ",\"objects\":%" PRIu64 ",\"bytes\":%" PRIu64
	       ",\"uploaded\":%" PRIu64 ",\"uploaded_bytes\":%" PRIu64 ",\"reused\":%" PRIu64
	       ",\"reused_bytes\":%" PRIu64
	       ",\"dictionary_made\":%s,\"pruned_generations\":%" PRIu32
	       ",\"pruned_objects\":%" PRIu64 ",\"pruned_bytes\":%" PRIu64 ",\"failed\":%" PRIu64
	       ",\"sequence\":%" PRIu64 ",\"opened_ns\":%" PRId64 ",\"seconds\":%.3f}\n",
	       r->generation, r->unchanged ? "true" : "false", r->points, r->raw_bytes, r->objects,
	       r->bytes, r->uploaded, r->uploaded_bytes, r->reused, r->reused_bytes,
	       r->trained ? "true" : "false", p->pruned.generations, p->pruned.objects,
	       p->pruned.bytes, p->failed, p->info.sequence, p->info.opened_ns,
	       progress_seconds(&p->progress));
}

static void print_summary(const struct publishing *p)
{
	const struct pfs_publish_result *r = &p->result;

	fprintf(stderr, "%s %" PRIu32 ": %s, %s, in %.1f s\n",
		r->unchanged ? "nothing has changed since generation" : "published generation",
		r->generation, count_text(r->points, "point").text, size_text(r->bytes).text,
		progress_seconds(&p->progress));
	fprintf(stderr, "written %s, %s; there already %s, %s\n",
		count_text(r->uploaded, "object").text, size_text(r->uploaded_bytes).text,
		count_text(r->reused, "object").text, size_text(r->reused_bytes).text);
	if (p->pruned.generations || p->pruned.objects)
		fprintf(stderr, "pruned %s, %s, %s\n",
			count_text(p->pruned.generations, "generation").text,
			count_text(p->pruned.objects, "object").text,
			size_text(p->pruned.bytes).text);
	if (p->failed)
		fprintf(stderr, "left out %s\n", count_text(p->failed, "document").text);
}

static void catch_signals(void)
{
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESETHAND};

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
}

/* -1: go on. */
static int take_option(struct publishing *p, const struct command *command, int option, bool *json)
{
	uint64_t keep;

	switch (option) {
	case OPTION_JSON: *json = true; return -1;
	case OPTION_ADOPT: p->options.adopt = true; return -1;
	case OPTION_WITHOUT_DAMAGED: p->without_damaged = true; return -1;
	default: break;
	}
	if (!parse_size(optarg, &keep) || keep < 1 || keep > KEEP_MAX)
		return usage_error(command, "--keep=%s is not a number from 1 to %d", optarg,
				   KEEP_MAX);
	p->keep = (uint32_t)keep;
	return -1;
}

static int run(const struct command *command, int argc, char **argv)
{
	struct common_options common = {.wait_ms = WAIT_MS_DEFAULT};
	struct publishing p = {.options.logger.fn = say};
	bool json = false, done;
	int option, result;

	while ((option = getopt_long(argc, argv, ":hq", options, NULL)) != -1) {
		if (option >= OPTION_JSON && option <= OPTION_WITHOUT_DAMAGED)
			result = take_option(&p, command, option, &json);
		else
			result = common_option(command, option, argv, &common);
		if (result >= 0)
			return result;
	}
	if (argc - optind != 2)
		return usage_error(command, "one TARGET and one DESTINATION are expected");
	p.destination = argv[optind + 1];
	result = open_target(&p.source, argv[optind], 0, &common);
	if (result)
		return result;
	catch_signals();
	result = publish(&p, common.quiet);
	done = p.result.generation != 0;
	if (done && json)
		print_json(&p);
	else if (done && !common.quiet)
		print_summary(&p);
	result = end_output(stdout, close_target(p.source, result));
	if (stop_signal && !done)
		raise(stop_signal);
	return result;
}

const struct command command_publish = {
	.name = "publish",
	.summary = "publish the points to a directory, for any number of read-only mounts",
	.usage = "[options] TARGET DESTINATION",
	.help = "Writes the points that TARGET has at one moment, mounted and in use or not, to "
		"DESTINATION, a directory\n"
		"or s3://BUCKET/PREFIX, as the next generation of a collection: files that are "
		"never changed, named by\n"
		"what is in them. Only what has changed since the last generation is written. "
		"Who reads the collection\n"
		"sees the generation from before until the new one is there as a whole, durably; "
		"what was interrupted\n"
		"is finished by the next time. Of two that publish to one place at once, one is "
		"refused: by a lock, or, on\n"
		"S3, by the server; one that does not know If-Match leaves a gap of one request. "
		"Scratch files are not\n"
		"published, as they are not exported. Where S3 is and who we are there, the "
		"AWS_... variables say (payloadfs(1)).\n\n"
		"Options:\n"
		"      --keep=N         afterwards remove all but the N newest generations, and "
		"files that only older\n"
		"                       ones need, or nobody (readers of those get errors then); "
		"on S3 "
		"only while nobody else\n"
		"                       publishes there\n"
		"      --adopt          also over what was published from another store, as after "
		"restoring a backup\n"
		"      --without-damaged  publish although there are damaged documents, without "
		"these\n"
		"      --json           print the result as JSON\n",
	.run = run,
};
