/* storage/http_client_loop.c without libcurl and by a clock that stands still: which transfers are
 * begun and ended when, with what, and how long nothing is looked at. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "storage/http_client_internal.h"

#ifdef PFS_HAVE_CURL
static int64_t clock_ns;

static int64_t fake_now(void)
{
	return clock_ns;
}

static CURLMcode fake_add(CURLM *multi, CURL *easy);
static CURLMcode fake_remove(CURLM *multi, CURL *easy);
static CURLMcode fake_perform(CURLM *multi, int *active);
static CURLMsg *fake_read(CURLM *multi, int *left);
static CURLMcode fake_poll(CURLM *multi, void *fds, unsigned count, int ms, int *ready);
static CURLcode whose(CURL *easy, CURLINFO what, char **out);

#undef curl_easy_getinfo
#define pfs_now_monotonic fake_now
#define curl_multi_add_handle fake_add
#define curl_multi_remove_handle fake_remove
#define curl_multi_perform fake_perform
#define curl_multi_info_read fake_read
#define curl_multi_poll fake_poll
#define curl_easy_getinfo whose
#include "storage/http_client_loop.c"

#define ATTEMPTS 40

static struct pfs_http_request requests[ATTEMPTS];
static struct pfs_http_attempt attempts[ATTEMPTS];
static struct pfs_http_client client;

/* What was called: "+N" and "-N" for the handle of attempt N, "p" for a transfer of all, "wMS" for
 * a wait. */
static char calls[1024];
static unsigned added, polls, refused; /* refused: 1 + the attempt whose handle can't be added */

/* Messages to come: an attempt that is done. */
static struct {
	unsigned attempt;
	CURLcode code;
} done[ATTEMPTS];
static unsigned done_first, done_count;
static bool odd_message; /* another one before these */

static void (*on_poll)(unsigned n);

static unsigned number_of(const CURL *easy)
{
	return (unsigned)((const struct pfs_http_attempt *)easy - attempts);
}

static void note(const char *fmt, unsigned n)
{
	size_t len = strlen(calls);

	snprintf(calls + len, sizeof(calls) - len, fmt, n);
}

static void expect_calls(const char *want)
{
	assert_string_equal(calls, want);
	calls[0] = '\0';
}

static CURLMcode fake_add(CURLM *multi, CURL *easy)
{
	assert_ptr_equal(multi, client.multi);
	note("+%u ", number_of(easy));
	if (refused == 1 + number_of(easy))
		return CURLM_INTERNAL_ERROR;
	added++;
	return CURLM_OK;
}

static CURLMcode fake_remove(CURLM *multi, CURL *easy)
{
	assert_ptr_equal(multi, client.multi);
	assert_false(attempts[number_of(easy)].over); /* then it may be gone */
	note("-%u ", number_of(easy));
	return CURLM_OK;
}

static CURLMcode fake_perform(CURLM *multi, int *active)
{
	assert_ptr_equal(multi, client.multi);
	*active = 0;
	note("p ", 0);
	return CURLM_OK;
}

static CURLMsg *fake_read(CURLM *multi, int *left)
{
	static CURLMsg message;

	assert_ptr_equal(multi, client.multi);
	*left = 0;
	if (odd_message) {
		odd_message = false;
		message = (CURLMsg){.msg = CURLMSG_NONE};
		return &message;
	}
	if (done_first == done_count)
		return NULL;
	message =
		(CURLMsg){.msg = CURLMSG_DONE, .easy_handle = &attempts[done[done_first].attempt]};
	message.data.result = done[done_first++].code;
	return &message;
}

static CURLMcode fake_poll(CURLM *multi, void *fds, unsigned count, int ms, int *ready)
{
	assert_ptr_equal(multi, client.multi);
	assert_true(!fds && !count && !ready);
	assert_int_equal(pthread_mutex_trylock(&client.lock), 0); /* nobody waits for that */
	pthread_mutex_unlock(&client.lock);
	note("w%u ", (unsigned)ms);
	assert_true(polls < 100);
	on_poll(polls++);
	return CURLM_OK;
}

