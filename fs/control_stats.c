/* stats.json. Its members are described in payloadfs(1). */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "fs/clock.h"
#include "fs/control_impl.h"
#include "storage/json_scan.h"
#include "storage/version.h"
#include "storage/monotonic.h"

#define SCHEMA_VERSION 1
#define OPERATION_MAX 512 /* bytes of one operation's object */
#define WHY_MAX 100	  /* bytes of what is wrong with a payload */
#define REST_MAX 4096	  /* of everything besides them and the store's */

struct text {
	char *p;
	size_t len, cap;
};

static void put(struct text *text, const char *fmt, ...) PFS_PRINTF(2, 3);

static void put(struct text *text, const char *fmt, ...)
{
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(text->p + text->len, text->cap - text->len, fmt, args);
	va_end(args);
	if (n > 0)
		text->len = pfs_min_u64(text->len + (size_t)n, text->cap - 1);
}

static void put_operations(struct text *text, const struct pfs_control_env *env)
{
	struct pfs_histogram_sum sum;

	put(text, ",\"operations\":{");
	for (unsigned i = 0; i < env->count; i++) {
		pfs_histograms_sum(env->latencies, i, &sum);
		put(text,
		    "%s\"%s\":{\"count\":%" PRIu64 ",\"total_ns\":%" PRIu64 ",\"p50_ns\":%" PRIu64
		    ",\"p99_ns\":%" PRIu64 ",\"p999_ns\":%" PRIu64 ",\"max_ns\":%" PRIu64 "}",
		    i ? "," : "", env->names[i], sum.count, sum.total,
		    pfs_histogram_percentile(&sum, 50000), pfs_histogram_percentile(&sum, 99000),
		    pfs_histogram_percentile(&sum, 99900), sum.max);
	}
	put(text, "}");
}

static void put_imports(struct text *text, struct pfs_import_totals *totals)
{
	struct pfs_import_totals copy;
	char error[6 * sizeof(copy.last_error) + 2];
	size_t len;

	pthread_mutex_lock(&totals->lock);
	copy.documents = totals->documents;
	copy.bytes = totals->bytes;
	copy.refused = totals->refused;
	memcpy(copy.last_error, totals->last_error, sizeof(copy.last_error));
	pthread_mutex_unlock(&totals->lock);
	len = pfs_json_string_encode(error, copy.last_error, strlen(copy.last_error));
	put(text,
	    ",\"import\":{\"documents\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"refused\":%" PRIu64
	    ",\"last_error\":%.*s}",
	    copy.documents, copy.bytes, copy.refused, copy.last_error[0] ? (int)len : 4,
	    copy.last_error[0] ? error : "null");
}

static void put_json_check(struct text *text, struct pfs_json_check *check)
{
	struct pfs_json_stat stat;
	char id[PFS_NAME_MAX + 1], error[6 * WHY_MAX + 2];
	const char *quote;
	size_t len;

	if (!check) {
		put(text, ",\"json\":null");
		return;
	}
	pfs_json_check_stat(check, &stat);
	put(text,
	    ",\"json\":{\"checked\":%" PRIu64 ",\"invalid_seen\":%" PRIu64 ",\"invalid\":%" PRIu64
	    ",\"last\":",
	    stat.checked, stat.invalid_seen, stat.invalid);
	if (stat.last.kind == PFS_KEY_NONE) {
		put(text, "null}");
		return;
	}
	pfs_key_format(id, &stat.last);
	quote = stat.last.kind == PFS_KEY_NUM ? "" : "\"";
	len = pfs_json_string_encode(error, stat.last_why, strnlen(stat.last_why, WHY_MAX));
	put(text, "{\"id\":%s%s%s,\"offset\":%" PRIu64 ",\"error\":%.*s}}", quote, id, quote,
	    stat.last_off, (int)len, error);
}

static void put_remote(struct text *text, struct pfs_store *store)
{
	struct pfs_remote_stat r;

	if (pfs_store_remote_stat(store, &r) != 0) {
		put(text, ",\"remote\":null");
		return;
	}
	put(text,
	    ",\"remote\":{\"memory_hits\":%" PRIu64 ",\"disk_hits\":%" PRIu64
	    ",\"fetched\":%" PRIu64 ",\"fetches\":%" PRIu64 ",\"fetched_bytes\":%" PRIu64
	    ",\"failed\":%" PRIu64 ",\"wrong\":%" PRIu64 ",\"memory_bytes\":%" PRIu64
	    ",\"disk_bytes\":%" PRIu64 ",\"evicted\":%" PRIu64 "}",
	    r.memory_hits, r.disk_hits, r.fetched, r.fetches, r.fetched_bytes, r.failed, r.wrong,
	    r.memory_bytes, r.disk_bytes, r.evicted);
}

int pfs_control_stats(struct pfs_control *control, char **out, size_t *len)
{
	struct text text = {.cap = PFS_STAT_JSON_MAX + REST_MAX +
				   (size_t)control->env.count * OPERATION_MAX};
	struct pfs_store_stat stat;
	char members[PFS_STAT_JSON_MAX];
	int err = pfs_store_stat(control->env.store, &stat);

	if (err)
		return err;
	text.p = malloc(text.cap);
	if (!text.p)
		return -ENOMEM;
	pfs_store_stat_json(members, sizeof(members), &stat);
	put(&text,
	    "{\"schema\":%d,\"version\":\"%s\",\"pid\":%ld,\"time_ns\":%" PRId64
	    ",\"uptime_ns\":%" PRId64 ",\"read_only\":%s,%s",
	    SCHEMA_VERSION, PFS_VERSION, (long)getpid(), pfs_realtime_ns(),
	    pfs_now_monotonic() - control->begun_ns, stat.read_only ? "true" : "false", members);
	put_imports(&text, control->imports);
	put_json_check(&text, control->env.json_check);
	put_remote(&text, control->env.store);
	put_operations(&text, &control->env);
	put(&text, "}\n");
	*out = text.p;
	*len = text.len;
	return 0;
}
