#include "tools/top.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>

#include "storage/json_scan.h"
#include "tools/report.h"

/* ---- reading ---- */

typedef void member_fn(void *arg, struct pfs_json_slice name, struct pfs_json_slice value);

/* Calls fn for each member of an object. Returns whether it is one, and the whole text. */
static bool each_member(struct pfs_json_slice object, member_fn *fn, void *arg)
{
	const uint8_t *p = object.p, *end = object.p + object.len;
	struct pfs_json_scan scan;

	if (p == end || *p != '{' || pfs_json_scan_value(&scan, p, end, true) != PFS_JSON_OK ||
	    pfs_json_skip_space(scan.at, end) != end)
		return false;
	/* It is well-formed from here on. */
	for (p = pfs_json_skip_space(p + 1, end); *p != '}';) {
		struct pfs_json_slice name, value;

		if (pfs_json_scan_name(&scan, p, end, &name) != PFS_JSON_OK)
			return false;
		value.p = scan.at;
		if (pfs_json_scan_value(&scan, value.p, end, true) != PFS_JSON_OK)
			return false;
		value.len = (size_t)(scan.at - value.p);
		fn(arg, name, value);
		p = pfs_json_skip_space(scan.at, end);
		if (*p == ',')
			p = pfs_json_skip_space(p + 1, end);
	}
	return true;
}

static uint64_t number_of(struct pfs_json_slice value)
{
	uint64_t n = 0;

	for (size_t i = 0; i < value.len && value.p[i] >= '0' && value.p[i] <= '9'; i++) {
		if (__builtin_mul_overflow(n, 10, &n) ||
		    __builtin_add_overflow(n, (uint64_t)(value.p[i] - '0'), &n))
			return UINT64_MAX;
	}
	return n;
}

