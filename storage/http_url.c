#include "storage/http_url.h"

#include <stdio.h>
#include <stdlib.h>

#define BUCKET_MAX 255
#define HOST_BUCKET_MAX 63 /* of a label in a host's name */

bool pfs_http_encode(char *out, size_t size, const char *text, bool slashes)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789-._~";
	size_t len = 0;

	for (; *text; text++) {
		bool keep = strchr(plain, *text) || (slashes && *text == '/');

		if (len + 4 > size)
			return false;
		if (keep)
			out[len++] = *text;
		else
			len += (size_t)sprintf(out + len, "%%%02X", (unsigned char)*text);
	}
	if (len >= size)
		return false;
	out[len] = 0;
	return true;
}

static const char *environment(const char *name)
{
	const char *value = getenv(name);

	return value && *value ? value : NULL;
}

static bool starts(const char *text, const char *with)
{
	return strncmp(text, with, strlen(with)) == 0;
}

static bool has_odd_byte(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text <= ' ' || (unsigned char)*text >= 0x7f)
			return true;
	return false;
}

/* http(s)://HOST[:PORT][/PATH], without what has no meaning here or should not be seen in a list of
 * mounts. */
static int check_http(const char *url, struct pfs_reason *reason)
{
	const char *host = strstr(url, "://") + 3;
	size_t len = strcspn(host, "/");

	if (len == 0)
		return pfs_refuse(reason, -EINVAL, "%s: there is no host in it", url);
	if (memchr(host, '@', len))
		return pfs_refuse(reason, -EINVAL,
				  "a URL with user or password would show them in the list of "
				  "mounts: ~/.netrc is for them");
	if (strpbrk(url, "?#") || has_odd_byte(url))
		return pfs_refuse(reason, -EINVAL,
				  "%s: blanks, '?', '#' and other than ASCII can't be in it "
				  "(percent-encode them)",
				  url);
	return 0;
}

/* The same directory, with one slash at its end. */
static int put_url(char out[PFS_HTTP_URL_MAX], const char *base, const char *path,
		   struct pfs_reason *reason)
{
	size_t len = strlen(base);
	int n;

	while (len && base[len - 1] == '/')
		len--;
	n = snprintf(out, PFS_HTTP_URL_MAX, "%.*s/%s", (int)pfs_min_u64(len, PFS_HTTP_URL_MAX),
		     base, path);
	if (n < 0 || n >= PFS_HTTP_URL_MAX)
		return pfs_refuse(reason, -EINVAL, "the URL is too long");
	return 0;
}

/* ---- S3 ---- */

static int put_credentials(struct pfs_http_place *out, struct pfs_reason *reason)
{
	const char *key = environment("AWS_ACCESS_KEY_ID");
	const char *secret = environment("AWS_SECRET_ACCESS_KEY");
	const char *token = environment("AWS_SESSION_TOKEN");
	const char *region = environment("AWS_REGION");

	if (!key != !secret)
		return pfs_refuse(reason, -EINVAL,
				  "%s is set, %s is not: both are needed, or neither",
				  key ? "AWS_ACCESS_KEY_ID" : "AWS_SECRET_ACCESS_KEY",
				  key ? "AWS_SECRET_ACCESS_KEY" : "AWS_ACCESS_KEY_ID");
	if (!region)
		region = environment("AWS_DEFAULT_REGION");
	if (!region)
		region = "us-east-1";
	if ((size_t)snprintf(out->region, sizeof(out->region), "%s", region) >=
		    sizeof(out->region) ||
	    strpbrk(region, ": /") || has_odd_byte(region))
		return pfs_refuse(reason, -EINVAL, "AWS_REGION is not one");
	if (!key)
		return 0;
	if ((size_t)snprintf(out->user, sizeof(out->user), "%s:%s", key, secret) >=
		    sizeof(out->user) ||
	    strchr(key, ':') || has_odd_byte(out->user))
		return pfs_refuse(reason, -EINVAL, "AWS_ACCESS_KEY_ID or the secret is not one");
	if (token &&
	    ((size_t)snprintf(out->token, sizeof(out->token), "%s", token) >= sizeof(out->token) ||
	     has_odd_byte(token)))
		return pfs_refuse(reason, -EINVAL, "AWS_SESSION_TOKEN is not one");
	return 0;
}

/* Can it be in front of a host's name? With a dot in it, no certificate would fit. */
static bool fits_host(const char *bucket)
{
	size_t len = strlen(bucket);

	return len >= 3 && len <= HOST_BUCKET_MAX &&
	       strspn(bucket, "abcdefghijklmnopqrstuvwxyz0123456789-") == len && bucket[0] != '-' &&
	       bucket[len - 1] != '-';
}

