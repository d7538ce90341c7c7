#include "storage/former.h"

#include <stdlib.h>

#define BUCKETS_MIN 256u

/* ---- entries ---- */

struct pfs_former *pfs_former_new(const struct pfs_key *key)
{
	uint8_t room[8];
	struct pfs_tail tail = pfs_key_tail(key, room);
	struct pfs_former *former = calloc(1, sizeof(*former) + tail.len);

	if (!former)
		return NULL;
	former->kind = key->kind;
	former->tag = pfs_key_tag(key);
	former->tail_len = (uint8_t)tail.len;
	if (tail.len)
		memcpy(former->tail, tail.bytes, tail.len);
	return former;
}

void pfs_former_key(const struct pfs_former *former, struct pfs_key *key)
{
	pfs_key_from_tail(key, former->kind, former->tag,
			  &(struct pfs_tail){former->tail, former->tail_len});
}

static bool has_key(const struct pfs_former *former, unsigned kind, uint64_t tag,
		    const struct pfs_tail *tail)
{
	return former->tag == tag && former->kind == kind && former->tail_len == tail->len &&
	       (tail->len == 0 || memcmp(former->tail, tail->bytes, tail->len) == 0);
}

/* ---- overlays ---- */

static uint64_t key_bucket(const struct pfs_overlay *overlay, unsigned kind, uint64_t tag)
{
	return pfs_mix64(tag + kind) & (overlay->size - 1);
}

static uint64_t cookie_bucket(const struct pfs_overlay *overlay, uint32_t cookie)
{
	return cookie & (overlay->size - 1);
}

static void link_entry(struct pfs_overlay *overlay, struct pfs_former *former)
{
	struct pfs_former **bucket =
		&overlay->by_key[key_bucket(overlay, former->kind, former->tag)];

	former->next_key = *bucket;
	*bucket = former;
	former->next_cookie = NULL;
	if (!former->cookie)
		return;
	bucket = &overlay->by_cookie[cookie_bucket(overlay, former->cookie)];
	former->next_cookie = *bucket;
	*bucket = former;
}

/* Twice the buckets, if there is memory for them. */
static void grow(struct pfs_overlay *overlay)
{
	struct pfs_overlay bigger = *overlay;

	bigger.size = pfs_max_u64(BUCKETS_MIN, overlay->size * 2);
	bigger.by_key = calloc(bigger.size, sizeof(*bigger.by_key));
	bigger.by_cookie = calloc(bigger.size, sizeof(*bigger.by_cookie));
	if (!bigger.by_key || !bigger.by_cookie) {
		free(bigger.by_key);
		free(bigger.by_cookie);
		return;
	}
	for (uint64_t i = 0; i < overlay->size; i++) {
		struct pfs_former *former = overlay->by_key[i], *next;

		for (; former; former = next) {
			next = former->next_key;
			link_entry(&bigger, former);
		}
	}
	pfs_overlay_free(overlay);
	bigger.few[0] = bigger.few[1] = NULL;
	*overlay = bigger;
}

static size_t entry_bytes(const struct pfs_former *former)
{
	return sizeof(*former) + former->tail_len;
}

void pfs_overlay_add(struct pfs_overlay *overlay, struct pfs_former *former)
{
	if (overlay->size == 0) {
		overlay->size = 1;
		overlay->by_key = &overlay->few[0];
		overlay->by_cookie = &overlay->few[1];
	}
	if (overlay->count >= overlay->size)
		grow(overlay);
	link_entry(overlay, former);
	overlay->count++;
	overlay->bytes += entry_bytes(former);
}

void pfs_overlay_remove(struct pfs_overlay *overlay, struct pfs_former *former)
{
	struct pfs_former **at = &overlay->by_key[key_bucket(overlay, former->kind, former->tag)];

	while (*at != former)
		at = &(*at)->next_key;
	*at = former->next_key;
	if (former->cookie) {
		at = &overlay->by_cookie[cookie_bucket(overlay, former->cookie)];
		while (*at != former)
			at = &(*at)->next_cookie;
		*at = former->next_cookie;
	}
	overlay->count--;
	overlay->bytes -= entry_bytes(former);
}

static struct pfs_former *find(const struct pfs_overlay *overlay, unsigned kind, uint64_t tag,
			       const struct pfs_tail *tail)
{
	struct pfs_former *former;

	if (overlay->count == 0)
		return NULL;
	former = overlay->by_key[key_bucket(overlay, kind, tag)];
	while (former && !has_key(former, kind, tag, tail))
		former = former->next_key;
	return former;
}

struct pfs_former *pfs_overlay_find(const struct pfs_overlay *overlay, const struct pfs_key *key)
{
	uint8_t room[8];
	struct pfs_tail tail = pfs_key_tail(key, room);

	return find(overlay, key->kind, pfs_key_tag(key), &tail);
}

struct pfs_former *pfs_overlay_find_like(const struct pfs_overlay *overlay,
					 const struct pfs_former *like)
{
	return find(overlay, like->kind, like->tag, &(struct pfs_tail){like->tail, like->tail_len});
}

