#include <stdlib.h>

#include "tools/command.h"
#include "tools/document.h"
#include "tools/json_layout.h"
#include "tools/output.h"
#include "tools/report.h"

#define INDENT 2

static const struct option options[] = {{"pretty", no_argument, NULL, 'p'}, COMMON_OPTIONS};

/* Writes a piece of a document. */
static int write_piece(void *arg, const void *data, size_t len)
{
	return output_write(arg, data, len);
}

/* The document, laid out for people and with a newline. One that is not JSON as it is; newline:
 * with one behind it. */
static int get_pretty(struct target *target, const struct pfs_key *key, const char *name,
		      bool newline, struct output *out)
{
	struct document document;
	struct pfs_json_scan scan;
	int err = document_get(&document, target, key);

	if (err)
		return err;
	if (json_is_document(&scan, document.data, document.len)) {
		err = json_layout(document.data, document.len, INDENT, write_piece, out);
		if (!err)
			err = output_write(out, "\n", 1);
	} else {
		complain("%s: not JSON, printed as it is: %s at byte %zu", name, scan.why,
			 (size_t)(scan.at - document.data));
		err = output_write(out, document.data, document.len);
		if (!err && newline)
			err = output_write(out, "\n", 1);
	}
	document_free(&document);
	return err;
}

/* Prints the documents. Returns the exit code; an error of the output is in out->err. */
static int get_all(struct target *target, struct output *out, char **names,
		   const struct pfs_key *keys, size_t count, bool pretty)
{
	int result = PFS_EXIT_OK;

	for (size_t i = 0; i < count; i++) {
		int err = pretty ? get_pretty(target, &keys[i], names[i], count > 1, out)
				 : target_get(target, &keys[i], write_piece, out);

		if (!err && count > 1 && !pretty)
			err = output_write(out, "\n", 1);
		if (out->err)
			return result;
		if (err) {
			target_complain(target, names[i], err);
			result = target_document_exit(target, err);
			if (result != PFS_EXIT_SOME)
				return result;
		}
	}
	return result;
}

static int get_to_standard_output(struct target *target, char **names, const struct pfs_key *keys,
				  size_t count, bool pretty)
{
	struct output out;
	int result, err = output_open(&out, NULL);

	if (err) {
		complain("%s", explain(err));
		return PFS_EXIT_IO;
	}
	result = get_all(target, &out, names, keys, count, pretty);
	err = output_commit(&out);
	output_close(&out);
	if (!err || err == -EPIPE) /* a reader that went away has what it wanted */
		return result;
	complain("standard output: %s", strerror(-err));
	return PFS_EXIT_IO;
}

static int run(const struct command *command, int argc, char **argv)
{
	struct common_options common = {.wait_ms = WAIT_MS_DEFAULT};
	struct target *target;
	struct pfs_key *keys;
	bool pretty = false;
	size_t count;
	int c, result;

	while ((c = getopt_long(argc, argv, ":hqp", options, NULL)) != -1) {
		if (c == 'p') {
			pretty = true;
			continue;
		}
		result = common_option(command, c, argv, &common);
		if (result >= 0)
			return result;
	}
	if (argc - optind < 2)
		return usage_error(command, "a TARGET and at least one ID are expected");
	count = (size_t)(argc - optind - 1);
	keys = parse_keys(argv + optind + 1, count, &result);
	if (!keys)
		return result;
	result = open_target(&target, argv[optind], 0, &common);
	if (!result) {
		result = get_to_standard_output(target, argv + optind + 1, keys, count, pretty);
		result = close_target(target, result);
	}
	free(keys);
	return result;
}

const struct command command_get = {
	.name = "get",
	.summary = "print documents",
	.usage = "[options] TARGET ID...",
	.help = "Prints the bytes of a document as they are. Of several, each is followed by a "
		"newline.\n"
		"An ID may also be the name of a scratch file.\n\nOptions:\n"
		"  -p, --pretty        indented, with a newline at the end; numbers and strings "
		"stay "
		"as they\n"
		"                      are. What is not JSON is printed as it is\n",
	.run = run,
};