static CURLcode whose(CURL *easy, CURLINFO what, char **out)
{
	assert_int_equal(what, CURLINFO_PRIVATE);
	*out = (char *)easy;
	return CURLE_OK;
}

static void finish(unsigned attempt, CURLcode code)
{
	done[done_count].attempt = attempt;
	done[done_count++].code = code;
}

/* As pfs_http_transfer does, which then waits. */
static void queue(unsigned attempt)
{
	*client.todo_end = &attempts[attempt];
	client.todo_end = &attempts[attempt].next;
}

static int set_up(void **state)
{
	(void)state;
	memset(&client, 0, sizeof(client));
	memset(attempts, 0, sizeof(attempts));
	memset(requests, 0, sizeof(requests));
	pthread_mutex_init(&client.lock, NULL);
	pthread_cond_init(&client.over, NULL);
	client.multi = (CURLM *)&client;
	client.todo_end = &client.todo;
	clock_ns = 1000000;
	for (unsigned i = 0; i < ATTEMPTS; i++) {
		attempts[i].easy = &attempts[i];
		attempts[i].request = &requests[i];
		attempts[i].stall_ns = 1000;
		attempts[i].time_ns = 3000;
	}
	calls[0] = '\0';
	added = polls = refused = done_first = done_count = 0;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	pthread_cond_destroy(&client.over);
	pthread_mutex_destroy(&client.lock);
	return 0;
}

static void expect_ended(unsigned attempt, CURLcode code, const char *ended, int64_t took_ns)
{
	const struct pfs_http_attempt *a = &attempts[attempt];

	assert_true(a->over);
	assert_int_equal(a->code, code);
	assert_true(!a->ended == !ended);
	if (ended)
		assert_string_equal(a->ended, ended);
	assert_int_equal(a->took_ns, took_ns);
}

static void finish_in_another_order(unsigned n)
{
	switch (n) {
	case 0:
		clock_ns += 5;
		odd_message = true;
		finish(1, CURLE_COULDNT_CONNECT);
		break;
	case 1:
		expect_ended(1, CURLE_COULDNT_CONNECT, NULL, 5);
		assert_true(!attempts[0].over && !attempts[2].over);
		clock_ns += 2;
		finish(2, CURLE_OK);
		finish(0, CURLE_OK);
		break;
	case 2:
		expect_ended(0, CURLE_OK, NULL, 7);
		expect_ended(2, CURLE_OK, NULL, 7);
		queue(3);
		break;
	case 3: finish(3, CURLE_OK); break;
	default: client.stopping = true;
	}
}

/* Proves: transfers are begun in the order in which they came, at once, and ended as libcurl says;
 * where something has ended it is looked whether there is more, else waited, for a tenth of a
 * second while there are any. */
static void transfers_are_begun_and_ended(void **state)
{
	(void)state;
	on_poll = finish_in_another_order;
	queue(0);
	queue(1);
	queue(2);
	assert_null(pfs_http_loop(&client));
	expect_calls("+0 +1 +2 p w100 p -1 p w100 p -2 -0 p w60000 +3 p w100 p -3 p w60000 ");
}

static void refuse_then_end(unsigned n)
{
	if (n == 0) {
		expect_ended(1, CURLE_FAILED_INIT, NULL, 0);
		finish(0, CURLE_OK);
		finish(2, CURLE_OK);
	} else {
		client.stopping = true;
	}
}

/* Proves: a transfer that libcurl does not take is over at once, and the others are not hindered.
 */
static void refused_transfers_are_over(void **state)
{
	(void)state;
	on_poll = refuse_then_end;
	refused = 1 + 1;
	queue(0);
	queue(1);
	queue(2);
	assert_null(pfs_http_loop(&client));
	expect_calls("+0 +1 +2 p w100 p -0 -2 p w60000 ");
}

