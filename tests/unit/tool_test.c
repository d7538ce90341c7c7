/* Small parts of payloadctl: what is mounted where, sizes and counts in words, output files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>

/* The tools' objects are not in the library. */
#include "tools/mountinfo.c"
#include "tools/output.c"
#include "tools/report.c"

static const char mounts[] =
	"22 1 0:20 / /proc rw,nosuid shared:5 - proc proc rw\n"
	"50 22 0:44 / /mnt/p rw,relatime shared:9 master:2 - fuse.payloadfs "
	"/var/lib/store rw,user_id=0\n"
	"51 22 0:45 / /mnt/with\\040space\\134040\\011\\012x\\303\\251\\0\\18a\\400 rw - "
	"fuse.payloadfs /s/a\\040b\\134 rw\n"
	"52 22 0:46 / /mnt/other rw - fuse.sshfs host:/x rw\n"
	"53 22 0:47 / /mnt/below rw - fuse.payloadfs /s/below rw\n"
	"54 22 8:1 / /mnt/below rw - ext4 /dev/sda1 rw\n"
	"55 22 0:48 / /mnt/twice rw - ext4 /dev/sda1 rw\n"
	"56 22 0:49 / /mnt/twice rw - fuse.payloadfs /s/twice rw\n"
	"57 22 0:50 / /mnt/cut rw - fuse.payloadfs\n"
	"57 22 0:50 / /mnt/rose ro - fuse.payloadfs /s/rose rose\n"
	"58 22 0:51 / /mnt/nodash rw fuse.payloadfs /s/nodash rw\n"
	"short line\n"
	"\n"
	"59 22 0:52 / /mnt/last rw - fuse.payloadfs /s/last ro";

/* Looks path up in the list above. */
static void expect_mount(const char *path, const char *want)
{
	FILE *stream = fmemopen((char *)mounts, sizeof(mounts) - 1, "r");
	struct mount mount;

	assert_non_null(stream);
	assert_int_equal(mountinfo_search(stream, path, &mount), want != NULL);
	if (want) {
		assert_string_equal(mount.source, want);
		assert_string_equal(mount.point, path);
	} else {
		assert_null(mount.source);
		assert_null(mount.point);
	}
	mount_free(&mount);
	fclose(stream);
}

/* Proves: a mount point is found by its exact path, escapes undone; the topmost mount counts; other
 * types, other paths and lines that are cut off do not. */
static void mounts_are_found(void **state)
{
	(void)state;
	expect_mount("/mnt/p", "/var/lib/store");
	expect_mount("/mnt/with space\\040\t\nx\xc3\xa9\\0\\18a\\400", "/s/a b\\");
	expect_mount("/mnt/twice", "/s/twice");
	expect_mount("/mnt/last", "/s/last");
	expect_mount("/mnt/below", NULL);
	expect_mount("/mnt/other", NULL);
	expect_mount("/mnt/cut", NULL);
	expect_mount("/mnt/nodash", NULL);
	expect_mount("/mnt", NULL);
	expect_mount("/mnt/p/", NULL);
	expect_mount("/mnt/p/1", NULL);
	expect_mount("", NULL);
}

/* Proves: a real path that is no mount of payloadfs is told from one, and needs not exist. */
static void other_paths_are_no_mounts(void **state)
{
	static const char *const paths[] = {"/", "/proc",   ".", "/proc/self/nowhere",
					    "",	 "nowhere/"};
	struct mount mount;

	(void)state;
	for (size_t i = 0; i < pfs_array_len(paths); i++) {
		assert_int_equal(mountinfo_find(paths[i], &mount), 0);
		assert_null(mount.point);
		assert_null(mount.source);
	}
}

/* Proves: sizes with and without suffix are read exactly, and what is no size, or does not fit, is
 * refused. */
static void sizes_are_parsed(void **state)
{
	static const struct {
		const char *text;
		uint64_t size;
	} good[] = {
		{"0", 0},
		{"1", 1},
		{"007", 7},
		{"4096", 4096},
		{"9", 9},
		{"64K", 65536},
		{"64k", 65536},
		{"3M", 3 * PFS_MIB},
		{"1m", PFS_MIB},
		{"2G", 2 * PFS_GIB},
		{"17179869183g", UINT64_C(17179869183) << 30},
		{"18446744073709551615", UINT64_MAX},
	};
	static const char *const bad[] = {
		"",
		" 1",
		"1 ",
		"-1",
		"+1",
		"K",
		"1KK",
		"1KB",
		"1T",
		"1.5",
		"0x10",
		"1,0",
		"17179869184G",
		"18446744073709551616",
		"1\n",
	};
	uint64_t size;

	(void)state;
	for (size_t i = 0; i < pfs_array_len(good); i++) {
		assert_true(parse_size(good[i].text, &size));
		assert_true(size == good[i].size);
	}
	for (size_t i = 0; i < pfs_array_len(bad); i++) {
		if (parse_size(bad[i], &size))
			fail_msg("\"%s\" was taken", bad[i]);
	}
}

