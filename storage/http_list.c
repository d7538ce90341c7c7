#include "storage/http_list.h"

#include <stdlib.h>

#include "storage/http_url.h"

/* The text of the first <tag> from *p on, cut out of the page; *p is moved behind it. NULL: there
 * is none. */
static char *element(char **p, const char *tag)
{
	size_t len = strlen(tag);
	char *at = *p;

	while ((at = strchr(at, '<'))) {
		char *text = at + 1 + len + 1, *end;

		at++;
		if (strncmp(at, tag, len) != 0 || at[len] != '>')
			continue;
		end = strstr(text, "</");
		if (!end || strncmp(end + 2, tag, len) != 0 || end[2 + len] != '>')
			return NULL;
		*end = 0;
		*p = end + 2 + len + 1;
		return text;
	}
	return NULL;
}

/* &amp; and its like, in place. */
static void unescape(char *text)
{
	static const struct {
		const char *name;
		char byte;
	} all[] = {{"&amp;", '&'}, {"&lt;", '<'}, {"&gt;", '>'}, {"&quot;", '"'}, {"&apos;", '\''}};
	char *out = text;

	while (*text) {
		size_t i = 0;

		if (*text == '&')
			while (i < pfs_array_len(all) &&
			       strncmp(text, all[i].name, strlen(all[i].name)) != 0)
				i++;
		else
			i = pfs_array_len(all);
		if (i < pfs_array_len(all)) {
			*out++ = all[i].byte;
			text += strlen(all[i].name);
		} else {
			*out++ = *text++;
		}
	}
	*out = 0;
}

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Percent-decodes in place. False: it makes no sense. */
static bool decode(char *text)
{
	char *out = text;

	while (*text) {
		int high, low;

		if (*text != '%') {
			*out++ = *text++;
			continue;
		}
		high = hex(text[1]);
		low = high < 0 ? -1 : hex(text[2]);
		if (low < 0 || 16 * high + low == 0)
			return false;
		*out++ = (char)(16 * high + low);
		text += 3;
	}
	*out = 0;
	return true;
}

static int give_names(const struct pfs_http_listing *listing, char *text, pfs_io_list_fn *fn,
		      void *arg)
{
	size_t len = strlen(listing->prefix);
	char *key;
	int err = 0;

	while (!err && (key = element(&text, "Key"))) {
		unescape(key);
		if (!decode(key))
			return -EBADMSG;
		if (strncmp(key, listing->prefix, len) != 0 || !pfs_name_is_plain(key + len))
			continue;
		err = fn(arg, key + len);
	}
	return err;
}

/* Both stand before the names at some servers, and behind them at others, so they are looked for
 * first: looking cuts the page in pieces. */
int pfs_http_list_page(struct pfs_http_listing *listing, char *text, pfs_io_list_fn *fn, void *arg)
{
	char before[PFS_HTTP_TOKEN_MAX], *copy, *p, *truncated, *token;
	int err = 0;

	memcpy(before, listing->token, sizeof(before));
	listing->token[0] = 0;
	if (!strstr(text, "<ListBucketResult"))
		return -EBADMSG;
	copy = strdup(text);
	if (!copy)
		return -ENOMEM;
	p = copy;
	truncated = element(&p, "IsTruncated");
	if (truncated && strcmp(truncated, "true") == 0) {
		char *again = strdup(text);

		p = again;
		token = again ? element(&p, "NextContinuationToken") : NULL;
		if (token)
			unescape(token);
		if (!token || !*token ||
		    !pfs_http_encode(listing->token, sizeof(listing->token), token, false) ||
		    strcmp(before, listing->token) == 0)
			err = again ? -EBADMSG : -ENOMEM;
		free(again);
	} else if (!truncated || strcmp(truncated, "false") != 0) {
		err = -EBADMSG;
	}
	free(copy);
	if (!err)
		err = give_names(listing, text, fn, arg);
	if (err)
		listing->token[0] = 0;
	return err;
}
