#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include "storage/wire.h"
#include "tools/command.h"
#include "tools/key_list.h"
#include "tools/report.h"

enum { OPTION_ALL = OPTION_FIRST_OWN, OPTION_OLDER, OPTION_JSON };

static const struct option options[] = {
	{"all", no_argument, NULL, OPTION_ALL},
	{"older-than", required_argument, NULL, OPTION_OLDER},
	{"json", no_argument, NULL, OPTION_JSON},
	COMMON_OPTIONS,
};

struct scratch {
	bool clean, all, json, by_age;
	int64_t before_ns; /* by_age: those that were changed before that */
	struct common_options common;
	struct pfs_key *named; /* on the command line */
	size_t named_count;
};

/* `90`, `90s`, `30m`, `12h`, `7d`, as a moment that lies so long ago. */
static bool parse_age(const char *text, int64_t *before_ns)
{
	static const char units[] = "smhd";
	static const int64_t seconds[] = {1, 60, 3600, 86400};
	struct timespec now;
	const char *unit;
	int64_t ns;
	char *end;
	long long n;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	n = strtoll(text, &end, 10);
	unit = *end ? strchr(units, *end) : units;
	if (errno || !unit || (*end && end[1]))
		return false;
	clock_gettime(CLOCK_REALTIME, &now);
	return !__builtin_mul_overflow(n, seconds[unit - units], &ns) &&
	       !__builtin_mul_overflow(ns, 1000000000, &ns) &&
	       !__builtin_sub_overflow((int64_t)now.tv_sec * 1000000000 + now.tv_nsec, ns,
				       before_ns);
}

/* ---- list ---- */

/* Names may hold anything; a line stays one line. */
static void print_name(const char *name)
{
	for (; *name; name++)
		putchar((unsigned char)*name < ' ' || *name == 0x7f ? '?' : *name);
}

static void print_one(const struct scratch *s, const struct pfs_key *key,
		      const struct pfs_attr *attr, bool first)
{
	int64_t part = attr->mtime_ns % 1000000000;
	time_t seconds = (time_t)(attr->mtime_ns / 1000000000 - (part < 0));
	char text[64] = "?";
	struct tm tm;

	if (s->json) {
		printf("%s{\"name\":", first ? "" : ",\n ");
		print_json_string(stdout, key_text(key).text);
		printf(",\"size\":%" PRIu64 ",\"mtime_ns\":%" PRId64 "}", attr->size,
		       attr->mtime_ns);
		return;
	}
	if (localtime_r(&seconds, &tm))
		strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &tm);
	printf("%12" PRIu64 "  %s  ", attr->size, text);
	print_name(key_text(key).text);
	putchar('\n');
}

/* ---- both ---- */

/* Looks at the size and time of each, and lists it or puts it on the list of what is to go. One
 * that has gone meanwhile is left out, unless it was named. */
static int look_at_all(const struct scratch *s, struct target *target, const struct key_list *from,
		       struct key_list *old)
{
	int result = PFS_EXIT_OK;
	bool first = true;

	for (size_t i = 0; i < from->count; i++) {
		struct pfs_place place;
		struct pfs_attr attr;
		int err = target_place(target, &from->keys[i], &attr, &place);

		if (err == -ENOENT && !s->named_count)
			continue;
		if (!err && s->by_age && attr.mtime_ns >= s->before_ns)
			continue;
		if (!err && old)
			err = key_list_add(old, &from->keys[i]);
		else if (!err) {
			print_one(s, &from->keys[i], &attr, first);
			first = false;
		}
		if (err) {
			target_complain(target, key_text(&from->keys[i]).text, err);
			result = target_document_exit(target, err);
			if (result != PFS_EXIT_SOME)
				return result;
		}
	}
	return result;
}

static int list(const struct scratch *s, struct target *target, const struct key_list *names)
{
	int result;

	if (s->json)
		fputs("[", stdout);
	result = look_at_all(s, target, names, NULL);
	if (s->json)
		puts("]");
	return end_output(stdout, result);
}