struct pfs_former *pfs_overlay_at_cookie(const struct pfs_overlay *overlay, uint32_t cookie,
					 const struct pfs_former *after)
{
	struct pfs_former *former;

	if (overlay->count == 0)
		return NULL;
	former = after ? after->next_cookie : overlay->by_cookie[cookie_bucket(overlay, cookie)];
	while (former && former->cookie != cookie)
		former = former->next_cookie;
	return former;
}

struct pfs_former *pfs_overlay_any(const struct pfs_overlay *overlay, uint64_t *at)
{
	if (overlay->count == 0)
		return NULL;
	/* It may have grown, or been filled behind the place: once around finds one. */
	while (!overlay->by_key[*at & (overlay->size - 1)])
		++*at;
	return overlay->by_key[*at & (overlay->size - 1)];
}

void pfs_overlay_free(struct pfs_overlay *overlay)
{
	if (overlay->by_key != &overlay->few[0]) {
		free(overlay->by_key);
		free(overlay->by_cookie);
	}
	overlay->by_key = overlay->by_cookie = NULL;
	overlay->size = 0;
}

/* ---- pins ---- */

static uint64_t pin_bucket(const struct pfs_pins *pins, uint32_t page, uint64_t off)
{
	return pfs_mix64((uint64_t)page << 32 | off) & (pins->size - 1);
}

static struct pfs_pin **pin_at(const struct pfs_pins *pins, uint32_t page, uint64_t off)
{
	struct pfs_pin **at = &pins->buckets[pin_bucket(pins, page, off)];

	while (*at && ((*at)->page != page || (*at)->off != off))
		at = &(*at)->next;
	return at;
}

struct pfs_pin *pfs_pins_find(const struct pfs_pins *pins, uint32_t page, uint64_t off)
{
	return pins->count ? *pin_at(pins, page, off) : NULL;
}

static int pins_grow(struct pfs_pins *pins)
{
	struct pfs_pins bigger = *pins;

	bigger.size = pfs_max_u64(BUCKETS_MIN, pins->size * 2);
	bigger.buckets = calloc(bigger.size, sizeof(*bigger.buckets));
	if (!bigger.buckets)
		return pins->size ? 0 : -ENOMEM;
	for (uint64_t i = 0; i < pins->size; i++) {
		struct pfs_pin *pin = pins->buckets[i], *next;

		for (; pin; pin = next) {
			struct pfs_pin **bucket =
				&bigger.buckets[pin_bucket(&bigger, pin->page, pin->off)];

			next = pin->next;
			pin->next = *bucket;
			*bucket = pin;
		}
	}
	free(pins->buckets);
	*pins = bigger;
	return 0;
}

int pfs_pins_ref(struct pfs_pins *pins, uint32_t page, uint32_t off)
{
	struct pfs_pin *pin = pfs_pins_find(pins, page, off), **bucket;
	int err = pin || pins->count < pins->size ? 0 : pins_grow(pins);

	if (err)
		return err;
	if (!pin) {
		pin = calloc(1, sizeof(*pin));
		if (!pin)
			return -ENOMEM;
		pin->page = page;
		pin->off = off;
		bucket = &pins->buckets[pin_bucket(pins, page, off)];
		pin->next = *bucket;
		*bucket = pin;
		pins->count++;
	}
	pin->refs++;
	return 0;
}

bool pfs_pins_unref(struct pfs_pins *pins, uint32_t page, uint32_t off, struct pfs_extent_at *gone)
{
	struct pfs_pin **at = pins->count ? pin_at(pins, page, off) : NULL;
	struct pfs_pin *pin = at ? *at : NULL;

	*gone = (struct pfs_extent_at){0};
	if (!pin || --pin->refs)
		return false;
	if (pin->freed) {
		*gone = (struct pfs_extent_at){.page = page, .off = off, .len = pin->len};
		pins->freed_bytes -= pin->len;
	}
	*at = pin->next;
	pins->count--;
	free(pin);
	return true;
}

bool pfs_pins_free(struct pfs_pins *pins, const struct pfs_extent_at *at)
{
	struct pfs_pin *pin = pfs_pins_find(pins, at->page, at->off);

	if (!pin)
		return false;
	pin->freed = true;
	pin->len = at->len;
	pins->freed_bytes += at->len;
	return true;
}

uint64_t pfs_pins_of_page(const struct pfs_pins *pins, uint32_t page)
{
	uint64_t bytes = 0;

	for (uint64_t i = 0; i < pins->size && pins->count; i++) {
		for (const struct pfs_pin *pin = pins->buckets[i]; pin; pin = pin->next) {
			if (pin->page == page)
				bytes += pin->freed ? pin->len : 0;
		}
	}
	return bytes;
}

void pfs_pins_each_freed(const struct pfs_pins *pins,
			 void (*fn)(void *arg, uint32_t page, uint64_t len), void *arg)
{
	for (uint64_t i = 0; i < pins->size && pins->count; i++) {
		for (const struct pfs_pin *pin = pins->buckets[i]; pin; pin = pin->next) {
			if (pin->freed)
				fn(arg, pin->page, pin->len);
		}
	}
}

void pfs_pins_trim(struct pfs_pins *pins)
{
	if (pins->count)
		return;
	free(pins->buckets);
	*pins = (struct pfs_pins){0};
}
