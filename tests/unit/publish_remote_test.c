/* Publishing to a bucket, where nothing locks others out and files appear whole: what is there is
 * what was given, and of two that publish at once one finds out (FORMAT.md, U4). */
#include "tests/unit/http_server.h"
#include "tests/unit/publish_helpers.h"

#include "storage/io_http.h"
#include "storage/store.h"

#define NONE UINT64_MAX
#define URL "s3://bucket/p"

static const struct pfs_logger no_log = {.fn = publish_ignore_log};

struct place {
	struct server *server;
	struct pfs_http_options options;
};

static int set_up(void **state)
{
	struct place *p = calloc(1, sizeof(*p));
	char endpoint[64];

	p->server = server_new();
	p->options = (struct pfs_http_options){.timeout_ms = 2000, .logger = no_log};
	snprintf(endpoint, sizeof(endpoint), "http://127.0.0.1:%d", p->server->port);
	setenv("AWS_ENDPOINT_URL", endpoint, 1);
	*state = p;
	return 0;
}

static int tear_down(void **state)
{
	struct place *p = *state;

	server_free(p->server);
	free(p);
	return 0;
}

static struct source odd_source(uint64_t count)
{
	return (struct source){.count = count, .doc = odd_doc, .changed = NONE, .absent = NONE};
}

static struct pfs_dir *open_bucket(const struct place *p)
{
	struct pfs_io http;
	const struct pfs_io *io = pfs_io_for(URL, &p->options, &http);
	struct pfs_dir *dir;

	assert_int_equal(io->ops->open_dir(io, URL, PFS_IO_WRITE | PFS_IO_CREATE, &dir), 0);
	return dir;
}

static int publish(const struct place *p, const struct source *s, uint32_t keep,
		   struct pfs_publish_result *result)
{
	struct pfs_publish_options options = publish_options();
	struct pfs_dir *dir = open_bucket(p);
	struct pfs_prune_result pruned;
	int err = publish_to(dir, s, &options, keep, result, &pruned);

	dir->ops->close_dir(dir);
	return err;
}

/* What a reader of the bucket sees. */
static void expect_published(const struct place *p, const struct source *s, uint32_t generation)
{
	struct pfs_dir *dir = open_bucket(p);

	assert_int_equal(verify_published(dir, s), generation);
	dir->ops->close_dir(dir);
}

static bool is_there(const struct place *p, const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "/bucket/p/%s", name);
	return server_find(p->server, path, false) != NULL;
}

/* Proves: a generation, and the next, are what was given, to a reader of the bucket, too; pruning
 * removes the first; without a change nothing is said anew. */
static void generations_follow_each_other(void **state)
{
	const struct place *p = *state;
	struct source s = odd_source(12);
	struct pfs_publish_result result;
	const struct pfs_http_options options = {.timeout_ms = 2000, .logger = no_log};
	struct pfs_io http;
	const struct pfs_open_options how = {
		.read_only = true, .io = pfs_io_for(URL, &options, &http), .logger = no_log};
	struct pfs_reason reason;
	struct pfs_store *store;
	struct pfs_key key = pfs_key_num(4);
	size_t len;
	void *data;

	assert_int_equal(publish(p, &s, 0, &result), 0);
	assert_int_equal(result.generation, 1);
	expect_published(p, &s, 1);
	assert_int_equal(publish(p, &s, 0, &result), 0);
	assert_true(result.unchanged);
	s.changed = 4;
	s.version = 1;
	assert_int_equal(publish(p, &s, 1, &result), 0);
	assert_int_equal(result.generation, 2);
	expect_published(p, &s, 2);
	assert_false(is_there(p, "generation-00000001"));
	assert_true(is_there(p, "generation-00000002"));

	assert_int_equal(pfs_store_open(&store, URL, &how, &reason), 0);
	assert_int_equal(pfs_get(store, &key, &data, &len, NULL), 0);
	free(data);
	assert_int_equal(pfs_store_close(store), 0);
}

/* One publication that has all documents and is not committed. */
static struct pfs_publish *begin(struct pfs_dir *dir, const struct source *s)
{
	const struct pfs_publish_options options = publish_options();
	struct pfs_publish *publish;
	struct pfs_reason reason;

	assert_int_equal(pfs_publish_begin(&publish, dir, URL, &options, &reason), 0);
	for (uint64_t i = 0; i < s->count; i++) {
		struct pfs_attr attr = {0};
		struct pfs_key key;
		char *data;
		size_t len;

		s->doc(s, i, &key, &attr, &data, &len);
		assert_int_equal(pfs_publish_add(publish, &key, &attr, data, len), 0);
		free(data);
	}
	return publish;
}

