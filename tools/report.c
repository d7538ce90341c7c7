#include "tools/report.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>

#include "storage/json_scan.h"

void complain(const char *fmt, ...)
{
	char line[1024];
	va_list args;

	va_start(args, fmt);
	vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	fprintf(stderr, "payloadctl: %s\n", line);
}

const char *explain(int err)
{
	switch (err) {
	case -ENOENT: return "no such document";
	case -EIO: return "damaged, or could not be read";
	case -EROFS: return "the store is read-only";
	case -ENOSPC: return "no space left on the filesystem of the store";
	case -EFBIG: return "larger than 1 GiB";
	case -EAGAIN: return "it changed while it was read: try again";
	case -ECONNRESET: return "the daemon has closed the connection";
	case -EPROTO: return "the daemon's answer makes no sense: is it another version?";
	default: return strerror(-err);
	}
}

struct key_text key_text(const struct pfs_key *key)
{
	struct key_text text = {""};

	pfs_key_format(text.text, key);
	return text;
}

struct number_text group_digits(uint64_t n)
{
	struct number_text out;
	char digits[24];
	size_t len = (size_t)snprintf(digits, sizeof(digits), "%" PRIu64, n), used = 0;

	for (size_t i = 0; i < len; i++) {
		if (i && (len - i) % 3 == 0)
			out.text[used++] = ',';
		out.text[used++] = digits[i];
	}
	out.text[used] = '\0';
	return out;
}

struct count_text count_text(uint64_t n, const char *noun)
{
	struct count_text out;

	snprintf(out.text, sizeof(out.text), "%s %s%s", group_digits(n).text, noun, pfs_plural(n));
	return out;
}

struct number_text size_text(uint64_t bytes)
{
	static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
	struct number_text out;
	double value = (double)bytes;
	size_t unit = 0;

	/* 999.95 would be printed as 1000.0. */
	while (value >= 999.95 && unit + 1 < pfs_array_len(units)) {
		value /= 1000;
		unit++;
	}
	snprintf(out.text, sizeof(out.text), unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
	return out;
}

bool parse_size(const char *text, uint64_t *out)
{
	unsigned shift = 0;
	uint64_t value = 0;

	if (*text < '0' || *text > '9')
		return false;
	for (; *text >= '0' && *text <= '9'; text++) {
		if (__builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(*text - '0'), &value))
			return false;
	}
	if (*text == 'K' || *text == 'k')
		shift = 10;
	else if (*text == 'M' || *text == 'm')
		shift = 20;
	else if (*text == 'G' || *text == 'g')
		shift = 30;
	if (*text && (!shift || text[1]))
		return false;
	if (value > UINT64_MAX >> shift)
		return false;
	*out = value << shift;
	return true;
}

int print_json_string(FILE *out, const char *text)
{
	size_t len = strlen(text);
	char *encoded = malloc(6 * len + 2);

	if (!encoded)
		return -ENOMEM;
	fwrite(encoded, 1, pfs_json_string_encode(encoded, text, len), out);
	free(encoded);
	return 0;
}

int finish_output(FILE *out)
{
	if (fflush(out))
		return -errno;
	return ferror(out) ? -EIO : 0;
}
