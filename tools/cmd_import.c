#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/command.h"
#include "storage/ndjson.h"
#include "tools/progress.h"
#include "tools/qdrant_import.h"
#include "tools/report.h"
#include "tools/sampler.h"

#define SAMPLING_WAIT_MS 200 /* for input, before what is held back for a sample is stored */

enum {
	OPTION_JSON = OPTION_FIRST_OWN,
	OPTION_STOP,
	OPTION_DICT,
	OPTION_QDRANT,
	OPTION_OFFSET_IDS,
	OPTION_REJECTS,
};

static const struct option options[] = {
	{"json", no_argument, NULL, OPTION_JSON},
	{"stop-on-error", no_argument, NULL, OPTION_STOP},
	{"dict", required_argument, NULL, OPTION_DICT},
	{"qdrant", required_argument, NULL, OPTION_QDRANT},
	{"offset-ids", no_argument, NULL, OPTION_OFFSET_IDS},
	{"rejects", required_argument, NULL, OPTION_REJECTS},
	COMMON_OPTIONS,
};

/* One input. */
struct input {
	const char *name;
	int fd;
};

struct import {
	struct target *target;
	struct sampler sampler;
	int input; /* that is being read */
	struct progress progress;
	bool stop_on_error;
	int err; /* of the store: nothing more can be stored */

	uint64_t stored, refused;
	uint64_t bytes;	     /* of payloads */
	uint64_t input_done; /* bytes of the inputs before this one */
};

static void on_stored(void *arg, uint64_t documents)
{
	struct import *import = arg;

	import->stored += documents;
}

/* Says that a document was refused. */
static void refuse(struct import *import, const struct target_where *where, const char *why)
{
	progress_hide(&import->progress);
	if (!where->line)
		complain("%s: %s", where->file, why);
	else if (where->point)
		complain("%s: line %" PRIu64 ", point %" PRIu64 ": %s", where->file, where->line,
			 where->point, why);
	else
		complain("%s: line %" PRIu64 ": %s", where->file, where->line, why);
	import->refused++;
}

static void on_refused(void *arg, const struct target_where *where, const struct pfs_key *key,
		       int err)
{
	char why[PFS_NAME_MAX + 256];

	snprintf(why, sizeof(why), "%s: %s", key_text(key).text, explain(err));
	refuse(arg, where, why);
}

/* The input makes us wait: what was read so far is stored meanwhile. */
static void on_wait(void *arg)
{
	struct import *import = arg;
	struct pollfd poll_fd = {.fd = import->input, .events = POLLIN};

	if (import->sampler.sampling && poll(&poll_fd, 1, SAMPLING_WAIT_MS) > 0)
		return;
	if (!import->err)
		import->err = sampler_send(&import->sampler);
	if (!import->err)
		import->err = target_import_flush(import->target);
}

/* Imports one input. Returns 0, or the negative errno of a failed read. */
static int import_input(struct import *import, const struct input *input)
{
	struct pfs_ndjson *reader;
	struct pfs_ndjson_doc doc;
	int more = pfs_ndjson_open(&reader, input->fd, on_wait, import);

	if (more)
		return more;
	import->input = input->fd;
	while (!import->err && !(import->stop_on_error && import->refused)) {
		struct target_where where = {.file = input->name};

		more = pfs_ndjson_next(reader, &doc);
		if (more == -EBADMSG) {
			where.line = pfs_ndjson_fault(reader)->line;
			where.point = pfs_ndjson_fault(reader)->point;
			refuse(import, &where, pfs_ndjson_fault(reader)->text);
			continue;
		}
		if (more <= 0)
			break;
		where.line = doc.line;
		where.point = doc.point;
		import->err =
			sampler_add(&import->sampler, &doc.key, doc.payload, doc.len, NULL, &where);
		import->bytes += doc.len;
		progress_update(&import->progress, import->input_done + pfs_ndjson_bytes(reader),
				import->stored);
	}
	import->input_done += pfs_ndjson_bytes(reader);
	pfs_ndjson_close(reader);
	return more < 0 && more != -EBADMSG ? more : 0;
}