static void let_some_in(unsigned n)
{
	static const unsigned wanted[] = {32, 33, 35, 36, 36};

	assert_int_equal(added, wanted[n]);
	switch (n) {
	case 0: finish(7, CURLE_OK); break;
	case 1:
		finish(0, CURLE_OK);
		finish(32, CURLE_OK);
		break;
	case 2:
		for (unsigned i = 8; i < 20; i++)
			finish(i, CURLE_OK);
		break;
	case 3:
		for (unsigned i = 0; i < 36; i++)
			if (!attempts[i].over)
				finish(i, CURLE_OK);
		break;
	default: client.stopping = true;
	}
	calls[0] = '\0';
}

/* Proves: 32 transfers run at a time; another one is begun as soon as one of them ends. */
static void so_many_run_at_once(void **state)
{
	(void)state;
	on_poll = let_some_in;
	for (unsigned i = 0; i < 36; i++)
		queue(i);
	assert_null(pfs_http_loop(&client));
	for (unsigned i = 0; i < 36; i++)
		assert_true(attempts[i].over);
	assert_true(client.todo == NULL && client.todo_end == &client.todo);
}

/* Of five transfers 0 never gets a byte, 1 got some, 2 and 3 get one now and then; 4 ends. */
static void pass_time(unsigned n)
{
	switch (n) {
	case 0: clock_ns += 1000; break;
	case 1:
		assert_true(!attempts[0].over && !attempts[1].over);
		attempts[2].moved_ns = attempts[3].moved_ns = clock_ns;
		clock_ns += 1;
		finish(4, CURLE_OK); /* late, but there */
		break;
	case 2:
		expect_ended(0, CURLE_OPERATION_TIMEDOUT, "no answer in time", 1001);
		expect_ended(1, CURLE_OPERATION_TIMEDOUT, "the answer stalled", 1001);
		expect_ended(4, CURLE_OK, NULL, 1001);
		attempts[2].moved_ns = clock_ns += 999;
		break;
	case 3:
		assert_true(!attempts[2].over && !attempts[3].over);
		attempts[2].moved_ns = attempts[3].moved_ns = clock_ns += 1000;
		break;
	case 4: /* exactly its time */
		assert_true(!attempts[2].over && !attempts[3].over);
		attempts[2].moved_ns = attempts[3].moved_ns = clock_ns += 1;
		break;
	case 5:
		expect_ended(2, CURLE_OPERATION_TIMEDOUT, PFS_HTTP_TOO_LONG, 3001);
		expect_ended(3, CURLE_OPERATION_TIMEDOUT, PFS_HTTP_TOO_LONG, 3001);
		client.stopping = true;
		break;
	default: fail();
	}
}

/* Proves: a transfer that gets no byte for longer than it may, or takes longer than all of it may,
 * is ended, to the nanosecond, and told why; one that has ended by itself is not. */
static void late_transfers_are_ended(void **state)
{
	(void)state;
	on_poll = pass_time;
	requests[1].got = 1;
	for (unsigned i = 0; i < 5; i++)
		queue(i);
	assert_null(pfs_http_loop(&client));
	expect_calls("+0 +1 +2 +3 +4 p w100 p w100 p -4 -1 -0 p w100 p w100 p w100 p -3 -2 p "
		     "w60000 ");
}

int main(void)
{
#define prepared(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		prepared(transfers_are_begun_and_ended),
		prepared(refused_transfers_are_over),
		prepared(so_many_run_at_once),
		prepared(late_transfers_are_ended),
	};

	return cmocka_run_group_tests_name("the loop of transfers", tests, NULL, NULL);
}
#else
int main(void)
{
	print_message("NOT TESTED: this build has no libcurl\n");
	return 0;
}
#endif