/* Proves: of two that publish at once, the second to commit is told, changes nothing that readers
 * see, and prunes nothing; what it left does not hinder the next one. */
static void the_second_of_two_is_told(void **state)
{
	const struct place *p = *state;
	struct source first = odd_source(10), second = first, third = first;
	struct pfs_dir *one = open_bucket(p), *other = open_bucket(p);
	struct pfs_publish *quick, *slow;
	struct pfs_publish_result result;
	struct pfs_prune_result pruned;

	second.changed = third.changed = 4;
	second.version = 1;
	third.version = 2;
	assert_int_equal(publish(p, &first, 0, &result), 0);
	quick = begin(one, &second);
	slow = begin(other, &third);
	assert_int_equal(pfs_publish_commit(quick, &result), 0);
	assert_int_equal(result.generation, 2);
	assert_int_equal(pfs_publish_commit(slow, &result), -EBUSY);
	expect_published(p, &second, 2);
	assert_true(is_there(p, "generation-00000003")); /* its manifest, which nobody names */
	pfs_publish_end(slow);
	slow = begin(other, &third);
	assert_int_equal(pfs_publish_commit(slow, &result), 0);
	assert_int_equal(result.generation, 4);
	assert_int_equal(pfs_publish_prune(quick, 1, &pruned), -EBUSY);
	expect_published(p, &third, 4);
	assert_true(is_there(p, "generation-00000002"));
	assert_int_equal(pfs_publish_prune(slow, 1, &pruned), 0);
	assert_int_equal(pruned.generations, 3);
	expect_published(p, &third, 4);
	/* Nor does who finds nothing published any more. */
	assert_int_equal(other->ops->unlink(other, PFS_CURRENT_NAME), 0);
	assert_int_equal(pfs_publish_prune(slow, 1, &pruned), -EBUSY);
	pfs_publish_end(quick);
	pfs_publish_end(slow);
	one->ops->close_dir(one);
	other->ops->close_dir(other);
}

static void set_fault(struct server *s, enum server_fault fault, unsigned count, const char *name)
{
	s->fault_put = name;
	server_fault(s, fault, count);
}

/* Proves: whose last request was answered by nobody is told the truth: that it is done when it is,
 * also where the second attempt is refused for it; and that somebody else was quicker when that is
 * so. */
static void the_last_request_may_go_unanswered(void **state)
{
	const struct place *p = *state;
	struct source s = odd_source(10);
	struct pfs_publish_result result;

	assert_int_equal(publish(p, &s, 0, &result), 0);
	s.changed = 4;
	s.version = 1;
	set_fault(p->server, FAULT_LOST, 1, PFS_CURRENT_NAME);
	assert_int_equal(publish(p, &s, 0, &result), 0);
	assert_int_equal(result.generation, 2);
	assert_int_equal(p->server->fault_count, 0);
	expect_published(p, &s, 2);

	s.version = 2;
	set_fault(p->server, FAULT_412, 1, PFS_CURRENT_NAME);
	assert_int_equal(publish(p, &s, 0, &result), -EBUSY);
	assert_int_equal(p->server->fault_count, 0);
	s.version = 1;
	expect_published(p, &s, 2);
	s.version = 2;
	set_fault(p->server, FAULT_403, 1, PFS_CURRENT_NAME);
	assert_int_equal(publish(p, &s, 0, &result), -EACCES);
	set_fault(p->server, FAULT_403, 1, "generation-00000005");
	assert_int_equal(publish(p, &s, 0, &result), -EACCES);
	assert_int_equal(p->server->fault_count, 0);
	s.version = 1;
	expect_published(p, &s, 2);
}

/* Proves: servers that know no conditions, or take no notice of them, can be published to. */
static void servers_need_no_conditions(void **state)
{
	const struct place *p = *state;
	struct source s = odd_source(10);
	struct pfs_publish_result result;

	set_fault(p->server, FAULT_501, 1, PFS_CURRENT_NAME);
	assert_int_equal(publish(p, &s, 0, &result), 0);
	assert_int_equal(p->server->fault_count, 0);
	p->server->heedless = true;
	s.changed = 4;
	s.version = 1;
	assert_int_equal(publish(p, &s, 1, &result), 0);
	expect_published(p, &s, 2);
}

static void replace(const struct place *p, const char *name, const void *bytes, size_t len)
{
	char path[128];

	snprintf(path, sizeof(path), "/bucket/p/%s", name);
	server_put(p->server, path, bytes, len);
}

/* Proves: a `current` that is damaged, or of a newer version, ends a publication where it is read,
 * also when that is after its beginning; so does a manifest that is not what `current` says, and
 * nothing is replaced. */