/* Makes durable what was imported. Returns the exit code: result, or a worse one. */
static int finish_import(struct import *import, int result)
{
	int err = sampler_end(&import->sampler);

	if (!import->err)
		import->err = err;
	if (!import->err)
		import->err = target_import_flush(import->target);
	if (!import->err && import->stored)
		import->err = target_sync(import->target);
	progress_hide(&import->progress);
	if (import->err) {
		target_complain(import->target, NULL, import->err);
		result = target_exit(import->target, import->err);
	}
	return result ? result : import->refused ? PFS_EXIT_SOME : PFS_EXIT_OK;
}

/* Imports all inputs and makes them durable. Returns the exit code. */
static int import_all(struct import *import, const struct input *inputs, size_t count)
{
	int result = PFS_EXIT_OK, err = 0;

	for (size_t i = 0; i < count && !err && !import->err; i++) {
		if (import->stop_on_error && import->refused)
			break;
		err = import_input(import, &inputs[i]);
		progress_hide(&import->progress);
		if (err) {
			complain("%s: %s", inputs[i].name, strerror(-err));
			result = PFS_EXIT_IO;
		}
	}
	return finish_import(import, result);
}

/* The same for what a Qdrant has left. */
static int import_qdrant(struct import *import, struct qdrant_import *qdrant)
{
	int result;

	qdrant->sampler = &import->sampler;
	qdrant->progress = &import->progress;
	qdrant->stored = &import->stored;
	qdrant->stop_on_error = import->stop_on_error;
	result = qdrant_import_run(qdrant);
	import->err = qdrant->err;
	import->bytes = qdrant->bytes;
	return finish_import(import, result);
}

/* What `import --qdrant --json` says more. */
static void print_qdrant_summary(const struct qdrant_import *qdrant)
{
	const struct qdrant_stat *stat = qdrant_stat(qdrant->qdrant);

	printf(",\"qdrant\":{\"shards\":%zu,\"segments\":%zu,\"points\":%" PRIu64
	       ",\"superseded\":%" PRIu64 ",\"ownerless\":%" PRIu64 ",\"unversioned\":%" PRIu64
	       ",\"unread_operations\":%" PRIu64 ",\"damaged\":%s,\"rejects\":%" PRIu64
	       ",\"rejects_file\":",
	       stat->shards, stat->segments, stat->points, stat->superseded, stat->ownerless,
	       stat->unversioned, stat->unread, stat->damaged ? "true" : "false", qdrant->aside);
	if (qdrant->rejects_path)
		print_json_string(stdout, qdrant->rejects_path);
	else
		fputs("null", stdout);
	fputs("}", stdout);
}

static void print_summary(const struct import *import, const struct qdrant_import *qdrant,
			  bool json)
{
	double seconds = progress_seconds(&import->progress);

	if (json) {
		printf("{\"imported\":%" PRIu64 ",\"refused\":%" PRIu64
		       ",\"payload_bytes\":%" PRIu64 ",\"input_bytes\":%" PRIu64
		       ",\"seconds\":%.3f",
		       import->stored, import->refused, import->bytes, import->input_done, seconds);
		if (qdrant->path)
			print_qdrant_summary(qdrant);
		fputs("}\n", stdout);
		return;
	}
	fprintf(stderr, "imported %s document%s, %s, in %.1f s", group_digits(import->stored).text,
		pfs_plural(import->stored), size_text(import->bytes).text, seconds);
	if (seconds > 0.05)
		fprintf(stderr, " (%s/s, %s/s)",
			group_digits((uint64_t)((double)import->stored / seconds)).text,
			size_text((uint64_t)((double)import->bytes / seconds)).text);
	if (import->refused)
		fprintf(stderr, "; refused %s", group_digits(import->refused).text);
	if (qdrant->aside)
		fprintf(stderr, "; put aside %s", group_digits(qdrant->aside).text);
	fputc('\n', stderr);
}

/* Opens the inputs (none named: standard input). *total: their bytes, or 0 when that is not known.
 * Returns 0 or the exit code. */