/* Proves: numbers for people are right at the edges of their units. */
static void numbers_are_printed(void **state)
{
	static const struct {
		uint64_t n;
		const char *digits, *size;
	} cases[] = {
		{0, "0", "0 B"},
		{999, "999", "999 B"},
		{1000, "1,000", "1.0 kB"},
		{1049, "1,049", "1.0 kB"},
		{123456, "123,456", "123.5 kB"},
		{999949, "999,949", "999.9 kB"},
		{999950, "999,950", "1.0 MB"},
		{1234567890, "1,234,567,890", "1.2 GB"},
		{UINT64_MAX, "18,446,744,073,709,551,615", "18.4 EB"},
	};

	(void)state;
	assert_string_equal(count_text(0, "page").text, "0 pages");
	assert_string_equal(count_text(1, "page").text, "1 page");
	assert_string_equal(count_text(2, "page").text, "2 pages");
	assert_string_equal(count_text(UINT64_MAX, "document that is longest of").text,
			    "18,446,744,073,709,551,615 document that is longest ofs");
	for (size_t i = 0; i < pfs_array_len(cases); i++) {
		assert_string_equal(group_digits(cases[i].n).text, cases[i].digits);
		assert_string_equal(size_text(cases[i].n).text, cases[i].size);
	}
}

static char *contents(const char *path)
{
	FILE *file = fopen(path, "r");
	char *text = calloc(1, 64);
	size_t len;

	assert_non_null(text);
	if (!file) {
		free(text);
		return NULL;
	}
	len = fread(text, 1, 63, file);
	text[len] = '\0';
	fclose(file);
	return text;
}

static void expect_contents(const char *path, const char *want)
{
	char *text = contents(path);

	assert_non_null(text);
	assert_string_equal(text, want);
	free(text);
}

/* Proves: an output file has its old content until it is committed, keeps it when it is given up,
 * and pieces larger than the buffer come in order. */
static void output_files_are_replaced_at_once(void **state)
{
	char dir[] = "/tmp/payloadfs-output.XXXXXX", path[64];
	size_t large = 3 * BUFFER + 17;
	char *piece = malloc(large);
	struct output out;
	struct stat st;

	(void)state;
	assert_non_null(piece);
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/file", dir);
	for (int round = 0; round < 3; round++) {
		assert_int_equal(output_open(&out, path), 0);
		assert_int_equal(output_text(&out, round == 0 ? "first" : "second"), 0);
		if (round)
			expect_contents(path, "first");
		else
			assert_null(contents(path));
		if (round != 1)
			assert_int_equal(output_commit(&out), 0);
		output_close(&out);
		expect_contents(path, round == 2 ? "second" : "first");
	}
	assert_int_equal(output_open(&out, path), 0);
	memset(piece, 'x', large);
	assert_int_equal(output_text(&out, "begin"), 0);
	assert_int_equal(output_write(&out, piece, large), 0);
	assert_int_equal(output_text(&out, "end"), 0);
	assert_int_equal(output_commit(&out), 0);
	output_close(&out);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, large + 8);
	free(piece);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(dir), 0); /* nothing else was left */
	assert_int_equal(output_open(&out, path), -ENOENT);
}

/* Proves: what is no regular file is written to and stays what it is; an error sticks. */
static void output_to_other_files_leaves_them_there(void **state)
{
	char dir[] = "/tmp/payloadfs-output.XXXXXX", path[64], got[8];
	struct output out;
	struct stat st;
	int reader;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/fifo", dir);
	assert_int_equal(mkfifo(path, 0600), 0);
	reader = open(path, O_RDONLY | O_NONBLOCK);
	assert_true(reader >= 0);
	assert_int_equal(output_open(&out, path), 0);
	assert_int_equal(output_text(&out, "x"), 0);
	assert_int_equal(output_commit(&out), 0);
	output_close(&out);
	assert_int_equal(read(reader, got, sizeof(got)), 1);
	assert_int_equal(got[0], 'x');
	assert_int_equal(lstat(path, &st), 0);
	assert_true(S_ISFIFO(st.st_mode));

	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(output_open(&out, path), 0);
	close(reader);
	assert_int_equal(output_text(&out, "x"), 0);
	assert_int_equal(output_commit(&out), -EPIPE);
	assert_int_equal(output_text(&out, "x"), -EPIPE);
	assert_int_equal(output_commit(&out), -EPIPE);
	output_close(&out);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mounts_are_found),
		cmocka_unit_test(other_paths_are_no_mounts),
		cmocka_unit_test(sizes_are_parsed),
		cmocka_unit_test(numbers_are_printed),
		cmocka_unit_test(output_files_are_replaced_at_once),
		cmocka_unit_test(output_to_other_files_leaves_them_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
