/* storage/http_client.c: how long is waited before a request is tried again, without the waiting.
 */
#include "tests/unit/http_server.h"

static int note_sleep(const struct timespec *t, struct timespec *left);

#define nanosleep note_sleep
#include "storage/http_client.c"
#undef nanosleep

#ifdef PFS_HAVE_CURL
#define TIMEOUT_MS 3000
#define TEXT "twelve bytes"

static uint64_t slept[64]; /* milliseconds */
static size_t sleeps;

static int note_sleep(const struct timespec *t, struct timespec *left)
{
	(void)left;
	assert_in_range(sleeps, 0, pfs_array_len(slept) - 1);
	slept[sleeps++] = (uint64_t)t->tv_sec * 1000 + (uint64_t)t->tv_nsec / MS;
	return 0;
}

/* Proves: pauses double from 50 ms up to some seconds, however often it was tried; each is from
 * half of that on, by chance, whoever waits. */
static void pauses_double_with_chance(void **state)
{
	(void)state;
	for (unsigned tries = 0; tries < 100; tries++) {
		unsigned most = tries < 7 ? 50u << tries : 6400, low = UINT32_MAX, high = 0;

		for (uintptr_t seed = 0; seed < 2000; seed++) {
			unsigned ms = pause_ms(tries, (void *)(seed << 4));

			low = (unsigned)pfs_min_u64(low, ms);
			high = (unsigned)pfs_max_u64(high, ms);
		}
		assert_in_range(low, tries < 7 ? most / 2 : 2500, most);
		assert_in_range(high, low + 1, most);
		if (tries == 0) /* few enough that all came */
			assert_true(low == 25 && high == 50);
	}
}

static void ignore_message(void *arg, enum pfs_log_level level, const char *line)
{
	(void)arg;
	(void)level;
	(void)line;
}

/* What a request gives, of which the first ones fail. */
static int try_with(struct pfs_http_client *client, struct server *s, const char *url,
		    enum server_fault fault, unsigned count)
{
	char buf[sizeof(TEXT)];
	struct pfs_http_request request = {
		.method = PFS_HTTP_GET, .url = url, .len = strlen(TEXT), .buf = buf};
	int err;

	sleeps = 0;
	server_fault(s, fault, count);
	err = pfs_http_perform(client, &request);
	if (!err) {
		assert_int_equal(request.got, strlen(TEXT));
		assert_memory_equal(buf, TEXT, strlen(TEXT));
	}
	return err;
}

/* Proves: a server that says how long to wait is left alone so long; others for a pause that grows,
 * and all of them take no more than the time that there is; a server that was not there when it
 * ended is then asked once, until it answers. */
static void waits_are_what_was_said(void **state)
{
	struct server *s = server_new();
	const struct pfs_http_options options = {.timeout_ms = TIMEOUT_MS,
						 .logger = {.fn = ignore_message}};
	struct pfs_http_place *place = calloc(1, sizeof(*place));
	struct pfs_http_client *client;
	struct pfs_reason reason;
	char url[64], file[80];
	uint64_t sum = 0;

	(void)state;
	server_put(s, "/d/file", TEXT, strlen(TEXT));
	snprintf(url, sizeof(url), "http://127.0.0.1:%d/d/", s->port);
	snprintf(file, sizeof(file), "%sfile", url);
	assert_int_equal(pfs_http_place_parse(place, url, &reason), 0);
	assert_int_equal(pfs_http_client_new(&client, place, &options), 0);
	assert_int_equal(try_with(client, s, file, FAULT_429, 1), 0);
	assert_int_equal(sleeps, 1);
	assert_int_equal(slept[0], 1000);
	assert_int_equal(try_with(client, s, file, FAULT_503, 2), 0);
	assert_int_equal(sleeps, 2);
	assert_in_range(slept[0], 25, 50);
	assert_in_range(slept[1], 50, 100);

	assert_int_not_equal(try_with(client, s, file, FAULT_503, 1000), 0);
	assert_in_range(sleeps, 5, 9);
	for (size_t i = 0; i < sleeps; i++)
		sum += slept[i];
	assert_in_range(sum, TIMEOUT_MS / 8, TIMEOUT_MS);
	assert_int_not_equal(try_with(client, s, file, FAULT_503, 1000), 0);
	assert_int_equal(sleeps, 0);
	assert_int_equal(try_with(client, s, file, FAULT_NONE, 0), 0);
	assert_int_equal(try_with(client, s, file, FAULT_503, 1), 0);
	assert_int_equal(sleeps, 1);
	pfs_http_client_free(client);
	free(place);
	server_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pauses_double_with_chance),
		cmocka_unit_test(waits_are_what_was_said),
	};

	return cmocka_run_group_tests_name("pauses of requests", tests, NULL, NULL);
}
#else
int main(void)
{
	print_message("NOT TESTED: this build has no libcurl\n");
	return 0;
}
#endif
