/* The thread of a client, in which all its transfers happen. */
#ifdef PFS_HAVE_CURL
#include "storage/http_client_internal.h"

#define LOOK_MS 100    /* how exactly stalls and deadlines are seen */
#define RUNNING_MAX 32 /* further requests wait for their turn */

void pfs_http_transfer(struct pfs_http_client *client, struct pfs_http_attempt *attempt)
{
	pthread_mutex_lock(&client->lock);
	attempt->next = NULL;
	*client->todo_end = attempt;
	client->todo_end = &attempt->next;
	pthread_mutex_unlock(&client->lock);
	curl_multi_wakeup(client->multi);
	pthread_mutex_lock(&client->lock);
	while (!attempt->over)
		pthread_cond_wait(&client->over, &client->lock);
	pthread_mutex_unlock(&client->lock);
}

/* Those under way, of this thread alone. */
struct running {
	struct pfs_http_attempt *first;
	unsigned count;
};

static void end_one(struct pfs_http_client *client, struct pfs_http_attempt *attempt, CURLcode code,
		    const char *ended)
{
	pthread_mutex_lock(&client->lock);
	attempt->took_ns = pfs_now_monotonic() - attempt->begun_ns;
	attempt->code = code;
	attempt->ended = ended;
	attempt->over = true;
	pthread_cond_broadcast(&client->over);
	pthread_mutex_unlock(&client->lock);
}

static void leave(struct pfs_http_client *client, struct running *running,
		  struct pfs_http_attempt *attempt)
{
	struct pfs_http_attempt **p = &running->first;

	while (*p != attempt)
		p = &(*p)->next;
	*p = attempt->next;
	running->count--;
	curl_multi_remove_handle(client->multi, attempt->easy);
}

static bool begin_new(struct pfs_http_client *client, struct running *running)
{
	bool stopping;

	for (;;) {
		struct pfs_http_attempt *attempt = NULL;

		pthread_mutex_lock(&client->lock);
		stopping = client->stopping;
		if (running->count < RUNNING_MAX && client->todo) {
			attempt = client->todo;
			client->todo = attempt->next;
			if (!client->todo)
				client->todo_end = &client->todo;
		}
		pthread_mutex_unlock(&client->lock);
		if (!attempt)
			return !stopping;
		attempt->begun_ns = attempt->moved_ns = pfs_now_monotonic();
		if (curl_multi_add_handle(client->multi, attempt->easy) != CURLM_OK) {
			end_one(client, attempt, CURLE_FAILED_INIT, NULL);
			continue;
		}
		attempt->next = running->first;
		running->first = attempt;
		running->count++;
	}
}

static void end_finished(struct pfs_http_client *client, struct running *running)
{
	CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(client->multi, &left))) {
		CURLcode code = message->data.result;
		struct pfs_http_attempt *attempt = NULL;
		char *owner = NULL;

		if (message->msg == CURLMSG_DONE) {
			curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &owner);
			attempt = (struct pfs_http_attempt *)(void *)owner;
			leave(client, running, attempt); /* message is gone */
			end_one(client, attempt, code, NULL);
		}
	}
}

/* libcurl measures stalls in seconds and looks at them when it likes. */
static void end_late(struct pfs_http_client *client, struct running *running)
{
	int64_t now = pfs_now_monotonic();
	struct pfs_http_attempt *attempt, *next;

	for (attempt = running->first; attempt; attempt = next) {
		const char *why = NULL;

		next = attempt->next;
		if (now - attempt->moved_ns > attempt->stall_ns)
			why = attempt->request->got ? "the answer stalled" : "no answer in time";
		else if (now - attempt->begun_ns > attempt->time_ns)
			why = PFS_HTTP_TOO_LONG;
		if (!why)
			continue;
		leave(client, running, attempt);
		end_one(client, attempt, CURLE_OPERATION_TIMEDOUT, why);
	}
}

void *pfs_http_loop(void *arg)
{
	struct pfs_http_client *client = arg;
	struct running running = {0};
	int active;

	while (begin_new(client, &running)) {
		unsigned before = running.count;

		curl_multi_perform(client->multi, &active);
		end_finished(client, &running);
		end_late(client, &running);
		if (running.count == before) /* else there may be others whose turn it is */
			curl_multi_poll(client->multi, NULL, 0, before ? LOOK_MS : 60000, NULL);
	}
	/* Nobody frees a client that he waits for. */
	(void)PFS_NEVER(&client->logger, running.first != NULL);
	return NULL;
}
#endif