/* The number of a member, into the field of that name. */
#define TAKE(field)                           \
	if (pfs_json_string_is(name, #field)) \
		to->field = number_of(value);

static void take_time(void *arg, struct pfs_json_slice name, struct pfs_json_slice value)
{
	struct top_operation *to = arg;

	TAKE(count)
	TAKE(total_ns)
	TAKE(p50_ns)
	TAKE(p99_ns)
	TAKE(p999_ns)
	TAKE(max_ns)
}

static void take_operation(void *arg, struct pfs_json_slice name, struct pfs_json_slice value)
{
	struct top_reading *r = arg;
	struct top_operation *o = &r->operations[r->count];
	ptrdiff_t len;

	if (r->count == TOP_OPERATIONS_MAX)
		return;
	len = pfs_json_string_decode(name, o->name, sizeof(o->name) - 1);
	if (len < 0 || !each_member(value, take_time, o))
		return;
	o->name[len] = '\0';
	r->count++;
}

static void take_member(void *arg, struct pfs_json_slice name, struct pfs_json_slice value)
{
	struct top_reading *to = arg;

	TAKE(pid)
	TAKE(uptime_ns)
	TAKE(points)
	TAKE(scratch)
	TAKE(raw_bytes)
	TAKE(container_bytes)
	TAKE(slot_bytes)
	TAKE(page_bytes)
	TAKE(pages)
	TAKE(disk_bytes)
	TAKE(dead_bytes)
	TAKE(dead_max)
	TAKE(journal_bytes)
	TAKE(sequence)
	TAKE(durable_sequence)
	TAKE(records)
	TAKE(syncs)
	TAKE(checkpoints)
	TAKE(blocks_decoded)
	TAKE(moved_bytes)
	TAKE(in_place)
	TAKE(relocations)
	TAKE(dictionary)
	TAKE(dictionary_users)
	TAKE(index_bytes)
	TAKE(snapshots)
	TAKE(pinned_bytes)
	if (pfs_json_string_is(name, "read_only"))
		to->read_only = value.len == 4;
	if (pfs_json_string_is(name, "operations"))
		each_member(value, take_operation, to);
}

#undef TAKE

int top_parse(struct top_reading *out, const char *text, size_t len)
{
	struct pfs_json_slice object = {(const uint8_t *)text, len};

	memset(out, 0, sizeof(*out));
	return each_member(object, take_member, out) && out->pid ? 0 : -EPROTO;
}

/* ---- between two readings ---- */

bool top_follows(const struct top_reading *before, const struct top_reading *now)
{
	return before->pid == now->pid && before->uptime_ns < now->uptime_ns;
}

double top_rate(uint64_t before, uint64_t now, double seconds)
{
	return now > before && seconds > 0 ? (double)(now - before) / seconds : 0;
}

uint64_t top_mean_ns(const struct top_operation *before, const struct top_operation *now)
{
	uint64_t count = now->count - before->count;

	return count && now->count > before->count && now->total_ns > before->total_ns
		       ? (now->total_ns - before->total_ns) / count
		       : 0;
}

/* ---- printing ---- */

struct page {
	FILE *out;
	unsigned columns, lines;
	const char *end;
};

static void line(struct page *page, const char *fmt, ...) PFS_PRINTF(2, 3);

static void line(struct page *page, const char *fmt, ...)
{
	char text[512];
	va_list args;

	if (!page->lines)
		return;
	page->lines--;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	fprintf(page->out, "%.*s%s", (int)page->columns, text, page->end);
}

static struct number_text time_of(uint64_t ns)
{
	static const char *const units[] = {"ns", "us", "ms", "s"};
	struct number_text out;
	double value = (double)ns;
	size_t unit = 0;

	while (value >= 999.5 && unit + 1 < pfs_array_len(units)) {
		value /= 1000;
		unit++;
	}
	snprintf(out.text, sizeof(out.text), unit && value < 9.95 ? "%.1f %s" : "%.0f %s", value,
		 units[unit]);
	return out;
}

static struct number_text rate_text(double rate)
{
	struct number_text out;

	if (rate >= 100 || rate == 0)
		return group_digits((uint64_t)(rate + 0.5));
	snprintf(out.text, sizeof(out.text), "%.1f", rate);
	return out;
}

static void print_store(struct page *page, const struct top_reading *r)
{
	uint64_t stored = r->container_bytes + r->slot_bytes;

	line(page, "payload   %s in %s (%.2f to 1), %s on disk", size_text(r->raw_bytes).text,
	     size_text(stored).text, stored ? (double)r->raw_bytes / (double)stored : 0,
	     size_text(r->disk_bytes).text);
	line(page, "dead      %s; above %s they are compacted away%s%s%s%s",
	     size_text(r->dead_bytes).text, size_text(r->dead_max).text, r->snapshots ? "; " : "",
	     r->snapshots ? count_text(r->snapshots, "snapshot").text : "",
	     r->snapshots ? ": " : "", r->snapshots ? size_text(r->pinned_bytes).text : "");
	line(page, "journal   %s not yet in the pages; %s of %s not yet synced",
	     size_text(r->journal_bytes).text, group_digits(r->sequence - r->durable_sequence).text,
	     count_text(r->sequence, "change").text);
	if (r->dictionary)
		line(page, "cache     index %s; dictionary %" PRIu64 ", needed by %s",
		     size_text(r->index_bytes).text, r->dictionary,
		     count_text(r->dictionary_users, "document").text);
	else
		line(page, "cache     index %s; no dictionary", size_text(r->index_bytes).text);
}

static void print_rates(struct page *page, const struct top_reading *before,
			const struct top_reading *now, double seconds)
{
#define RATE(field) rate_text(top_rate(before->field, now->field, seconds)).text
	line(page, "store/s   %s records, %s syncs, %s checkpoints, %s blocks decoded, %s moved",
	     RATE(records), RATE(syncs), RATE(checkpoints), RATE(blocks_decoded),
	     size_text((uint64_t)top_rate(before->moved_bytes, now->moved_bytes, seconds)).text);
#undef RATE
}

struct row {
	const struct top_operation *now;
	struct top_operation before;
	double rate;
};

static int by_rate(const void *left, const void *right)
{
	const struct row *a = left, *b = right;

	if (a->rate != b->rate)
		return a->rate < b->rate ? 1 : -1;
	return strcmp(a->now->name, b->now->name);
}

static void print_operations(struct page *page, const struct top_reading *before,
			     const struct top_reading *now, double seconds)
{
	struct row rows[TOP_OPERATIONS_MAX] = {{0}};
	size_t count = 0;

	for (size_t i = 0; i < now->count; i++) {
		struct row *row = &rows[count];

		if (!now->operations[i].count)
			continue;
		*row = (struct row){.now = &now->operations[i]};
		for (size_t j = 0; j < before->count; j++) {
			if (strcmp(before->operations[j].name, row->now->name) == 0)
				row->before = before->operations[j];
		}
		row->rate = top_rate(row->before.count, row->now->count, seconds);
		count++;
	}
	qsort(rows, count, sizeof(*rows), by_rate);
	line(page, "%-14s %10s %9s %9s %9s %9s %9s", "operation", "per second", "mean", "p50",
	     "p99", "p99.9", "max");
	for (size_t i = 0; i < count; i++) {
		const struct top_operation *o = rows[i].now;

		line(page, "%-14s %10s %9s %9s %9s %9s %9s", o->name, rate_text(rows[i].rate).text,
		     rows[i].rate > 0 ? time_of(top_mean_ns(&rows[i].before, o)).text : "-",
		     time_of(o->p50_ns).text, time_of(o->p99_ns).text, time_of(o->p999_ns).text,
		     time_of(o->max_ns).text);
	}
}

void top_print(FILE *out, const char *mountpoint, const struct top_reading *before,
	       const struct top_reading *now, unsigned columns, unsigned lines, const char *end)
{
	static const struct top_reading none;
	struct page page = {out, columns, lines, end};
	const struct top_reading *from = before ? before : &none;
	double seconds = (double)(now->uptime_ns - from->uptime_ns) / PFS_NSEC_PER_SEC;
	uint64_t up = now->uptime_ns / PFS_NSEC_PER_SEC;

	line(&page,
	     "%s: %s document%s, process %" PRIu64 ", up %" PRIu64 ":%02" PRIu64 ":%02" PRIu64 "%s",
	     mountpoint, group_digits(now->points + now->scratch).text,
	     pfs_plural(now->points + now->scratch), now->pid, up / 3600, up / 60 % 60, up % 60,
	     now->read_only ? ", read-only" : "");
	print_store(&page, now);
	print_rates(&page, from, now, seconds);
	line(&page, "rates and means of %s%.1f s; percentiles and max since the mounting",
	     before ? "the last " : "all ", seconds);
	print_operations(&page, from, now, seconds);
}