static int open_inputs(struct input *inputs, char **names, size_t count, uint64_t *total)
{
	bool known = true;

	*total = 0;
	for (size_t i = 0; i < count; i++) {
		struct stat st;
		bool standard = strcmp(names[i], "-") == 0;

		inputs[i].name = standard ? "standard input" : names[i];
		inputs[i].fd = standard ? STDIN_FILENO : open(names[i], O_RDONLY | O_CLOEXEC);
		if (inputs[i].fd < 0 || fstat(inputs[i].fd, &st)) {
			complain("%s: %s", inputs[i].name, strerror(errno));
			return PFS_EXIT_IO;
		}
		if (S_ISDIR(st.st_mode)) {
			complain("%s: is a directory, not a file of documents (what Qdrant has "
				 "left is imported with --qdrant)",
				 inputs[i].name);
			return PFS_EXIT_IO;
		}
		known = known && S_ISREG(st.st_mode);
		*total += (uint64_t)st.st_size;
	}
	if (!known)
		*total = 0;
	return 0;
}

static void close_inputs(struct input *inputs, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (inputs[i].fd > STDIN_FILENO)
			close(inputs[i].fd);
	}
	free(inputs);
}

/* What the command line asks for. */
struct request {
	struct common_options common;
	bool json;
	enum pfs_dict_use dict;
	char *target;
	char **names; /* of inputs */
	size_t count;
};

/* Takes the options and arguments. -1: go on; else the exit code. */
static int parse_options(const struct command *command, int argc, char **argv,
			 struct request *request, struct import *import,
			 struct qdrant_import *qdrant)
{
	static char *standard_input[] = {"-"};
	int c, result;

	while ((c = getopt_long(argc, argv, ":hq", options, NULL)) != -1) {
		switch (c) {
		case OPTION_JSON: request->json = true; break;
		case OPTION_STOP: import->stop_on_error = true; break;
		case OPTION_DICT:
			if (!pfs_dict_use_parse(optarg, &request->dict))
				return usage_error(command, "--dict=%s is neither auto nor off",
						   optarg);
			break;
		case OPTION_OFFSET_IDS: qdrant->offset_ids = true; break;
		case OPTION_REJECTS: qdrant->rejects = optarg; break;
		case OPTION_QDRANT:
			if (qdrant->path)
				return usage_error(command, "--qdrant is there twice");
			qdrant->path = optarg;
			break;
		default:
			result = common_option(command, c, argv, &request->common);
			if (result >= 0)
				return result;
		}
	}
	if (argc - optind < 1)
		return usage_error(command, "a TARGET is expected");
	if (qdrant->path && argc - optind > 1)
		return usage_error(command, "--qdrant is the input, and there are FILEs, too");
	if (!qdrant->path && (qdrant->offset_ids || qdrant->rejects))
		return usage_error(command, "--offset-ids and --rejects belong to --qdrant");
	request->target = argv[optind];
	request->names = argc - optind > 1 ? argv + optind + 1 : standard_input;
	request->count = argc - optind > 1 ? (size_t)(argc - optind - 1) : 1;
	if (qdrant->path)
		request->count = 0;
	return -1;
}

/* Opens the inputs, so that a missing one makes no store. Returns 0 or the exit code. */
static int open_sources(const struct request *request, struct input **inputs,
			struct qdrant_import *qdrant, uint64_t *total)
{
	*total = 0;
	*inputs = malloc((request->count + 1) * sizeof(**inputs));
	if (!*inputs) {
		complain("%s", explain(-ENOMEM));
		return PFS_EXIT_IO;
	}
	for (size_t i = 0; i < request->count; i++)
		(*inputs)[i].fd = -1;
	if (qdrant->path)
		return qdrant_import_open(qdrant);
	return open_inputs(*inputs, request->names, request->count, total);
}

/* Opens the TARGET and looks at how it stands with dictionaries. Returns 0 or the exit code. */
static int open_import(struct import *import, const struct request *request)
{
	enum pfs_dict_use dict = request->dict;
	const struct target_options how = {
		.flags = TARGET_WRITE | TARGET_CREATE,
		.wait_ms = request->common.wait_ms,
		.quiet = request->common.quiet,
		.dict = dict,
	};
	struct pfs_store_stat stat;
	int result = target_open(&import->target, request->target, &how), err;

	if (result)
		return result;
	err = target_stat(import->target, &stat);
	if (err) {
		target_complain(import->target, NULL, err);
		result = target_exit(import->target, err);
	} else if (dict && stat.dictionary_off != (dict == PFS_DICT_OFF)) {
		/* A store that is opened here does as it is told. */
		complain("%s: mounted with dict=%s, which holds for imports, too: mount it with "
			 "-o dict=%s",
			 request->target, stat.dictionary_off ? "off" : "auto",
			 stat.dictionary_off ? "auto" : "off");
		result = PFS_EXIT_USAGE;
	}
	if (result)
		return close_target(import->target, result);
	/* The daemon packs, if there is one. */
	if (dict == PFS_DICT_AUTO && !stat.dictionary_trainer)
		complain("%s: --dict=auto: " PFS_WITHOUT_TRAINER, request->target);
	sampler_begin(&import->sampler, import->target, &stat);
	return 0;
}