static int clean(const struct scratch *s, struct target *target, const struct key_list *names)
{
	struct key_list old = {0};
	uint64_t removed = 0;
	int result = PFS_EXIT_OK, more;

	if (s->by_age) {
		result = look_at_all(s, target, names, &old);
		names = &old;
	}
	if (result == PFS_EXIT_OK || result == PFS_EXIT_SOME) {
		more = remove_keys(target, names->keys, names->count, !s->named_count, &removed);
		result = more ? more : result;
	}
	free(old.keys);
	if (!s->common.quiet)
		printf("removed %s scratch file%s\n", group_digits(removed).text,
		       pfs_plural(removed));
	return end_output(stdout, result);
}

static int work(const struct scratch *s, const char *name)
{
	struct key_list found = {0}, names = {.keys = s->named, .count = s->named_count};
	struct target *target;
	int err, result = open_target(&target, name, s->clean ? TARGET_WRITE : 0, &s->common);

	if (result)
		return result;
	if (!s->named_count) {
		err = target_names(target, PFS_WIRE_SCRATCH, key_list_add, &found);
		if (err) {
			target_complain(target, NULL, err);
			result = target_exit(target, err);
		}
		names = found;
	}
	if (!result)
		result = s->clean ? clean(s, target, &names) : list(s, target, &names);
	free(found.keys);
	return close_target(target, result);
}

/* ---- the command line ---- */

static int check_names(const struct command *command, const struct scratch *s, char **names)
{
	for (size_t i = 0; i < s->named_count; i++) {
		if (pfs_key_is_point(&s->named[i]))
			return usage_error(command, "%s is a point, not a scratch file", names[i]);
	}
	return PFS_EXIT_OK;
}

static int check_choice(const struct command *command, const struct scratch *s)
{
	if (!s->clean && (s->all || s->by_age || s->named_count))
		return usage_error(command, "list takes a TARGET and --json only");
	if (s->clean && s->json)
		return usage_error(command, "--json is for list");
	if (s->all && (s->by_age || s->named_count))
		return usage_error(command, "--all excludes NAMEs and --older-than");
	if (s->clean && !s->all && !s->by_age && !s->named_count)
		return usage_error(command, "clean wants NAMEs, --older-than=AGE or --all");
	return PFS_EXIT_OK;
}

static int run(const struct command *command, int argc, char **argv)
{
	struct scratch s = {.common = {.wait_ms = WAIT_MS_DEFAULT}};
	char **names;
	int c, result;

	while ((c = getopt_long(argc, argv, ":hq", options, NULL)) != -1) {
		if (c == OPTION_ALL) {
			s.all = true;
		} else if (c == OPTION_JSON) {
			s.json = true;
		} else if (c == OPTION_OLDER) {
			s.by_age = true;
			if (!parse_age(optarg, &s.before_ns))
				return usage_error(command, "--older-than=%s is not an age",
						   optarg);
		} else {
			result = common_option(command, c, argv, &s.common);
			if (result >= 0)
				return result;
		}
	}
	if (argc - optind < 2)
		return usage_error(command, "`list` or `clean` and a TARGET are expected");
	s.clean = strcmp(argv[optind], "clean") == 0;
	if (!s.clean && strcmp(argv[optind], "list") != 0)
		return usage_error(command, "%s is neither `list` nor `clean`", argv[optind]);
	names = argv + optind + 2;
	s.named_count = (size_t)(argc - optind - 2);
	s.named = parse_keys(names, s.named_count, &result);
	if (!s.named)
		return result;
	result = check_choice(command, &s);
	if (!result)
		result = check_names(command, &s, names);
	if (!result)
		result = work(&s, argv[optind + 1]);
	free(s.named);
	return result;
}

const struct command command_scratch = {
	.name = "scratch",
	.summary = "list or remove files whose names are no ids",
	.usage = "list|clean [options] TARGET [NAME...]",
	.help = "`list` prints size, time of the last change and name of every scratch file: those "
		"whose names are\n"
		"no ids, as editors and tools leave them behind.\n"
		"`clean` removes the NAMEs, those that are older than AGE, or all. One that is "
		"named "
		"and is not there\n"
		"is reported, and makes exit code 1.\n\nOptions:\n"
		"      --json           list as JSON\n"
		"      --all            remove all of them\n"
		"      --older-than=AGE remove those (of the NAMEs, if there are some) that were "
		"not "
		"changed for AGE:\n"
		"                       seconds, or a number with m, h or d behind it\n",
	.run = run,
};