static void what_is_damaged_is_not_replaced(void **state)
{
	static const char newer[] = "payloadfs collection 9\n";
	const struct place *p = *state;
	struct source s = odd_source(10);
	struct pfs_publish_result result;
	struct pfs_publish_options options = publish_options();
	struct pfs_publish *publication;
	struct pfs_dir *dir = open_bucket(p);
	struct pfs_reason reason;
	char long_text[PFS_CURRENT_LEN_MAX + 1];

	memset(long_text, 'x', sizeof(long_text));
	assert_int_equal(publish(p, &s, 0, &result), 0);
	s.changed = 4;
	s.version = 1;
	publication = begin(dir, &s);
	replace(p, PFS_CURRENT_NAME, "x", 1);
	assert_int_equal(pfs_publish_commit(publication, &result), -EUCLEAN);
	pfs_publish_end(publication);
	assert_int_equal(pfs_publish_begin(&publication, dir, URL, &options, &reason), -EUCLEAN);
	assert_non_null(strstr(reason.text, "`current` is damaged"));
	replace(p, PFS_CURRENT_NAME, long_text, sizeof(long_text));
	assert_int_equal(pfs_publish_begin(&publication, dir, URL, &options, &reason), -EUCLEAN);
	assert_non_null(strstr(reason.text, "`current` can't be read"));
	replace(p, PFS_CURRENT_NAME, newer, strlen(newer));
	assert_int_equal(pfs_publish_begin(&publication, dir, URL, &options, &reason),
			 -EPROTONOSUPPORT);
	assert_non_null(strstr(reason.text, "newer version"));
	assert_null(publication);
	dir->ops->close_dir(dir);
}

/* A copy of what the server has. */
static uint8_t *bytes_of(const struct place *p, const char *name, size_t *len)
{
	struct pfs_dir *dir = open_bucket(p);
	uint8_t *bytes = read_file(dir, name, len);

	assert_non_null(bytes);
	dir->ops->close_dir(dir);
	return bytes;
}

/* Proves: nothing is published behind a manifest that is missing, or another than `current` or its
 * own name says, and nothing is pruned beside one. */
static void manifests_must_be_the_right_ones(void **state)
{
	const struct place *p = *state;
	struct source s = odd_source(10);
	struct pfs_publish_options options = publish_options();
	struct pfs_publish_result result;
	struct pfs_current_generation current = {.generation = 7};
	struct pfs_publish *publication;
	struct pfs_dir *dir = open_bucket(p);
	struct pfs_reason reason;
	char text[PFS_CURRENT_LEN_MAX];
	size_t len, first_len;
	uint8_t *second, *first;

	assert_int_equal(publish(p, &s, 0, &result), 0);
	s.changed = 4;
	assert_int_equal(publish(p, &s, 0, &result), 0);
	first = bytes_of(p, "generation-00000001", &first_len);
	s.version = 1;
	assert_int_equal(publish(p, &s, 0, &result), 0);
	second = bytes_of(p, "generation-00000002", &len);
	replace(p, "generation-00000001", second, len);
	s.version = 2;
	assert_int_equal(publish(p, &s, 3, &result), -EUCLEAN);
	assert_int_equal(result.generation, 3);
	expect_published(p, &s, 3);
	assert_true(is_there(p, "generation-00000001"));

	replace(p, "generation-00000003", second, len);
	assert_int_equal(pfs_publish_begin(&publication, dir, URL, &options, &reason), -EUCLEAN);
	replace(p, "generation-00000007", first, first_len);
	current.len = first_len;
	current.crc = pfs_crc32c(0, first, first_len);
	replace(p, PFS_CURRENT_NAME, text, pfs_current_encode(text, &current));
	assert_int_equal(pfs_publish_begin(&publication, dir, URL, &options, &reason), -EUCLEAN);
	assert_int_equal(dir->ops->unlink(dir, "generation-00000007"), 0);
	assert_int_equal(pfs_publish_begin(&publication, dir, URL, &options, &reason), -EUCLEAN);
	assert_non_null(strstr(reason.text, "missing"));
	free(first);
	free(second);
	dir->ops->close_dir(dir);
}

int main(void)
{
#define placed(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		placed(generations_follow_each_other),
		placed(the_second_of_two_is_told),
		placed(the_last_request_may_go_unanswered),
		placed(servers_need_no_conditions),
		placed(what_is_damaged_is_not_replaced),
		placed(manifests_must_be_the_right_ones),
	};

	if (!pfs_hash_version() || !pfs_http_version()) {
		print_message("NOT TESTED: this build has no libcrypto, or no libcurl\n");
		return 0;
	}
	return cmocka_run_group_tests_name("publishing to a bucket", tests, NULL, NULL);
}