static int run(const struct command *command, int argc, char **argv)
{
	struct request request = {.common = {.wait_ms = WAIT_MS_DEFAULT}};
	struct import import = {0};
	struct qdrant_import qdrant = {0};
	struct target_import hooks = {.stored = on_stored, .refused = on_refused, .arg = &import};
	struct input *inputs;
	uint64_t total;
	int result = parse_options(command, argc, argv, &request, &import, &qdrant);

	if (result >= 0)
		return result;
	result = open_sources(&request, &inputs, &qdrant, &total);
	if (!result)
		result = open_import(&import, &request);
	if (!result) {
		target_import_begin(import.target, &hooks);
		progress_start(&import.progress, request.common.quiet, "import", "documents",
			       total);
		if (qdrant.path)
			result = import_qdrant(&import, &qdrant);
		else
			result = import_all(&import, inputs, request.count);
		result = close_target(import.target, result);
		if (request.json || !request.common.quiet)
			print_summary(&import, &qdrant, request.json);
		result = end_output(stdout, result);
	}
	qdrant_import_close(&qdrant);
	close_inputs(inputs, request.count);
	return result;
}

const struct command command_import = {
	.name = "import",
	.summary = "store documents from NDJSON, from Qdrant scroll responses or directories",
	.usage = "[options] TARGET [FILE|-]...\n"
		 "       payloadctl import [options] --qdrant=DIRECTORY TARGET",
	.help = "Reads documents from the FILEs or standard input and stores each under its id, "
		"replacing what is\n"
		"there. The input holds, also mixed:\n"
		"  {\"id\": 42, \"payload\": {...}}                    a record; it may span "
		"lines\n"
		"  {\"id\": 42, \"payload_base64\": \"...\"}             any bytes, as export "
		"writes them\n"
		"  {\"result\": {\"points\": [{\"id\":..., \"payload\":...}, ...]}, ...}   the "
		"body of a scroll response\n"
		"An id is an unsigned 64-bit integer or a UUID (also as a string). Payload bytes "
		"are kept exactly as\n"
		"they stand. A missing or empty TARGET directory becomes a new store.\n\n"
		"What is refused is reported with its line, counted, and makes exit code 1; the "
		"rest is stored.\n"
		"When the command has ended, what it has stored is durable.\n\n"
		"--qdrant reads what a stopped Qdrant has left on disk, or an unpacked snapshot: "
		"DIRECTORY is a\n"
		"collection, a shard or a segment. Of an id in several segments the highest "
		"version "
		"is taken. What is\n"
		"damaged is put aside with its place and reason, and makes exit code 1, as do "
		"operations that only the\n"
		"write-ahead log has; the rest is stored. Nothing is written to "
		"DIRECTORY.\n\nOptions:\n"
		"      --stop-on-error  stop at the first refusal (what was stored before stays)\n"
		"      --dict=auto|off  pack with a dictionary, which a store without one gets "
		"from the first\n"
		"                       documents (from 1000 and 256 KiB on), or each document on "
		"its own; a new\n"
		"                       store keeps the choice, else it holds for this import "
		"(as the store was\n"
		"                       made; of a mounted one the mount's holds)\n"
		"      --qdrant=DIRECTORY  import what Qdrant has left\n"
		"      --rejects=FILE   put aside what is damaged in FILE (" QDRANT_REJECTS_NAME
		", or a name with\n"
		"                       a number when that is there)\n"
		"      --offset-ids     of one segment without id tracker: internal offsets become "
		"ids\n"
		"      --json           print the summary as JSON on standard output\n",
	.run = run,
};