static int is_virtual(bool *out, const char *bucket, bool own_endpoint, struct pfs_reason *reason)
{
	const char *style = environment("AWS_S3_ADDRESSING_STYLE");

	if (!style || strcmp(style, "auto") == 0)
		*out = !own_endpoint && fits_host(bucket);
	else if (strcmp(style, "virtual") == 0 || strcmp(style, "path") == 0)
		*out = style[0] == 'v';
	else
		return pfs_refuse(reason, -EINVAL,
				  "AWS_S3_ADDRESSING_STYLE: path, virtual or auto is expected");
	if (*out && !fits_host(bucket))
		return pfs_refuse(reason, -EINVAL, "%s: can't be a part of a host's name", bucket);
	return 0;
}

static int bucket_url(struct pfs_http_place *out, const char *bucket, struct pfs_reason *reason)
{
	const char *endpoint = environment("AWS_ENDPOINT_URL_S3"), *host;
	char base[PFS_HTTP_URL_MAX], amazon[128];
	bool in_host;
	int err, n;

	if (!endpoint)
		endpoint = environment("AWS_ENDPOINT_URL");
	if (endpoint && !starts(endpoint, "http://") && !starts(endpoint, "https://"))
		return pfs_refuse(reason, -EINVAL, "AWS_ENDPOINT_URL: %s is no http(s) URL",
				  endpoint);
	err = endpoint ? check_http(endpoint, reason) : 0;
	if (!err)
		err = is_virtual(&in_host, bucket, endpoint != NULL, reason);
	if (err)
		return err;
	if (!endpoint) {
		snprintf(amazon, sizeof(amazon), "https://s3.%s.amazonaws.com", out->region);
		endpoint = amazon;
	}
	host = strstr(endpoint, "://") + 3;
	if (in_host) {
		n = snprintf(base, sizeof(base), "%.*s%s.%s", (int)(host - endpoint), endpoint,
			     bucket, host);
		if (n < 0 || (size_t)n >= sizeof(base))
			return pfs_refuse(reason, -EINVAL, "the URL is too long");
		return put_url(out->bucket, base, "", reason);
	}
	snprintf(base, sizeof(base), "%s/", bucket);
	return put_url(out->bucket, endpoint, base, reason);
}

static int parse_s3(struct pfs_http_place *out, const char *location, struct pfs_reason *reason)
{
	const char *name = location + strlen("s3://"), *key;
	char bucket[BUCKET_MAX + 1], encoded[PFS_HTTP_URL_MAX];
	size_t len = strcspn(name, "/"), key_len;
	int err;

	if (len == 0 || len > BUCKET_MAX ||
	    strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
			 "0123456789._-") < len)
		return pfs_refuse(reason, -EINVAL, "%s: that is no bucket", location);
	memcpy(bucket, name, len);
	bucket[len] = 0;
	key = name + len + strspn(name + len, "/");
	key_len = strlen(key);
	while (key_len && key[key_len - 1] == '/')
		key_len--;
	/* Segments of dots would be resolved on the way, and something else signed than asked. */
	if (key_len + 2 > sizeof(out->prefix))
		return pfs_refuse(reason, -EINVAL, "%s: is too long", location);
	snprintf(out->prefix, sizeof(out->prefix), "%.*s%s", (int)key_len, key, key_len ? "/" : "");
	if (starts(out->prefix, "./") || starts(out->prefix, "../") || strstr(out->prefix, "/./") ||
	    strstr(out->prefix, "/../") || strstr(out->prefix, "//"))
		return pfs_refuse(reason, -EINVAL, "%s: has empty parts, or dots for names",
				  location);
	err = put_credentials(out, reason);
	if (!err)
		err = bucket_url(out, bucket, reason);
	if (err)
		return err;
	if (!pfs_http_encode(encoded, sizeof(encoded), out->prefix, true))
		return pfs_refuse(reason, -EINVAL, "%s: is too long", location);
	return put_url(out->url, out->bucket, encoded, reason);
}

int pfs_http_place_parse(struct pfs_http_place *out, const char *location,
			 struct pfs_reason *reason)
{
	int err;

	memset(out, 0, sizeof(*out));
	out->ca_file = environment("AWS_CA_BUNDLE");
	out->s3 = starts(location, "s3://");
	if (out->s3) {
		err = parse_s3(out, location, reason);
	} else if (starts(location, "http://") || starts(location, "https://")) {
		err = check_http(location, reason);
		if (!err)
			err = put_url(out->url, location, "", reason);
	} else {
		err = pfs_refuse(reason, -EINVAL, "%s: URLs begin with http://, https:// or s3://",
				 location);
	}
	out->tls = starts(out->url, "https:");
	return err;
}
