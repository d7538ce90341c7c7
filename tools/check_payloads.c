#include "tools/check_payloads.h"

#include <inttypes.h>
#include <stdio.h>

#include "storage/json_scan.h"
#include "tools/progress.h"
#include "tools/report.h"

struct looking {
	struct progress progress;
	bool json;
	struct payloads_result *result;
};

static void print_json_element(const struct looking *l, const struct pfs_key *key, size_t off,
			       const char *why)
{
	fputs(l->result->invalid ? ",\n {\"id\":" : "\n {\"id\":", stdout);
	if (key->kind == PFS_KEY_NUM)
		printf("%" PRIu64, key->num);
	else
		print_json_string(stdout, key_text(key).text);
	printf(",\"offset\":%zu,\"text\":", off);
	print_json_string(stdout, why);
	putchar('}');
}

static int look_at(void *arg, const struct pfs_key *key, int status, const void *data, size_t len)
{
	struct looking *l = arg;
	const char *why;
	size_t off;

	l->result->points++;
	progress_update(&l->progress, l->result->points, l->result->points);
	if (status) {
		l->result->unread++;
		return 0;
	}
	why = pfs_json_fault(data, len, &off);
	if (!why)
		return 0;
	progress_hide(&l->progress);
	if (l->json)
		print_json_element(l, key, off, why);
	else
		printf("document %s: not valid JSON at byte %zu: %s\n", key_text(key).text, off,
		       why);
	l->result->invalid++;
	return ferror(stdout) ? -EPIPE : 0;
}

int check_payloads(struct target *t, bool json, bool quiet, struct payloads_result *result)
{
	struct looking l = {.json = json, .result = result};
	struct pfs_store_stat stat;
	int err = target_stat(t, &stat);

	*result = (struct payloads_result){0};
	if (err)
		return err;
	progress_start(&l.progress, quiet, "payloads", "documents", stat.points);
	err = target_export_all(t, look_at, &l);
	progress_hide(&l.progress);
	/* Nobody reads the list any more: that is no error of the target. */
	return err == -EPIPE && ferror(stdout) ? 0 : err;
}

void check_payloads_print(const struct payloads_result *r, bool json)
{
	if (json) {
		printf("%s],\"payloads\":%" PRIu64 ",\"invalid\":%" PRIu64 ",\"unread\":%" PRIu64,
		       r->invalid ? "\n" : "", r->points, r->invalid, r->unread);
		return;
	}
	printf("looked at the payloads of %s point%s: ", group_digits(r->points).text,
	       pfs_plural(r->points));
	if (r->invalid)
		printf("%s %s not valid JSON, which is no fault of the store",
		       group_digits(r->invalid).text, r->invalid == 1 ? "is" : "are");
	else
		printf("%s valid JSON", r->unread ? "all that can be read are" : "all are");
	if (r->unread)
		printf("; %s can't be read", group_digits(r->unread).text);
	putchar('\n');
}
